//! `tripline receive`: takes what other Triplines forward, and appends it to files.

pub(crate) mod config;

pub(crate) use config::ReceiveConfig;

use crate::cli::{ReceiveArgs, exit};
use crate::config::warned;
use crate::run_cmd::{keep_private, signals};
use crate::terminal::{self, say};
use signal_hook::consts::SIGHUP;
use std::process::ExitCode;
use tripline_relay::receive::Server;
use tripline_store::{LockError, StateLock};

/// Receives until it is told to stop.
///
/// # Errors
///
/// When it could not start: exit code 2.
pub(crate) fn run(args: &ReceiveArgs) -> anyhow::Result<ExitCode> {
    let config = ReceiveConfig::load(&args.config)?;
    for warning in config.warnings.into_iter().map(warned) {
        eprintln!("{}", warning.render(terminal::for_stderr()));
    }
    keep_private();
    let settings = config.settings;
    let _lock = match StateLock::take(&settings.state) {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            say(format_args!("{error}"));
            return Ok(ExitCode::from(exit::IN_USE));
        }
        Err(error) => return Err(error.into()),
    };
    let signals = signals()?;
    let (to, is_open_to_all) = (settings.to.clone(), settings.peers.is_empty());
    let server = Server::start(settings, |text| say(format_args!("{text}")))
        .map_err(anyhow::Error::msg)?;
    let whom = if is_open_to_all { " from everybody on this machine" } else { "" };
    say(format_args!("receiving at {}{whom} into {}", server.address(), to.display()));
    while let Ok(signal) = signals.recv() {
        if signal != SIGHUP {
            break;
        }
        say(format_args!(
            "the configuration is read when the receiver starts, keys and certificates for \
             each connection: to take another configuration, restart it"
        ));
    }
    server.stop();
    Ok(ExitCode::SUCCESS)
}

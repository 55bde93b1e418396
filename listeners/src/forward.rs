//! `Forward`: entries over the network.
//!
//! What a receiver's system acknowledged is settled, and nothing else: that a
//! `write` returned says only that the bytes wait in this machine.
//! `forward/connection.rs` counts what has arrived, `forward/dial.rs` makes
//! connections, `forward/target.rs` and `forward/format.rs` are where and how.

mod connection;
mod dial;
mod format;
pub(crate) mod receiver;
mod target;
mod unacknowledged;

use crate::arguments;
use connection::{Connection, End};
use dial::{Dialer, Pace};
use format::Format;
use serde::Deserialize;
use std::time::{Duration, Instant};
use target::Target;
use tripline_api::{
    Args, ArgsError, BuildContext, Built, Flushed, FriendlyDuration, ListenError,
    Listener, ListenerFactory, OnGap, View,
};

/// Makes [`Forward`]s.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Forward"
    }

    fn doc(&self) -> &'static str {
        "Sends entries to the receiver `to`, \"tcp://host:port\": plain TCP, not \
         encrypted, with nothing but the entries on it. With `format: Lines` these are \
         each entry's bytes as they are in the file, ended by one line feed: a line \
         that has none (the last of a file, the start of one that was cut or is not \
         finished) gets one, and CR LF stays. Ids are not sent. Journals may be \
         forwarded too; a record that has line feeds inside goes as it is, and is then \
         several lines for a receiver.\n\
         \n\
         Plain TCP is best effort. The cursor passes what the receiver's system has \
         acknowledged, which its program may not have read: what the program had not \
         read when it or its machine died is lost, and nobody can tell. What was not \
         acknowledged when the connection broke comes again, and so does what was when \
         the receiver reset the connection: at most what was sent since the last \
         settled place, which follows about a second behind a receiver that keeps up. \
         So lines may come twice. A receiver that closes the connection in an orderly \
         way, having read what it got, loses nothing. A line torn by the end of a \
         connection comes again whole on the next one: a receiver drops what has no \
         line feed at the end of a connection. A line that was shown before it was \
         finished is sent again when it is. What the receiver says is thrown away.\n\
         \n\
         A receiver that acknowledges nothing for `acknowledge_timeout` is given up, \
         and called again. Attempts are at least half a second apart, and up to a \
         minute as long as nothing gets through. All addresses of a name are tried, \
         `connect_timeout` for each.\n\
         \n\
         A gap is not sent, as raw lines have no place for it: it is in the store and \
         in the daemon's messages.\n\
         \n\
         Arguments: `from`, sources; `to`, an address; `format`, `Lines`; \
         `connect_timeout`, \"10s\" unless given; `acknowledge_timeout`, \"30s\" unless \
         given; `on_gap`, `Notify` (the default) or `Stop`; `quiet`, a duration (\"5s\")."
    }

    fn example(&self) -> &'static str {
        r#"Forward(from: ["auth"], to: "tcp://127.0.0.1:6514", format: Lines)"#
    }

    fn build(&self, args: &Args<'_>, _: &BuildContext<'_>) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        let timeout = |name, written: Option<FriendlyDuration>, default| {
            let timeout = written.map_or(default, |written| written.0);
            if (TIMEOUT_MIN..=TIMEOUT_MAX).contains(&timeout) {
                Ok(timeout)
            } else {
                Err(ArgsError::new(format!(
                    "`{name}` must lie between \"10ms\" and \"1 hour\""
                )))
            }
        };
        let settings = Settings {
            format: arguments.format,
            connect_timeout: timeout(
                "connect_timeout",
                arguments.connect_timeout,
                CONNECT_TIMEOUT,
            )?,
            acknowledge_timeout: timeout(
                "acknowledge_timeout",
                arguments.acknowledge_timeout,
                ACKNOWLEDGE_TIMEOUT,
            )?,
            patience: PATIENCE,
            first_pause: Pace::FIRST,
        };
        let quiet = arguments::quiet(arguments.quiet)?;
        let listener = Box::new(Forward::new(arguments.to, settings));
        Ok(Built {
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: Target,
    format: Format,
    connect_timeout: Option<FriendlyDuration>,
    acknowledge_timeout: Option<FriendlyDuration>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_MIN: Duration = Duration::from_millis(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// No call takes much longer than this: a lane that is to stop notices it
/// between two calls.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Settings {
    format: Format,
    connect_timeout: Duration,
    acknowledge_timeout: Duration,
    patience: Duration,
    first_pause: Duration,
}

/// The listener.
///
/// Without a connection nothing is under way: what a connection took is either
/// settled, or arrived, or was said to be lost when it ended.
struct Forward {
    settings: Settings,
    dialer: Dialer,
    connection: Option<Connection>,
    /// Everything the connection had taken at the last flush, until that is
    /// settled.
    mark: Option<u64>,
    /// What cannot be sent as it is in the batch; kept for its memory.
    buffer: Vec<u8>,
}

impl Listener for Forward {
    /// Takes all entries or, with [`ListenError::Retry`], none of them. What
    /// the receiver does not take in time waits in the connection, so that the
    /// next call returns in time too.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + self.settings.patience;
        if let Some(end) = self.connection.as_mut().and_then(Connection::check) {
            self.end(end)?;
        }
        self.connect(until)?;
        let Some(connection) = &mut self.connection else {
            let why = format!("not connected to {}", self.dialer.target());
            return Err(ListenError::Retry(why));
        };
        let bytes = self.settings.format.write(entries, &mut self.buffer);
        let pushed = connection.push(bytes, until);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        match pushed {
            Ok(true) => Ok(()),
            Ok(false) => Err(ListenError::Retry(format!(
                "the receiver at {} takes no more for now",
                self.dialer.target()
            ))),
            Err(end) => Err(ListenError::Retry(self.end(end)?)),
        }
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.mark = self.connection.as_ref().map(Connection::accepted);
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let Some((connection, mark)) = self.connection.as_mut().zip(self.mark) else {
            return Ok(true);
        };
        let end = match connection.look() {
            // That it was closed after that is the next call's matter.
            None | Some(End::Closed) if connection.settles(mark) => {
                self.mark = None;
                if mark > 0 {
                    self.dialer.confirmed();
                }
                return Ok(true);
            }
            None => match connection.drain(Instant::now()) {
                Ok(_) => return Ok(false),
                Err(end) => end,
            },
            Some(end) => end,
        };
        self.end(end)?;
        Ok(true)
    }

    /// A connection that was closed while nothing came need not be kept.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        if let Some(end) = self.connection.as_mut().and_then(Connection::look) {
            self.end(end)?;
        }
        Ok(())
    }
}

impl Forward {
    fn new(to: Target, settings: Settings) -> Self {
        let pace = Pace::new(settings.first_pause);
        Self {
            settings,
            dialer: Dialer::new(to, settings.connect_timeout, pace),
            connection: None,
            mark: None,
            buffer: Vec::new(),
        }
    }

    fn connect(&mut self, until: Instant) -> Result<(), ListenError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let stream = self.dialer.dial(until).map_err(ListenError::Retry)?;
        let connection = Connection::new(stream, self.settings.acknowledge_timeout);
        let connection = connection.map_err(|error| {
            let to = self.dialer.target();
            ListenError::io(format_args!("cannot use a connection to {to}"), &error)
        })?;
        // It may have stood for a while, or have been dropped at once.
        match self.connection.insert(connection).check() {
            None => Ok(()),
            Some(end) => Err(ListenError::Retry(self.end(end)?)),
        }
    }

    /// The connection is over. Says why, when nothing is in doubt.
    fn end(&mut self, end: End) -> Result<String, ListenError> {
        let to = self.dialer.target();
        let mut why = match &end {
            End::Closed => format!("the receiver at {to} closed the connection"),
            End::Broken(error) => format!("the connection to {to} broke: {error}"),
            End::Stalled(timeout) => {
                format!("the receiver at {to} has not taken anything for {timeout:?}")
            }
        };
        self.mark = None;
        let Some(connection) = self.connection.take() else { return Ok(why) };
        let in_doubt = connection.in_doubt(&end);
        if in_doubt == 0 {
            if connection.accepted() > 0 {
                self.dialer.confirmed();
            }
            self.dialer.ended(why.clone());
            return Ok(why);
        }
        connection.abort();
        why += ": what it did not confirm is sent again";
        self.dialer.ended(why.clone());
        Err(ListenError::Lost(why))
    }
}

/// So much memory is kept for entries that are built.
const BUFFER_BYTES_KEPT: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests;

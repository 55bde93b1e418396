//! `Forward`: entries over the network.
//!
//! Where to is one of `forward/target.rs`, and each has a listener of its own:
//! `forward/stream.rs` a connection, plain or over TLS (`forward/tls.rs`),
//! `forward/udp.rs` datagrams, `forward/http.rs` requests, `forward/relay.rs` another
//! Tripline. What entries look like on their way is in `forward/format.rs`; what is
//! configured in `forward/arguments.rs`, and described in `forward/doc.rs`;
//! `forward/dial.rs` calls receivers.

mod arguments;
#[cfg(test)]
pub(crate) mod certificates;
mod dial;
mod doc;
mod escape;
mod format;
pub(crate) mod http;
mod own_header;
mod progress;
#[cfg(test)]
mod proxy;
pub(crate) mod receiver;
mod relay;
mod stream;
mod syslog;
mod target;
mod tls;
mod udp;
mod unacknowledged;

use crate::arguments::{check_sources, quiet};
use arguments::Arguments;
use dial::Pace;
use http::Http;
use relay::Relay;
use std::time::Duration;
use stream::Stream;
use target::Scheme;
use tripline_api::{
    Args, ArgsError, Argument, BuildContext, Built, Listener, ListenerFactory, OnGap,
};
use tripline_relay::secret;
use udp::Udp;

/// Makes listeners that forward.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Forward"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Forward(from: ["auth"], to: "tcp://127.0.0.1:6514", format: Lines)"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        check_sources(&arguments.from)?;
        arguments.fit_the_target()?;
        let tls = arguments.tls(context)?;
        let settings = Settings {
            connect_timeout: arguments.connect_timeout()?,
            acknowledge_timeout: arguments.acknowledge_timeout()?,
            patience: PATIENCE,
            first_pause: match tls {
                Some(_) => Pace::FIRST_HANDSHAKE,
                None => Pace::FIRST,
            },
        };
        if arguments.to.scheme == Scheme::Tripline {
            return relay(arguments, settings, context);
        }
        let encoder = arguments.encoder()?;
        let per_second = arguments.per_second()?;
        let options = arguments.http(context)?;
        let secrets = arguments.secret_files(context);
        let to = arguments.to;
        let listener: Box<dyn Listener> = match to.scheme {
            Scheme::Tcp | Scheme::Tls | Scheme::Tripline => {
                Box::new(Stream::new(to, tls, encoder, settings))
            }
            Scheme::Http | Scheme::Https => {
                Box::new(Http::new(to, tls, encoder, options, settings))
            }
            Scheme::Udp => Box::new(Udp::new(to, encoder, per_second, settings)),
        };
        let quiet = quiet(arguments.quiet)?;
        Ok(Built {
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            secrets,
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

/// To another Tripline.
fn relay(
    arguments: Arguments,
    mut settings: Settings,
    context: &BuildContext<'_>,
) -> Result<Built, ArgsError> {
    let caller = arguments.caller(context)?;
    if caller.is_secret() {
        settings.first_pause = Pace::FIRST_HANDSHAKE;
    }
    let secrets = arguments.secret_files(context);
    let listener = Box::new(Relay::new(arguments.to, caller, context.state, settings));
    Ok(Built {
        secrets,
        on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
        ..Built::new(listener, arguments.from, quiet(arguments.quiet)?)
    })
}

/// No call takes much longer than this: a lane that is to stop notices it
/// between two calls.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Settings {
    connect_timeout: Duration,
    acknowledge_timeout: Duration,
    patience: Duration,
    first_pause: Duration,
}

#[cfg(test)]
mod tests;

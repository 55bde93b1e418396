//! One request that somebody waits for.

use super::Options;
use super::agent::Agent;
use super::answer::{retry_after, shown};
use crate::forward::arguments::check_header;
use crate::forward::target::{Scheme, Target};
use crate::forward::tls::Tls;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use std::path::Path;
use std::time::Duration;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    /// `https://..`, or `http://..` to this machine.
    pub url: &'a str,
    /// Names and values. Names that are the connection's, or ours, are refused.
    pub headers: &'a [(String, String)],
    /// A file that only its owner may read, with a token for `Authorization: Bearer`.
    pub token: Option<&'a Path>,
    /// What the body is.
    pub content_type: &'static str,
    /// What is posted.
    pub body: &'a [u8],
    /// `Idempotency-Key`: the same when the same is posted again.
    pub key: &'a str,
    /// Until the whole answer is there. Looking up a name is the system's, and may take
    /// longer.
    pub timeout: Duration,
}

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostAnswer {
    /// 100 to 999.
    pub status: u16,
    /// When to come again, as it asks; 10 minutes at most.
    pub retry_after: Option<Duration>,
    /// Where it sends us, which is not followed; fit for a terminal.
    pub location: Option<String>,
    /// The start of its body, 64 KiB at most.
    pub body: Vec<u8>,
    /// Whom it is from: the address without what stands behind a question mark.
    pub from: String,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// It can be no request, and why.
    Wrong(String),
    /// It may work later.
    Failed(String),
    /// There was none in time.
    TimedOut(String),
}

/// A connection may take so long at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Post<'_> {
    /// Posts it, over a connection of its own, and waits for the answer. No proxy is
    /// asked, no redirection followed.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn send(&self) -> Result<PostAnswer, NoAnswer> {
        let to = Target::try_from(self.url.to_owned()).map_err(NoAnswer::Wrong)?;
        self.check(&to).map_err(NoAnswer::Wrong)?;
        let tls = tls(&to).map_err(NoAnswer::Wrong)?;
        let options = Options {
            headers: self.headers.iter().cloned().collect(),
            token: self.token.map(Path::to_owned),
            request_timeout: self.timeout,
            body_max: self.body.len(),
            content_type: self.content_type,
        };
        let agent = Agent::new(&to, tls, options, self.timeout.min(CONNECT_TIMEOUT));
        let reply = agent.ask(self.key, self.body).map_err(|trouble| {
            if trouble.is_late {
                NoAnswer::TimedOut(trouble.why)
            } else {
                NoAnswer::Failed(trouble.why)
            }
        })?;
        let now = Timestamp::now();
        Ok(PostAnswer {
            status: reply.status,
            retry_after: reply.retry_after.and_then(|it| retry_after(&it, now)),
            location: reply.location.map(|it| shown(it.as_bytes())),
            body: reply.text,
            from: to.to_string(),
        })
    }

    fn check(&self, to: &Target) -> Result<(), String> {
        match to.scheme {
            Scheme::Https => {}
            Scheme::Http if to.is_here() => {}
            Scheme::Http => {
                return Err(format!(
                    "everybody on the way to {to} could read and change what is posted: \
                     write \"https://...\""
                ));
            }
            _ => return Err(format!("nothing is posted to {to}: write \"https://...\"")),
        }
        self.headers.iter().try_for_each(|(name, _)| check_header(name, ""))
    }
}

impl PostAnswer {
    /// The first line of what it says, fit for a terminal; empty if it says nothing.
    pub fn said(&self) -> String {
        shown(&self.body)
    }
}

fn tls(to: &Target) -> Result<Option<Tls>, String> {
    if to.scheme != Scheme::Https {
        return Ok(None);
    }
    let name = ServerName::try_from(to.host.clone())
        .map_err(|_| format!("{:?} cannot be in a certificate", to.host))?;
    Ok(Some(Tls { ca: None, identity: None, name, fingerprint: None }))
}

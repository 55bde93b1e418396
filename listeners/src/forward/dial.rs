//! Getting a connection, neither too often nor for too long.

use super::target::Target;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// So many of a name's addresses are tried.
const ADDRESSES_MAX: usize = 16;

/// Makes connections to one target, or what else is made of its name.
///
/// Looking up a name may take the system half a minute, and nothing can break
/// it off; so each attempt has a thread of its own, at most one at a time. It
/// ends with the attempt; nobody waits for it when the listener goes.
pub(super) struct Dialer<T> {
    target: Arc<Target>,
    connect: Arc<Connect<T>>,
    attempt: Option<mpsc::Receiver<Result<T, String>>>,
    pace: Pace,
    /// Why there is no connection.
    why: String,
}

/// Makes one, or says why there is none. May take its time.
type Connect<T> = dyn Fn(&Target) -> Result<T, String> + Send + Sync;

impl<T: Send + 'static> Dialer<T> {
    pub(super) fn new(
        target: Target,
        connect: impl Fn(&Target) -> Result<T, String> + Send + Sync + 'static,
        pace: Pace,
    ) -> Self {
        let why = format!("not connected to {target} yet");
        let (target, connect) = (Arc::new(target), Arc::new(connect));
        Self { target, connect, attempt: None, pace, why }
    }

    /// A connection, when there is one before `until`.
    ///
    /// # Errors
    ///
    /// Why there is none, in words. To be called again: an attempt may be under
    /// way, or its time has not come.
    pub(super) fn dial(&mut self, until: Instant) -> Result<T, String> {
        let attempt = match self.attempt.take() {
            Some(attempt) => attempt,
            None => self.begin()?,
        };
        match attempt.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(why)) => Err(self.failed(why)),
            Err(RecvTimeoutError::Timeout) => {
                self.attempt = Some(attempt);
                Err(self.why.clone())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let why = format!("the attempt to connect to {} died", self.target);
                Err(self.failed(why))
            }
        }
    }

    /// Something was confirmed: the next pause is the first again.
    pub(super) fn confirmed(&mut self) {
        self.pace.confirmed(Instant::now());
    }

    /// The connection ended, for this reason.
    pub(super) fn ended(&mut self, why: String) {
        self.why = why;
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    fn begin(&mut self) -> Result<mpsc::Receiver<Result<T, String>>, String> {
        if !self.pace.begins(Instant::now()) {
            return Err(self.why.clone());
        }
        let (sender, attempt) = mpsc::sync_channel(1);
        let (target, connect) = (Arc::clone(&self.target), Arc::clone(&self.connect));
        // When the listener is gone there is nobody to take it: it is closed.
        let connect = move || _ = sender.send(connect(&target));
        match thread::Builder::new().name("connect".into()).spawn(connect) {
            Ok(_) => Ok(attempt),
            Err(error) => {
                let why =
                    format!("cannot connect to {}: no thread: {error}", self.target);
                Err(self.failed(why))
            }
        }
    }

    fn failed(&mut self, why: String) -> String {
        self.pace.failed(Instant::now());
        self.why.clone_from(&why);
        why
    }
}

/// The addresses of a target, in the order of the system.
pub(super) fn look_up(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let addresses = (target.host.as_str(), target.port).to_socket_addrs();
    let addresses = addresses.map_err(|error| {
        format!("cannot connect to {target}: its name is not known: {error}")
    })?;
    Ok(addresses.take(ADDRESSES_MAX).collect())
}

/// A connection to the first address that takes one, in this time each.
pub(super) fn connect_tcp(
    target: &Target,
    timeout: Duration,
) -> Result<TcpStream, String> {
    let mut failures = Vec::new();
    for address in look_up(target)? {
        match TcpStream::connect_timeout(&address, timeout) {
            // Where nobody listens at a port that the system may also choose
            // for callers, a call can meet itself. It would take all and keep
            // nothing.
            Ok(stream) if stream.local_addr().is_ok_and(|own| own == address) => {
                failures.push(format!("{address}: nobody listens"));
            }
            Ok(stream) => return Ok(stream),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(format!("cannot connect to {target}: {}", failures.join("; ")))
}

/// When to try again: pauses that grow twofold with each attempt until
/// something was confirmed.
///
/// That a connection stands proves nothing: a receiver that takes connections
/// and drops them would be called without end. The lane pauses too, and longer
/// in the end; each call that comes too early makes its next pause longer, so
/// these are not to outgrow those.
pub(super) struct Pace {
    first: Duration,
    next: Duration,
    /// The pause that belongs to the last attempt.
    pause: Duration,
    /// No attempt before.
    until: Option<Instant>,
}

impl Pace {
    /// The first pause is at most this long.
    pub(super) const FIRST: Duration = Duration::from_secs(1);
    /// The same where a call costs the receiver more: half of it is a second.
    pub(super) const FIRST_HANDSHAKE: Duration = Duration::from_secs(2);
    /// No pause is longer.
    pub(super) const MAX: Duration = Duration::from_secs(10);

    pub(super) const fn new(first: Duration) -> Self {
        Self { first, next: first, pause: Duration::ZERO, until: None }
    }

    /// Whether an attempt may begin now; if so it has.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        if self.until.is_some_and(|until| now < until) {
            return false;
        }
        // Between half and all of it, so that many do not come back at once.
        let draw = RandomState::new().hash_one(0) as u32;
        let half = self.next / 2;
        self.pause = half + half.mul_f64(f64::from(draw) / f64::from(u32::MAX));
        self.next = (self.next * 2).min(Self::MAX);
        self.until = Some(now + self.pause);
        true
    }

    /// The attempt came to nothing: it may have taken its time.
    pub(super) fn failed(&mut self, now: Instant) {
        self.until = Some(now + self.pause);
    }

    pub(super) fn confirmed(&mut self, now: Instant) {
        self.next = self.first;
        self.until = self.until.map(|until| until.min(now + self.first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_something_is_confirmed() {
        let mut pace = Pace::new(Pace::FIRST);
        let mut now = Instant::now();
        let mut ceiling = Pace::FIRST;
        for _ in 0..10 {
            assert!(pace.begins(now), "it is time");
            assert!(!pace.begins(now + ceiling / 2 - Duration::from_nanos(2)));
            now += ceiling;
            ceiling = (ceiling * 2).min(Pace::MAX);
        }
        assert_eq!(ceiling, Pace::MAX);
        assert!(pace.begins(now));
        assert!(!pace.begins(now + Pace::MAX / 3));
        pace.confirmed(now);
        assert!(pace.begins(now + Pace::FIRST), "the long pause is over too");
        assert!(pace.begins(now + Pace::FIRST * 2), "and the next is short");
    }

    #[test]
    fn a_long_attempt_is_followed_by_its_pause() {
        let mut pace = Pace::new(Pace::FIRST);
        let now = Instant::now();
        assert!(pace.begins(now));
        pace.failed(now + Duration::from_secs(30));
        assert!(!pace.begins(now + Duration::from_secs(30) + Pace::FIRST / 3));
        assert!(pace.begins(now + Duration::from_secs(30) + Pace::FIRST));
    }
}

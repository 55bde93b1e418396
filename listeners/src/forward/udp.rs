//! Entries as datagrams.
//!
//! Nobody says that a datagram arrived. What can be known is that one was
//! refused: the receiver's system answers when no program listens at the port.
//! What was sent before that answer counts as not sent.

use super::Settings;
use super::dial::{Dialer, Pace, look_up};
use super::format::Encoder;
use super::progress::Progress;
use super::target::Target;
use super::unacknowledged::unacknowledged;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tripline_api::{Flushed, Gap, ListenError, Listener, View};

/// An answer that has not come after this long will not come. On this machine
/// it comes before a call to send returns.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// A name is looked up again after this long.
const NAME_HOLDS: Duration = Duration::from_secs(600);
/// Datagrams go in bursts, one in each of these.
const BURST: Duration = Duration::from_millis(10);
const BURSTS_A_SECOND: u32 = 100;

/// The listener.
pub(super) struct Udp {
    settings: Settings,
    encoder: Encoder,
    burst_max: u32,
    dialer: Dialer<UdpSocket>,
    /// How often a receiver refused: the next of its addresses comes next.
    refusals: Arc<AtomicUsize>,
    line: Option<Line>,
    progress: Progress,
    /// The message that is built; kept for its memory.
    message: Vec<u8>,
}

/// A socket that sends to one address.
struct Line {
    socket: UdpSocket,
    made: Instant,
    /// How long an answer may take.
    answer_within: Duration,
    /// No answer came after the first datagram.
    is_proved: bool,
    /// Datagrams that are not settled.
    sent: u64,
    /// How many of them at the last flush, and when that was.
    mark: Option<(u64, Instant)>,
    burst_began: Instant,
    burst: u32,
}

impl Listener for Udp {
    /// Takes all entries or, with [`ListenError::Retry`] or [`ListenError::Busy`],
    /// some of them, and goes on behind these when the same come again.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + self.settings.patience;
        self.connect(until)?;
        let from = self.progress.take(entries);
        for (done, entry) in (from..).zip(entries.entries().skip(from)) {
            let mut message = std::mem::take(&mut self.message);
            message.clear();
            self.encoder.push(&entry, &mut message);
            let sent = self.send(&message, until);
            self.message = message;
            if let Err(error) = sent {
                if matches!(error, ListenError::Retry(_) | ListenError::Busy(_)) {
                    self.progress.keep(entries, done);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut message = Vec::new();
        if !self.encoder.gap(gap, &mut message) {
            return Ok(());
        }
        let until = Instant::now() + self.settings.patience;
        self.connect(until)?;
        self.send(&message, until)
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        if let Some(line) = &mut self.line {
            line.mark = (line.sent > 0).then(|| (line.sent, Instant::now()));
        }
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let Some(line) = &mut self.line else { return Ok(true) };
        if let Err(error) = line.hear(Duration::ZERO) {
            return Err(self.failed(error));
        }
        let Some((sent, since)) = line.mark else { return Ok(true) };
        // What still waits in this machine can be refused later.
        let waits = unacknowledged(&line.socket).is_ok_and(|bytes| bytes > 0);
        let is_flushed = !waits && since.elapsed() >= line.answer_within;
        if is_flushed {
            line.mark = None;
            line.sent = line.sent.saturating_sub(sent);
            self.dialer.confirmed();
        }
        Ok(is_flushed)
    }

    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        let Some(line) = &mut self.line else { return Ok(()) };
        match line.hear(Duration::ZERO) {
            // It was settled: the next datagram will show whether it still holds.
            Err(_) if line.sent == 0 => self.line = None,
            Err(error) => return Err(self.failed(error)),
            Ok(()) => {}
        }
        Ok(())
    }
}

impl Udp {
    pub(super) fn new(
        to: Target,
        encoder: Encoder,
        per_second: u32,
        settings: Settings,
    ) -> Self {
        let pace = Pace::new(settings.first_pause);
        let refusals = Arc::<AtomicUsize>::default();
        let seen = Arc::clone(&refusals);
        let connect = move |to: &Target| connect(to, seen.load(Ordering::Relaxed));
        Self {
            settings,
            encoder,
            burst_max: per_second.div_ceil(BURSTS_A_SECOND),
            dialer: Dialer::new(to, connect, pace),
            refusals,
            line: None,
            progress: Progress::default(),
            message: Vec::new(),
        }
    }

    fn connect(&mut self, until: Instant) -> Result<(), ListenError> {
        let is_old = |line: &mut Line| line.sent == 0 && line.made.elapsed() > NAME_HOLDS;
        if self.line.take_if(is_old).is_some() {
            self.dialer.ended(format!("{} is looked up again", self.dialer.target()));
        }
        if self.line.is_none() {
            let socket = self.dialer.dial(until).map_err(ListenError::Retry)?;
            self.line = Some(Line::new(socket));
        }
        Ok(())
    }

    /// Sends one datagram.
    fn send(&mut self, message: &[u8], until: Instant) -> Result<(), ListenError> {
        let target = self.dialer.target();
        let Some(line) = &mut self.line else {
            return Err(ListenError::Retry(format!("not connected to {target}")));
        };
        if !line.waits_for_its_turn(self.burst_max, until) {
            return Err(ListenError::Busy(format!(
                "no more datagrams for now to {target}: `per_second` of them were sent"
            )));
        }
        match line.send(message, until) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ListenError::Retry(format!(
                "this machine takes no more datagrams to {target} for now"
            ))),
            Err(Errno::MSGSIZE) => Err(ListenError::Retry(format!(
                "a datagram of {} bytes is too long for the way to {target}: make \
                 `message_max` smaller",
                message.len()
            ))),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// What is not settled counts as not sent.
    fn failed(&mut self, error: Errno) -> ListenError {
        let sent = self.line.take().map_or(0, |line| line.sent);
        self.progress.forget();
        self.refusals.fetch_add(1, Ordering::Relaxed);
        let target = self.dialer.target();
        let why = match error {
            Errno::CONNREFUSED => format!("nobody listens at {target}"),
            error => format!("cannot send to {target}: {}", std::io::Error::from(error)),
        };
        self.dialer.ended(why.clone());
        if sent == 0 {
            return ListenError::Retry(why);
        }
        ListenError::Lost(format!(
            "{why}: the last {sent} datagrams count as not sent and are sent again"
        ))
    }
}

/// Sends from any port to one of the addresses, beginning with the one after so
/// many refusals.
fn connect(target: &Target, refusals: usize) -> Result<UdpSocket, String> {
    let addresses = look_up(target)?;
    let first = refusals.checked_rem(addresses.len()).unwrap_or(0);
    let mut failures = Vec::new();
    for address in addresses[first..].iter().chain(&addresses[..first]) {
        let any: IpAddr = match address {
            std::net::SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            std::net::SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let connected = UdpSocket::bind((any, 0)).and_then(|socket| {
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match connected {
            // It would send to itself.
            Ok(socket) if socket.local_addr().is_ok_and(|own| own == *address) => {
                failures.push(format!("{address}: nobody listens"));
            }
            Ok(socket) => return Ok(socket),
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    Err(format!("cannot send to {target}: {}", failures.join("; ")))
}

impl Line {
    fn new(socket: UdpSocket) -> Self {
        let is_near = socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        Self {
            socket,
            made: Instant::now(),
            answer_within: if is_near { Duration::ZERO } else { ANSWER_WITHIN },
            is_proved: false,
            sent: 0,
            mark: None,
            burst_began: Instant::now(),
            burst: 0,
        }
    }

    /// Waits until another burst may begin, when this one is over; `false` when
    /// that is too late.
    fn waits_for_its_turn(&mut self, burst_max: u32, until: Instant) -> bool {
        if self.burst >= burst_max {
            let next = self.burst_began + BURST;
            if next > until {
                return false;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            self.burst = 0;
        }
        if self.burst == 0 {
            self.burst_began = Instant::now();
        }
        self.burst += 1;
        true
    }

    /// Sends; `false` when this machine does not take it in time. After the
    /// first datagram it waits for an answer, so that a receiver that is away
    /// is sent no more than that.
    fn send(&mut self, message: &[u8], until: Instant) -> Result<bool, Errno> {
        loop {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.socket, message, flags) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    if !self.wait_for_room(until)? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.sent += 1;
        if !self.is_proved {
            self.hear(self.answer_within)?;
            self.is_proved = true;
        }
        Ok(true)
    }

    fn wait_for_room(&self, until: Instant) -> Result<bool, Errno> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Of a full queue behind the socket nobody tells when it has room again.
        self.poll(PollFlags::OUT, left.min(BURST))?;
        Ok(true)
    }

    /// Whether an answer came, or comes in this time: an error says so.
    fn hear(&self, within: Duration) -> Result<(), Errno> {
        // An error is always waited for.
        self.poll(PollFlags::empty(), within)?;
        sockopt::socket_error(&self.socket)?
    }

    fn poll(&self, what: PollFlags, within: Duration) -> Result<(), Errno> {
        let timeout = Timespec::try_from(within).ok();
        let mut polled = [PollFd::new(&self.socket, what)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;

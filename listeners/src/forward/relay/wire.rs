//! A connection that knows how much of what it was sent is settled.

use super::call::Entered;
use super::chain::TIE_EVERY;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::SourceId;
use tripline_relay::link::{Link, LinkError};
use tripline_relay::wire::{At, Frame, Gap, OPENED_MAX, Open, Run, Tie, printable};

/// So many bytes may be under way, and one batch more.
const WINDOW_BYTES: u64 = 32 * 1024 * 1024;
/// So many of them may wait in this program, so that the next batch is read
/// meanwhile.
const WAITING_BYTES: usize = 1024 * 1024;
/// So many frames may be.
const FRAMES_MAX: usize = 16 * 1024;
/// Somebody who was not heard for so long is asked whether he is there.
const PING_AFTER: Duration = Duration::from_secs(10);
/// At most so many reads at a look.
const READS_MAX: usize = 16;

/// An open connection.
pub(super) struct Wire {
    link: Link,
    /// The number of the receiver's database, and what it had of us.
    receiver: u64,
    had: Option<Tie>,
    /// The last tie, as which frame it was sent, and when.
    tied: Option<(Tie, u64, Instant)>,
    /// Without a word for so long, the receiver counts as stalled.
    timeout: Duration,
    opened: HashMap<(SourceId, Option<Arc<Path>>), u32>,
    /// How many frames were sent, and how many of them are settled.
    sent: u64,
    settled: u64,
    /// Of each that is not settled, its bytes.
    under_way: VecDeque<u64>,
    bytes_under_way: u64,
    /// When the receiver last settled something or said that it is there, or
    /// something to settle began to be under way.
    moved: Instant,
    pinged: Instant,
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    Link(LinkError),
    /// The receiver said why.
    Refused(String),
    Stalled(Duration),
    /// There are no numbers left for its logs.
    Full,
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

impl Wire {
    /// Takes over a connection that was welcomed.
    pub(super) fn new(entered: Entered, timeout: Duration) -> Self {
        Self {
            link: entered.link,
            receiver: entered.receiver,
            had: entered.tie,
            tied: None,
            timeout,
            opened: HashMap::new(),
            sent: 0,
            settled: 0,
            under_way: VecDeque::new(),
            bytes_under_way: 0,
            moved: Instant::now(),
            pinged: Instant::now(),
        }
    }

    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) const fn settled(&self) -> u64 {
        self.settled
    }

    pub(super) const fn receiver(&self) -> u64 {
        self.receiver
    }

    /// The last tie that is known to be on the receiver's disk.
    pub(super) fn has(&self) -> Option<Tie> {
        match self.tied {
            Some((tie, count, _)) if self.settled >= count => Some(tie),
            _ => self.had,
        }
    }

    /// Whether a tie is to be sent before anything else.
    pub(super) fn wants_tie(&self) -> bool {
        self.tied.is_none_or(|(_, count, since)| {
            self.settled >= count && since.elapsed() >= TIE_EVERY
        })
    }

    /// What follows belongs to this.
    pub(super) fn tie(&mut self, tie: Tie) -> Result<(), End> {
        self.had = self.has();
        self.counted(0);
        self.tied = Some((tie, self.sent, Instant::now()));
        self.send(&Frame::Tie(tie))
    }

    /// Says why it does not go on.
    pub(super) fn refuse(mut self, why: &str) {
        // Who does not hear it sees that we are gone.
        _ = self.link.send(&Frame::Refused(why));
    }

    /// The number of a source's journal or log, which the receiver knows.
    pub(super) fn index(
        &mut self,
        source: &SourceId,
        log: Option<&Arc<Path>>,
        incarnation: u64,
    ) -> Result<u32, End> {
        let key = (source.clone(), log.cloned());
        if let Some(index) = self.opened.get(&key) {
            return Ok(*index);
        }
        let index = self.opened.len() as u32;
        if index >= OPENED_MAX {
            return Err(End::Full);
        }
        let path = log.map(|log| log.as_os_str().as_encoded_bytes());
        self.send(&Frame::Open(Open {
            index,
            source: source.as_str(),
            incarnation,
            log: path,
        }))?;
        self.opened.insert(key, index);
        Ok(index)
    }

    /// Sends a run; what cannot be written at once waits in the connection.
    pub(super) fn run(&mut self, run: &Run<'_>) -> Result<(), End> {
        self.counted(run.bytes.len() as u64);
        self.send(&Frame::Run(*run))
    }

    /// Sends a gap.
    pub(super) fn gap(&mut self, index: u32, to: At, text: &[u8]) -> Result<(), End> {
        self.counted(text.len() as u64);
        self.send(&Frame::Gap(Gap { index, to, text }))
    }

    fn counted(&mut self, bytes: u64) {
        if self.under_way.is_empty() {
            self.moved = Instant::now();
        }
        self.sent += 1;
        self.under_way.push_back(bytes);
        self.bytes_under_way += bytes;
    }

    /// A receiver that goes away says why before it does.
    fn send(&mut self, frame: &Frame<'_>) -> Result<(), End> {
        self.link.send(frame).map_err(|error| self.last_words(error.into()))
    }

    fn last_words(&mut self, end: End) -> End {
        for _ in 0..READS_MAX {
            match self.hear() {
                Err(End::Refused(why)) => return End::Refused(why),
                Ok(true) => {}
                _ => break,
            }
        }
        end
    }

    /// Asks whether somebody is there, if that has not been heard for a while.
    pub(super) fn ping(&mut self) -> Result<(), End> {
        let is_quiet = |since: Instant| since.elapsed() >= PING_AFTER;
        if is_quiet(self.link.heard()) && is_quiet(self.pinged) {
            self.pinged = Instant::now();
            self.send(&Frame::Ping)?;
        }
        Ok(())
    }

    /// Hears what the receiver has said, and writes what waits. Does not wait.
    pub(super) fn look(&mut self) -> Result<(), End> {
        for _ in 0..READS_MAX {
            if !self.hear()? {
                break;
            }
        }
        if let Err(error) = self.link.flush() {
            return Err(self.last_words(error.into()));
        }
        if !self.under_way.is_empty() && self.moved.elapsed() >= self.timeout {
            return Err(End::Stalled(self.timeout));
        }
        Ok(())
    }

    /// Reads once, and takes the frames; returns whether there may be more.
    fn hear(&mut self) -> Result<bool, End> {
        let read = self.link.read()?;
        while let Some(frame) = self.link.take()? {
            match frame {
                Frame::Settled(count) if count <= self.sent && count >= self.settled => {
                    for _ in self.settled..count {
                        let bytes = self.under_way.pop_front().unwrap_or_default();
                        self.bytes_under_way -= bytes;
                    }
                    self.settled = count;
                    self.moved = Instant::now();
                }
                Frame::Alive => self.moved = Instant::now(),
                Frame::Refused(why) => return Err(End::Refused(printable(why))),
                _ => {
                    let why = "it said what makes no sense: is it a newer Tripline?";
                    return Err(End::Refused(why.to_owned()));
                }
            }
        }
        Ok(read)
    }

    /// Waits until what was sent is written and there is room for more; `false` when
    /// it is too late.
    pub(super) fn make_room(&mut self, until: Instant) -> Result<bool, End> {
        loop {
            let has_room =
                self.bytes_under_way < WINDOW_BYTES && self.under_way.len() < FRAMES_MAX;
            if has_room && self.link.waiting() <= WAITING_BYTES {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= until {
                return Ok(false);
            }
            let until = until.min(self.moved + self.timeout);
            self.link.wait(true, until, None)?;
            self.look()?;
        }
    }

    /// Ends it such that nothing more of it arrives.
    pub(super) fn abort(self) {
        self.link.abort();
    }
}

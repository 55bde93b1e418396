//! Entries to another Tripline, which confirms what is on its disk.
//!
//! A connection takes frames (`tripline_relay::wire`); what the receiver has settled
//! is settled here, and nothing else. When the connection ends, what it had not
//! settled is lost to us: the lane goes back and sends it again, and the receiver
//! knows what it has. `relay/call.rs` gets a connection, `relay/wire.rs` counts what
//! goes over it, `relay/incarnation.rs` remembers when what came before means
//! nothing any more, `relay/chain.rs` whether we and the receiver belong together.

mod call;
mod chain;
mod incarnation;
mod wire;

use super::Settings;
use super::dial::{Dialer, Pace};
use super::target::Target;
use call::Entered;
pub(super) use call::{Caller, Identity};
use chain::With;
use incarnation::Incarnations;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Cursor, Flushed, Gap, ListenError, Listener, SourceId, View, write_gap,
};
use tripline_relay::wire::{At, RUN_BYTES_MAX, Run, TEXT_BYTES_MAX};
use wire::{End, Wire};

/// The listener.
pub(super) struct Relay {
    settings: Settings,
    /// Who we are at the receiver.
    peer: String,
    dialer: Dialer<Entered>,
    wire: Option<Wire>,
    incarnations: Incarnations,
    /// Everything that was sent at the last flush, until that is settled.
    mark: Option<u64>,
    /// Since when something is settled that a person asked to have again.
    settled_since: Option<Instant>,
    /// The sources that are logs: the engine takes what a person asked for there as
    /// done when all of them are at their end.
    logs: BTreeSet<String>,
    /// The sources of what was sent since the last flush; of what was sent until
    /// then; and those of which something is settled.
    sent: BTreeSet<String>,
    marked: BTreeSet<String>,
    settled: BTreeSet<String>,
    /// Since when everything is settled and nothing more came: it is at the end.
    rests_since: Option<Instant>,
}

/// After so long the engine has stored what was settled.
const STORED_AFTER: Duration = Duration::from_secs(2);

impl Listener for Relay {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        let incarnations = &mut self.incarnations;
        let is_new = incarnations.begin(begin).map_err(ListenError::Retry)?;
        self.rests_since = None;
        if is_new {
            self.settled.remove(begin.source.as_str());
        }
        if is_new && let Some(wire) = self.wire.take() {
            // It was told another one.
            self.mark = None;
            self.sent.clear();
            self.marked.clear();
            wire.abort();
        }
        Ok(None)
    }

    /// Takes all entries or, with [`ListenError::Retry`], none of them. A line that
    /// is not finished comes again when it is.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        if entries.batch().log.is_some_and(|log| log.is_preview) {
            return Ok(());
        }
        self.moves(entries.batch().source, entries.batch().log.is_some())?;
        let until = Instant::now() + self.settings.patience;
        self.ready(until)?;
        let sent = match self.wire.as_mut() {
            Some(wire) => send(wire, &self.incarnations, entries),
            None => Ok(()),
        };
        sent.map_err(|end| self.end(end))
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        self.moves(&gap.source, gap.log.is_some())?;
        let until = Instant::now() + self.settings.patience;
        self.ready(until)?;
        let mut text = Vec::new();
        write_gap(&mut text, gap);
        if text.len() > TEXT_BYTES_MAX {
            // Of a gap with an endless path the start must do.
            let short = Gap {
                why: gap.kind.name().to_owned(),
                repair: String::new(),
                ..gap.clone()
            };
            text.clear();
            write_gap(&mut text, &short);
            text.truncate(TEXT_BYTES_MAX);
        }
        let sent = match self.wire.as_mut() {
            Some(wire) => {
                let incarnation = self.incarnations.of(&gap.source);
                wire.index(&gap.source, gap.log.as_ref(), incarnation)
                    .and_then(|index| wire.gap(index, at(gap.to), &text))
            }
            None => Ok(()),
        };
        sent.map_err(|end| self.end(end))
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.mark = self.wire.as_ref().map(Wire::sent);
        self.marked.append(&mut self.sent);
        self.forget_by_hand()?;
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let Some((wire, mark)) = self.wire.as_mut().zip(self.mark) else {
            return Ok(true);
        };
        let looked = wire.look();
        // What was settled before it ended is settled.
        if wire.settled() >= mark {
            self.mark = None;
            self.settled.append(&mut self.marked);
            if mark > 0 {
                self.dialer.confirmed();
                self.settled_since.get_or_insert_with(Instant::now);
                self.rests_since.get_or_insert_with(Instant::now);
            }
            return Ok(true);
        }
        looked.map(|()| false).map_err(|end| self.end(end))
    }

    /// An idle connection is asked whether somebody is there; one that was closed
    /// need not be kept.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        self.forget_by_hand()?;
        let Some(wire) = &mut self.wire else { return Ok(()) };
        let looked = wire.look().and_then(|()| wire.ping());
        match looked.map_err(|end| self.end(end)) {
            // Nothing was under way.
            Err(ListenError::Retry(_)) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Relay {
    /// `state` is the listener's own directory.
    pub(super) fn new(
        to: Target,
        caller: Caller,
        state: &Path,
        settings: Settings,
    ) -> Self {
        let timeout = settings.acknowledge_timeout;
        let (pace, peer) = (Pace::new(settings.first_pause), caller.peer.clone());
        let connect =
            move |to: &Target| caller.call(to, settings.connect_timeout, timeout);
        Self {
            settings,
            peer,
            dialer: Dialer::new(to, connect, pace),
            wire: None,
            incarnations: Incarnations::new(state),
            mark: None,
            settled_since: None,
            logs: BTreeSet::new(),
            sent: BTreeSet::new(),
            marked: BTreeSet::new(),
            settled: BTreeSet::new(),
            rests_since: None,
        }
    }

    /// A connection that has room.
    fn ready(&mut self, until: Instant) -> Result<(), ListenError> {
        if let Some(wire) = &mut self.wire
            && let Err(end) = wire.look()
        {
            return Err(self.end(end));
        }
        let timeout = self.settings.acknowledge_timeout;
        let wire = match self.wire.take() {
            Some(wire) => wire,
            None => {
                let entered = self.dialer.dial(until).map_err(ListenError::Retry)?;
                self.fitting(Wire::new(entered, timeout))?
            }
        };
        match self.wire.insert(wire).make_room(until) {
            Ok(true) => self.tie(),
            Ok(false) => Err(ListenError::Retry(format!(
                "the receiver at {} has not yet confirmed what it was sent",
                self.dialer.target()
            ))),
            Err(end) => Err(self.end(end)),
        }
    }

    /// The connection, if the receiver knows us as we are.
    fn fitting(&mut self, wire: Wire) -> Result<Wire, ListenError> {
        let with = With { receiver: wire.receiver(), peer: self.peer.clone() };
        let Err(why) = self.incarnations.fits(&with, wire.has()) else {
            return Ok(wire);
        };
        let why = format!("cannot forward to {}: {why}", self.dialer.target());
        wire.refuse(&why);
        self.dialer.ended(why.clone());
        Err(ListenError::Retry(why))
    }

    /// Says what the next frames belong to, unless that was said.
    fn tie(&mut self) -> Result<(), ListenError> {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.wants_tie()) else {
            return Ok(());
        };
        let with = With { receiver: wire.receiver(), peer: self.peer.clone() };
        let tie = self.incarnations.next_tie(&with, wire.has());
        let sent = wire.tie(tie.map_err(ListenError::Retry)?);
        sent.map_err(|end| self.end(end))
    }

    /// The connection is over.
    fn end(&mut self, end: End) -> ListenError {
        let to = self.dialer.target();
        let why = match end {
            End::Link(error) => format!("the receiver at {to}: {error}"),
            End::Refused(why) => format!("the receiver at {to} says: {why}"),
            End::Stalled(timeout) => {
                format!("the receiver at {to} has not confirmed anything for {timeout:?}")
            }
            End::Full => format!("the connection to {to} has had too many logs"),
        };
        self.mark = None;
        self.sent.clear();
        self.marked.clear();
        self.dialer.ended(why.clone());
        let Some(wire) = self.wire.take() else { return ListenError::Retry(why) };
        if wire.settled() == wire.sent() {
            return ListenError::Retry(why);
        }
        wire.abort();
        ListenError::Lost(why + ": what it did not confirm is sent again")
    }

    /// The engine has stored that something was settled since a person moved a
    /// cursor: when it is moved there once more, that is meant.
    fn forget_by_hand(&mut self) -> Result<(), ListenError> {
        if self.settled_since.is_some_and(|since| since.elapsed() >= STORED_AFTER) {
            self.forget().map_err(ListenError::Retry)?;
            // A log is looked at again when it rests.
            self.settled_since = self.rests_since.filter(|_| !self.is_at_end());
        }
        Ok(())
    }

    fn forget(&mut self) -> Result<(), String> {
        let none = BTreeSet::new();
        let but = if self.is_at_end() { &none } else { &self.logs };
        self.incarnations.forget_by_hand(&self.settled, but)
    }

    fn is_at_end(&self) -> bool {
        self.rests_since.is_some_and(|since| since.elapsed() >= STORED_AFTER)
    }

    /// Something comes.
    fn moves(&mut self, source: &SourceId, is_log: bool) -> Result<(), ListenError> {
        if self.is_at_end() {
            self.forget_by_hand()?;
        }
        self.rests_since = None;
        for (known, is_one) in [(&mut self.logs, is_log), (&mut self.sent, true)] {
            if is_one && !known.contains(source.as_str()) {
                known.insert(source.as_str().to_owned());
            }
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if self.settled_since.is_some() {
            // When it fails, entries may come twice that a person asked for.
            // Not killed, and everything that came is settled: it is at the end.
            let none = BTreeSet::new();
            let but = if self.rests_since.is_some() { &none } else { &self.logs };
            _ = self.incarnations.forget_by_hand(&self.settled, but);
        }
    }
}

/// Sends all entries: those that follow each other in one run.
fn send(
    wire: &mut Wire,
    incarnations: &Incarnations,
    view: &View<'_>,
) -> Result<(), End> {
    let batch = view.batch();
    let log = batch.log.map(|log| log.path);
    let index = wire.index(batch.source, log, incarnations.of(batch.source))?;
    let whole = Run {
        index,
        at: at(batch.start),
        line: batch.start.line,
        next: 0,
        entries: 0,
        did_rotate: batch.did_rotate,
        incomplete: false,
        bytes: batch.bytes,
    };
    if view.len() == batch.len() {
        let cut = batch.log.and_then(|log| log.cut);
        let next = batch.start.offset + cut.unwrap_or(batch.bytes.len() as u64);
        let incomplete = batch.spans.last().is_some_and(|span| span.incomplete);
        return send_run(
            wire,
            &Run { next, incomplete, entries: view.len() as u32, ..whole },
        );
    }
    for entry in view.entries() {
        send_run(
            wire,
            &Run {
                at: at(entry.place),
                line: entry.place.line,
                next: entry.end().offset,
                entries: 1,
                did_rotate: entry.did_rotate,
                incomplete: entry.incomplete,
                bytes: entry.bytes,
                ..whole
            },
        )?;
    }
    Ok(())
}

/// In as many frames as it takes, each with whole lines if it can be had.
fn send_run(wire: &mut Wire, run: &Run<'_>) -> Result<(), End> {
    let mut offset = run.at.offset;
    let mut rest = run.bytes;
    while !rest.is_empty() {
        let (bytes, behind) = rest.split_at(frame_len(rest));
        rest = behind;
        let is_last = rest.is_empty();
        let end = offset + bytes.len() as u64;
        wire.run(&Run {
            at: At { offset, ..run.at },
            next: if is_last { run.next } else { end },
            // Entries are counted where they end.
            entries: if is_last { run.entries } else { 0 },
            did_rotate: run.did_rotate && offset == run.at.offset,
            incomplete: run.incomplete && is_last,
            bytes,
            ..*run
        })?;
        offset = end;
    }
    Ok(())
}

/// How many of the bytes go into the next frame.
fn frame_len(bytes: &[u8]) -> usize {
    let Some(most) = bytes.get(..RUN_BYTES_MAX) else { return bytes.len() };
    let last = most.iter().rposition(|byte| *byte == b'\n');
    if bytes.len() == RUN_BYTES_MAX {
        most.len()
    } else {
        last.map_or(most.len(), |at| at + 1)
    }
}

const fn at(place: tripline_api::Place) -> At {
    At { era: place.era, sequence: place.sequence, offset: place.offset }
}

#[cfg(test)]
mod tests;

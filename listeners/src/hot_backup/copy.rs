//! The lane that copies journals, byte for byte, to the standby.

mod rotate;
mod whole;

use super::advice;
use super::checksum::Checksum;
use super::held::{Compared, Held};
use super::resume::{Answer, Holdings, resume};
use super::standby::{CURRENT, Found, Standby};
use crate::ssh::{Failure, Kind, Open, Settings};
use std::time::{Duration, Instant};
use tripline_api::{Begin, Cursor, Flushed, Gap, ListenError, Listener, Place, View};
use whole::Proving;

/// No call takes much longer than this, but for those that rotate.
const PATIENCE: Duration = Duration::from_secs(2);
/// What trickles in is synced at once; what comes in bulk when the lane flushes.
const SYNC_AT_ONCE_BYTES: u64 = 256 * 1024;

/// The listener.
pub(super) struct Copy {
    settings: Settings,
    /// The listener's name.
    name: String,
    standby: Option<Standby>,
    /// The journal that is being written, where there is one.
    current: Option<Current>,
    /// What is there of finished journals.
    newest: Option<u64>,
    lowest: Option<u64>,
    /// The era of what comes; another one is a server that was restored.
    era: Option<u64>,
    /// A finished journal that entries are compared with.
    finished: Option<(u64, Held)>,
    /// Where everything before was settled when it began.
    settled: Option<Place>,
    /// This process has compared the growing journal of this sequence.
    compared: Option<u64>,
    /// Up to where the file must be synced for the flush that is under way.
    mark: Option<u64>,
    /// Of the growing journal, as the source has it; outlives a connection.
    checksum: Checksum,
    /// The standby's current journal is read back.
    proving: Option<Proving>,
}

/// The journal that is being written.
struct Current {
    sequence: u64,
    held: Held,
    /// The end of what was pushed, or found there.
    end: u64,
    /// The end of what came from the source.
    reached: u64,
    /// Up to where a sync was asked for.
    synced_to: u64,
    /// The number of the next journal, where its trailer has come.
    next: Option<u64>,
    /// Its checksum is written down.
    is_noted: bool,
}

impl Copy {
    pub(super) fn new(settings: Settings, name: &str) -> Self {
        Self {
            settings,
            name: name.to_owned(),
            standby: None,
            current: None,
            newest: None,
            lowest: None,
            era: None,
            finished: None,
            settled: None,
            compared: None,
            mark: None,
            checksum: Checksum::default(),
            proving: None,
        }
    }
}

impl Listener for Copy {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        (self.current, self.finished, self.mark) = (None, None, None);
        self.connect()?;
        let begun = self.begin_with(begin);
        if matches!(&begun, Err(error) if !matches!(error, ListenError::Busy(_))) {
            (self.standby, self.proving) = (None, None);
        }
        begun
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        let batch = entries.batch();
        let taken = if entries.len() == batch.len() {
            self.take(batch.start, batch.bytes, until)
        } else {
            entries
                .entries()
                .try_for_each(|entry| self.take(entry.place, entry.bytes, until))
        };
        taken?;
        if let Some(current) = &mut self.current {
            current.next = batch.end.next;
        }
        self.sync_at_once()
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        let Some(current) = &mut self.current else { return Ok(Flushed::All) };
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        if current.synced_to < current.end {
            // The count of synced bytes is asked for, not this ticket.
            _ = standby.sftp.sync(current.held.file);
            current.synced_to = current.end;
        }
        self.mark = Some(current.end);
        self.checksum.rest();
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let Some((mark, current)) = self.mark.zip(self.current.as_ref()) else {
            return Ok(true);
        };
        let file = current.held.file;
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let turned = standby.sftp.turn(Instant::now());
        if let Err(failure) = turned.and_then(|()| standby.sftp.check(file)) {
            return Err(self.failed(failure));
        }
        // What was found there was synced when it was found.
        let is_synced = current.held.size >= mark || standby.sftp.synced(file) >= mark;
        if is_synced {
            self.mark = None;
            self.note_checksum()?;
        }
        Ok(is_synced)
    }

    fn gap_advice(&self, gap: &Gap) -> Option<String> {
        advice(&self.name, gap)
    }

    /// Keeps the connection alive, and notices when it is not.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        let Some(standby) = &mut self.standby else { return Ok(()) };
        match standby.sftp.turn(Instant::now()) {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.failed(failure)),
        }
    }
}

impl Copy {
    /// Connects, unless that stands.
    fn connect(&mut self) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        let standby = match &mut self.standby {
            Some(standby) => standby,
            none => {
                self.proving = None;
                none.insert(Standby::begin(&self.settings)?)
            }
        };
        match standby.connect(until) {
            Ok(true) => Ok(()),
            Ok(false) => Err(ListenError::Busy(format!(
                "still connecting to {}",
                self.settings.address
            ))),
            Err(failure) => {
                self.standby = None;
                Err(failure.into())
            }
        }
    }

    /// Finds out what the standby holds, and says where to begin.
    fn begin_with(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let mut found = standby.look()?;
        let place = begin.cursor.map(|cursor| cursor.place);
        if found.is_unnumbered {
            // The engine counts it under the number it has elsewhere, or 0.
            found.holdings.current = Some(place.map_or(0, |place| place.sequence));
        }
        let Holdings { current, newest } = found.holdings;
        // A standby that has less than it had is looked at from the start.
        let settled = place.filter(|place| Some(place.sequence) == current);
        let has_less = settled.is_some_and(|it| Some(it.offset) > found.size);
        let is_proved = self.is_proved(begin, &found, Instant::now() + PATIENCE)?;
        let is_compared = current.is_some() && self.compared == current && !has_less;
        (self.newest, self.lowest) = (newest, found.lowest);
        self.era = place.map(|place| place.era);
        self.settled = place.filter(|_| !begin.set_by_hand);
        let answer = resume(found.holdings, place, begin.set_by_hand, is_compared);
        let from = match answer {
            Answer::AtItsOwn => place,
            Answer::AtStartOf(_) => None,
        };
        // What is not read again says no more that it is over.
        let is_known = |cursor: &&Cursor| {
            is_proved || (from.is_some() && Some(cursor.place.sequence) == current)
        };
        let next = begin.cursor.filter(is_known).and_then(|cursor| cursor.next);
        self.open_current(&found, from, next)?;
        Ok(match answer {
            Answer::AtItsOwn => None,
            Answer::AtStartOf(sequence) => {
                let era = place.map_or(0, |place| place.era);
                Some(Cursor::unproved(Place::start_of(era, sequence)))
            }
        })
    }

    /// Opens the growing journal. What lies before `from` is not compared.
    fn open_current(
        &mut self,
        found: &Found,
        from: Option<Place>,
        next: Option<u64>,
    ) -> Result<(), ListenError> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let Some(size) = found.size else { return Ok(()) };
        let file = standby.open(CURRENT, Open { read: true, ..Open::WRITE })?;
        let size = match found.holdings.current {
            Some(_) => size,
            // Not enough to say what it is, so there is nothing to keep.
            None => {
                standby.set_size(file, 0)?;
                0
            }
        };
        // The engine is about to rely on what is there.
        let ticket = standby.sftp.sync(file);
        let until = Instant::now() + self.settings.answer_timeout;
        if standby.sftp.wait(&ticket, until)?.is_none() {
            let why = format!("{} does not sync its files", standby.name);
            return Err(ListenError::Retry(why));
        }
        let sequence = found.holdings.current;
        let from = from.filter(|place| Some(place.sequence) == sequence);
        let known = from.map_or(0, |place| place.offset.min(size));
        self.current = Some(Current {
            sequence: sequence.unwrap_or(NOT_KNOWN),
            held: Held::new(file, size, known),
            end: size,
            reached: known,
            synced_to: size,
            next,
            is_noted: false,
        });
        Ok(())
    }

    /// Takes bytes whose first is at `place`: compares what is there already,
    /// writes what is not.
    fn take(
        &mut self,
        place: Place,
        bytes: &[u8],
        until: Instant,
    ) -> Result<(), ListenError> {
        if *self.era.get_or_insert(place.era) != place.era {
            return Err(ListenError::Stop(format!(
                "the server's numbering started over at journal {}, as after a restore: \
                 move the files of the standby {} aside and start again, to copy what \
                 the server has now",
                place.sequence, self.settings.address
            )));
        }
        match self.current.as_ref().map(|current| current.sequence) {
            Some(sequence) if sequence == place.sequence => {}
            Some(NOT_KNOWN)
                if place.offset == 0 && Some(place.sequence) > self.newest =>
            {
                if let Some(current) = &mut self.current {
                    current.sequence = place.sequence;
                }
            }
            current => {
                let known = current.filter(|it| *it != NOT_KNOWN).or(self.newest);
                if known.is_some_and(|sequence| place.sequence <= sequence) {
                    return self.compare_finished(place, bytes, until);
                }
                if place.offset > 0 {
                    return Err(self.hole(place, 0));
                }
                if current.is_some() {
                    self.finish(until)?;
                }
                self.begin_journal(place.sequence)?;
            }
        }
        self.take_current(place, bytes, until)
    }

    fn take_current(
        &mut self,
        place: Place,
        bytes: &[u8],
        until: Instant,
    ) -> Result<(), ListenError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if place.offset > current.end {
            let held = current.end;
            return Err(self.hole(place, held));
        }
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let held = &mut current.held;
        match held.compare(&mut standby.sftp, place.offset, bytes, until) {
            Ok(Compared::Same) => {}
            Ok(Compared::NotYet) => return Err(self.not_yet("read what it holds")),
            Ok(Compared::DiffersAt(at)) => return self.differs(place, at),
            Err(failure) => return Err(self.failed(failure)),
        }
        if current.held.is_compared() {
            self.compared = Some(current.sequence);
        }
        current.reached = place.offset + bytes.len() as u64;
        let known = (current.end - place.offset).min(bytes.len() as u64) as usize;
        let (again, fresh) = bytes.split_at(known);
        self.checksum.add(place, again);
        if fresh.is_empty() {
            return Ok(());
        }
        match standby.sftp.push(current.held.file, current.end, fresh, until) {
            Ok(count) => {
                let start = current.end;
                current.end += count as u64;
                current.is_noted = false;
                let at = Place { offset: start, ..place };
                self.checksum.add(at, &fresh[..count]);
                if count < fresh.len() {
                    return Err(self.not_yet("take what it is sent"));
                }
                Ok(())
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// What the standby holds is not what the source has. Where that is NULs to its
    /// end, as a loss of power leaves them, they are cut off; anything else may be
    /// the only copy of something.
    fn differs(&mut self, place: Place, at: u64) -> Result<(), ListenError> {
        let settled = self.settled.filter(|settled| settled.sequence == place.sequence);
        let (Some(standby), Some(current)) = (&mut self.standby, &mut self.current)
        else {
            return Err(not_connected());
        };
        let (file, size) = (current.held.file, current.held.size);
        if settled.is_some_and(|settled| at < settled.offset) {
            return Err(self.diverged(place, at, CURRENT));
        }
        match standby.is_nul_from(file, at, size) {
            Ok(true) => {}
            Ok(false) => return Err(self.diverged(place, at, CURRENT)),
            Err(failure) => return Err(self.failed(failure)),
        }
        match standby.set_size(file, at) {
            Ok(()) => Err(self.lost(format!(
                "the standby {} had lost its end of journal {} from byte {at} on, as a \
                 loss of power leaves it: it is written again",
                self.settings.address, place.sequence
            ))),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// Entries of a journal that is finished there.
    fn compare_finished(
        &mut self,
        place: Place,
        bytes: &[u8],
        until: Instant,
    ) -> Result<(), ListenError> {
        if self.finished.as_ref().is_none_or(|(of, _)| *of != place.sequence) {
            self.open_finished(place.sequence)?;
        }
        let name = format!("{CURRENT}.{}", place.sequence);
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let Some((_, held)) = &mut self.finished else { return Ok(()) };
        let end = place.offset + bytes.len() as u64;
        match held.compare(&mut standby.sftp, place.offset, bytes, until) {
            Ok(Compared::Same) if end > held.size => {
                let at = held.size;
                Err(self.diverged(place, at, &name))
            }
            Ok(Compared::Same) => Ok(()),
            Ok(Compared::NotYet) => Err(self.not_yet("read what it holds")),
            Ok(Compared::DiffersAt(at)) => Err(self.diverged(place, at, &name)),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    fn open_finished(&mut self, sequence: u64) -> Result<(), ListenError> {
        let before = self.finished.take();
        // A first journal does not say its number, and has the one that its trailer
        // says.
        let lowest = self.lowest.filter(|_| sequence == 0);
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        match find_finished(standby, before, std::iter::once(sequence).chain(lowest)) {
            Ok(Some(held)) => {
                self.finished = Some((sequence, held));
                Ok(())
            }
            Ok(None) => Err(ListenError::Stop(format!(
                "journal {sequence} comes again, but the standby {} is past it and does \
                 not have it. After a restore of the server, move its files aside and \
                 start again; otherwise set the cursor to where the standby is",
                self.settings.address
            ))),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// A record that comes alone is on the standby's disk as soon as it can be.
    fn sync_at_once(&mut self) -> Result<(), ListenError> {
        let (Some(standby), Some(current)) = (&mut self.standby, &mut self.current)
        else {
            return Ok(());
        };
        let unsynced = current.end - current.synced_to;
        let is_under_way = standby.sftp.synced(current.held.file) < current.synced_to
            && current.synced_to > current.held.size;
        if unsynced == 0 || unsynced > SYNC_AT_ONCE_BYTES || is_under_way {
            return Ok(());
        }
        _ = standby.sftp.sync(current.held.file);
        current.synced_to = current.end;
        match standby.sftp.turn(Instant::now()) {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// The connection or a write failed: what was not synced is in doubt.
    fn failed(&mut self, failure: Failure) -> ListenError {
        let mut why = failure.to_string();
        if matches!(failure.kind(), Kind::Refused(_))
            && let Some(standby) = &mut self.standby
        {
            if let Some(bytes) = standby.room() {
                why += &format!("; the standby's disk has {bytes} bytes free");
            }
            // Of the writes behind the one that was refused some may have been taken.
            if let Some(current) = &self.current {
                let file = current.held.file;
                let certain = standby.sftp.synced(file).max(current.held.size);
                _ = standby.set_size(file, certain);
            }
        }
        if failure.kind().stops() { ListenError::Stop(why) } else { self.lost(why) }
    }

    fn lost(&mut self, why: String) -> ListenError {
        (self.standby, self.current, self.finished) = (None, None, None);
        ListenError::Lost(why)
    }

    fn not_yet(&self, what: &str) -> ListenError {
        let standby = &self.settings.address;
        ListenError::Busy(format!("{standby} needs longer than usual to {what}"))
    }

    fn diverged(&self, place: Place, at: u64, name: &str) -> ListenError {
        let restored = match place.era {
            0 => "",
            _ => " The server's numbering started over, as after a restore.",
        };
        ListenError::Stop(format!(
            "backup diverged at journal {} offset {at}: {name} at {} does not hold there \
             what the source does.{restored} Nothing was overwritten. Move the standby's \
             files aside and start again to copy what the source has, or find out who \
             wrote to them",
            place.sequence, self.settings.address
        ))
    }

    fn hole(&self, place: Place, held: u64) -> ListenError {
        ListenError::Stop(format!(
            "the standby {} has {held} bytes of journal {}, and the next entry is at \
             offset {}: it would leave a hole. Set the cursor to {}:{held}, or to the \
             start of a later journal",
            self.settings.address, place.sequence, place.offset, place.sequence
        ))
    }
}

/// Opens the first of these finished journals that is there, instead of the one
/// before.
fn find_finished(
    standby: &mut Standby,
    before: Option<(u64, Held)>,
    numbers: impl Iterator<Item = u64>,
) -> Result<Option<Held>, Failure> {
    if let Some((_, before)) = before {
        standby.close(before.file)?;
    }
    for number in numbers {
        let name = format!("{CURRENT}.{number}");
        if standby.exists(&name)? {
            let file = standby.open(&name, Open::READ)?;
            let size = standby.size_of(file)?;
            return Ok(Some(Held::new(file, size, 0)));
        }
    }
    Ok(None)
}

fn not_connected() -> ListenError {
    ListenError::Lost("the connection to the standby is gone".to_owned())
}

/// The sequence of a journal of which too little is there to tell.
const NOT_KNOWN: u64 = u64::MAX;

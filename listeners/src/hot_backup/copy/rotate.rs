//! One journal is over and the next begins.

use super::{Copy, Current, not_connected};
use crate::hot_backup::held::Held;
use crate::hot_backup::standby::CURRENT;
use p4journal::{Splitter, Trailer};
use std::time::Instant;
use tripline_api::{ListenError, Listener as _, Place};

impl Copy {
    /// Gives the growing journal its number, once all of it is on the disk; or, where
    /// the source goes on behind a gap and it has no end, a name that says so.
    pub(super) fn finish(&mut self, until: Instant) -> Result<(), ListenError> {
        match self.current {
            // The source's journal is over before that of the standby.
            Some(Current { sequence, end, reached, next: Some(_), .. })
                if reached < end =>
            {
                return self.differs(Place::start_of(0, sequence), reached);
            }
            _ => {}
        }
        self.flush()?;
        while !self.is_flushed()? {
            let Some(standby) = &mut self.standby else { return Err(not_connected()) };
            if Instant::now() >= until {
                return Err(self.not_yet("write to its disk"));
            }
            if let Err(failure) = standby.sftp.turn(until) {
                return Err(self.failed(failure));
            }
        }
        let finished = self.look_for_trailer().and_then(|()| self.rename_current());
        match finished {
            Ok(number) => {
                (self.current, self.newest) = (None, Some(number));
                Ok(())
            }
            // What is done there is found by the next look.
            Err(error) => {
                self.standby = None;
                Err(match error {
                    ListenError::Retry(why) => ListenError::Lost(why),
                    error => error,
                })
            }
        }
    }

    /// Nobody said that the growing journal is over: it may say so itself.
    fn look_for_trailer(&mut self) -> Result<(), ListenError> {
        let (Some(standby), Some(current)) = (&mut self.standby, &mut self.current)
        else {
            return Err(not_connected());
        };
        if current.next.is_none() {
            let range = current.end.saturating_sub(TRAILER_BYTES_MAX)..current.end;
            current.next =
                next_by_trailer(&standby.read_range(current.held.file, range)?);
        }
        Ok(())
    }

    /// The number that the growing journal gets: a first journal does not say it,
    /// but its trailer says that of the next.
    pub(super) fn number(&self) -> u64 {
        let Some(Current { sequence, end, next, .. }) = self.current else { return 0 };
        let by_trailer = next.and_then(|next| next.checked_sub(1));
        match self.checksum.is_of(sequence, end) && !self.checksum.is_numbered() {
            true => by_trailer.unwrap_or(sequence),
            false => sequence,
        }
    }

    fn rename_current(&mut self) -> Result<u64, ListenError> {
        let number = self.number();
        let (Some(standby), Some(current)) = (&mut self.standby, &mut self.current)
        else {
            return Err(not_connected());
        };
        let size = standby.size_of(current.held.file)?;
        if size != current.end {
            return Err(ListenError::Stop(format!(
                "{} on the standby has {size} bytes and should have {}: somebody else \
                 writes to it. A backup needs a directory of its own",
                standby.path(CURRENT),
                current.end
            )));
        }
        let is_known = self.checksum.is_of(current.sequence, current.end);
        let is_noted = current.is_noted;
        let is_over = current.next.is_some();
        let end = if is_over { "" } else { ".unfinished" };
        let name = format!("{CURRENT}.{number}{end}");
        if standby.exists(&name)? {
            return Err(ListenError::Stop(format!(
                "{} is on the standby already, so {CURRENT} cannot become it: it is from \
                 before the server was restored, perhaps. Move what is in that directory \
                 aside and start again",
                standby.path(&name)
            )));
        }
        if is_over && is_known && !is_noted {
            let text = format!("{}  {name}\n", self.checksum.hex());
            standby.put(&format!("{name}.sha256"), text.as_bytes())?;
        }
        // By a name that no other has: an old connection's last words may still be
        // on their way.
        standby.rename_new(CURRENT, &name)?;
        standby.close(current.held.file)?;
        Ok(number)
    }

    pub(super) fn begin_journal(&mut self, sequence: u64) -> Result<(), ListenError> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let file = match standby.create_current() {
            Ok(file) => file,
            Err(failure) => return Err(self.failed(failure)),
        };
        self.compared = Some(sequence);
        self.current = Some(Current {
            sequence,
            held: Held::new(file, 0, 0),
            end: 0,
            reached: 0,
            synced_to: 0,
            next: None,
            is_noted: false,
        });
        Ok(())
    }
}

/// The number of the next journal, where these last bytes of one end with its trailer.
fn next_by_trailer(bytes: &[u8]) -> Option<u64> {
    // Inside a text each `@` is doubled, so this is where a record begins.
    let from = memchr::memmem::rfind(bytes, b"\n@rv@ ")? + 1;
    let (mut splitter, mut trailer) = (Splitter::new(), Trailer::new());
    let mut pieces = splitter.pieces(&bytes[from..]);
    pieces.by_ref().for_each(|(record, _)| trailer.see(record));
    let is_all = pieces.used() == bytes.len() - from;
    trailer.next_number().filter(|_| is_all)
}

/// No trailer is longer.
const TRAILER_BYTES_MAX: u64 = 4096;

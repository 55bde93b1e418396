//! A journal that is whole on the standby, before the next one begins.
//!
//! Its checksum is written as soon as its trailer has come and all is on the disk.
//! So a later start can tell from the standby alone that the journal is what it was:
//! the source may have given it away meanwhile.

use super::{Copy, not_connected};
use crate::hot_backup::checksum::Checksum;
use crate::hot_backup::standby::{CURRENT, Found};
use crate::ssh::{FileId, Open, Reading, Taken};
use sha2::{Digest as _, Sha256};
use std::time::Instant;
use tripline_api::{Begin, ListenError};

/// A journal that is read back.
pub(super) struct Proving {
    file: FileId,
    reading: Reading,
    hash: Sha256,
    /// What its checksum must be.
    wanted: String,
}

impl Copy {
    /// Writes down the checksum of a journal that is over and wholly synced.
    pub(super) fn note_checksum(&mut self) -> Result<(), ListenError> {
        let Some(current) = &self.current else { return Ok(()) };
        let is_over = current.next.is_some() && current.reached == current.end;
        let is_known = self.checksum.is_of(current.sequence, current.end);
        if current.is_noted || !is_over || !is_known {
            return Ok(());
        }
        let name = format!("{CURRENT}.{}", self.number());
        let text = format!("{}  {name}\n", self.checksum.hex());
        let (Some(standby), Some(current)) = (&mut self.standby, &mut self.current)
        else {
            return Err(not_connected());
        };
        current.is_noted = true;
        // One that is there is said when this one is to become it.
        let noted = standby.exists(&name).and_then(|is_there| match is_there {
            true => Ok(()),
            false => standby.put(&format!("{name}.sha256"), text.as_bytes()),
        });
        noted.map_err(|failure| self.failed(failure))
    }

    /// Whether the standby's current journal is what it was when it was settled as
    /// a whole, as its checksum says.
    pub(super) fn is_proved(
        &mut self,
        begin: &Begin<'_>,
        found: &Found,
        until: Instant,
    ) -> Result<bool, ListenError> {
        let Some((cursor, next)) =
            begin.cursor.and_then(|cursor| Some((cursor, cursor.next?)))
        else {
            return Ok(false);
        };
        let sequence = cursor.place.sequence;
        let is_whole = found.holdings.current == Some(sequence)
            && found.size == Some(cursor.place.offset)
            && self.compared != Some(sequence)
            && !begin.set_by_hand;
        if !is_whole {
            return Ok(false);
        }
        let Some(mut proving) = self.proving.take() else {
            let number =
                if found.is_unnumbered { next.saturating_sub(1) } else { sequence };
            self.proving = self.begin_to_prove(number, cursor.place.offset)?;
            return match self.proving {
                None => Ok(false),
                Some(_) => self.is_proved(begin, found, until),
            };
        };
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        loop {
            match standby.sftp.take(&mut proving.reading, until)? {
                Taken::Bytes(bytes) => proving.hash.update(&bytes),
                Taken::End => break,
                Taken::NotYet => {
                    self.proving = Some(proving);
                    return Err(self.not_yet("read back its journal"));
                }
            }
            if Instant::now() >= until {
                self.proving = Some(proving);
                return Err(self.not_yet("read back its journal"));
            }
        }
        standby.close(proving.file)?;
        let size = cursor.place.offset;
        let mut checksum =
            Checksum::of(sequence, size, !found.is_unnumbered, proving.hash);
        if checksum.hex() != proving.wanted {
            return Ok(false);
        }
        self.checksum = checksum;
        self.compared = Some(sequence);
        Ok(true)
    }

    fn begin_to_prove(
        &mut self,
        number: u64,
        size: u64,
    ) -> Result<Option<Proving>, ListenError> {
        let Some(standby) = &mut self.standby else { return Err(not_connected()) };
        let name = format!("{CURRENT}.{number}.sha256");
        let Some(text) = standby.get(&name, CHECKSUM_BYTES_MAX)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let Some(wanted) = text.split_ascii_whitespace().next() else { return Ok(None) };
        let file = standby.open(CURRENT, Open::READ)?;
        let reading = standby.sftp.read(file, 0..size);
        let (hash, wanted) = (Sha256::new(), wanted.to_owned());
        Ok(Some(Proving { file, reading, hash, wanted }))
    }
}

const CHECKSUM_BYTES_MAX: u64 = 1024;

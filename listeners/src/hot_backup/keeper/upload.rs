//! A checkpoint on its way to the standby: all of it, or a part that is gone on
//! with.
//!
//! What is there of it is compared, byte by byte, before more is written behind it;
//! and all that was written is read back, so that at the end every byte was seen
//! on the standby. Only then does it get its name.

use super::WAIT;
use crate::checkpoint::{Whole, hex};
use crate::hot_backup::held::{Compared, Held};
use crate::hot_backup::standby::Standby;
use crate::ssh::{Create, Failure, FileId, Kind, Open};
use sha2::{Digest as _, Sha256};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Instant;
use tripline_api::{ListenError, Tell, Told};

const CHUNK_BYTES: usize = 256 * 1024;

/// Brings a checkpoint; its name there, and whether it was there already.
pub(super) fn upload(
    standby: &mut Standby,
    whole: &Whole,
    tell: &mut Tell<'_>,
) -> Result<(String, bool), ListenError> {
    let suffix = if whole.is_gzip { ".gz" } else { "" };
    let name = format!("checkpoint.{}{suffix}", whole.number);
    let (size, ..) = whole.stamp;
    let mut upload = Upload { standby, whole, size, hash: Sha256::new(), tell };
    if upload.standby.exists(&name)? {
        upload.prove(&name)?;
        upload.put_checksum(&name)?;
        return Ok((name, true));
    }
    let part = format!("{name}.part");
    let anew = Open { create: Create::IfMissing, ..Open::WRITE };
    let file = upload.standby.open(&part, anew)?;
    let held = upload.compare_part(file, &part)?;
    upload.write(file, held)?;
    let what = format!("reading back {name}");
    let same = upload.same_until(file, &what, held, size)?;
    if same < size {
        return Err(ListenError::Stop(format!(
            "{what}: byte {same} on the standby {} is not what was written. Its disk or \
             its memory is at fault",
            upload.standby.name
        )));
    }
    upload.standby.close(file)?;
    upload.is_unchanged()?;
    upload.put_checksum(&name)?;
    upload.standby.rename_new(&part, &name)?;
    Ok((name, false))
}

struct Upload<'a, 'b> {
    standby: &'a mut Standby,
    whole: &'a Whole,
    size: u64,
    /// Of the checkpoint's bytes that were found on the standby.
    hash: Sha256,
    tell: &'a mut Tell<'b>,
}

impl Upload<'_, '_> {
    /// What has the name already must be it.
    fn prove(&mut self, name: &str) -> Result<(), ListenError> {
        let file = self.standby.open(name, Open::READ)?;
        let mut is_it = self.standby.size_of(file)? == self.size;
        if is_it {
            let what = format!("comparing {name}");
            is_it = self.same_until(file, &what, 0, self.size)? == self.size;
        }
        self.standby.close(file)?;
        if is_it {
            return self.is_unchanged();
        }
        Err(ListenError::Stop(format!(
            "{} is on the standby already and is not {}: nothing was overwritten. Move \
             it away there and try again",
            self.standby.path(name),
            self.whole.path.display()
        )))
    }

    /// How much of the part is there and right; what is not is cut off.
    fn compare_part(&mut self, file: FileId, part: &str) -> Result<u64, ListenError> {
        let there = self.standby.size_of(file)?;
        let what = format!("comparing {part}");
        let same = self.same_until(file, &what, 0, there.min(self.size))?;
        if same < there {
            self.standby.set_size(file, same)?;
        }
        if there > 0 {
            let size = self.size;
            let said = format!("{same} of {size} bytes are on the standby already");
            (self.tell)(Told::Said(&said));
        }
        Ok(same)
    }

    fn write(&mut self, file: FileId, from: u64) -> Result<(), ListenError> {
        let what = format!("copying {}", self.whole.path.display());
        let mut at = from;
        while at < self.size {
            let chunk = self.chunk(at, self.size)?;
            let mut done = 0;
            while done < chunk.len() {
                let until = Instant::now() + WAIT;
                let (offset, rest) = (at + done as u64, &chunk[done..]);
                match self.standby.sftp.push(file, offset, rest, until) {
                    Ok(count) => done += count,
                    Err(failure) => return Err(self.failed(&failure)),
                }
            }
            at += chunk.len() as u64;
            (self.tell)(Told::Bytes { what: &what, done: at, of: Some(self.size) });
        }
        let ticket = self.standby.sftp.sync(file);
        loop {
            match self.standby.sftp.wait(&ticket, Instant::now() + WAIT) {
                Ok(Some(())) => return Ok(()),
                Ok(None) => {}
                Err(failure) => return Err(self.failed(&failure)),
            }
        }
    }

    /// Up to where a stretch is there as it is here; that much is hashed.
    fn same_until(
        &mut self,
        file: FileId,
        what: &str,
        from: u64,
        to: u64,
    ) -> Result<u64, ListenError> {
        let mut held = Held::new(file, to, from);
        let mut at = from;
        while at < to {
            let chunk = self.chunk(at, to)?;
            let compared = loop {
                let until = Instant::now() + WAIT;
                match held.compare(&mut self.standby.sftp, at, &chunk, until)? {
                    Compared::NotYet => {}
                    compared => break compared,
                }
            };
            if let Compared::DiffersAt(differs) = compared {
                self.hash.update(&chunk[..(differs - at) as usize]);
                return Ok(differs);
            }
            self.hash.update(&chunk);
            at += chunk.len() as u64;
            (self.tell)(Told::Bytes { what, done: at, of: Some(to) });
        }
        Ok(to)
    }

    /// Bytes of the checkpoint; never none.
    fn chunk(&self, at: u64, to: u64) -> Result<Vec<u8>, ListenError> {
        let length = usize::try_from(to - at).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let mut chunk = vec![0; length];
        match self.whole.file.read_exact_at(&mut chunk, at) {
            Ok(()) => Ok(chunk),
            Err(error) => Err(cannot(self.whole, &error)),
        }
    }

    /// What was examined is what was copied.
    fn is_unchanged(&self) -> Result<(), ListenError> {
        let now =
            self.whole.file.metadata().map_err(|error| cannot(self.whole, &error))?;
        if (now.size(), now.mtime(), now.mtime_nsec()) == self.whole.stamp {
            return Ok(());
        }
        Err(ListenError::Retry(format!(
            "{} was written to while it was copied: try again",
            self.whole.path.display()
        )))
    }

    fn put_checksum(&mut self, name: &str) -> Result<(), ListenError> {
        let text = format!("{}  {name}\n", hex(&self.hash.clone().finalize()));
        Ok(self.standby.put(&format!("{name}.sha256"), text.as_bytes())?)
    }

    fn failed(&mut self, failure: &Failure) -> ListenError {
        let mut why = failure.to_string();
        if matches!(failure.kind(), Kind::Refused(_))
            && let Some(bytes) = self.standby.room()
        {
            why += &format!("; the standby's disk has {bytes} bytes free");
        }
        ListenError::Lost(format!("{why}. What is there stays, and is gone on with"))
    }
}

fn cannot(whole: &Whole, error: &std::io::Error) -> ListenError {
    ListenError::io(format!("cannot read {}", whole.path.display()), error)
}

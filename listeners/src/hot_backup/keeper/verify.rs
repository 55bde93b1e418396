//! The full compare: everything in the backup with what it should be.
//!
//! The rows of a checkpoint, and of the journals behind it, go into a database of
//! their own, a row for each revision; then each versioned file is read once, in
//! the order of the names, and judged by all rows that name it.

mod journals;
mod rows;
mod there;

use super::{Keeper, connected};
use crate::checkpoint::{self, Whole, hex};
use crate::hot_backup::archives::{Content, Form, Verdict};
use p4journal::{Case, Reader};
use rows::{Rows, Shift};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use there::There;
use tripline_api::{Compared, Difference, ListenError, Tell, Told, Verifying};

pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const JOURNAL: &str = "journal";

pub(super) fn verify(
    keeper: &Keeper,
    verifying: &Verifying<'_>,
    tell: &mut Tell<'_>,
    differs: &mut dyn FnMut(&Difference),
) -> Result<Vec<Compared>, ListenError> {
    let whole = chosen(verifying, tell)?;
    tell(Told::Said(&format!(
        "beginning with {}, checkpoint {}",
        whole.path.display(),
        whole.number
    )));
    let needs_checkpoint = !keeper.has_replay;
    let mut verify = Verify { kinds: Vec::new(), needs_checkpoint, tell, differs };
    let mut there = match verifying.local {
        Some(folder) => There::Here(folder.clone()),
        None => There::over(connected(&keeper.settings)?),
    };
    let names = there.names()?;
    verify.checkpoints(&mut there, &names, verifying, &whole)?;
    let folds = whole.case.map(|case| case == Case::Insensitive);
    let mut rows = Rows::new(folds == Some(true))?;
    verify.fill(&mut rows, &whole)?;
    verify.journals(&mut there, &names, verifying, &mut rows, whole.number)?;
    let Some(kept) = &keeper.archives else {
        verify.say("this listener has no `archives`: versioned files are not looked at");
        return Ok(verify.kinds);
    };
    let mut archives = match (verifying.local, kept.prefix) {
        (None, _) => There::over(connected(&kept.settings)?),
        (Some(folder), "") => {
            verify.say(&format!(
                "versioned files are looked for below {}, too",
                folder.display()
            ));
            There::Here(folder.clone())
        }
        (Some(folder), _) => There::Here(folder.clone()),
    };
    verify.archives(&mut archives, kept.prefix, &rows, folds)?;
    Ok(verify.kinds)
}

/// The checkpoint that was asked for, or the newest.
fn chosen(verifying: &Verifying<'_>, tell: &mut Tell<'_>) -> Result<Whole, ListenError> {
    if let Some(path) = verifying.checkpoint {
        return checkpoint::examine(path).map_err(|why| {
            ListenError::Stop(format!("{} cannot be used: {why}", path.display()))
        });
    }
    let folders: Vec<PathBuf> = match verifying.local {
        Some(folder) => vec![folder.clone()],
        None => verifying.source.directories(),
    };
    checkpoint::newest(&folders, &mut |why| tell(Told::Said(why)))?.ok_or_else(|| {
        let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
        ListenError::Stop(format!(
            "there is no whole checkpoint in {}: name one behind the listener",
            folders.join(" or ")
        ))
    })
}

/// A compare under way.
pub(super) struct Verify<'a, 'b> {
    kinds: Vec<Compared>,
    /// Nothing is applied there: a checkpoint is needed to begin with.
    needs_checkpoint: bool,
    tell: &'a mut Tell<'b>,
    differs: &'a mut dyn FnMut(&Difference),
}

impl Verify<'_, '_> {
    pub(super) fn say(&mut self, words: &str) {
        (self.tell)(Told::Said(words));
    }

    pub(super) fn kind(&mut self, kind: &'static str) -> &mut Compared {
        let at = match self.kinds.iter().position(|it| it.kind == kind) {
            Some(at) => at,
            None => {
                self.kinds.push(Compared::of(kind));
                self.kinds.len() - 1
            }
        };
        &mut self.kinds[at]
    }

    pub(super) fn wrong(&mut self, kind: &'static str, name: String, why: String) {
        self.kind(kind).differ += 1;
        (self.differs)(&Difference { kind, name, is_missing: false, why });
    }

    pub(super) fn missing(&mut self, kind: &'static str, name: String, why: String) {
        self.kind(kind).missing += 1;
        (self.differs)(&Difference { kind, name, is_missing: true, why });
    }

    /// The checkpoints that were seeded: as their checksums say, and where the
    /// source still has the same, as that.
    fn checkpoints(
        &mut self,
        there: &mut There,
        names: &[String],
        verifying: &Verifying<'_>,
        whole: &Whole,
    ) -> Result<(), ListenError> {
        for name in names.iter().filter(|name| checkpoint::number_in(name).is_some()) {
            let Some(found) = self.sum(there, name)? else { continue };
            let stated = there.checksum(name)?;
            let source = format!("checkpoint.{}", whole.number);
            let suffix = if whole.is_gzip { ".gz" } else { "" };
            let is_same = verifying.local.is_none() && *name == source + suffix;
            let here = if is_same { Some(sum_here(&whole.path)?) } else { None };
            let wrong =
                |sum: &Option<String>| sum.as_ref().is_some_and(|it| *it != found);
            if wrong(&stated) {
                let why = format!("it is not what {name}.sha256 says");
                self.wrong(CHECKPOINT, name.clone(), why);
            } else if wrong(&here) {
                let why = format!("it is not {}", whole.path.display());
                self.wrong(CHECKPOINT, name.clone(), why);
            } else if stated.is_none() && here.is_none() {
                self.kind(CHECKPOINT).unchecked += 1;
            } else {
                self.kind(CHECKPOINT).same += 1;
            }
        }
        Ok(())
    }

    /// The SHA-256 of a file of the backup.
    pub(super) fn sum(
        &mut self,
        there: &mut There,
        name: &str,
    ) -> Result<Option<String>, ListenError> {
        let (mut hash, mut done) = (Sha256::new(), 0);
        let tell = &mut self.tell;
        let found = there.read(name.as_bytes(), &mut |bytes| {
            hash.update(bytes);
            done += bytes.len() as u64;
            tell(Told::Bytes { what: name, done, of: None });
        })?;
        Ok(found.then(|| hex(&hash.finalize())))
    }

    /// All that a checkpoint names.
    fn fill(&mut self, rows: &mut Rows, whole: &Whole) -> Result<(), ListenError> {
        let mut reader = Reader::new(checkpoint::input(&whole.path)?);
        loop {
            let entry = reader.next().map_err(|error| {
                let path = whole.path.display();
                ListenError::Stop(format!("cannot read {path}: {error}"))
            })?;
            let Some(entry) = entry else { break };
            let Ok(record) = entry.record() else { continue };
            match Shift::of(&record, rows.folds()) {
                Some(Ok(shift)) => rows.apply(&shift)?,
                Some(Err(odd)) => self.wrong("row", odd, LEADS_OUT.to_owned()),
                None => {}
            }
        }
        rows.save()
    }

    /// Each versioned file, by all that is known of it.
    fn archives(
        &mut self,
        there: &mut There,
        prefix: &str,
        rows: &Rows,
        folds: Option<bool>,
    ) -> Result<(), ListenError> {
        let mut files = 0;
        rows.each_file(&mut |path, form, revisions| {
            let kind = kind_of(form);
            let mut content = Content::new(form);
            let name = [prefix.as_bytes(), path].concat();
            let mut candidates = vec![name];
            if folds != Some(false) && path.iter().any(u8::is_ascii_uppercase) {
                let small = [prefix.as_bytes(), &path.to_ascii_lowercase()].concat();
                candidates.push(small);
            }
            let mut is_there = false;
            for name in &candidates {
                is_there = there.read(name, &mut |bytes| content.take(bytes))?;
                if is_there {
                    break;
                }
            }
            let shown = |revision: &[u8]| {
                let (path, name) = (String::from_utf8_lossy(path), revision);
                format!("{path} revision {}", String::from_utf8_lossy(name))
            };
            if is_there {
                for (revision, verdict) in revisions.iter().zip(content.judge(revisions))
                {
                    match verdict {
                        Verdict::Same => self.kind(kind).same += 1,
                        Verdict::Unchecked => self.kind(kind).unchecked += 1,
                        Verdict::Differs(why) => {
                            self.wrong(kind, shown(&revision.name), why);
                        }
                    }
                }
            } else {
                for revision in revisions {
                    let why = "it is not there".to_owned();
                    self.missing(kind, shown(&revision.name), why);
                }
            }
            files += 1;
            if files % SAY_EVERY == 0 {
                self.say(&format!("{files} versioned files so far"));
            }
            Ok(())
        })
    }
}

pub(super) const LEADS_OUT: &str =
    "it can be no versioned file: it leads out of the archives";
const SAY_EVERY: u64 = 10_000;

const fn kind_of(form: Form) -> &'static str {
    match form {
        Form::Rcs => "rcs",
        Form::Full => "full",
        Form::Gzip => "gzip",
    }
}

fn sum_here(path: &Path) -> Result<String, ListenError> {
    let failed =
        |error| ListenError::io(format!("cannot read {}", path.display()), &error);
    let mut file = checkpoint::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(failed)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

//! What a person has done with the backup that a listener keeps.

use crate::{ListenError, Place, Source};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Works on the backup that a listener keeps, while nothing follows: a command of
/// a person builds the listener for it, asks for this and ends.
///
/// Calls may take hours; they say how far they are.
pub trait Backup: Send {
    /// Brings the backup to where the listener can go on by itself, or could
    /// already. Broken off anywhere, it goes on at the next call.
    ///
    /// # Errors
    ///
    /// [`ListenError::Retry`] and [`ListenError::Lost`] for what may work later,
    /// [`ListenError::Stop`] for what needs a person first.
    fn seed(
        &mut self,
        seeding: &Seeding<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Seeded, ListenError>;

    /// A person says that the checkpoint of that number, which was seeded, is
    /// restored.
    ///
    /// # Errors
    ///
    /// As for [`seed`](Self::seed); and when another one is waited for.
    fn restored(&mut self, number: u64) -> Result<Seeded, ListenError>;

    /// Compares everything in the backup with what it should be.
    ///
    /// # Errors
    ///
    /// As for [`seed`](Self::seed). That something differs is no error.
    fn verify(
        &mut self,
        verifying: &Verifying<'_>,
        tell: &mut Tell<'_>,
        differs: &mut dyn FnMut(&Difference),
    ) -> Result<Vec<Compared>, ListenError>;
}

/// Takes what there is to say.
pub type Tell<'a> = dyn FnMut(Told<'_>) + 'a;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Something was found or done, in a sentence.
    Said(&'a str),
    /// So many bytes of `what` are done.
    Bytes {
        /// What they are of.
        what: &'a str,
        /// How many are done.
        done: u64,
        /// How many there are, where that is known.
        of: Option<u64>,
    },
}

/// What [`Backup::seed`] may know.
#[derive(Clone, Copy)]
pub struct Seeding<'a> {
    /// What the listener follows.
    pub source: &'a dyn Source,
    /// Where the listener is, under the empty word, and those
    /// [beside](crate::Built::beside) it, by their words.
    pub places: &'a BTreeMap<String, Place>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeded {
    /// The number of the checkpoint.
    pub checkpoint: u64,
    /// Who has to begin with the journal of that number: words as in
    /// [`Seeding::places`]. The others go on where they are.
    pub begin: Vec<String>,
    /// What a person has to do now, a step each.
    pub next: Vec<String>,
}

/// What [`Backup::verify`] may know.
#[derive(Clone, Copy)]
pub struct Verifying<'a> {
    /// What the listener follows.
    pub source: &'a dyn Source,
    /// The checkpoint to begin with; `None` for the newest that is sound.
    pub checkpoint: Option<&'a PathBuf>,
    /// The backup's directory, where it is on this machine; `None` to reach it as
    /// the listener does.
    pub local: Option<&'a PathBuf>,
}

/// What was compared, of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Such as "checkpoint", "journal", "text".
    pub kind: &'static str,
    /// It is as it should be.
    pub same: u64,
    /// It is not there.
    pub missing: u64,
    /// It is there, and not as it should be.
    pub differ: u64,
    /// It is there, and nothing says what should be in it.
    pub unchecked: u64,
}

/// Something that is missing or differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As in [`Compared::kind`].
    pub kind: &'static str,
    /// Its name in the backup. Not of our making: it may hold anything.
    pub name: String,
    /// It is not there at all.
    pub is_missing: bool,
    /// What is wrong.
    pub why: String,
}

impl Compared {
    /// Of this kind nothing yet.
    pub const fn of(kind: &'static str) -> Self {
        Self { kind, same: 0, missing: 0, differ: 0, unchecked: 0 }
    }

    /// Whether nothing of it is missing or differs.
    pub const fn holds(&self) -> bool {
        self.missing == 0 && self.differ == 0
    }
}

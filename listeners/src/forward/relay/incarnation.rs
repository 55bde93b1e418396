//! When what a receiver knows of us means nothing any more.
//!
//! A receiver drops what comes again by its place. When a person moves the cursor
//! back, what comes again is wanted again; and when our own directory is gone, places
//! begin anew and are others than those that it knows. So each source has an
//! incarnation: a number drawn at random, that is kept as long as neither happens.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tripline_api::{Begin, SourceId};

/// The incarnations of all sources, in a file.
pub(super) struct Incarnations {
    directory: PathBuf,
    /// `None` before the first source.
    known: Option<BTreeMap<String, Incarnation>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Incarnation {
    number: u64,
    /// It began because a person moved the cursor here, and nothing is known to be
    /// settled since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_hand: Option<String>,
    /// It began where the engine had no cursor, and nothing is known to be settled
    /// since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_fresh: bool,
}

const FILE: &str = "relay.json";

impl Incarnations {
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), known: None }
    }

    /// A source begins; returns whether it has another incarnation than it had.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn begin(&mut self, begin: &Begin<'_>) -> Result<bool, String> {
        let source = begin.source.as_str();
        let place =
            begin.cursor.map_or_else(|| "-".to_owned(), |it| it.place.id().to_string());
        let by_hand = begin.set_by_hand.then_some(place);
        let mut known = match &self.known {
            Some(known) => known.clone(),
            None => self.load()?,
        };
        let before = known.get(source).cloned();
        // Without a cursor the engine's state is lost, unless it never had one.
        let is_fresh = begin.cursor.is_none();
        let is_same = match &before {
            // After a crash a person has not moved it there once more.
            Some(before) => {
                (by_hand.is_none() || before.by_hand == by_hand)
                    && (!is_fresh || before.is_fresh)
            }
            None => false,
        };
        let number = match (&before, is_same) {
            (Some(before), true) => before.number,
            _ => draw(),
        };
        let now = Incarnation { number, by_hand, is_fresh };
        if before.as_ref() != Some(&now) {
            known.insert(source.to_owned(), now);
            self.save(&known)?;
        }
        self.known = Some(known);
        Ok(!is_same)
    }

    /// The incarnation of a source that has begun.
    pub(super) fn of(&self, source: &SourceId) -> u64 {
        let known = self.known.as_ref().and_then(|known| known.get(source.as_str()));
        known.map_or(0, |known| known.number)
    }

    /// The engine has stored that something was settled of these sources. What a
    /// person does there from now on counts anew, but for some.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn forget_by_hand(
        &mut self,
        settled: &BTreeSet<String>,
        but: &BTreeSet<String>,
    ) -> Result<(), String> {
        let Some(before) = &self.known else { return Ok(()) };
        let mut known = before.clone();
        for (source, known) in known.iter_mut().filter(|(it, _)| settled.contains(*it)) {
            known.is_fresh = false;
            if !but.contains(source) {
                known.by_hand = None;
            }
        }
        if known != *before {
            self.save(&known)?;
            self.known = Some(known);
        }
        Ok(())
    }

    fn load(&self) -> Result<BTreeMap<String, Incarnation>, String> {
        let path = self.directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            text => {
                text.map_err(|error| format!("cannot read {}: {error}", path.display()))?
            }
        };
        serde_json::from_slice(&text).map_err(|error| {
            format!(
                "{} cannot be understood ({error}): move it away, and some entries may come \
                 twice",
                path.display()
            )
        })
    }

    /// It is on the disk when this returns.
    fn save(&self, known: &BTreeMap<String, Incarnation>) -> Result<(), String> {
        let path = self.directory.join(FILE);
        let new = self.directory.join("relay.json.new");
        let text = serde_json::to_vec(known).unwrap_or_default();
        let saved = (|| {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        })();
        saved.map_err(|error: io::Error| {
            format!("cannot write {}: {error}", path.display())
        })
    }
}

/// A number that was not there before.
fn draw() -> u64 {
    RandomState::new().hash_one((SystemTime::now(), std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_api::{Cursor, Place};

    #[test]
    fn it_changes_when_a_person_asks_and_when_all_is_lost() {
        let scratch = tempfile::tempdir().unwrap();
        let source = SourceId::new("auth").unwrap();
        let cursor = Cursor::unproved(Place::start_of(0, 3));
        let begin =
            |set_by_hand| Begin { source: &source, cursor: Some(&cursor), set_by_hand };
        let start = |by_hand| {
            let mut all = Incarnations::new(scratch.path());
            let is_new = all.begin(&begin(by_hand)).unwrap();
            assert!(!all.begin(&begin(by_hand)).unwrap(), "again in the same run");
            (is_new, all.of(&source), all)
        };
        let (is_new, first, _) = start(false);
        assert!(is_new && first != 0);
        assert_eq!(start(false).1, first);
        let (is_new, second, _) = start(true);
        assert!(is_new && second != first);
        assert_eq!(start(true).1, second, "killed before anything was settled");
        let (_, same, mut all) = start(true);
        assert_eq!(same, second);
        let of = |source: &str| BTreeSet::from([source.to_owned()]);
        all.forget_by_hand(&of("auth"), &of("auth")).unwrap();
        assert_eq!(start(true).1, second, "a log: the engine keeps it for a while");
        let (_, _, mut all) = start(true);
        all.forget_by_hand(&of("other"), &BTreeSet::new()).unwrap();
        assert_eq!(start(true).1, second, "nothing of it was settled");
        all.forget_by_hand(&of("auth"), &BTreeSet::new()).unwrap();
        let (is_new, third, _) = start(true);
        assert!(is_new && third != second, "moved there once more");
        assert_eq!(start(false).1, third);
        assert_ne!(start(true).1, third);
        fs::remove_file(scratch.path().join(FILE)).unwrap();
        let (is_new, fourth, _) = start(false);
        assert!(is_new && fourth != third);
    }

    /// What the engine does not know any more is numbered anew.
    #[test]
    fn it_changes_when_the_engine_lost_its_state() {
        let scratch = tempfile::tempdir().unwrap();
        let source = SourceId::new("auth").unwrap();
        let cursor = Cursor::unproved(Place::start_of(0, 3));
        let start = |cursor| {
            let mut all = Incarnations::new(scratch.path());
            all.begin(&Begin { source: &source, cursor, set_by_hand: false }).unwrap();
            (all.of(&source), all)
        };
        let (first, _) = start(None);
        let (same, mut all) = start(None);
        assert_eq!(same, first, "killed before anything was settled");
        let settled = BTreeSet::from(["auth".to_owned()]);
        all.forget_by_hand(&settled, &BTreeSet::new()).unwrap();
        let (second, _) = start(None);
        assert_ne!(second, first);
        assert_eq!(start(None).0, second);
        assert_eq!(start(Some(&cursor)).0, second);
        assert_ne!(start(None).0, second);
    }
}

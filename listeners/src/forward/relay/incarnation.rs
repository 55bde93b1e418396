//! When what a receiver knows of us means nothing any more.
//!
//! A receiver drops what comes again by its place. When a person moves the cursor
//! back, what comes again is wanted again; and when our own directory is gone, places
//! begin anew and are others than those that it knows. So each source has an
//! incarnation: a number drawn at random, that is kept as long as neither happens.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
        let is_same = match &before {
            // After a crash a person has not moved it there once more.
            Some(before) => by_hand.is_none() || before.by_hand == by_hand,
            None => false,
        };
        let number = match (&before, is_same) {
            (Some(before), true) => before.number,
            _ => draw(),
        };
        let now = Incarnation { number, by_hand };
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

    /// What a person does from now on counts anew.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn forget_by_hand(&mut self) -> Result<(), String> {
        let Some(known) = &mut self.known else { return Ok(()) };
        if known.values().all(|known| known.by_hand.is_none()) {
            return Ok(());
        }
        known.values_mut().for_each(|known| known.by_hand = None);
        let known = known.clone();
        self.save(&known)
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
        all.forget_by_hand().unwrap();
        let (is_new, third, _) = start(true);
        assert!(is_new && third != second, "moved there once more");
        assert_eq!(start(false).1, third);
        assert_ne!(start(true).1, third);
        fs::remove_file(scratch.path().join(FILE)).unwrap();
        let (is_new, fourth, _) = start(false);
        assert!(is_new && fourth != third);
    }
}

//! When what a receiver knows of us means nothing any more.
//!
//! A receiver drops what comes again by its place. When a person moves the cursor
//! back, what comes again is wanted again; and when our own directory is gone, places
//! begin anew and are others than those that it knows. So each source has an
//! incarnation: a number drawn at random, that is kept as long as neither happens. In
//! the same file is what ties us to receivers (`chain.rs`), since both begin with it.

use super::chain::{Chains, With, draw};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use tripline_api::{Begin, SourceId};
use tripline_relay::wire::Tie;

/// The incarnations of all sources, in a file.
pub(super) struct Incarnations {
    directory: PathBuf,
    /// `None` before the first source.
    known: Option<Kept>,
}

/// What is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    ties: Chains,
    sources: BTreeMap<String, Incarnation>,
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
        let mut known = self.known()?;
        let before = known.sources.get(source).cloned();
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
            known.sources.insert(source.to_owned(), now);
            self.save(&known)?;
        }
        self.known = Some(known);
        Ok(!is_same)
    }

    /// The incarnation of a source that has begun.
    pub(super) fn of(&self, source: &SourceId) -> u64 {
        let known = self.known.as_ref();
        let known = known.and_then(|known| known.sources.get(source.as_str()));
        known.map_or(0, |known| known.number)
    }

    /// Whether a receiver that has this tie knows us as we are.
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub(super) fn fits(&self, with: &With, has: Option<Tie>) -> Result<(), String> {
        if self.known()?.ties.fits(with, has) {
            return Ok(());
        }
        let path = self.directory.join(FILE);
        let (path, peer) = (path.display(), &with.peer);
        Err(format!(
            "{path} and what the receiver knows of us do not fit together: this machine was \
             brought back from an older state (a snapshot, a backup, a copy of a machine), or \
             the receiver was, or another machine sends as {peer:?} too. Nothing is sent: new \
             lines would be dropped there as old ones. If two send as {peer:?}, give one of \
             them another `peer`. Else stop this Tripline, remove that file and start it again: \
             it goes on from its place, and some lines may be there twice. What a receiver has \
             lost that was brought back comes when `tripline where --set` moves the place back"
        ))
    }

    /// What is to be sent to a receiver that fits, and has this on its disk, before
    /// anything else. It is on our disk.
    ///
    /// # Errors
    ///
    /// In words.
    pub(super) fn next_tie(
        &mut self,
        with: &With,
        has: Option<Tie>,
    ) -> Result<Tie, String> {
        let before = self.known()?;
        let mut known = before.clone();
        let tie = known.ties.next(with, has);
        if known != before
            && let Err(why) = self.save(&known)
        {
            // With a full disk, what goes over the network need not stop: it keeps the
            // last tie. Without one it has to.
            return has.filter(|has| before.ties.is_last(with, *has)).ok_or(why);
        }
        self.known = Some(known);
        Ok(tie)
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
        let sources = known.sources.iter_mut();
        for (source, known) in sources.filter(|(it, _)| settled.contains(*it)) {
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

    fn known(&self) -> Result<Kept, String> {
        match &self.known {
            Some(known) => Ok(known.clone()),
            None => self.load(),
        }
    }

    fn load(&self) -> Result<Kept, String> {
        let new = || Kept { ties: Chains::new(), sources: BTreeMap::new() };
        let path = self.directory.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(new());
            }
            text => {
                text.map_err(|error| format!("cannot read {}: {error}", path.display()))?
            }
        };
        // Of before there were ties: all incarnations are drawn anew with them, since it
        // may be an old copy.
        if serde_json::from_slice::<BTreeMap<String, Incarnation>>(&text).is_ok() {
            return Ok(new());
        }
        serde_json::from_slice(&text).map_err(|error| {
            format!(
                "{} cannot be understood ({error}): move it away, and some entries may come \
                 twice",
                path.display()
            )
        })
    }

    /// It is on the disk when this returns.
    fn save(&self, known: &Kept) -> Result<(), String> {
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

    fn with() -> With {
        With { receiver: 1, peer: "web1".to_owned() }
    }

    #[test]
    fn a_tie_is_on_the_disk_before_it_is_sent() {
        let scratch = tempfile::tempdir().unwrap();
        let again = || Incarnations::new(scratch.path());
        let mut all = again();
        let first = all.next_tie(&with(), None).unwrap();
        assert_eq!(again().next_tie(&with(), None).unwrap(), first);
        let old = fs::read(scratch.path().join(FILE)).unwrap();
        let second = all.next_tie(&with(), Some(first)).unwrap();
        assert_ne!(second, first);
        for has in [first, second] {
            again().fits(&with(), Some(has)).unwrap();
        }
        let third = all.next_tie(&with(), Some(second)).unwrap();
        let why = again().fits(&with(), Some(first)).unwrap_err();
        let path = scratch.path().join(FILE);
        assert!(why.starts_with(&format!("{} and what", path.display())), "{why}");
        fs::write(&path, old).unwrap();
        again().fits(&with(), Some(third)).unwrap_err();
        fs::remove_file(&path).unwrap();
        again().fits(&with(), Some(third)).unwrap();
    }

    /// On a full disk the first tie cannot be, and one that is there does.
    #[test]
    fn without_a_disk_the_last_tie_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("state");
        let mut all = Incarnations::new(&directory);
        fs::write(&directory, b"").unwrap();
        let why = all.next_tie(&with(), None).unwrap_err();
        assert!(why.contains("relay.json"), "{why}");
        fs::remove_file(&directory).unwrap();
        let first = all.next_tie(&with(), None).unwrap();
        fs::rename(&directory, scratch.path().join("away")).unwrap();
        fs::write(&directory, b"").unwrap();
        assert_eq!(all.next_tie(&with(), Some(first)).unwrap(), first);
        fs::remove_file(&directory).unwrap();
        assert_ne!(all.next_tie(&with(), Some(first)).unwrap(), first);
    }

    /// What it was like before there were ties.
    #[test]
    fn of_an_older_file_all_begins_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join(FILE);
        fs::write(&path, br#"{"auth":{"number":7},"sources":{"number":8}}"#).unwrap();
        let source = SourceId::new("auth").unwrap();
        let cursor = Cursor::unproved(Place::start_of(0, 3));
        let mut all = Incarnations::new(scratch.path());
        let begin = Begin { source: &source, cursor: Some(&cursor), set_by_hand: false };
        assert!(all.begin(&begin).unwrap() && all.of(&source) != 7);
        let mut again = Incarnations::new(scratch.path());
        assert!(!again.begin(&begin).unwrap());
        assert_eq!(again.of(&source), all.of(&source));
        for text in [&b""[..], b"{", br#"{"auth":7}"#, br#"{"sources":{},"ties":7}"#] {
            fs::write(&path, text).unwrap();
            let why = Incarnations::new(scratch.path()).begin(&begin).unwrap_err();
            assert!(why.contains("move it away"), "{why}");
        }
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

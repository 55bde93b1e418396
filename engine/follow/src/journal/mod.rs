//! The `Journal` source: a Perforce journal through all its rotations.
//!
//! The live file is read to its trailer, then the journal with the number the
//! trailer names is looked for: among the live file and everything in its
//! folder and the `rotated` folders that looks like a journal, plain or
//! compressed. Names are hints; the number inside a file decides.
//!
//! * `Framer` turns bytes into entries,
//! * `Catalog` knows which files there are and what they say of themselves,
//! * `decide` is the pure function that chooses between them,
//! * `JournalReader` puts the three together.

mod catalog;
mod decide;
mod doc;
mod framer;
mod gaps;
mod locate;
mod names;
mod open;
mod reader;
mod situation;
mod verify;

use catalog::{Catalog, Content, Found, Whole};
use names::Hint;
use reader::JournalReader;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tripline_api::{
    Args, ArgsError, Argument, Behind, BuildContext, Cursor, FriendlyDuration, Left,
    NextToGo, Place, Reader, Settled, Source, SourceError, SourceFactory, SourceId,
    Start, resolved,
};

/// Makes `Journal` sources.
pub static FACTORY: JournalFactory = JournalFactory;

/// The maker of `Journal` sources.
#[derive(Debug)]
pub struct JournalFactory;

/// What may stand in `Journal(...)`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalArgs {
    path: PathBuf,
    #[serde(default)]
    rotated: Vec<PathBuf>,
    #[serde(default)]
    start: StartArg,
    gap_after: Option<FriendlyDuration>,
    record_bytes_max: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
enum StartArg {
    #[default]
    Oldest,
    Now,
    Journal(u64),
    Checkpoint(u64),
}

impl SourceFactory for JournalFactory {
    fn name(&self) -> &'static str {
        "Journal"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Journal(path: "p4root/journal", rotated: ["p4root/checkpoints"], start: Oldest)"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Source>, ArgsError> {
        let args: JournalArgs = args.parse()?;
        let id = SourceId::new(context.name).ok_or_else(|| {
            ArgsError::new("a source's name has letters, digits, _ - .")
        })?;
        let record_bytes_max = args.record_bytes_max.unwrap_or(framer::RECORD_BYTES_MAX);
        if !(framer::BLOCK_BYTES..=RECORD_BYTES_MOST).contains(&record_bytes_max) {
            return Err(ArgsError::new(format!(
                "`record_bytes_max` must lie between {} and {RECORD_BYTES_MOST}",
                framer::BLOCK_BYTES
            )));
        }
        let live = context.path(&args.path);
        let rotated: Vec<_> = args.rotated.iter().map(|p| context.path(p)).collect();
        let catalog = Catalog::new(live.clone(), &rotated);
        let shared = Shared {
            id,
            live,
            start: args.start,
            gap_after: args.gap_after.map_or(GAP_AFTER, |d| d.0),
            record_bytes_max,
            catalog: Mutex::new(catalog),
        };
        Ok(Arc::new(JournalSource(Arc::new(shared))))
    }
}

/// The longest record that may be configured, in bytes: 1 GiB.
const RECORD_BYTES_MOST: usize = 1 << 30;
/// How long a file that may be the wanted one is waited for, unless configured.
const GAP_AFTER: Duration = Duration::from_secs(10);

/// A followed journal.
struct JournalSource(Arc<Shared>);

/// What all readers of one journal share.
struct Shared {
    id: SourceId,
    live: PathBuf,
    start: StartArg,
    gap_after: Duration,
    record_bytes_max: usize,
    catalog: Mutex<Catalog>,
}

impl Source for JournalSource {
    fn id(&self) -> &SourceId {
        &self.0.id
    }

    fn is_journal(&self) -> bool {
        true
    }

    fn open(&self, settled: &Settled) -> Box<dyn Reader> {
        let cursor = settled.get(&None).cloned();
        Box::new(JournalReader::new(Arc::clone(&self.0), cursor))
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.0.directories()
    }

    fn is_at(&self, path: &Path) -> bool {
        resolved(path) == resolved(&self.0.live)
    }

    fn concerns(&self, path: &Path) -> bool {
        if path == self.0.live {
            return true;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let live = self.0.live.file_name().and_then(|name| name.to_str());
        name.is_none_or(|name| {
            names::hint(name, live).is_some()
                || self.0.directories().iter().any(|d| d == path)
        })
    }

    fn behind(&self, settled: &Settled) -> Result<Behind, SourceError> {
        let files = self.0.scan()?;
        let cursor = settled.get(&None);
        let place = match cursor {
            Some(cursor) => Some(cursor.place),
            None => self.0.begins(&files)?,
        };
        // What has a higher number than the live journal is of an earlier life.
        let live = files.iter().find(|f| f.hint == Hint::Live);
        let newest = live.and_then(Found::number);
        let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
        for file in &files {
            let Content::Journal { number, .. } = &file.content else { continue };
            let sequence = number.unwrap_or(0);
            if sequence > newest.unwrap_or(u64::MAX) {
                continue;
            }
            if place.is_some_and(|p| sequence < p.sequence) {
                continue;
            }
            let size = sizes.entry(sequence).or_default();
            *size = (*size).max(self.0.length_of(file));
        }
        let read = place.map_or(0, |p| {
            sizes.get(&p.sequence).map_or(0, |size| (*size).min(p.offset))
        });
        let bytes = sizes.values().sum::<u64>() - read;
        let next_to_go = match (cursor, self.0.start) {
            // What is passed over may go.
            (None, start) if start != StartArg::Oldest => None,
            _ => self.0.next_to_go(&files, cursor, newest),
        };
        Ok(Behind::from([(None, Left { bytes, next_to_go })]))
    }

    fn find(
        &self,
        wanted: &Start,
        log: Option<&Path>,
        before: &Settled,
    ) -> Result<Settled, SourceError> {
        if let Some(log) = log {
            let (id, log) = (&self.0.id, log.display());
            return Err(SourceError::new(format!(
                "{id} is a journal, which has no log {log}: leave the path out"
            )));
        }
        let mut place = self.place_of(wanted)?;
        if let Some(before) = before.get(&None) {
            let walk = JournalReader::new(Arc::clone(&self.0), Some(before.clone()));
            place.era = before.place.era + u64::from(walk.leads_to_new_era()?);
        }
        Ok(Settled::from([(None, Cursor::unproved(place))]))
    }
}

impl JournalSource {
    fn place_of(&self, wanted: &Start) -> Result<Place, SourceError> {
        let files = self.0.scan()?;
        let (sequence, offset) = match *wanted {
            Start::Oldest => return self.0.oldest(&files).map_err(SourceError::new),
            Start::Now => return self.0.now(&files)?.map_err(SourceError::new),
            Start::Sequence(number) | Start::Checkpoint(number) => (number, 0),
            Start::Offset(number, offset) => (number, offset),
        };
        let unnumbered = || {
            // A live file without a number, put there by hand, goes by the
            // number of the one it replaced.
            let is_it = |f: &&Found| f.hint == Hint::Live && f.number().is_none();
            files
                .iter()
                .find(is_it)
                .filter(|f| matches!(f.content, Content::Journal { .. }))
        };
        let file = self.0.file_of(&files, sequence);
        let Some(file) = file.or_else(unnumbered) else {
            let there: Vec<_> =
                self.0.numbers(&files).into_keys().map(|n| n.to_string()).collect();
            return Err(SourceError::new(format!(
                "there is no journal {sequence}; there is {}",
                if there.is_empty() { "none".into() } else { there.join(", ") }
            )));
        };
        let by_proxy = self.0.file_of(&files, sequence).is_none();
        let number = file.number().unwrap_or(if by_proxy { sequence } else { 0 });
        let place = Place { offset, ..Place::start_of(0, number) };
        let found = locate::record_at(file, place)?;
        if found.offset < offset {
            return Err(SourceError::new(format!(
                "journal {sequence} ends at offset {}",
                found.offset
            )));
        }
        Ok(found)
    }
}

impl Shared {
    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        // A catalog is only a memory of what the files said: one left by a
        // thread that died is as good as any.
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scan(&self) -> Result<Vec<Found>, SourceError> {
        self.catalog().scan()
    }

    fn look(&self) -> Option<Vec<Option<SystemTime>>> {
        self.catalog().look()
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.catalog().directories().to_vec()
    }

    fn missing_folders(&self) -> Vec<PathBuf> {
        self.catalog().missing_folders().into_iter().map(PathBuf::from).collect()
    }

    /// What is known of a file's end. Of a plain file without a number inside
    /// its end is read, because only that names it.
    fn whole(&self, file: &Found) -> Option<Whole> {
        if file.gzip {
            return self.catalog().whole(file).cloned();
        }
        if file.number().is_some() {
            return None;
        }
        let last = locate::bytes_before(file, file.stamp.size, 4096).ok()?;
        let next = verify::trailer_in(&last);
        Some(Whole::Yes { next, length: file.stamp.size })
    }

    fn remember_whole(&self, file: &Found, whole: Whole) {
        self.catalog().remember_whole(file, whole);
    }

    /// Where to begin when there is no cursor; or what is missing for that.
    /// Where there was nothing at first, everything that comes is new.
    fn first(
        &self,
        files: &[Found],
        began_empty: bool,
    ) -> Result<Result<Cursor, String>, SourceError> {
        let place = match self.start {
            StartArg::Now if began_empty => self.oldest(files),
            StartArg::Oldest => self.oldest(files),
            StartArg::Now => self.now(files)?,
            StartArg::Journal(number) | StartArg::Checkpoint(number) => {
                Ok(Place::start_of(0, number))
            }
        };
        Ok(place.map(Cursor::unproved))
    }

    /// Where somebody who was never here begins; `None` for at the oldest.
    fn begins(&self, files: &[Found]) -> Result<Option<Place>, SourceError> {
        Ok(match self.start {
            StartArg::Oldest => None,
            StartArg::Now => self.now(files)?.ok(),
            StartArg::Journal(number) | StartArg::Checkpoint(number) => {
                Some(Place::start_of(0, number))
            }
        })
    }

    fn oldest(&self, files: &[Found]) -> Result<Place, String> {
        let numbers = self.numbers(files);
        let first = numbers.into_keys().next();
        first.map(|number| Place::start_of(0, number)).ok_or_else(|| self.nothing())
    }

    fn now(&self, files: &[Found]) -> Result<Result<Place, String>, SourceError> {
        let is_journal = |f: &&Found| matches!(f.content, Content::Journal { .. });
        let live = files.iter().find(|f| f.hint == Hint::Live).filter(is_journal);
        let newest = || {
            let number = *self.numbers(files).keys().next_back()?;
            self.file_of(files, number)
        };
        match live.or_else(newest) {
            Some(file) => locate::end_of(file, 0, file.number().unwrap_or(0)).map(Ok),
            None => Ok(Err(self.nothing())),
        }
    }

    fn nothing(&self) -> String {
        format!("there is no journal yet at {}", self.live.display())
    }

    /// The journals there are or may be, by the number they go by. One that
    /// cannot be read counts under the number its name gives it, so that it is
    /// waited for and not passed over.
    fn numbers<'a>(&self, files: &'a [Found]) -> BTreeMap<u64, Vec<&'a Found>> {
        let mut numbers: BTreeMap<u64, Vec<&Found>> = BTreeMap::new();
        // A live file without a number is a server's first journal, unless
        // there are numbered ones: then it was put there by hand.
        let first = files.iter().all(|f| f.number().is_none()).then_some(0);
        for file in files {
            let by_name = match file.hint {
                Hint::Rotated(number) => Some(number),
                Hint::Live | Hint::Perhaps(_) => None,
            };
            let number = match &file.content {
                Content::Journal { number: Some(number), .. } => Some(*number),
                Content::Journal { .. } => match self.whole(file) {
                    Some(Whole::Yes { next: Some(next), .. }) => {
                        Some(next.saturating_sub(1))
                    }
                    _ => by_name.or(first),
                },
                Content::NotYet | Content::Unreadable(_) => by_name,
                Content::Other => None,
            };
            if let Some(number) = number {
                numbers.entry(number).or_default().push(file);
            }
        }
        numbers
    }

    fn file_of<'a>(&self, files: &'a [Found], number: u64) -> Option<&'a Found> {
        let mut all = self.numbers(files).remove(&number)?;
        all.retain(|f| matches!(f.content, Content::Journal { .. }));
        all.into_iter().max_by_key(|f| (!f.gzip, f.hint == Hint::Live, f.stamp.size))
    }

    /// The oldest journal that is kept, if it is the one that comes next behind the
    /// cursor and no longer the live one.
    fn next_to_go(
        &self,
        files: &[Found],
        cursor: Option<&Cursor>,
        newest: Option<u64>,
    ) -> Option<NextToGo> {
        let numbers = self.numbers(files);
        let oldest = *numbers.keys().next()?;
        let needed = cursor.map_or(oldest, |c| c.next.unwrap_or(c.place.sequence));
        let file = self.file_of(files, oldest)?;
        let is_it = needed == oldest
            && file.hint != Hint::Live
            && newest.is_none_or(|newest| oldest < newest);
        is_it.then(|| NextToGo { path: file.path.clone(), others_went: oldest > 1 })
    }

    /// Decompressed bytes in a file; of one not read yet, what its last four
    /// bytes claim.
    fn length_of(&self, file: &Found) -> u64 {
        if !file.gzip {
            return file.stamp.size;
        }
        if let Some(Whole::Yes { length, .. }) = self.catalog().whole(file) {
            return *length;
        }
        let claimed = locate::bytes_before(file, file.stamp.size, 4).ok();
        let claimed = claimed.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        // No compressor does better than a thousandfold and a little.
        let most = file.stamp.size.saturating_mul(1100);
        claimed.map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)).min(most))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("id", &self.id).field("live", &self.live).finish()
    }
}

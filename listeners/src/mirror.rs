//! `Mirror`: byte-exact copies of journals, rotated as the source rotated.
//!
//! The mirror knows from its own files how far it came, so the engine's state
//! can be lost, and the mirror's files can be cut short by a power loss: it goes
//! on at the last whole record it really has. `mirror/directory.rs` has the
//! files and their changes, `mirror/current.rs` the one that grows,
//! `mirror/scan.rs` finds the end of what is whole.

mod behind;
mod current;
mod directory;
mod scan;

use crate::arguments;
use directory::{Directory, Known};
use serde::Deserialize;
use std::path::PathBuf;
use tripline_api::{
    Args, ArgsError, Argument, Begin, BuildContext, Built, Cursor, Flushed,
    FriendlyDuration, ListenError, Listener, ListenerFactory, OnGap, Place, View, Wants,
};

/// Makes [`Mirror`]s.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Mirror"
    }

    fn doc(&self) -> &'static str {
        DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Mirror(from: ["p4"], to: "backup", on_gap: Stop)"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        if arguments.from.len() > 1 {
            return Err(ArgsError::new(format!(
                "a mirror has one source, and `from` names {}: write a Mirror for each, \
                 with a directory of its own",
                arguments.from.len()
            )));
        }
        if arguments.to.as_os_str().is_empty() {
            return Err(ArgsError::new("`to` is empty: write a directory's name"));
        }
        let quiet = arguments::quiet(arguments.quiet)?;
        let to = context.path(&arguments.to);
        Ok(Built {
            only_journals: true,
            on_gap: arguments.on_gap.unwrap_or(OnGap::Stop),
            writes: Some(to.clone()),
            ..Built::new(Box::new(Mirror::new(to)), arguments.from, quiet)
        })
    }
}

const DOC: &str = "\
Keeps byte-exact copies of the journals of one source in a directory, which it makes if \
need be (mode 0700). The current one is `journal`. When the source begins the next one, \
`journal` is synced, its SHA-256 is read back from the disk into `journal.N.sha256` (for \
`sha256sum -c`), and it is renamed to `journal.N`, with the number that stands inside the \
journal.\n\
\n\
After a crash or a power loss it goes on at the last whole record that is really on the \
disk. What is there already is compared, never overwritten: where it differs from the \
source the mirror stops and says at which byte. It never leaves a hole, and at a gap it \
stops.";

const LIMITS: &[&str] = &[
    "Journals hold the hashes of passwords and tickets, and a byte-exact copy **keeps them**. \
     The files have mode 0600; give the directory the care that the server's own has.",
    "It wants a local disk.",
];

const ARGUMENTS: &[Argument] = &[
    arguments::FROM_ONE,
    Argument::needed(
        "to",
        Wants::Path,
        r#""backup""#,
        "A directory for it alone; never the server's own.",
    ),
    Argument::ON_GAP.or("Stop"),
    Argument::QUIET,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: PathBuf,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

/// The listener.
struct Mirror {
    path: PathBuf,
    /// `None` until it is read, and again after anything failed: then what is
    /// in memory is not trusted, and the disk is read anew.
    directory: Option<Directory>,
    /// The end of what was taken since `begin`.
    reached: Option<Place>,
    /// A sync failed, so that only this many bytes of the journal of this
    /// sequence are certain.
    doubt: Option<(u64, u64)>,
    /// Entries that were taken are not certain any more and must come again,
    /// and why. Only `flush` can say so; until it is asked, what is handed over
    /// is let go.
    must_begin: Option<String>,
}

impl Mirror {
    const fn new(path: PathBuf) -> Self {
        Self { path, directory: None, reached: None, doubt: None, must_begin: None }
    }

    /// The directory as it was left by the last call, or read anew after one
    /// that failed.
    fn directory(&mut self) -> Result<&mut Directory, ListenError> {
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => self.reopen()?,
        };
        Ok(self.directory.insert(directory))
    }

    fn reopen(&mut self) -> Result<Directory, ListenError> {
        let known =
            Known { sequence: self.reached.map(|r| r.sequence), ..Known::default() };
        let opened = Directory::open(&self.path, true, &known)?;
        let Some(directory) = opened else {
            return Err(ListenError::Retry(format!("{} is gone", self.path.display())));
        };
        if let Some(reached) = self.reached {
            let standing = directory.standing(reached.era)?;
            let has = standing.map(|standing| (standing.sequence, standing.whole.bytes));
            if has < Some((reached.sequence, reached.offset)) {
                self.must_begin = Some(format!(
                    "mirror {}: some of what was written is gone",
                    self.path.display()
                ));
            }
        }
        Ok(directory)
    }

    /// After an error: what is in memory is not trusted any more.
    fn distrust<T>(&mut self, result: Result<T, ListenError>) -> Result<T, ListenError> {
        if result.is_err() {
            self.directory = None;
        }
        result
    }

    /// Syncs, and remembers what is certain when that fails.
    fn sync(&mut self) -> Result<(), ListenError> {
        let Some(directory) = &mut self.directory else { return Ok(()) };
        let result = directory.sync();
        if let Err(error) = &result {
            // The system may have thrown away what it could not write, while a
            // read still shows it.
            self.doubt = directory.durable();
            self.must_begin = Some(error.to_string());
        }
        result
    }
}

impl Listener for Mirror {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        // First of all the lock of the old one goes.
        self.directory = None;
        let known = Known {
            settled: begin.cursor.filter(|_| !begin.set_by_hand),
            sequence: None,
            doubt: self.doubt,
        };
        let directory = Directory::open(&self.path, false, &known)?;
        self.doubt = None;
        self.must_begin = None;
        self.reached = None;
        let era = begin.cursor.map_or(0, |cursor| cursor.place.era);
        let standing = match &directory {
            Some(directory) => directory.standing(era)?,
            None => None,
        };
        self.directory = directory;
        let Some(Cursor { place, .. }) = begin.cursor else {
            return Ok(standing.map(|standing| standing.cursor));
        };
        match standing {
            Some(standing) if !begin.set_by_hand => Ok(Some(standing.cursor)),
            Some(standing) if standing.sequence >= place.sequence => Ok(None),
            // In the middle of a journal of which nothing is here: all of it.
            _ if place.offset > 0 => {
                let start = Place::start_of(place.era, place.sequence);
                Ok(Some(Cursor::unproved(start)))
            }
            _ => Ok(None),
        }
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let batch = entries.batch();
        let result = if entries.len() == batch.len() {
            self.take(batch.start, batch.bytes)
        } else {
            entries.entries().try_for_each(|entry| self.take(entry.place, entry.bytes))
        };
        self.distrust(result)?;
        self.reached = Some(batch.end.place);
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        if let Some(why) = &self.must_begin {
            return Err(ListenError::Retry(why.clone()));
        }
        let synced = self.sync();
        self.distrust(synced)?;
        if self.directory.as_ref().is_some_and(|directory| !directory.is_in_place()) {
            self.directory = None;
            let why = format!(
                "the files of mirror {} were moved away: beginning again from what is there",
                self.path.display()
            );
            self.must_begin = Some(why.clone());
            return Err(ListenError::Retry(why));
        }
        Ok(Flushed::All)
    }
}

impl Mirror {
    fn take(&mut self, place: Place, bytes: &[u8]) -> Result<(), ListenError> {
        if self.must_begin.is_some() {
            return Ok(());
        }
        self.directory()?;
        let rotates = self.reached.is_some_and(|r| r.sequence != place.sequence);
        // A journal is finished only when all of it is certain.
        if rotates && self.sync().is_err() {
            self.directory = None;
        }
        if self.must_begin.is_some() {
            return Ok(());
        }
        self.directory()?.write(place, bytes)
    }
}

#[cfg(test)]
mod tests;

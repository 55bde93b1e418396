//! One suite over all listeners: what each of them owes the engine.
//!
//! [`KINDS`] has a row for every listener in [`crate::ALL`], or several where it
//! goes ways that have little in common: how to let it write into a directory,
//! and how to read back what it wrote. [`conforms`] runs the suite over one of
//! them, and panics with a sentence where it fails.

mod kinds;
mod logs;
mod other_end;

use crate::testing::{Feed, OwnedBatch};
pub use kinds::KINDS;
use other_end::OtherEnd;
use std::path::Path;
use std::time::{Duration, Instant};
use tripline_api::{
    Args, ArgsError, Argument, Begin, BuildContext, Built, Cursor, Flushed, Gap, GapKind,
    ListenError, Listener, ListenerFactory, OnGap, Place, Settled,
};

/// How the suite handles one kind of listener.
pub struct Kind {
    /// The factory's name.
    pub name: &'static str,
    /// Arguments that let it follow the source `p4` and write below the
    /// directory of the configuration. For one that writes to the network
    /// `{receiver}` in them stands for the address, `host:port`, of a receiver
    /// (of HTTP, where `to` begins so) that keeps whole lines in the file
    /// `received` there, and `{ca}` for the file with the certificate that signed
    /// its own; for one to another Tripline `{relay}` is its address and `{peer}` the
    /// name of who sends, the folder of which stands in the file `relayed`;
    /// `{mailbox}` stands for that of a mail server that keeps the lines of mails
    /// there; for one that goes by SSH, `{standby}` is a user and a host with this
    /// machine's files, its keys are in `{keys}`, and `{directory}` is that of the
    /// configuration.
    pub arguments: &'static str,
    /// What it has written below that directory, in order, piece by piece.
    pub output: fn(&Path) -> Vec<Vec<u8>>,
    /// What it promises when entries come again after a crash.
    pub promise: Promise,
}

/// What a listener promises when entries come again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Its output is as if there had been no crash.
    Once,
    /// The same, but for a crash before the engine noted anything at all: that looks
    /// like an engine whose state was lost, which has everything come again.
    OnceNoted,
    /// Its output has every piece, and may have some of them again.
    AtLeastOnce,
}

/// Runs the whole suite over one kind of listener, in a directory that is empty.
///
/// # Panics
///
/// Where the listener does not conform; says how.
pub fn conforms(factory: &dyn ListenerFactory, kind: &Kind, scratch: &Path) {
    let receiver = OtherEnd::of(kind.arguments, scratch)
        .unwrap_or_else(|error| panic!("cannot receive: {error}"));
    let suite = Suite { factory, kind, scratch, receiver };
    suite.describes_itself();
    suite.describes_its_arguments();
    suite.refuses_what_it_does_not_know();
    suite.needs_no_entries();
    for (name, feed) in feeds() {
        suite.survives_a_crash_anywhere(name, &feed);
    }
    suite.takes_a_gap();
    suite.takes_logs();
}

struct Suite<'a> {
    factory: &'a dyn ListenerFactory,
    kind: &'a Kind,
    scratch: &'a Path,
    receiver: OtherEnd,
}

impl Suite<'_> {
    fn describes_itself(&self) {
        let (name, doc) = (self.factory.name(), self.factory.doc());
        assert_eq!(name, self.kind.name, "the row is for another listener");
        assert!(doc.len() > 40, "{name}: `doc` says too little");
        let example = self.factory.example();
        let arguments = example.strip_prefix(name).unwrap_or_else(|| {
            panic!("{name}: the example starts with another word: {example}")
        });
        let directory = self.directory("example");
        if let Err(error) = self.build_from(&Args::new(arguments), &directory) {
            panic!("{name}: the example does not build: {error}");
        }
        let left = entries_of(&directory);
        assert!(left.is_empty(), "{name}: building it made {left:?}");
    }

    fn describes_its_arguments(&self) {
        let (name, arguments) = (self.factory.name(), self.factory.arguments());
        let directory = self.directory("described");
        let build = |args: &Args<'_>| self.build_from(args, &directory).err();
        let differences = Argument::differences(arguments, &build);
        assert!(differences.is_empty(), "{name}, its `arguments`: {differences:#?}");
        let docs =
            arguments.iter().map(|it| it.doc).chain(self.factory.limits().to_vec());
        for doc in docs {
            assert!(doc.ends_with('.'), "{name}: this is no sentence: {doc}");
        }
    }

    fn refuses_what_it_does_not_know(&self) {
        let name = self.kind.name;
        let directory = self.directory("refused");
        let arguments = self.arguments(&directory);
        let inner = arguments.strip_suffix(')').unwrap_or(&arguments);
        let text = format!("{inner}, no_such_argument: 1)");
        let Err(error) = self.build_from(&Args::new(&text), &directory) else {
            panic!("{name} takes an argument that is none");
        };
        let at =
            error.at.clone().unwrap_or_else(|| panic!("{name}: no place in: {error}"));
        assert!(
            text[at].contains("no_such_argument"),
            "{name}: the wrong place: {error}"
        );
        let without = Args::new("(from: [])");
        assert!(
            self.build_from(&without, &directory).is_err(),
            "{name} builds without a source"
        );
    }

    fn needs_no_entries(&self) {
        let directory = self.directory("no-entries");
        let feed = Feed::new("p4");
        let mut listener = self.build(&directory).listener;
        self.must(listener.flush(), "flush before begin");
        let answer = self.must(listener.begin(&feed.begin(None)), "begin");
        assert_eq!(answer, None, "{}: a cursor out of nothing", self.kind.name);
        self.must(listener.no_data(false), "no_data(false)");
        self.must(listener.no_data(true), "no_data(true)");
        self.must(listener.flush(), "flush without entries");
    }

    /// Crashes behind every batch, with and without a flush before, and once
    /// more in the middle of what comes again. Then crashes between a flush and the
    /// engine's noting it: all of it comes again, to a listener that has it.
    fn survives_a_crash_anywhere(&self, name: &str, feed: &Feed) {
        let batches = feed.unsettled(&Settled::new(), BATCH_BYTES);
        let wanted = self.undisturbed(name, feed);
        for crash in 0..=batches.len() {
            for (flush_every, is_noted) in
                [(1, true), (3, true), (usize::MAX, true), (1, false)]
            {
                let case = format!("{name}-{crash}-{flush_every}-{is_noted}");
                let directory = self.directory(&case);
                let mut settled = Settled::new();
                let mut run = |batches_max| {
                    let listener = &mut *self.build(&directory).listener;
                    let before = settled.clone();
                    self.run(listener, feed, &mut settled, flush_every, batches_max);
                    let is_first = before.is_empty();
                    let is_kept = is_first && self.kind.promise == Promise::OnceNoted;
                    if !is_noted && !is_kept {
                        settled = before;
                    }
                };
                run(crash);
                run(2);
                run(usize::MAX);
                let noted = if is_noted { "" } else { ", flushes not noted" };
                let case =
                    format!("{name}, crash at {crash}, flush every {flush_every}{noted}");
                self.compare(&case, &wanted, &self.output(&directory));
                _ = std::fs::remove_dir_all(&directory);
            }
        }
    }

    fn undisturbed(&self, name: &str, feed: &Feed) -> Vec<Vec<u8>> {
        let directory = self.directory(&format!("{name}-undisturbed"));
        let listener = &mut *self.build(&directory).listener;
        self.run(listener, feed, &mut Settled::new(), usize::MAX, usize::MAX);
        let output = self.output(&directory);
        assert!(!output.is_empty(), "{}: nothing was written", self.kind.name);
        output
    }

    /// What a lane does, up to a crash after some batches; after all of them it
    /// flushes.
    fn run(
        &self,
        listener: &mut dyn Listener,
        feed: &Feed,
        settled: &mut Settled,
        flush_every: usize,
        batches_max: usize,
    ) {
        let begun = self.begin(listener, feed, settled);
        let from = begun.map_or_else(|| settled.clone(), |c| Settled::from([(None, c)]));
        let batches = feed.unsettled(&from, BATCH_BYTES);
        let mut pending = Settled::new();
        for (index, batch) in batches.iter().take(batches_max).enumerate() {
            self.patiently(|| batch.deliver(listener), "listen");
            pending.insert(batch.log().cloned(), batch.end().clone());
            let is_last = index + 1 == batches.len();
            if is_last || (index + 1).is_multiple_of(flush_every) {
                self.settle(listener);
                settled.append(&mut pending);
            }
        }
    }

    fn begin(
        &self,
        listener: &mut dyn Listener,
        feed: &Feed,
        settled: &Settled,
    ) -> Option<Cursor> {
        // Of logs the engine says with some cursor that there was a start.
        let cursor = settled.get(&None).or_else(|| settled.values().next());
        let begin = feed.begin(cursor);
        self.patiently(|| listener.begin(&begin), "begin")
    }

    /// Calls again as long as it is busy, as a lane does.
    fn patiently<T>(
        &self,
        mut call: impl FnMut() -> Result<T, ListenError>,
        what: &str,
    ) -> T {
        let since = Instant::now();
        loop {
            match call() {
                Err(ListenError::Busy(_)) if since.elapsed() < SETTLE_MAX => {
                    std::thread::yield_now();
                }
                result => return self.must(result, what),
            }
        }
    }

    /// Flushes, and waits until it is done.
    fn settle(&self, listener: &mut dyn Listener) {
        let since = Instant::now();
        let mut is_flushed = self.must(listener.flush(), "flush") == Flushed::All;
        while !is_flushed {
            assert!(since.elapsed() < SETTLE_MAX, "{}: never flushed", self.kind.name);
            std::thread::yield_now();
            is_flushed = self.must(listener.is_flushed(), "is_flushed");
        }
    }

    fn takes_a_gap(&self) {
        let directory = self.directory("gap");
        let built = self.build(&directory);
        if built.on_gap == OnGap::Stop {
            return;
        }
        let mut listener = built.listener;
        let first = [JOURNAL_1, SUBMIT].concat();
        let feed = Feed::new("p4").journal(1, &first).journal(3, JOURNAL_3);
        let batches: Vec<OwnedBatch> = feed.batches(None, usize::MAX);
        let begin = Begin { source: feed.source(), cursor: None, set_by_hand: true };
        self.must(listener.begin(&begin), "begin");
        self.must(batches[0].deliver(&mut *listener), "listen");
        let gap = Gap {
            source: feed.source().clone(),
            log: None,
            kind: GapKind::Missing,
            from: batches[0].end().place,
            to: Place::start_of(0, 3),
            proof: None,
            missing: Some((2, 2)),
            bytes: None,
            why: "journal 2 is gone".into(),
            repair: "restore it".into(),
        };
        self.must(listener.gap(&gap), "gap");
        self.must(batches[1].deliver(&mut *listener), "listen behind a gap");
        self.settle(&mut *listener);
        assert!(!self.output(&directory).is_empty(), "{}: nothing", self.kind.name);
    }

    fn compare(&self, case: &str, wanted: &[Vec<u8>], found: &[Vec<u8>]) {
        let name = self.kind.name;
        match self.kind.promise {
            Promise::Once | Promise::OnceNoted => assert!(
                wanted == found,
                "{name}, {case}: another output than without a crash:\n{}\n{}",
                show(wanted),
                show(found)
            ),
            Promise::AtLeastOnce => {
                let missing = wanted.iter().find(|piece| !found.contains(piece));
                assert!(
                    missing.is_none(),
                    "{name}, {case}: something is missing:\n{}\n{}",
                    show(wanted),
                    show(found)
                );
                let extra = found.iter().find(|piece| !wanted.contains(piece));
                assert!(extra.is_none(), "{name}, {case}: something is too much");
            }
        }
    }

    fn build(&self, directory: &Path) -> Built {
        let built = self.build_from(&Args::new(&self.arguments(directory)), directory);
        built.unwrap_or_else(|error| {
            panic!("{}: its row's arguments do not build: {error}", self.kind.name)
        })
    }

    fn build_from(&self, args: &Args<'_>, directory: &Path) -> Result<Built, ArgsError> {
        let state = directory.join("state");
        let context = BuildContext { name: "tested", directory, state: &state };
        self.factory.build(args, &context)
    }

    fn arguments(&self, directory: &Path) -> String {
        self.receiver.arguments(self.kind.arguments, directory)
    }

    fn output(&self, directory: &Path) -> Vec<Vec<u8>> {
        if let Some(received) = self.must(self.receiver.received(), "receive") {
            let written = std::fs::write(directory.join("received"), received);
            self.must(written, "keep what was received");
        }
        (self.kind.output)(directory)
    }

    fn directory(&self, name: &str) -> std::path::PathBuf {
        let directory = self.scratch.join(name);
        std::fs::create_dir_all(&directory).unwrap_or_else(|error| {
            panic!("cannot make {}: {error}", directory.display())
        });
        directory
    }

    fn must<T>(&self, result: Result<T, impl std::fmt::Display>, what: &str) -> T {
        result.unwrap_or_else(|error| panic!("{}: {what}: {error}", self.kind.name))
    }
}

/// Everything the listeners are fed with.
fn feeds() -> Vec<(&'static str, Feed)> {
    let long = format!("@pv@ 0 @db.desc@ 9 @{}@ \n@ex@ 1 9\n", "line\n".repeat(400_000));
    let long = [long.as_bytes(), SUBMIT].concat();
    let (first, hostile) =
        ([JOURNAL_1, SUBMIT, TRAILER_1].concat(), [HOSTILE, SUBMIT].concat());
    vec![
        ("one", Feed::new("p4").journal(1, &first)),
        (
            "rotated",
            Feed::new("p4")
                .journal(0, JOURNAL_0)
                .journal(1, &first)
                .journal(2, JOURNAL_2)
                .journal(3, JOURNAL_3),
        ),
        ("hostile", Feed::new("p4").journal(7, &hostile)),
        ("long", Feed::new("p4").journal(0, &long)),
    ]
}

/// A server's first journal: nothing in it says its number but the trailer.
const JOURNAL_0: &[u8] = b"@pv@ 1 @db.counters@ @upgrade@ @1@ \n@ex@ 1 90\n\
    @rv@ 1 @db.counters@ @journal@ @1@ \n@ex@ 1 91\n";

const JOURNAL_1: &[u8] = b"@nx@ 2 100 @40@ 10 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
    @vv@ 1 @db.counters@ @journal@ @1@ \n@ex@ 1 100\n\
    @pv@ 0 @db.desc@ 7 @two\nlines, and @@pv@@ 1 @@db.x@@\n@ \n@ex@ 2 101\n\
    @rv@ 4 @db.user@ @ann@ @ann@@example@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 0 0 \n\
    @mx@ 3 102\n@ex@ 3 102\n";

const TRAILER_1: &[u8] = b"@rv@ 1 @db.counters@ @journal@ @2@ \n\
    @nx@ 3 103 @40@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 4 103\n";

/// A change, and somebody who reviews it.
const SUBMIT: &[u8] = b"@pv@ 3 @db.user@ @bob@ @bob@@example.com@ @@ 1 2 @Bob@ @@ 0 @@ 0 \n\
    @pv@ 1 @db.review@ @bob@ 0 0 @//depot/...@ 0 \n@ex@ 5 102\n\
    @pv@ 0 @db.desc@ 12 @Fix the loader\n@ \n@pv@ 1 @db.change@ 12 12 @ws@ @ann@ 102 0 @@ @@ \n\
    @ex@ 6 102\n@rv@ 1 @db.change@ 12 12 @ws@ @ann@ 102 1 @@ @@ \n\
    @pv@ 0 @db.revcx@ 12 @//depot/a@ 1 0 \n@mx@ 6 102\n\
    @pv@ 0 @db.revcx@ 12 @//depot/b@ 3 1 \n@ex@ 6 102\n";

/// As short as a journal can be.
const JOURNAL_2: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @2@ \n@ex@ 1 110\n\
    @rv@ 1 @db.counters@ @journal@ @3@ \n@ex@ 1 111\n";

const JOURNAL_3: &[u8] = b"@nx@ 2 120 @40@ 10 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \r\n\
    @vv@ 1 @db.counters@ @journal@ @3@ \r\n@ex@ 1 120\r\n\
    @pv@ 0 @db.desc@ 8 @windows\r\n@ \r\n@ex@ 2 121\r\n@pv@ 0 @db.desc@ 9 @torn";

const HOSTILE: &[u8] = b"@vv@ 1 @db.counters@ @journal@ @7@ \n\
    @pv@ 0 @db.desc@ 1 @nul \0 in text@ \n\
    @pv@ 0 @db.desc@ 2 @caf\xe9 \xff\xfe not utf-8@ \n\
    @pv@ 0 @db.desc@ 3 @\"quotes\" \\ and \x1b]0;title\x07 \x1b[2J \r\n..\n@ \n\
    @pv@ 0 @db.@@@ 4 @@@@@@ \n\
    @pv@ 99999999999999999999 @db.x@ -1 \n\
    @zz@ unknown @\n@ \n\
    \n\n\0\0\0\0@ex@ 1 2\n\
    garbage without end\n\
    @pv@ 0 @db.desc@ 5 @torn in the mid\n@ex@ 1 3\n\
    @ex@ nobody never\n@ex@ 18446744073709551615 9223372036854775807\n";

/// So long a listener may take to say that it has flushed.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// So small that a batch holds an entry or two.
const BATCH_BYTES: usize = 100;

fn entries_of(directory: &Path) -> Vec<String> {
    let found = std::fs::read_dir(directory).into_iter().flatten().flatten();
    found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn show(pieces: &[Vec<u8>]) -> String {
    let show = |piece: &Vec<u8>| {
        let shown = &piece[..piece.len().min(300)];
        format!("  {}\n", shown.escape_ascii())
    };
    pieces.iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A listener without a row would not be tested: there is one for each, in
    /// the registry's order.
    #[test]
    fn every_listener_has_a_row() {
        let listeners: Vec<&str> = crate::ALL.iter().map(|f| f.name()).collect();
        let mut rows: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
        rows.dedup();
        assert_eq!(listeners, rows);
    }

    /// `TRIPLINE_LISTENER=Print` runs the suite over one of them alone.
    #[test]
    fn every_listener_conforms() {
        let only = std::env::var("TRIPLINE_LISTENER").ok();
        let is_wanted = |kind: &&Kind| only.as_deref().is_none_or(|it| it == kind.name);
        let kinds = Mutex::new(KINDS.iter().filter(is_wanted));
        let work = || {
            while let Some(kind) = { kinds.lock().unwrap().next() } {
                let scratch = tempfile::tempdir().unwrap();
                let factory = crate::find(kind.name).unwrap();
                conforms(factory, kind, scratch.path());
            }
        };
        // The first that fails says which it is.
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| (0..workers).for_each(|_| _ = scope.spawn(work)));
    }

    #[test]
    fn names_find_their_factory() {
        assert_eq!(crate::find("Print").map(|factory| factory.name()), Some("Print"));
        assert!(crate::find("print").is_none());
    }
}

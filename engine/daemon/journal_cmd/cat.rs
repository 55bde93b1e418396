//! `tripline journal cat`: every record as a JSON object.
//!
//! One thread reads and splits, some encode, this one writes. The batches go
//! round the encoders in turn, so their order is kept without numbering them.

use super::batches::{Batches, OwnedBatch};
use super::count::number_by_trailer;
use super::input::{Input, is_damage};
use crate::cli::{CatArgs, exit};
use crate::terminal;
use crossbeam_channel::{Receiver, Sender, bounded};
use p4journal::Head;
use std::cmp::Ordering;
use std::io::{self, Read, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::thread::{self, Scope, ScopedJoinHandle};
use tripline_api::{Cursor, Entry, Place, Secrets, SourceId, Start, write_entry};
use tripline_diagnose::shown;

/// Writes the records of all files.
pub(crate) fn run(args: &CatArgs) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    for (index, path) in args.files.iter().enumerate() {
        let read = match Journal::open(path, args, index > 0) {
            Ok(Some(journal)) => journal.write()?,
            Ok(None) => continue,
            Err(error) => {
                terminal::say(format_args!("{error:#}"));
                code = exit::FAILED;
                continue;
            }
        };
        code = code.max(read.complain(path));
    }
    Ok(ExitCode::from(code))
}

/// A journal to be written.
struct Journal<'a> {
    source: SourceId,
    start: Place,
    did_rotate: bool,
    /// The first bytes, which were read to find the number.
    head: Vec<u8>,
    input: Box<dyn Read + Send>,
    wanted: Wanted<'a>,
}

/// Which entries, and how.
struct Wanted<'a> {
    tables: &'a [String],
    ops: &'a [String],
    /// Only those that begin at this byte or behind it.
    from: u64,
    raw: bool,
}

/// What came of reading a journal.
struct ReadThrough {
    error: Option<io::Error>,
    damage: Damage,
}

/// Pieces that are no records.
#[derive(Clone, Copy, Default)]
struct Damage {
    count: u64,
    /// The line of the first one, from 1.
    line: u64,
}

impl<'a> Journal<'a> {
    /// Opens a journal; `None` if all of it lies before what is wanted.
    fn open(
        path: &Path,
        args: &'a CatArgs,
        did_rotate: bool,
    ) -> anyhow::Result<Option<Self>> {
        let input = Input::open(path)?;
        let source =
            args.source.clone().unwrap_or_else(|| source_id(path, input.is_gzip()));
        let mut input = input.into_reader();
        let mut head = Vec::new();
        // A damaged file is reported when it is read on.
        while head.len() < HEAD_BYTES_MAX
            && Read::by_ref(&mut input)
                .take(4096)
                .read_to_end(&mut head)
                .is_ok_and(|n| n > 0)
        {
            if Head::read(&head) != Head::NeedMore {
                break;
            }
        }
        let number = Head::read(&head).number();
        let Some(from) = from(args.since, || number.or_else(|| number_by_trailer(path)))
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            source,
            // Not the trailer's number: ids do not depend on what is written later.
            start: Place::start_of(0, number.unwrap_or_default()),
            did_rotate,
            head,
            input,
            wanted: Wanted { tables: &args.tables, ops: &args.ops, from, raw: args.raw },
        }))
    }

    /// Reads, encodes and writes. Fails when writing does.
    fn write(self) -> anyhow::Result<ReadThrough> {
        let Self { source, start, did_rotate, head, input, wanted, .. } = self;
        let encoders =
            thread::available_parallelism().map_or(1, |it| it.get().min(ENCODERS_MAX));
        let batches = Batches::new(input, head, start, did_rotate);
        thread::scope(|scope| {
            let mut lanes = Vec::with_capacity(encoders);
            let (used, empty) = bounded(encoders * BATCHES_MAX);
            let mut senders = Vec::with_capacity(encoders);
            for index in 0..encoders {
                let (sender, lane) = Lane::start(scope, index, &source, &wanted)?;
                senders.push(sender);
                lanes.push(lane);
            }
            let reader = thread::Builder::new()
                .name("read".to_owned())
                .spawn_scoped(scope, move || read(batches, &senders, &empty))?;
            let written = write_in_turn(&lanes, &used);
            // The encoders stop when nobody takes what they have, and the
            // reader when nobody takes its batches.
            drop(used);
            let threads: Vec<_> = lanes.into_iter().map(|lane| lane.thread).collect();
            let mut damage = Damage::default();
            for thread in threads {
                let died = |_| anyhow::anyhow!("an encoding thread died");
                damage = damage.and(thread.join().map_err(died)?);
            }
            let died = |_| anyhow::anyhow!("the reading thread died");
            let error = reader.join().map_err(died)?.err();
            written?;
            Ok(ReadThrough { error, damage })
        })
    }
}

/// The byte from which on a journal is wanted; `None` if nothing of it is. One
/// without a number is wanted as a whole: it may be any.
fn from(since: Option<Start>, number: impl FnOnce() -> Option<u64>) -> Option<u64> {
    let (sequence, offset) = match since {
        None | Some(Start::Oldest) => return Some(0),
        // Nothing lies behind the end.
        Some(Start::Now) => return None,
        Some(Start::Sequence(sequence) | Start::Checkpoint(sequence)) => (sequence, 0),
        Some(Start::Offset(sequence, offset)) => (sequence, offset),
    };
    match number().map_or(Ordering::Greater, |number| number.cmp(&sequence)) {
        Ordering::Less => None,
        Ordering::Equal => Some(offset),
        Ordering::Greater => Some(0),
    }
}

impl ReadThrough {
    /// Says what went wrong, and the exit code that goes with it.
    fn complain(&self, path: &Path) -> u8 {
        let path = shown(path);
        let mut code = 0;
        let Damage { count, line } = self.damage;
        if count > 0 {
            let words = match count {
                1 => "once there is no record where one should be,".to_owned(),
                _ => format!(
                    "{count} times there is no record where one should be, the first time"
                ),
            };
            terminal::say(format_args!("`{path}`: {words} in line {line}"));
            code = exit::NO;
        }
        if let Some(error) = &self.error {
            terminal::say(format_args!("`{path}`: {error}"));
            code = if is_damage(error) { exit::NO } else { exit::FAILED };
        }
        code
    }
}

impl Damage {
    fn note(&mut self, entry: &Entry<'_>) {
        *self = self.and(Self { count: 1, line: entry.place.line + 1 });
    }

    fn and(self, other: Self) -> Self {
        match (self.count, other.count) {
            (_, 0) => self,
            (0, _) => other,
            _ => {
                Self { count: self.count + other.count, line: self.line.min(other.line) }
            }
        }
    }
}

/// An encoder and the way out of it.
struct Lane<'scope> {
    encoded: Receiver<(Vec<u8>, OwnedBatch)>,
    /// Written buffers go back, to be filled again.
    written: Sender<Vec<u8>>,
    thread: ScopedJoinHandle<'scope, Damage>,
}

impl<'scope> Lane<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        index: usize,
        source: &'env SourceId,
        wanted: &'env Wanted<'_>,
    ) -> io::Result<(Sender<OwnedBatch>, Self)> {
        let (sender, batches) = bounded::<OwnedBatch>(BATCHES_MAX);
        let (encoded_sender, encoded) = bounded(BATCHES_MAX);
        let (written, free) = bounded(BATCHES_MAX);
        let work = move || {
            let mut damage = Damage::default();
            for batch in batches {
                let mut out = free.try_recv().unwrap_or_default();
                encode(&mut out, &batch, source, wanted, &mut damage);
                if encoded_sender.send((out, batch)).is_err() {
                    break;
                }
            }
            damage
        };
        let name = format!("encode-{index}");
        let thread = thread::Builder::new().name(name).spawn_scoped(scope, work)?;
        Ok((sender, Self { encoded, written, thread }))
    }
}

fn read(
    mut batches: Batches<impl Read>,
    encoders: &[Sender<OwnedBatch>],
    empty: &Receiver<OwnedBatch>,
) -> io::Result<()> {
    for encoder in encoders.iter().cycle() {
        let used = empty.try_recv().unwrap_or_default();
        let Some(batch) = batches.next(used)? else { break };
        if encoder.send(batch).is_err() {
            break;
        }
    }
    Ok(())
}

fn write_in_turn(lanes: &[Lane<'_>], used: &Sender<OwnedBatch>) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    for lane in lanes.iter().cycle() {
        let Ok((mut out, batch)) = lane.encoded.recv() else { break };
        stdout.write_all(&out)?;
        out.clear();
        // With no room for them, or nobody to fill them, they are freed.
        _ = lane.written.try_send(out);
        _ = used.try_send(batch);
    }
    stdout.flush()
}

fn encode(
    out: &mut Vec<u8>,
    batch: &OwnedBatch,
    source: &SourceId,
    wanted: &Wanted<'_>,
    damage: &mut Damage,
) {
    let end = Cursor::unproved(Place::default());
    for mut entry in batch.view(source, &end).entries() {
        // What does not parse is damage too.
        entry.incomplete |= entry.record().is_none();
        if entry.incomplete {
            damage.note(&entry);
        }
        if !wanted.includes(&entry) {
            continue;
        }
        if wanted.raw {
            out.extend_from_slice(entry.bytes);
        } else {
            write_entry(out, &entry, Secrets::Redact);
        }
    }
}

impl Wanted<'_> {
    fn includes(&self, entry: &Entry<'_>) -> bool {
        if entry.place.offset < self.from {
            return false;
        }
        if self.tables.is_empty() && self.ops.is_empty() {
            return true;
        }
        entry.record().is_some_and(|record| {
            let is_table = |table: &String| record.table() == Some(table);
            let is_op = |op: &String| record.op_text() == op.trim_matches('@');
            (self.tables.is_empty() || self.tables.iter().any(is_table))
                && (self.ops.is_empty() || self.ops.iter().any(is_op))
        })
    }
}

/// A name for the source of a file: the file's own, as far as names allow, and
/// the same whether it is gzipped or not.
fn source_id(path: &Path, is_gzip: bool) -> SourceId {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = match name.strip_suffix(".gz") {
        Some(stem) if is_gzip => stem,
        _ => &name,
    };
    let plain =
        |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let mut id: String = name.chars().map(plain).take(SourceId::BYTES_MAX).collect();
    if id.is_empty() || id.starts_with('.') {
        id.insert(0, '_');
        id.truncate(SourceId::BYTES_MAX);
    }
    SourceId::new(&id).expect("only characters of names are left")
}

/// Where the number is looked for.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// More threads than this wait for the one that reads.
const ENCODERS_MAX: usize = 4;

/// How many batches may wait in front of an encoder, and behind it.
const BATCHES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_cuts_the_journal_that_it_is_in() {
        let from = |since, number| from(Some(since), || number);
        assert_eq!(from(Start::Offset(2, 7), Some(1)), None);
        assert_eq!(from(Start::Offset(2, 7), Some(2)), Some(7));
        assert_eq!(from(Start::Offset(2, 7), Some(3)), Some(0));
        assert_eq!(from(Start::Offset(2, 7), None), Some(0), "it may be any");
        assert_eq!(from(Start::Sequence(2), Some(1)), None);
        assert_eq!(from(Start::Checkpoint(2), Some(2)), Some(0));
        assert_eq!(from(Start::Oldest, Some(1)), Some(0));
        assert_eq!(from(Start::Now, None), None);
    }

    #[test]
    fn files_give_sources_their_names() {
        let id = |path: &str, is_gzip| source_id(Path::new(path), is_gzip).to_string();
        assert_eq!(id("/a/journal.12.gz", true), "journal.12");
        assert_eq!(id("/a/journal.12.gz", false), "journal.12.gz");
        assert_eq!(id("my journal~", false), "my_journal_");
        assert_eq!(id(".hidden", false), "_.hidden");
        assert_eq!(id("/", false), "_");
        assert_eq!(id(&"é".repeat(300), false).len(), SourceId::BYTES_MAX);
    }
}

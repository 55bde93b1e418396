//! An old file as a stream of events, each with its time.

use crate::config::Config;
use crate::explain_cmd::source_named;
use anyhow::{Context as _, bail};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_api::{Again, LineTime, Place, Reader, Source, Span, Step, TimeFormat};
use tripline_diagnose::{shown, words};
use tripline_follow::archive::{Archive, Format, Limits};
use tripline_rules::evaluate::{Gather, Lines, Transaction};

/// An old file.
pub(super) struct Stream {
    pub(super) path: PathBuf,
    /// Of the file among all: the middle part of the ids of its events.
    pub(super) number: u64,
    pub(super) source: Arc<dyn Source>,
    /// Entries without a time of their own.
    pub(super) untimed: u64,
    /// How times are read though the source does not say it.
    pub(super) guessed: Option<TimeFormat>,
    content: Content,
    /// The latest time so far: a file is in the order in which it was written.
    latest: Option<i64>,
}

enum Content {
    Lines(Box<LineStream>),
    Journal(Box<JournalStream>),
}

/// Events of one time.
pub(super) enum Part<'a> {
    /// Lines of a log.
    Lines { lines: Lines<'a>, entries: u64 },
    /// A transaction of a journal.
    Transaction { source: &'a str, transaction: Transaction, bytes: u64 },
}

impl Part<'_> {
    pub(super) const fn entries(&self) -> u64 {
        match self {
            Self::Lines { entries, .. } => *entries,
            Self::Transaction { .. } => 1,
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Lines { lines, .. } => lines.bytes.len() as u64,
            Self::Transaction { bytes, .. } => *bytes,
        }
    }
}

impl Stream {
    /// Opens a file of the source of that name, or of the one that would follow it. One
    /// without content is none.
    pub(super) fn open(
        path: &Path,
        number: u64,
        config: &Config,
        source: Option<&str>,
    ) -> anyhow::Result<Option<Self>> {
        let doing = || format!("cannot read `{}`", shown(path));
        let (mut input, near) = open(path).with_context(doing)?;
        let mut first = Vec::new();
        input.by_ref().take(FIRST_BYTES).read_to_end(&mut first).with_context(doing)?;
        if first.is_empty() {
            return Ok(None);
        }
        let is_journal = p4journal::Op::of(&first).is_some();
        let source = match source {
            Some(name) => source_named(config, name, is_journal).with_context(doing)?,
            None => source_of(config, path, is_journal)?,
        };
        let own = source.line_time().cloned();
        let (time, guessed) = match own {
            Some(time) => (Some(time), None),
            None if is_journal => (None, None),
            None => guess(&first, near),
        };
        let input: Box<dyn Read + Send> = Box::new(Cursor::new(first).chain(input));
        let content = match is_journal {
            true => Content::Journal(Box::new(JournalStream::new(input, number))),
            false => {
                let reader = source.read_text(path, input, time.as_ref(), near);
                let reader = reader.context("the source has no lines")?;
                Content::Lines(Box::new(LineStream::new(reader, time, near, number)))
            }
        };
        Ok(Some(Self {
            path: path.to_owned(),
            number,
            source,
            untimed: 0,
            guessed,
            content,
            latest: None,
        }))
    }

    /// The time of the next events, in seconds since 1970; `None` at the end.
    pub(super) fn peek(&mut self) -> anyhow::Result<Option<i64>> {
        let found = match &mut self.content {
            Content::Lines(lines) => lines.peek(self.latest, &mut self.untimed),
            Content::Journal(journal) => journal.peek(),
        };
        let doing = || format!("cannot read `{}`", shown(&self.path));
        let Some(time) = found.with_context(doing)? else { return Ok(None) };
        let latest = self.latest.map_or(time, |latest| latest.max(time));
        self.latest = Some(latest);
        Ok(Some(latest))
    }

    /// The events that [`peek`](Self::peek) found.
    pub(super) fn take(&mut self) -> Part<'_> {
        let source = self.source.id().as_str();
        match &mut self.content {
            Content::Lines(lines) => lines.take(source),
            Content::Journal(journal) => journal.take(source),
        }
    }
}

/// The file's bytes, decompressed, and when it was written to last.
fn open(path: &Path) -> io::Result<(Box<dyn Read + Send>, i64)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let input: Box<dyn Read + Send> = match Format::of_file(&file)? {
        None => Box::new(file),
        Some(format) if !format.is_supported() => {
            return Err(io::Error::other(format!("{format} is not built in")));
        }
        Some(format) => Box::new(Plain(Archive::new(file, format, Limits::default()))),
    };
    Ok((input, metadata.mtime()))
}

/// What an archive holds, to be read.
struct Plain(Archive);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.fill(buffer).map_err(io::Error::other)
    }
}

/// The source that follows such a file.
fn source_of(
    config: &Config,
    path: &Path,
    is_journal: bool,
) -> anyhow::Result<Arc<dyn Source>> {
    let all: Vec<_> =
        config.sources.iter().filter(|it| it.is_journal() == is_journal).collect();
    let noun = if is_journal { "journal" } else { "log" };
    if all.is_empty() {
        bail!("`{}` is a {noun}, and no source is one", shown(path));
    }
    let absolute = std::path::absolute(path)?;
    let follows = |it: &&&Arc<dyn Source>| it.is_at(&absolute) || it.concerns(&absolute);
    let found: Vec<_> = all.iter().filter(follows).collect();
    match (found.as_slice(), all.as_slice()) {
        ([one], _) => Ok(Arc::clone(one)),
        ([], [one]) => Ok(Arc::clone(one)),
        _ => {
            let names = all.iter().map(|it| it.id().as_str());
            let names = words::alternatives(names);
            bail!("of which source is `{}`? Say --source {names}", shown(path))
        }
    }
}

/// How most of the first lines write their time, if they have one.
fn guess(first: &[u8], near: i64) -> (Option<LineTime>, Option<TimeFormat>) {
    let lines: Vec<&[u8]> =
        first.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    for format in [TimeFormat::Iso, TimeFormat::Syslog] {
        let Ok(time) = LineTime::new(format, None) else { continue };
        let found = lines.iter().filter(|line| time.parse(line, near).is_some()).count();
        if 2 * found > lines.len() {
            return (Some(time), Some(format));
        }
    }
    (None, None)
}

struct LineStream {
    reader: Box<dyn Reader>,
    time: Option<LineTime>,
    near: i64,
    /// Of the file among all: part of ids.
    number: u64,
    /// A copy of what the reader handed out last.
    bytes: Vec<u8>,
    spans: Vec<Span>,
    start: Place,
    /// Up to here it was taken: spans, bytes, lines.
    taken: (usize, usize, u64),
    /// Behind the spans that come next.
    end: usize,
    /// Those, from their own start.
    run: Vec<Span>,
}

impl LineStream {
    fn new(
        reader: Box<dyn Reader>,
        time: Option<LineTime>,
        near: i64,
        number: u64,
    ) -> Self {
        Self {
            reader,
            time,
            near,
            number,
            bytes: Vec::new(),
            spans: Vec::new(),
            start: Place::default(),
            taken: (0, 0, 0),
            end: 0,
            run: Vec::new(),
        }
    }

    fn peek(
        &mut self,
        latest: Option<i64>,
        untimed: &mut u64,
    ) -> anyhow::Result<Option<i64>> {
        if self.taken.0 == self.spans.len() && !self.refill()? {
            return Ok(None);
        }
        self.end = self.taken.0;
        let own = self.time_of(self.end);
        *untimed += u64::from(own.is_none());
        // What has no time happened with what came before it.
        let time = own.or(latest).or_else(|| {
            (self.end..self.spans.len()).find_map(|index| self.time_of(index))
        });
        let time = time.unwrap_or(self.near);
        self.end += 1;
        while self.end < self.spans.len() {
            match self.time_of(self.end) {
                Some(other) if other > time => break,
                Some(_) => {}
                None => *untimed += 1,
            }
            self.end += 1;
        }
        Ok(Some(time))
    }

    fn time_of(&self, index: usize) -> Option<i64> {
        let from = index.checked_sub(1).map_or(0, |it| self.spans[it].end as usize);
        let line = &self.bytes[from..self.spans[index].end as usize];
        self.time.as_ref()?.parse(line, self.near)
    }

    /// Asks the reader for more.
    fn refill(&mut self) -> anyhow::Result<bool> {
        loop {
            match self.reader.next()? {
                Step::Batch(batch) => {
                    self.bytes.clear();
                    self.bytes.extend_from_slice(batch.bytes);
                    self.spans.clear();
                    self.spans.extend_from_slice(batch.spans);
                    self.start = Place { sequence: self.number, ..batch.start };
                    self.taken = (0, 0, 0);
                    return Ok(true);
                }
                Step::Idle(idle) if idle.again != Again::Now => return Ok(false),
                _ => {}
            }
        }
    }

    fn take<'a>(&'a mut self, source: &'a str) -> Part<'a> {
        let (from, start, lines) = self.taken;
        let spans = &self.spans[from..self.end];
        self.run.clear();
        let moved = |span: &Span| Span { end: span.end - start as u32, ..*span };
        self.run.extend(spans.iter().map(moved));
        let end = spans.last().map_or(start, |span| span.end as usize);
        let feeds: u64 = spans.iter().map(|span| u64::from(span.lines)).sum();
        let entries = spans.len() as u64;
        self.taken = (self.end, end, lines + feeds);
        Part::Lines {
            lines: Lines {
                source,
                start: self.start.advance(start as u64, lines),
                bytes: &self.bytes[start..end],
                spans: Some(&self.run),
                time: self.time.as_ref().map(|time| (time, self.near)),
            },
            entries,
        }
    }
}

struct JournalStream {
    reader: p4journal::Reader<Box<dyn Read + Send>>,
    gather: Gather,
    number: u64,
    next: Option<Transaction>,
    /// How many bytes were read since the last transaction.
    bytes: u64,
}

impl JournalStream {
    fn new(input: Box<dyn Read + Send>, number: u64) -> Self {
        let reader = p4journal::Reader::new(input);
        Self { reader, gather: Gather::default(), number, next: None, bytes: 0 }
    }

    fn peek(&mut self) -> anyhow::Result<Option<i64>> {
        while self.next.is_none() {
            let Some(entry) = self.reader.next()? else { return Ok(None) };
            self.bytes += entry.bytes.len() as u64;
            let (offset, line) = (entry.offset, entry.line);
            let place = Place { sequence: self.number, offset, line, ..Place::default() };
            self.next = self.gather.push(entry.bytes, place);
        }
        Ok(self.next.as_ref().map(|it| it.marker.time))
    }

    fn take<'a>(&mut self, source: &'a str) -> Part<'a> {
        let bytes = std::mem::take(&mut self.bytes);
        match self.next.take() {
            Some(transaction) => Part::Transaction { source, transaction, bytes },
            // Only what was found is taken.
            None => Part::Lines {
                lines: Lines {
                    source,
                    start: Place::default(),
                    bytes: &[],
                    spans: None,
                    time: None,
                },
                entries: 0,
            },
        }
    }
}

/// How much of a file is looked at to know what it is, in bytes.
const FIRST_BYTES: u64 = 16 * 1024;

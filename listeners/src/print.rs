//! `Print`: entries as JSON lines, in a file or on standard output.
//!
//! Each line carries the entry's id, and the file's own tail tells which entries
//! are in it: after a crash they are skipped when they come again, so that a
//! file has each line once. `print/output.rs` has the file, `print/tail.rs`
//! reads its end, `print/written.rs` remembers what is in it.

pub(crate) mod output;
mod tail;
mod written;

use crate::arguments;
use crate::filter::Filter;
use output::Output;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tail::Newest;
use tripline_api::{
    Args, ArgsError, Argument, Batch, Begin, BuildContext, Built, Cursor, Entry, Flushed,
    FriendlyDuration, Gap, ListenError, Listener, ListenerFactory, OnGap, Secrets, View,
    Wants, write_entry, write_gap,
};
use written::{Stretch, Written};

/// Makes [`Print`]s.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Print"
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
        r#"Print(from: ["p4"], to: "audit.jsonl", tables: ["db.user", "db.protect"])"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        if arguments.to.as_os_str().is_empty() {
            return Err(ArgsError::new(
                "`to` is empty: write a file's name, or \"-\" for standard output",
            ));
        }
        let filter = Filter::new(arguments.tables, arguments.ops)?;
        let to = match arguments.to.as_path() {
            dash if dash == Path::new("-") => None,
            file => Some(context.path(file)),
        };
        let writes = to.clone();
        let only_journals = filter.is_only_for_journals();
        let listener = Box::new(Print {
            to,
            filter,
            secrets: arguments.secrets.unwrap_or_default(),
            output: None,
            written: Written::default(),
            buffer: Vec::new(),
        });
        // Devices and pipes may be shared.
        let writes =
            writes.filter(|to| to.metadata().is_ok_and(|m| m.is_file()) || !to.exists());
        let quiet = arguments::quiet(arguments.quiet)?;
        Ok(Built {
            only_journals,
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            writes,
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

const DOC: &str = "\
Writes entries as JSON objects, one a line, to a file (mode 0600, as entries may hold what \
is private) or to standard output. A line of a log becomes an object with its `path` and \
its `text`, a record of a journal one with its `table` and its `fields`. A gap becomes a \
line with `gap` in it.\n\
\n\
A file has each line once, also after a crash or a power loss: a line torn at the end is \
cut off, and what the last lines (64 MiB of them are looked at) show to be written is not \
written again. After the cursor was moved back by hand, entries that come again are \
written again.\n\
\n\
The file may be renamed by others, as logrotate does: it is noticed at the next flush, and \
a new one is begun.";

const LIMITS: &[&str] = &[
    "Standard output cannot be looked at: after a crash a line may come twice there, with \
     the same id.",
    "An entry in a file that was renamed, and that was not settled when the daemon died, \
     comes again in the new file.",
];

const ARGUMENTS: &[Argument] = &[
    Argument::FROM,
    Argument::needed(
        "to",
        Wants::Path,
        r#""audit.jsonl""#,
        "A file, or \"-\" for standard output. No other listener may write to it.",
    ),
    arguments::TABLES,
    arguments::OPS,
    Argument::SECRETS,
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: PathBuf,
    tables: Option<Vec<String>>,
    ops: Option<Vec<String>>,
    secrets: Option<Secrets>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

/// The listener.
struct Print {
    /// `None` is standard output.
    to: Option<PathBuf>,
    filter: Filter,
    secrets: Secrets,
    /// Opened when it is first needed.
    output: Option<Output>,
    /// The newest lines in the output.
    written: Written,
    /// Lines not written yet; kept for its memory.
    buffer: Vec<u8>,
}

impl Listener for Print {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        // So that what is found next is certain.
        self.flush()?;
        let output = open(&mut self.output, self.to.as_deref())?;
        if begin.set_by_hand {
            self.written.forget(begin.source);
        } else {
            self.written.learn(begin.source, output.newest(begin.source)?);
        }
        Ok(None)
    }

    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        self.filter.wants(entry)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let Batch { source, log, start, .. } = entries.batch();
        let stretch = Stretch::new(source, log.is_some(), start.era);
        let is_preview = log.is_some_and(|log| log.is_preview);
        let mut newest = self.written.newest(&stretch);
        self.buffer.clear();
        for entry in entries.entries() {
            if newest.is_some_and(|newest| newest.has_entry(entry.place)) {
                continue;
            }
            write_entry(&mut self.buffer, &entry, self.secrets);
            if !is_preview {
                newest = Some(Newest::entry(entry.place));
            }
            if self.buffer.len() >= BUFFER_BYTES {
                self.write(&stretch, newest)?;
            }
        }
        self.write(&stretch, newest)?;
        // A giant record is over: give its memory back.
        self.buffer.clear();
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        let Some(output) = &mut self.output else { return Ok(Flushed::All) };
        if let Err(error) = output.sync() {
            if output.is_plain() {
                // What is not certain was given up, and comes again.
                self.written.undo();
            }
            return Err(error);
        }
        self.written.is_durable();
        if !output.is_in_place() {
            self.output = None;
        }
        Ok(Flushed::All)
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let stretch = Stretch::new(&gap.source, gap.log.is_some(), gap.to.era);
        if self.written.newest(&stretch).is_some_and(|newest| newest.has_gap(gap.to)) {
            return Ok(());
        }
        self.buffer.clear();
        write_gap(&mut self.buffer, gap);
        self.write(&stretch, Some(Newest::gap(gap.to)))
    }

    fn no_data(&mut self, had_data: bool) -> Result<(), ListenError> {
        // Whoever renames a quiet file waits for a new one all the same.
        if !had_data && self.output.as_ref().is_some_and(|output| !output.is_in_place()) {
            self.flush()?;
            if self.output.is_none() {
                open(&mut self.output, self.to.as_deref())?;
            }
        }
        Ok(())
    }
}

impl Print {
    /// Writes the buffer out, after which `newest` is the newest line.
    fn write(
        &mut self,
        stretch: &Stretch,
        newest: Option<Newest>,
    ) -> Result<(), ListenError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let output = open(&mut self.output, self.to.as_deref())?;
        output.append(&self.buffer)?;
        self.buffer.clear();
        if let Some(newest) = newest {
            self.written.is_written(stretch, newest);
        }
        Ok(())
    }
}

fn open<'a>(
    output: &'a mut Option<Output>,
    to: Option<&Path>,
) -> Result<&'a mut Output, ListenError> {
    let opened = match output.take() {
        Some(output) => output,
        None => match to {
            Some(path) => Output::file(path)?,
            None => Output::standard()?,
        },
    };
    Ok(output.insert(opened))
}

/// How many bytes of lines are collected before they are written. A single line
/// may be longer.
const BUFFER_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests;

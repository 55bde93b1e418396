//! A listener of one's own, in a program that is `tripline` in every other way.
//!
//! `Headlines` writes the first line of every change description that passes by,
//! and that of every entry of a log. It is a template: copy this file, rename the
//! listener, change what [`Arguments`] and the descriptions above it,
//! [`Headlines::is_handled`] and [`headline`] say, and keep the rest.
//!
//! ```text
//! "news": Headlines(from: ["p4"], to: "headlines.jsonl"),
//!
//! cargo run --example my_listener -- run tripline.ron --until-idle
//! ```

use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, Argument, BuildContext, Built, Entry, Flushed, FriendlyDuration,
    Gap, ListenError, Listener, ListenerFactory, OnGap, View, Wants, write_gap,
};

/// The listeners that come with Tripline, and behind them this one.
static LISTENERS: LazyLock<Vec<&dyn ListenerFactory>> =
    LazyLock::new(|| [tripline_listeners::ALL, &[&Factory]].concat());

/// All commands of `tripline`, which know the new listener too.
fn main() -> ExitCode {
    tripline::main(&LISTENERS)
}

/// Makes [`Headlines`]: its name, its words for people, its arguments.
struct Factory;

impl ListenerFactory for Factory {
    // The word in front of the parenthesis.
    fn name(&self) -> &'static str {
        "Headlines"
    }

    fn doc(&self) -> &'static str {
        "Writes the first line of every change description, and of every entry of a \
         log, to the file `to`, as JSON objects, one a line. After a crash a line may \
         come twice, with the same id."
    }

    // What people read of each; the suite says when one is forgotten.
    fn arguments(&self) -> &'static [Argument] {
        ARGUMENTS
    }

    // The conformance suite builds it, so it cannot go stale.
    fn example(&self) -> &'static str {
        r#"Headlines(from: ["p4"], to: "headlines.jsonl")"#
    }

    // `tripline check` builds listeners too: nothing is written or opened here.
    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        if arguments.from.is_empty() {
            return Err(ArgsError::new("`from` names no source: write `from: [\"p4\"]`"));
        }
        // Paths are relative to the configuration, not to where one stands.
        let listener = Headlines { to: context.path(&arguments.to), file: None };
        let quiet = arguments.quiet.map_or(Duration::from_secs(5), |quiet| quiet.0);
        Ok(Built {
            // Headlines can have a hole, if it shows; a backup would say `Stop`.
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            // `check` makes sure that nobody else writes there.
            writes: Some(context.path(&arguments.to)),
            ..Built::new(Box::new(listener), arguments.from, quiet)
        })
    }
}

/// The arguments in words, in the order of the struct below.
const ARGUMENTS: &[Argument] = &[
    Argument::FROM,
    Argument::needed("to", Wants::Path, r#""headlines.jsonl""#, "The file."),
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

/// What may stand in the parenthesis. A word that is not here is refused, with
/// its line and column.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: PathBuf,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

/// The listener. It lives on a thread of its own, so plain fields will do.
struct Headlines {
    to: PathBuf,
    /// `None` before the first entry, and after anything failed: what is known
    /// of a file that failed is not trusted.
    file: Option<File>,
}

impl Listener for Headlines {
    // Called for every entry: cheap, and without effect.
    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        if let Some(log) = &entry.log {
            // What is shown before it is finished comes again when it is.
            return !log.is_preview;
        }
        let record = entry.record();
        record.is_some_and(|r| r.table() == Some("db.desc") && r.op().is_put())
    }

    // After a `Retry` the same entries come again, so each line carries the id
    // by which a reader knows it.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let lines: Vec<u8> = entries.entries().flat_map(|entry| line(&entry)).collect();
        self.write(&lines)
    }

    // `All` promises that everything listened to is on the disk: the cursor
    // passes it and it never comes again. `Soon` is for those who have to wait for
    // somebody else's answer: see `Listener::is_flushed`.
    fn flush(&mut self) -> Result<Flushed, ListenError> {
        let Some(file) = &self.file else { return Ok(Flushed::All) };
        let synced = file.sync_data();
        self.must("cannot sync", synced)?;
        Ok(Flushed::All)
    }

    // Something is lost, and `on_gap` says to go on: put it on record.
    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut line = Vec::new();
        write_gap(&mut line, gap);
        self.write(&line)
    }
}

impl Headlines {
    fn write(&mut self, lines: &[u8]) -> Result<(), ListenError> {
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => self.open(),
        };
        let file = self.must("cannot open", file)?;
        let written = (&file).write_all(lines);
        self.file = Some(file);
        self.must("cannot write", written)
    }

    fn open(&self) -> std::io::Result<File> {
        let mut options = OpenOptions::new();
        // Descriptions may be private.
        options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&self.to)?;
        // A new file is there after a power loss only if its directory is synced.
        File::open(self.to.parent().unwrap_or(&self.to))?.sync_all()?;
        if file.seek(SeekFrom::End(0))? > 0 {
            // A line that a crash tore is ended. It is no JSON, so nobody takes
            // it for a whole one, and its entry comes again.
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(file)
    }

    /// What the system says no to may work later: `Retry`. `Stop` is for what
    /// needs a person.
    fn must<T>(
        &mut self,
        what: &str,
        result: std::io::Result<T>,
    ) -> Result<T, ListenError> {
        result.map_err(|error| {
            self.file = None;
            ListenError::io(format!("{what} {}", self.to.display()), &error)
        })
    }
}

/// One line of the file.
#[derive(Serialize)]
struct Headline<'a> {
    /// Stays the same for ever: `source/sequence/offset`.
    id: &'a str,
    /// Of a change description.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
    /// Of a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    headline: String,
}

/// One line of the file, as bytes.
fn line(entry: &Entry<'_>) -> Vec<u8> {
    let id = entry.id();
    let mut line = serde_json::to_vec(&headline(entry, &id)).unwrap_or_default();
    line.push(b'\n');
    line
}

/// What is said of an entry: a line of a log, or the record of a journal.
fn headline<'a>(entry: &Entry<'_>, id: &'a str) -> Headline<'a> {
    if let Some(log) = &entry.log {
        let path = Some(log.path.to_string_lossy().into_owned());
        return Headline { id, change: None, path, headline: first_line(entry.text()) };
    }
    let record = entry.record();
    let column = |wanted| {
        let mut columns = record.iter().flat_map(|record| record.columns());
        let found = columns.find(|(name, _)| name.known() == Some(wanted));
        first_line(&found.map(|(_, value)| value.text()).unwrap_or_default())
    };
    let change = Some(column("descKey"));
    Headline { id, change, path: None, headline: column("description") }
}

/// A text is whatever somebody typed, of any length and in any encoding: it is
/// cut, decoded with replacements, and escaped by JSON.
fn first_line(text: &[u8]) -> String {
    const HEADLINE_CHARS_MAX: usize = 72;
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(first).chars().take(HEADLINE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_listeners::conformance::{Kind, Promise, conforms};
    use tripline_listeners::testing::Feed;

    /// The suite that the listeners of Tripline pass: crashes behind every
    /// batch, hostile bytes, arguments that are none, a gap.
    #[test]
    fn it_conforms() {
        let kind = Kind {
            name: "Headlines",
            arguments: r#"(from: ["p4"], to: "out.jsonl")"#,
            output: |directory| {
                let content = std::fs::read(directory.join("out.jsonl"));
                let content = content.unwrap_or_default();
                content
                    .split_inclusive(|byte| *byte == b'\n')
                    .map(<[u8]>::to_vec)
                    .collect()
            },
            promise: Promise::AtLeastOnce,
        };
        let scratch = tempfile::tempdir().unwrap();
        conforms(&Factory, &kind, scratch.path());
    }

    #[test]
    fn a_headline_is_the_first_line() {
        let journal = b"@pv@ 0 @db.desc@ 7 @Fix it.\n\nBecause ann@@home said so.@ \n\
            @rv@ 1 @db.counters@ @change@ @7@ \n@ex@ 1 100\n";
        let (directory, mut headlines) = headlines();
        for batch in Feed::new("p4").journal(3, journal).batches(None, 20) {
            batch.deliver(&mut headlines).unwrap();
        }
        headlines.flush().unwrap();
        let written = std::fs::read_to_string(directory.path().join("out")).unwrap();
        let expected = "{\"id\":\"p4/3/0\",\"change\":\"7\",\"headline\":\"Fix it.\"}\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn a_line_of_a_log_is_one_too() {
        let (directory, mut headlines) = headlines();
        let feed = Feed::new("app").log("/var/log/app.log", b"It began.\r\nIt en");
        for batch in feed.batches(None, 20).iter().chain(&feed.previews()) {
            batch.deliver(&mut headlines).unwrap();
        }
        let written = std::fs::read_to_string(directory.path().join("out")).unwrap();
        let expected = ",\"path\":\"/var/log/app.log\",\"headline\":\"It began.\"}\n";
        assert!(written.starts_with("{\"id\":\"app/0/0~"), "{written}");
        assert!(written.ends_with(expected) && written.lines().count() == 1, "{written}");
    }

    #[test]
    fn a_torn_line_is_ended() {
        let (directory, mut headlines) = headlines();
        let path = directory.path().join("out");
        std::fs::write(&path, "{\"id\":\"p4/3").unwrap();
        headlines.write(b"{}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"id\":\"p4/3\n{}\n");
    }

    fn headlines() -> (tempfile::TempDir, Headlines) {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("out");
        (directory, Headlines { to, file: None })
    }
}

//! `tripline journal count`: what is in the files, in numbers.

use super::input::{Input, is_damage};
use crate::cli::{CountArgs, exit};
use crate::terminal::{self, Answers};
use p4journal::{Count, Counter};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::ExitCode;
use tripline_diagnose::shown;

/// Writes one JSON object a file.
pub(crate) fn run(args: &CountArgs) -> anyhow::Result<ExitCode> {
    let mut code = 0;
    for path in &args.files {
        let (count, error) = match Input::open(path) {
            Ok(input) => count(input),
            Err(error) => {
                terminal::say(format_args!("{error:#}"));
                code = exit::FAILED;
                continue;
            }
        };
        let is_unreadable = error.as_ref().is_some_and(|error| !is_damage(error));
        if is_unreadable {
            code = exit::FAILED;
        } else if error.is_some() || count.damaged > 0 {
            code = code.max(exit::NO);
        }
        complain(path, &count, error.as_ref());
        print(path, &count, error)?;
    }
    Ok(ExitCode::from(code))
}

/// The number of a journal that does not say it itself but ends with the
/// trailer of a rotation. Reads it to its end.
pub(super) fn number_by_trailer(path: &Path) -> Option<u64> {
    // What can be read only once is not read for this.
    let is_file = std::fs::metadata(path).is_ok_and(|it| it.is_file());
    let input = is_file.then(|| Input::open_file(path).ok())??;
    count(input).0.number
}

/// Counts a file as far as it can be read.
fn count(input: Input) -> (Count, Option<io::Error>) {
    match input {
        // On several cores.
        Input::Plain(file) => match Count::of_file(&file) {
            Ok(count) => (count, None),
            Err(error) => (Counter::new().finish(), Some(error)),
        },
        Input::Pipe(reader) => {
            count_stream(&mut BufReader::with_capacity(256 * 1024, reader))
        }
        Input::Gzip(mut gunzip) => count_stream(&mut gunzip),
    }
}

fn count_stream(input: &mut impl BufRead) -> (Count, Option<io::Error>) {
    let mut counter = Counter::new();
    loop {
        match input.fill_buf() {
            Ok([]) => return (counter.finish(), None),
            Ok(block) => {
                counter.push(block);
                let len = block.len();
                input.consume(len);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (counter.finish(), Some(error)),
        }
    }
}

fn complain(path: &Path, count: &Count, error: Option<&io::Error>) {
    let path = shown(path);
    if let Some(error) = error {
        let bytes = count.bytes;
        terminal::say(format_args!("`{path}`, after {bytes} bytes: {error}"));
    }
    // The complete bytes end where the first damage begins.
    let at = count.bytes_complete;
    match count.damaged {
        0 => {}
        1 => terminal::say(format_args!(
            "`{path}`: one stretch of bytes is no record, at byte {at}"
        )),
        many => terminal::say(format_args!(
            "`{path}`: {many} stretches of bytes are no records, the first one at byte {at}"
        )),
    }
}

fn print(path: &Path, count: &Count, error: Option<io::Error>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Json<'a> {
        file: Cow<'a, str>,
        number: Option<u64>,
        records: u64,
        transactions: u64,
        bytes: u64,
        bytes_complete: u64,
        complete: bool,
        damaged: u64,
        /// The number of the next journal, when this one was rotated.
        next_number: Option<u64>,
        error: Option<String>,
        ops: &'a BTreeMap<String, u64>,
        tables: &'a BTreeMap<String, u64>,
    }
    let mut json = serde_json::to_vec(&Json {
        file: path.to_string_lossy(),
        number: count.number,
        records: count.records,
        transactions: count.transactions,
        bytes: count.bytes,
        bytes_complete: count.bytes_complete,
        complete: count.is_complete() && error.is_none(),
        damaged: count.damaged,
        next_number: count.next_number,
        error: error.map(|error| error.to_string()),
        ops: &count.ops,
        tables: &count.tables,
    })?;
    json.push(b'\n');
    Answers::new().write_all(&json)
}

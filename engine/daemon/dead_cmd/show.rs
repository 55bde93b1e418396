//! Letters for people and for programs.

use crate::terminal::printable;
use base64::Engine as _;
use serde_json::json;
use std::io::{self, Write};
use tripline_api::{Content, Filed, Letter, Secrets, write_entry};

/// How much of a reason is shown in a table.
const WHY_CHARS_MAX: usize = 60;

/// A line a letter.
pub(super) fn write_table(out: &mut impl Write, letters: &[Filed]) -> io::Result<()> {
    let mut cells = vec![
        ["NUMBER", "LISTENER", "ENTRY", "ATTEMPTS", "SINCE", "WHY"].map(str::to_owned),
    ];
    for Filed { number, time, letter } in letters {
        let more = match letter.entries {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        cells.push([
            number.to_string(),
            letter.key.listener.to_string(),
            format!("{}{more}", id(letter)),
            letter.attempts.to_string(),
            when(*time),
            printable(&letter.why).chars().take(WHY_CHARS_MAX).collect(),
        ]);
    }
    let widths = std::array::from_fn::<_, 6, _>(|column| {
        cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    for row in &cells {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A JSON object a line, without what the letters hold.
pub(super) fn write_json_lines(
    out: &mut impl Write,
    letters: &[Filed],
) -> io::Result<()> {
    letters.iter().try_for_each(|filed| writeln!(out, "{}", outside(filed)))
}

/// One letter with what it holds, as a JSON object; secrets are redacted.
pub(super) fn write_one(out: &mut impl Write, filed: &Filed) -> io::Result<()> {
    let mut object = outside(filed);
    match &filed.letter.content {
        Content::Entry(bytes) => object["entry"] = entry(&filed.letter, bytes),
        Content::Made(bytes) => {
            object["made"] = match std::str::from_utf8(bytes) {
                Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
                Err(_) => base64(bytes),
            };
        }
    }
    writeln!(out, "{object:#}")
}

fn outside(filed: &Filed) -> serde_json::Value {
    let Filed { number, time, letter } = filed;
    json!({
        "number": number,
        "listener": letter.key.listener.as_str(),
        "id": id(letter),
        "path": letter.key.log.as_ref().map(|path| path.to_string_lossy()),
        "entries": letter.entries,
        "why": letter.why,
        "attempts": letter.attempts,
        "time": when(*time),
    })
}

fn entry(letter: &Letter, bytes: &[u8]) -> serde_json::Value {
    let mut text = Vec::new();
    letter.with_entry(|batch| {
        batch.entries().for_each(|it| write_entry(&mut text, &it, Secrets::Redact));
    });
    serde_json::from_slice(&text).unwrap_or_else(|_| base64(bytes))
}

fn base64(bytes: &[u8]) -> serde_json::Value {
    json!({ "base64": base64::engine::general_purpose::STANDARD.encode(bytes) })
}

fn id(letter: &Letter) -> String {
    format!("{}/{}", letter.key.source, letter.place.id())
}

fn when(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(|_| "-".to_owned(), |time| time.to_string())
}

//! What is collected for the next mail: numbers, and the first entries.

use super::covers::{Covers, Stretch};
use super::text;
use base64::Engine as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Instant;
use tripline_api::{
    Entry, Gap, Key, ListenerId, Place, Secrets, SourceId, View, write_entry, write_gap,
};

/// Entries that go into one mail. It grows with what is shown of them and with
/// the number of logs, not with how many there are.
#[derive(Debug, Default)]
pub(super) struct Digest {
    since: Option<Instant>,
    count: u64,
    gaps: u64,
    shown: Vec<Shown>,
    shown_bytes: usize,
    sources: BTreeSet<String>,
    first: Option<(Key, Place, String)>,
    last: Option<Last>,
    covers: Covers,
}

/// An entry of which more is kept than its number.
#[derive(Debug)]
struct Shown {
    value: Value,
    /// As `Print` would write it.
    json: Vec<u8>,
}

#[derive(Debug)]
enum Last {
    Entry(SourceId, Place),
    Gap(String),
}

/// The most that is kept of shown entries, in bytes of their JSON.
const SHOWN_BYTES_MAX: usize = 512 * 1024;
/// The most of one line that is looked at, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The most of one value that a template sees, in characters.
const VALUE_CHARS_MAX: usize = 8 * 1024;
/// The longest summary, in characters.
const SUMMARY_CHARS_MAX: usize = 500;
/// So many sources are named.
const SOURCES_MAX: usize = 100;

/// How entries are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Showing {
    /// How many.
    pub(super) show: usize,
    pub(super) secrets: Secrets,
}

impl Digest {
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many entries and gaps it has.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// When the first came.
    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// The key and the place of the first.
    pub(super) fn first(&self) -> Option<(&Key, Place)> {
        self.first.as_ref().map(|(key, place, _)| (key, *place))
    }

    /// The ids of the first and of the last.
    pub(super) fn ids(&self) -> (String, String) {
        let first = self.first.as_ref().map(|(.., id)| id.clone());
        let last = match &self.last {
            Some(Last::Entry(source, place)) => format!("{source}/{}", place.id()),
            Some(Last::Gap(id)) => id.clone(),
            None => String::new(),
        };
        (first.unwrap_or_default(), last)
    }

    /// Takes the entries that are in no mail yet.
    pub(super) fn add(
        &mut self,
        listener: &ListenerId,
        entries: &View<'_>,
        mailed: &Covers,
        showing: Showing,
    ) {
        let batch = entries.batch();
        let stretch = Stretch::new(batch.source, batch.log.is_some(), batch.start.era);
        let mut end = None;
        for entry in entries.entries() {
            if mailed.has_entry(&stretch, entry.place) {
                continue;
            }
            end = Some((entry.place, entry.end()));
            self.count += 1;
            if self.first.is_none() {
                let log = entry.log.map(|log| log.path.clone());
                let key =
                    Key { source: batch.source.clone(), listener: listener.clone(), log };
                self.first = Some((key, entry.place, entry.id()));
            }
            if self.shows_more(showing) {
                self.show(show_entry(&entry, showing.secrets));
            }
        }
        let Some((last, end)) = end else { return };
        self.comes_from(batch.source);
        self.last = Some(Last::Entry(batch.source.clone(), last));
        self.covers.add_entries(stretch, end);
    }

    /// Takes a gap, unless it is in a mail.
    pub(super) fn add_gap(
        &mut self,
        listener: &ListenerId,
        gap: &Gap,
        mailed: &Covers,
        showing: Showing,
    ) {
        let stretch = Stretch::new(&gap.source, gap.log.is_some(), gap.to.era);
        if mailed.has_gap(&stretch, gap.to) {
            return;
        }
        self.count += 1;
        self.gaps += 1;
        if self.first.is_none() {
            let (source, log) = (gap.source.clone(), gap.log.clone());
            let key = Key { source, listener: listener.clone(), log };
            self.first = Some((key, gap.to, gap.id()));
        }
        // One gap says more than many entries.
        if self.shows_more(showing) || self.gaps == 1 {
            self.show(show_gap(gap));
        }
        self.comes_from(&gap.source);
        self.last = Some(Last::Gap(gap.id()));
        self.covers.add_gap(stretch, gap.to);
    }

    fn shows_more(&self, showing: Showing) -> bool {
        self.shown.len() < showing.show && self.shown_bytes < SHOWN_BYTES_MAX
    }

    fn show(&mut self, shown: Shown) {
        self.shown_bytes += shown.json.len();
        self.shown.push(shown);
    }

    fn comes_from(&mut self, source: &SourceId) {
        self.since.get_or_insert_with(Instant::now);
        if !self.sources.contains(source.as_str()) && self.sources.len() < SOURCES_MAX {
            self.sources.insert(source.as_str().to_owned());
        }
    }

    /// What a template sees.
    pub(super) fn context(&self, listener: &ListenerId, host: &str) -> Value {
        let entries: Vec<&Value> = self.shown.iter().map(|shown| &shown.value).collect();
        let (first, last) = self.ids();
        json!({
            "listener": listener.as_str(),
            "host": host,
            "count": self.count,
            "gaps": self.gaps,
            "suppressed": self.count - self.shown.len() as u64,
            "sources": self.sources,
            "first": first,
            "last": last,
            "entries": entries,
        })
    }

    /// The shown entries as JSON lines, at most so many bytes.
    pub(super) fn json_lines(&self, bytes_max: usize) -> Vec<u8> {
        let mut lines = Vec::new();
        for shown in &self.shown {
            if lines.len() + shown.json.len() <= bytes_max {
                lines.extend_from_slice(&shown.json);
            }
        }
        lines
    }

    /// Up to where its entries reach.
    pub(super) const fn covers(&self) -> &Covers {
        &self.covers
    }
}

fn show_entry(entry: &Entry<'_>, secrets: Secrets) -> Shown {
    let mut entry = *entry;
    let whole = entry.bytes.len();
    if entry.log.is_some() && whole > LINE_BYTES_MAX {
        entry.bytes = &entry.bytes[..LINE_BYTES_MAX];
        entry.incomplete = true;
    }
    let mut json = Vec::new();
    write_entry(&mut json, &entry, secrets);
    let mut value = readable(serde_json::from_slice(&json).unwrap_or_default());
    if json.len() > SHOWN_BYTES_MAX {
        json = b"{\"id\":\"".to_vec();
        json.extend_from_slice(entry.id().as_bytes());
        json.extend_from_slice(format!("\",\"too_long\":{whole}}}\n").as_bytes());
    }
    if whole > entry.bytes.len()
        && let Some(Value::String(text)) = value.get_mut("text")
    {
        text.push('\u{2026}');
    }
    let summary = summary_of_entry(&value);
    complete(&mut value, entry.time(), summary);
    Shown { value, json }
}

fn show_gap(gap: &Gap) -> Shown {
    let mut json = Vec::new();
    write_gap(&mut json, gap);
    let mut value = readable(serde_json::from_slice(&json).unwrap_or_default());
    let summary = format!("GAP: {}. To repair it, {}", gap.why, gap.repair);
    complete(&mut value, None, summary);
    Shown { value, json }
}

/// Every entry has all the names, so that a template needs not ask.
fn complete(value: &mut Value, time: Option<i64>, summary: String) {
    let Value::Object(map) = value else { return };
    if let Value::Object(all) = &super::template::trial()["entries"][0] {
        for name in all.keys().filter(|name| *name != "fields") {
            map.entry(name.clone()).or_insert(Value::Null);
        }
    }
    map.entry("fields").or_insert_with(|| Value::Object(Map::new()));
    let when = time.and_then(|time| jiff::Timestamp::from_second(time).ok());
    let when = when.map_or(Value::Null, |when| Value::String(when.to_string()));
    map.insert("when".to_owned(), when);
    map.insert("time".to_owned(), time.map_or(Value::Null, Value::from));
    let summary = text::one_line(&summary, SUMMARY_CHARS_MAX);
    map.insert("summary".to_owned(), Value::String(summary));
}

/// One line that says what an entry is.
fn summary_of_entry(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if let Some(text) = text("text") {
        return text.to_owned();
    }
    let Some(op) = text("op") else {
        return format!("no record: {}", text("raw").unwrap_or_default());
    };
    let mut summary = op.to_owned();
    if let Some(table) = text("table") {
        summary = format!("{summary} {table}");
    }
    if let Some(Value::Object(fields)) = value.get("fields") {
        for (name, value) in fields {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            if shown.is_empty() {
                continue;
            }
            summary += &format!(" {name}={}", text::one_line(&shown, 80));
            if summary.len() > SUMMARY_CHARS_MAX {
                break;
            }
        }
    }
    summary
}

/// Bytes that are no UTF-8, which JSON has as base64, as text for people; and
/// nothing too long.
fn readable(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            if let (1, Some(Value::String(encoded))) = (map.len(), map.get("base64")) {
                let engine = &base64::engine::general_purpose::STANDARD;
                let bytes = engine.decode(encoded).unwrap_or_default();
                return Value::String(text::of_bytes(&bytes, VALUE_CHARS_MAX));
            }
            let pairs = map.into_iter().map(|(name, value)| (name, readable(value)));
            Value::Object(pairs.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        Value::String(text) => match text.char_indices().nth(VALUE_CHARS_MAX) {
            Some((at, _)) => Value::String(format!("{}\u{2026}", &text[..at])),
            None => Value::String(text),
        },
        other => other,
    }
}

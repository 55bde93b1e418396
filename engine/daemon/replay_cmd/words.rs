//! How a replay reads.

use super::stream::Stream;
use super::tally::Fired;
use super::{Replay, Side};
use crate::explain_cmd::local;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tripline_diagnose::{counted, shown, steers};
use tripline_rules::evaluate::Counts;

/// What each rule of a side did, by name.
fn counts(side: &Side) -> BTreeMap<&str, Counts> {
    let names = side.set.rules.iter().map(|rule| &*rule.name);
    match &side.stage {
        Some(stage) => names.zip(stage.machine().counts()).collect(),
        None => names.map(|name| (name, Counts::default())).collect(),
    }
}

/// All that is to be said to a person. Writing to a text cannot fail.
pub(super) fn page(replay: &Replay, streams: &[Stream]) -> String {
    let mut page = String::new();
    read(&mut page, replay, streams);
    let [new, old @ ..] = replay.sides.as_slice() else { return page };
    match old.first() {
        None => rules(&mut page, new),
        Some(old) => difference(&mut page, replay, streams, new, old),
    }
    let would: Vec<_> =
        new.tally.would.iter().map(|(word, count)| format!("{word} {count}")).collect();
    let would = if would.is_empty() { "nothing".to_owned() } else { would.join(", ") };
    _ = writeln!(page, "would do: {would}. Nothing was done.");
    for (name, (reason, count)) in &new.tally.failed {
        _ = writeln!(page, "{name} would have failed {count} times; first: {reason}");
    }
    for (message, count) in new.tally.notes.values() {
        _ = writeln!(page, "{count} times such as: {message}");
    }
    page
}

/// What was read.
fn read(page: &mut String, replay: &Replay, streams: &[Stream]) {
    let seconds = replay.took.as_secs_f64();
    let speed = replay.bytes as f64 / 1e6 / seconds.max(1e-6);
    _ = writeln!(
        page,
        "read {} of {} in {seconds:.1} s ({speed:.0} MB/s)",
        counted(replay.entries as usize, "event"),
        counted(streams.len(), "file"),
    );
    if let Some((first, last)) = replay.times {
        let at = |second| local(Timestamp::from_second(second).unwrap_or_default());
        let span = std::time::Duration::from_secs(last.abs_diff(first));
        let span = how_long(span);
        _ = writeln!(page, "from {} to {}: {span}", at(first), at(last));
    }
    if replay.passed_over > 0 {
        let count = counted(replay.passed_over as usize, "event");
        _ = writeln!(page, "passed over {count} outside of --since and --until");
    }
    for stream in streams {
        let path = shown(&stream.path);
        if let Some(format) = stream.guessed {
            _ = writeln!(
                page,
                "{path}: times are read as {format:?}, which the source {} does not say",
                stream.source.id()
            );
        }
        if stream.untimed > 0 {
            let count = counted(stream.untimed as usize, "event");
            _ = writeln!(
                page,
                "{path}: {count} without a time, taken to happen with what is before"
            );
        }
    }
}

fn how_long(span: std::time::Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {seconds}s"),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h {minutes}m"),
    }
}

fn rules(page: &mut String, side: &Side) {
    let all = counts(side);
    let width = all.keys().map(|name| name.len()).max().unwrap_or_default().max(4);
    _ = writeln!(
        page,
        "{:<width$}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}",
        "RULE", "MATCHED", "FIRED", "LIMITED", "HELD", "DROPPED", "FAILED"
    );
    for (name, it) in all {
        _ = writeln!(
            page,
            "{name:<width$}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}",
            it.matched, it.fired, it.suppressed, it.held, it.dropped, it.failed
        );
    }
}

fn difference(
    page: &mut String,
    replay: &Replay,
    streams: &[Stream],
    new: &Side,
    old: &Side,
) {
    let (after, before) = (counts(new), counts(old));
    let mut names: Vec<&str> = after.keys().chain(before.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let width = names.iter().map(|name| name.len()).max().unwrap_or_default().max(4);
    _ = writeln!(
        page,
        "{:<width$}  {:>8}  {:>8}  {:>8}  {:>8}",
        "RULE", "OLD", "NEW", "ONLY OLD", "ONLY NEW"
    );
    for name in names {
        let fired = |counts: &BTreeMap<&str, Counts>| {
            counts.get(name).map_or_else(|| "-".to_owned(), |it| it.fired.to_string())
        };
        let (only_new, only_old) =
            replay.difference.rules.get(name).copied().unwrap_or_default();
        _ = writeln!(
            page,
            "{name:<width$}  {:>8}  {:>8}  {only_old:>8}  {only_new:>8}",
            fired(&before),
            fired(&after),
        );
    }
    let (more_new, more_old) = replay.difference.more();
    for (word, examples, more) in [
        ("old", &replay.difference.old, more_old),
        ("new", &replay.difference.new, more_new),
    ] {
        for fired in examples {
            let at = local(Timestamp::from_millisecond(fired.at).unwrap_or_default());
            let by = key_words(fired, if word == "old" { old } else { new });
            let place = place(&fired.id, streams);
            _ = writeln!(page, "only {word}: {at} {}{by} ({place})", fired.rule);
        }
        if more > 0 {
            let how = if replay.shows_all { "" } else { ": --all shows them" };
            _ = writeln!(page, "only {word}: and {more} more{how}");
        }
    }
}

/// Where the event is: the second part of an id is the number of the file.
fn place(id: &str, streams: &[Stream]) -> String {
    let mut parts = id.split('/').skip(1);
    let number = parts.next().and_then(|it| it.parse().ok());
    let stream = streams.iter().find(|it| Some(it.number) == number);
    match (stream, parts.next()) {
        (Some(stream), Some(offset)) => {
            format!("{} at byte {offset}", shown(&stream.path))
        }
        _ => id.to_owned(),
    }
}

fn key_words(fired: &Fired, side: &Side) -> String {
    let rule = side.set.rules.iter().find(|rule| *rule.name == *fired.rule);
    let names = rule.into_iter().flat_map(|rule| &rule.by);
    names.zip(&fired.key).map(|(name, value)| format!(" {}={value}", name.text)).collect()
}

/// The same for programs: one JSON object and a line feed.
pub(super) fn json(replay: &Replay, streams: &[Stream]) -> String {
    let mut text = String::new();
    for character in object(replay, streams).to_string().chars() {
        match steers(character) {
            // All of them are in the basic plane.
            true => _ = write!(text, "\\u{:04x}", u32::from(character)),
            false => text.push(character),
        }
    }
    text.push('\n');
    text
}

fn object(replay: &Replay, streams: &[Stream]) -> Json {
    let side = |side: &Side| {
        let rule = |(name, it): (&str, Counts)| {
            json!({
                "name": name, "matched": it.matched, "fired": it.fired,
                "suppressed": it.suppressed, "held": it.held, "dropped": it.dropped,
                "failed": it.failed,
            })
        };
        let rules: Vec<_> = counts(side).into_iter().map(rule).collect();
        json!({ "rules": rules, "would": side.tally.would, "failed": side.tally.failed })
    };
    let at = |second| Timestamp::from_second(second).unwrap_or_default().to_string();
    let untimed: u64 = streams.iter().map(|stream| stream.untimed).sum();
    let mut all = json!({
        "files": streams.len(),
        "events": replay.entries,
        "passed_over": replay.passed_over,
        "untimed": untimed,
        "bytes": replay.bytes,
        "seconds": replay.took.as_secs_f64(),
        "first": replay.times.map(|(first, _)| at(first)),
        "last": replay.times.map(|(_, last)| at(last)),
    });
    let Some(object) = all.as_object_mut() else { return all };
    if let [new, rest @ ..] = replay.sides.as_slice() {
        object.insert("new".to_owned(), side(new));
        if let [old] = rest {
            object.insert("old".to_owned(), side(old));
            let fired = |it: &Fired| {
                let at = Timestamp::from_millisecond(it.at).unwrap_or_default();
                json!({ "rule": it.rule, "id": it.id, "time": at.to_string(), "key": it.key })
            };
            let difference = &replay.difference;
            let only = |(name, (new, old)): (&String, &(u64, u64))| json!({ "name": name, "only_new": new, "only_old": old });
            let rules: Vec<_> = difference.rules.iter().map(only).collect();
            let new: Vec<_> = difference.new.iter().map(fired).collect();
            let old: Vec<_> = difference.old.iter().map(fired).collect();
            object.insert(
                "difference".to_owned(),
                json!({ "rules": rules, "only_new": new, "only_old": old }),
            );
        }
    }
    all
}

//! The model of values that are sound.

use super::values::{Value, Values};
use crate::model::*;
use std::sync::Arc;
use std::time::Duration;
use tripline_diagnose::SourceFile;

/// A file in which there is nothing.
pub(super) fn nothing(file: &Arc<SourceFile>) -> RuleFile {
    RuleFile {
        source: Arc::clone(file),
        define: Vec::new(),
        patterns: Vec::new(),
        calendars: Vec::new(),
        rules: Vec::new(),
        tests: Vec::new(),
        is_damaged: true,
    }
}

pub(super) fn file(
    source: &Arc<SourceFile>,
    mut values: Values,
    is_damaged: bool,
) -> RuleFile {
    RuleFile {
        source: Arc::clone(source),
        define: values.map("define"),
        patterns: values.map("patterns"),
        calendars: calendars(&mut values),
        rules: values.blocks("rules").into_iter().map(|it| rule(source, it)).collect(),
        tests: values.blocks("tests").into_iter().map(|it| test(source, it)).collect(),
        is_damaged,
    }
}

fn calendars(values: &mut Values) -> Vec<Calendar> {
    let Some(Value::BlockMap(map)) = values.take("calendars") else { return Vec::new() };
    map.into_iter()
        .map(|(name, times)| Calendar {
            name,
            times: times.into_iter().map(calendar_time).collect(),
        })
        .collect()
}

fn calendar_time(mut values: Values) -> CalendarTime {
    CalendarTime {
        span: values.span.clone(),
        from: values.text("from"),
        to: values.text("to"),
        days: values.words("days", |word| {
            Some(match word {
                "Mon" => Day::Mon,
                "Tue" => Day::Tue,
                "Wed" => Day::Wed,
                "Thu" => Day::Thu,
                "Fri" => Day::Fri,
                "Sat" => Day::Sat,
                "Sun" => Day::Sun,
                _ => return None,
            })
        }),
        zone: values.text("zone"),
    }
}

fn rule(source: &SourceFile, mut values: Values) -> Rule {
    Rule {
        span: values.span.clone(),
        name: values.text("name"),
        on: values.block("on").map(on).unwrap_or_default(),
        prefix: values.text("prefix"),
        matches: values.texts("match"),
        unless_match: values.texts("unless_match"),
        condition: values.text("if"),
        unless: values.text("unless"),
        when: values.block("when").and_then(when),
        by: values.texts("by"),
        limit: values.block("limit").map(|it| limit(source, it)),
        quiet: values.block("quiet").map(quiet),
        settle: values.duration("settle"),
        one_at_a_time: values.text("one_at_a_time"),
        overlap: values.block("overlap").and_then(overlap),
        actions: actions(source, values.blocks("do")),
        on_failure: actions(source, values.blocks("on_failure")),
        on_return: actions(source, values.blocks("on_return")),
        enabled: values.flag("enabled").unwrap_or(true),
        unread: values.unread,
    }
}

/// A source, or those in `Any`.
fn on(mut values: Values) -> Vec<On> {
    let kind = match values.kind {
        "Any" => {
            let Some(Value::Blocks(inner)) = values.item.map(|it| *it) else {
                return Vec::new();
            };
            return inner.into_iter().flat_map(on).collect();
        }
        "Journal" => OnKind::Journal {
            sources: values.texts("source"),
            tables: values.texts("table"),
            ops: values.words("op", |word| match word {
                "Put" => Some(Op::Put),
                "Replace" => Some(Op::Replace),
                "Delete" => Some(Op::Delete),
                _ => None,
            }),
        },
        "Task" => OnKind::Task {
            rules: values.texts("rule"),
            status: values.words("status", |word| match word {
                "Succeeded" => Some(Status::Succeeded),
                "Failed" => Some(Status::Failed),
                "TimedOut" => Some(Status::TimedOut),
                "GaveUp" => Some(Status::GaveUp),
                _ => None,
            }),
        },
        "Engine" => OnKind::Engine {
            events: values.words("event", engine_event),
            emitted: values.texts("emitted"),
        },
        "Lines" => OnKind::Lines {
            sources: values.texts("source"),
            programs: values.texts("program"),
            whole: values.flag("whole").unwrap_or_default(),
        },
        _ => return Vec::new(),
    };
    vec![On { span: values.span, kind }]
}

fn engine_event(word: &str) -> Option<EngineEvent> {
    Some(match word {
        "Started" => EngineEvent::Started,
        "Stopping" => EngineEvent::Stopping,
        "Reloaded" => EngineEvent::Reloaded,
        "ReloadRefused" => EngineEvent::ReloadRefused,
        "Gap" => EngineEvent::Gap,
        "ListenerStopped" => EngineEvent::ListenerStopped,
        "AboutToBeLost" => EngineEvent::AboutToBeLost,
        "SetAside" => EngineEvent::SetAside,
        "SourceLost" => EngineEvent::SourceLost,
        "SourceBack" => EngineEvent::SourceBack,
        "ClockSkew" => EngineEvent::ClockSkew,
        "KeysEvicted" => EngineEvent::KeysEvicted,
        "RuleFailed" => EngineEvent::RuleFailed,
        _ => return None,
    })
}

fn when(mut values: Values) -> Option<At<When>> {
    let value = match values.kind {
        "Each" => When::Each,
        "Count" => When::Count {
            of: values.number("of"),
            within: values.duration("within"),
            distinct: values.text("distinct"),
        },
        "Absent" => When::Absent {
            after: values.duration("for"),
            expect: match values.take("expect") {
                Some(Value::TextMaps(maps)) => maps,
                _ => Vec::new(),
            },
            again: values.duration("again"),
        },
        "Pair" => When::Pair {
            until: values.block("until").map(|it| Box::new(until(it))),
            within: values.duration("within"),
            fire: values.one_word("fire", |word| match word {
                "IfMissing" => Some(Fire::IfMissing),
                "IfSeen" => Some(Fire::IfSeen),
                _ => None,
            }),
        },
        "Digest" => {
            When::Digest { every: values.duration("every"), keep: values.number("keep") }
        }
        _ => return None,
    };
    Some(At { value, span: values.span })
}

fn until(mut values: Values) -> Until {
    Until {
        span: values.span.clone(),
        on: values.block("on").map(on).unwrap_or_default(),
        matches: values.texts("match"),
        condition: values.text("if"),
    }
}

fn limit(source: &SourceFile, mut values: Values) -> Limit {
    Limit {
        span: values.span.clone(),
        times: values.number("times"),
        per: values.duration("per"),
        by: match values.take("by") {
            Some(Value::Texts(texts)) => Some(texts.value),
            _ => None,
        },
        then: actions(source, values.blocks("then")),
    }
}

fn quiet(mut values: Values) -> Quiet {
    Quiet {
        span: values.span.clone(),
        calendars: values.texts("in"),
        then: values.one_word("then", |word| match word {
            "Hold" => Some(Quieted::Hold),
            "Drop" => Some(Quieted::Drop),
            _ => None,
        }),
    }
}

fn overlap(values: Values) -> Option<At<Overlap>> {
    let number = match values.item.as_deref() {
        Some(Value::Number(number)) => u32::try_from(number.value).ok(),
        _ => None,
    };
    let value = match values.kind {
        "Parallel" => Overlap::Parallel(number?),
        "Queue" => Overlap::Queue(number?),
        "Skip" => Overlap::Skip,
        _ => return None,
    };
    Some(At { value, span: values.span })
}

fn actions(source: &SourceFile, blocks: Vec<Values>) -> Vec<Action> {
    blocks.into_iter().map(|it| action(source, it)).collect()
}

fn action(source: &SourceFile, mut values: Values) -> Action {
    Action {
        span: values.span.clone(),
        word: values.word.clone(),
        id: values.text("id"),
        needs: match values.take("needs") {
            Some(Value::Texts(texts)) => Some(texts.value),
            _ => None,
        },
        timeout: values.duration("timeout"),
        retry: values.block("retry").map(|mut retry| Retry {
            span: retry.span.clone(),
            times: retry.number("times"),
            backoff: retry.duration("backoff"),
            max: retry.duration("max"),
        }),
        may_fail: values.flag("may_fail").unwrap_or_default(),
        kind: action_kind(source, &mut values),
        unread: values.unread,
    }
}

fn action_kind(source: &SourceFile, values: &mut Values) -> Option<ActionKind> {
    Some(match values.kind {
        "Exec" => ActionKind::Exec {
            run: values.texts("run"),
            env: values.map("env"),
            stdin: values.text("stdin"),
            cwd: values.text("cwd"),
        },
        "Mail" => ActionKind::Mail {
            to: values.texts("to"),
            subject: values.text("subject"),
            body: values.text("body"),
            sender: values.text("sender"),
            via: match values.take("via") {
                Some(Value::Raw(text)) => Some(text),
                _ => None,
            },
        },
        listener @ ("Forward" | "Print") => {
            ActionKind::Listener { listener, arguments: kept(source, values) }
        }
        "Post" => ActionKind::Post {
            url: values.text("url"),
            headers: values.map("headers"),
            json: match values.take("json") {
                Some(Value::Json(json)) => Some(json),
                _ => None,
            },
            body: values.text("body"),
            token: values.text("token"),
        },
        "Emit" => {
            ActionKind::Emit { kind: values.text("kind"), fields: values.map("fields") }
        }
        "Set" => {
            ActionKind::Set { flag: values.text("flag"), lasts: values.duration("for") }
        }
        "Clear" => ActionKind::Clear { flag: values.text("flag") },
        "Touch" => {
            ActionKind::Touch { dir: values.text("dir"), file: values.text("file") }
        }
        _ => return None,
    })
}

/// The fields that are a listener's, as they are written.
fn kept(source: &SourceFile, values: &Values) -> String {
    let fields = values.others.iter().map(|other| {
        let value = source.text.get(other.value.clone()).unwrap_or_default();
        format!("{}: {value}", other.name.value)
    });
    fields.collect::<Vec<_>>().join(", ")
}

fn test(source: &SourceFile, mut values: Values) -> Test {
    let pretend = match values.take("pretend") {
        Some(Value::KindMap(map)) => map,
        _ => Vec::new(),
    };
    Test {
        span: values.span.clone(),
        name: values.text("name"),
        given: values.blocks("given").into_iter().filter_map(given).collect(),
        pretend: pretend.into_iter().map(|(id, it)| (id, pretended(it))).collect(),
        expect: values
            .blocks("expect")
            .into_iter()
            .map(|it| expected(source, it))
            .collect(),
    }
}

fn given(mut values: Values) -> Option<At<Given>> {
    let span = values.span.clone();
    let value = match (values.kind, values.item.take().map(|it| *it)) {
        ("Lines", _) => Given::Lines {
            text: values.text("text"),
            source: values.text("source"),
            times: values.number("times"),
            every: values.duration("every"),
        },
        ("Wait", Some(Value::Duration(time))) => Given::Wait(time.value),
        ("Event", Some(Value::JsonMap(fields))) => Given::Event(fields),
        _ => return None,
    };
    Some(At { value, span })
}

fn pretended(mut values: Values) -> At<Pretend> {
    let value = match values.kind {
        "Fails" => {
            Pretend::Fails { exit: values.number("exit"), stderr: values.text("stderr") }
        }
        "TimesOut" => Pretend::TimesOut,
        _ => Pretend::Succeeds { stdout: values.text("stdout") },
    };
    At { value, span: values.span }
}

fn expected(_: &SourceFile, mut values: Values) -> Expected {
    let others = std::mem::take(&mut values.others);
    Expected {
        span: values.span.clone(),
        kind: values.kind.to_owned(),
        after: values.duration("after"),
        rule: values.text("rule"),
        fields: others
            .into_iter()
            .filter_map(|other| Some((other.name, other.wanted?)))
            .collect(),
    }
}

/// What the tables say is there has the type they say; what is not there is nothing.
impl Values {
    fn take(&mut self, name: &str) -> Option<Value> {
        let index = self.fields.iter().position(|(field, _)| *field == name)?;
        Some(self.fields.swap_remove(index).1)
    }

    fn text(&mut self, name: &str) -> Option<Text> {
        match self.take(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn texts(&mut self, name: &str) -> Vec<Text> {
        match self.take(name) {
            Some(Value::Texts(texts)) => texts.value,
            _ => Vec::new(),
        }
    }

    fn map(&mut self, name: &str) -> Vec<(Text, Text)> {
        match self.take(name) {
            Some(Value::TextMap(map)) => map,
            _ => Vec::new(),
        }
    }

    fn duration(&mut self, name: &str) -> Option<At<Duration>> {
        match self.take(name) {
            Some(Value::Duration(duration)) => Some(duration),
            _ => None,
        }
    }

    fn number(&mut self, name: &str) -> Option<At<u64>> {
        match self.take(name) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name) {
            Some(Value::Flag(flag)) => Some(flag),
            _ => None,
        }
    }

    fn words<T>(&mut self, name: &str, of: impl Fn(&str) -> Option<T>) -> Vec<At<T>> {
        let Some(Value::Words(words)) = self.take(name) else { return Vec::new() };
        words
            .into_iter()
            .filter_map(|word| Some(At { value: of(word.value)?, span: word.span }))
            .collect()
    }

    fn one_word<T>(
        &mut self,
        name: &str,
        of: impl Fn(&str) -> Option<T>,
    ) -> Option<At<T>> {
        self.words(name, of).pop()
    }

    fn block(&mut self, name: &str) -> Option<Self> {
        match self.take(name) {
            Some(Value::Block(block)) => Some(block),
            _ => None,
        }
    }

    fn blocks(&mut self, name: &str) -> Vec<Self> {
        match self.take(name) {
            Some(Value::Blocks(blocks)) => blocks,
            _ => Vec::new(),
        }
    }
}

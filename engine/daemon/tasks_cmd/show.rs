//! Tasks for people and for programs.

use super::{Task, What};
use crate::terminal::{one_line, printable};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};
use tripline_rules::evaluate::Doing;

/// How much of a name is shown in the table.
const NAME_CHARS_MAX: usize = 40;
/// How much of a reason and of what a task said is shown below its row.
const SAID_CHARS_MAX: usize = 200;

const HEADINGS: [&str; 8] =
    ["WHEN", "RULE", "ACTION", "OUTCOME", "EXIT", "ATTEMPTS", "TOOK", "EVENT"];
const NUMBERS: std::ops::Range<usize> = 4..6;

/// A row a task, and below it why it failed and what it said, a line each.
pub(super) fn write_table(out: &mut impl Write, tasks: &[Task]) -> io::Result<()> {
    let rows: Vec<_> = tasks.iter().map(cells).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths = std::array::from_fn::<_, 8, _>(|column| {
        let all = std::iter::once(&headings).chain(&rows);
        all.map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    write_cells(out, &headings, &widths)?;
    for (task, row) in tasks.iter().zip(&rows) {
        write_cells(out, row, &widths)?;
        let (reason, stderr) = match &task.what {
            What::Ended(_, end) => (cut(&end.reason), cut(&end.stderr)),
            What::UnderWay { failure: Some(failure), doing, .. } => {
                let again = match doing {
                    Doing::Pauses(until) => format!("; again at {}", time(*until)),
                    Doing::Runs | Doing::Waits => String::new(),
                };
                (cut(&failure.reason) + &again, cut(&failure.stderr))
            }
            What::UnderWay { failure: None, .. } => continue,
        };
        for (name, said) in [("reason", reason), ("stderr", stderr)] {
            if !said.is_empty() {
                writeln!(out, "    {name}: {said}")?;
            }
        }
    }
    Ok(())
}

fn write_cells(
    out: &mut impl Write,
    cells: &[String; 8],
    widths: &[usize; 8],
) -> io::Result<()> {
    let mut line = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
        // Words to the left, numbers to the right.
        line += &match NUMBERS.contains(&index) {
            true => format!("{cell:>width$}  "),
            false => format!("{cell:<width$}  "),
        };
    }
    writeln!(out, "{}", line.trim_end())
}

fn cells(task: &Task) -> [String; 8] {
    let name = |name: &str| one_line(name).chars().take(NAME_CHARS_MAX).collect();
    let (when, exit, attempts, took) = match &task.what {
        What::Ended(at, end) => {
            (*at, exit_of(end.exit), end.attempts, Some(end.duration.clone()))
        }
        What::UnderWay { since, fired, attempts, failure, .. } => {
            let exit = failure.as_ref().and_then(|it| exit_of(it.exit));
            (since.unwrap_or(*fired), exit, *attempts, None)
        }
    };
    let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
    [
        time(when),
        name(&task.rule),
        name(&task.action),
        outcome(task),
        or_none(exit.map(|exit| exit.to_string())),
        attempts.to_string(),
        or_none(took),
        // All of it: it is what `tripline tasks CONFIG ID` takes.
        one_line(task.event()),
    ]
}

/// Everything that is known of them, each a block of lines.
pub(super) fn write_whole(out: &mut impl Write, tasks: &[Task]) -> io::Result<()> {
    for (index, task) in tasks.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let mut line = |name: &str, value: &str| match value {
            "" => Ok(()),
            value => writeln!(out, "{name:<9} {}", one_line(value)),
        };
        line("id", &task.id)?;
        line("event", task.event())?;
        line("rule", &task.rule)?;
        line("action", &task.action)?;
        line("outcome", &outcome(task))?;
        match &task.what {
            What::Ended(at, end) => {
                line("ended", &time(*at))?;
                line("took", &end.duration)?;
                line("attempts", &end.attempts.to_string())?;
                line(
                    "exit",
                    &exit_of(end.exit).map_or_else(String::new, |it| it.to_string()),
                )?;
                line("reason", &end.reason)?;
                line("skipped", &end.skipped.join(", "))?;
                if !end.stderr.is_empty() {
                    writeln!(out, "stderr")?;
                    for said in end.stderr.lines() {
                        writeln!(out, "  {}", printable(said))?;
                    }
                }
            }
            What::UnderWay { doing, attempts, since, fired, line: about, failure } => {
                line("fired", &time(*fired))?;
                line("begun", &since.map(time).unwrap_or_default())?;
                line("attempts", &attempts.to_string())?;
                if let Doing::Pauses(until) = doing {
                    line("again at", &time(*until))?;
                }
                if let Some(failure) = failure {
                    line(
                        "exit",
                        &exit_of(failure.exit)
                            .map_or_else(String::new, |it| it.to_string()),
                    )?;
                    line("reason", &failure.reason)?;
                    line("stderr", &failure.stderr)?;
                }
                line("line", about.as_deref().unwrap_or_default())?;
            }
        }
    }
    Ok(())
}

/// One array.
pub(super) fn write_json(out: &mut impl Write, tasks: &[Task]) -> io::Result<()> {
    writeln!(out, "{}", Value::Array(tasks.iter().map(object).collect()))
}

fn object(task: &Task) -> Value {
    let mut object = json!({
        "id": task.id,
        "event": task.event(),
        "rule": task.rule,
        "action": task.action,
        "status": outcome(task),
    });
    let more = match &task.what {
        What::Ended(at, end) => json!({
            "ended": time(*at), "duration": end.duration, "attempts": end.attempts,
            "exit": exit_of(end.exit), "reason": end.reason, "stderr": end.stderr,
            "skipped": end.skipped,
        }),
        What::UnderWay { doing, attempts, since, fired, line, failure } => json!({
            "fired": time(*fired), "begun": since.map(time), "attempts": attempts,
            "again": match doing {
                Doing::Pauses(until) => Some(time(*until)),
                Doing::Runs | Doing::Waits => None,
            },
            "line": line,
            "exit": failure.as_ref().and_then(|it| exit_of(it.exit)),
            "reason": failure.as_ref().map(|it| &it.reason),
            "stderr": failure.as_ref().map(|it| &it.stderr),
        }),
    };
    if let (Value::Object(object), Value::Object(mut more)) = (&mut object, more) {
        object.append(&mut more);
    }
    object
}

/// How it ended, in the words of rules, or what it does.
fn outcome(task: &Task) -> String {
    let word = match &task.what {
        What::UnderWay { doing: Doing::Runs, .. } => "running",
        What::UnderWay { doing: Doing::Pauses(_), .. } => "pausing",
        What::UnderWay { doing: Doing::Waits, .. } => "waiting",
        What::Ended(_, end) => {
            let words = serde_json::to_value(end).unwrap_or_default();
            return words["status"].as_str().unwrap_or_default().to_owned();
        }
    };
    word.to_owned()
}

/// The code that it ended with, if it has one.
fn exit_of(exit: i64) -> Option<i64> {
    Some(exit).filter(|exit| *exit >= 0)
}

/// The end of a text, in one line.
fn cut(text: &str) -> String {
    let line = one_line(text.trim_end());
    let length = line.chars().count();
    match length.checked_sub(SAID_CHARS_MAX) {
        None | Some(0) => line,
        Some(more) => format!("...{}", line.chars().skip(more).collect::<String>()),
    }
}

/// To the second, which is how exact the ends of tasks are.
fn time(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tripline_rules::evaluate::{Failure, TaskEnd};
    use tripline_rules::model::Status;

    #[test]
    fn the_end_of_what_was_said_is_one_line_without_what_steers() {
        assert_eq!(cut("one\ntwo\x1b[2J\n\n"), "one\\ntwo\\u{1b}[2J");
        let long = cut(&"é".repeat(500));
        assert!(long.starts_with("...é") && long.chars().count() == 203, "{long}");
    }

    #[test]
    fn the_words_are_those_of_rules() {
        let end = TaskEnd {
            rule: "r\n".to_owned(),
            action: "a".to_owned(),
            status: Status::GaveUp,
            exit: -1,
            reason: String::new(),
            stderr: String::new(),
            duration: "1s".to_owned(),
            attempts: 3,
            skipped: Vec::new(),
        };
        let task = Task {
            id: "app/0/1/r\n/a".to_owned(),
            rule: end.rule.clone(),
            action: end.action.clone(),
            what: What::Ended(Timestamp::UNIX_EPOCH, end),
        };
        let cells = cells(&task).join("|");
        assert_eq!(cells, "1970-01-01T00:00:00Z|r\\n|a|gave_up|-|3|1s|app/0/1");
        let object = object(&task);
        assert_eq!(
            (&object["status"], &object["exit"]),
            (&"gave_up".into(), &Value::Null)
        );
    }

    #[test]
    fn what_is_tried_again_says_why() {
        let until = Timestamp::from_second(60).unwrap();
        let failure = Failure {
            exit: 7,
            reason: "it ended with 7".to_owned(),
            stderr: "no route\x1b[2J".to_owned(),
        };
        let mut task = Task {
            id: "app/0/1/r/a".to_owned(),
            rule: "r".to_owned(),
            action: "a".to_owned(),
            what: What::UnderWay {
                doing: Doing::Pauses(until),
                attempts: 2,
                since: None,
                fired: Timestamp::UNIX_EPOCH,
                line: None,
                failure: Some(failure),
            },
        };
        let of = |task: &Task, write: fn(&mut Vec<u8>, &[Task]) -> io::Result<()>| {
            let mut out = Vec::new();
            write(&mut out, std::slice::from_ref(task)).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = of(&task, write_table);
        let said = "    reason: it ended with 7; again at 1970-01-01T00:01:00Z\n    \
                    stderr: no route\\u{1b}[2J\n";
        assert!(table.ends_with(said), "{table}");
        let whole = of(&task, write_whole);
        let said = "again at  1970-01-01T00:01:00Z\nexit      7\nreason    it ended with 7\n\
                    stderr    no route\\u{1b}[2J\n";
        assert!(whole.contains(said), "{whole}");
        let shown = object(&task);
        assert_eq!(
            (&shown["exit"], &shown["again"]),
            (&7.into(), &"1970-01-01T00:01:00Z".into())
        );
        assert_eq!(shown["reason"], "it ended with 7");
        let What::UnderWay { failure, .. } = &mut task.what else { panic!() };
        *failure = None;
        assert!(!of(&task, write_table).contains("reason"));
        assert_eq!(object(&task)["reason"], Value::Null);
    }
}

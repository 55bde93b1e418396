//! What people configure a `Log` by.

use super::lines::LineRules;
use super::source::{HELD_BYTES_MAX, JOIN_WAIT, LINE_BYTES};
use crate::archive::Limits;
use std::time::Duration;
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Follows log files, of which there may be thousands. New ones are picked up when they \
appear. Rotated files beside a log (`.1`, dates, compressed by gzip, zstd, xz or bzip2 or \
not) are found by their names, recognised by their content and read in order. A file that \
is called like a rotated one is a log of its own only where `paths` names it without \
wildcards.";

pub(super) const LIMITS: &[&str] = &[
    "A log that is cut in place, as `copytruncate` does, has **a gap at each cut**: what was \
     written between the copy and the cut is in no file, and nobody can tell whether there \
     was something. Let logs be rotated by renaming.",
    "Where nothing that is kept tells it, the loss of a log's lines cannot be noticed: a \
     file that came and went within a moment, and one that was cut and has regrown with the \
     very same bytes in the places that are compared.",
    "Of a log with several writers, of which some still write to the rotated file when \
     another already writes to the new one, what comes to the old file after that is not \
     read.",
    "Of two files of different logs that were renamed into each other's place and compressed \
     while nobody looked, each counts as the other's.",
    "A file called as a log is with a date or a number in it (`app-20261120.log` or \
     `app.1.log` beside `app.log`) counts as **a rotated file of that log**, and what comes \
     to it later is not read. When something comes while the log itself rests, that is \
     said; if it is a log of its own, name it in `paths` without wildcards.",
    "A log that was deleted while Tripline was down, and does not come again, is not missed: \
     nobody can tell whether more was written to it. A deleted log that was read to its end \
     is let go after 15 minutes without a write, or sooner when many files are open.",
    "A file that is replaced by a copy of itself with more behind, as `rsync` and editors do, \
     is read again from its start; so is a compressed log that is unpacked again. Right \
     behind a gap a line may come again.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::needed(
        "paths",
        Wants::Texts,
        r#"["/var/log/auth.log", "/var/log/app/**/*.log"]"#,
        "Which files. A pattern may have `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number \
         of directories; a relative one starts at the configuration.",
    ),
    Argument::optional(
        "exclude",
        Wants::Texts,
        r#"["/var/log/app/debug/*"]"#,
        "Patterns of files that are not followed.",
    ),
    Argument::optional(
        "rotated",
        Wants::Paths,
        r#"["/var/log/old"]"#,
        "Other folders in which rotated files are kept.",
    ),
    Argument::optional(
        "start",
        Wants::OneOf(&[
            Form::word("Oldest", "the oldest rotated file"),
            Form::word("Now", "behind everything"),
        ]),
        "Now",
        "Where a listener begins at its very first start with what is there. A log that \
         appears later is read from its start.",
    )
    .or("Oldest"),
    Argument::optional(
        "line_bytes_max",
        Wants::Bytes(1, LineRules::LINE_BYTES_MAX as u64),
        "65536",
        "Longer lines are cut.",
    )
    .or_number(LINE_BYTES as u64),
    Argument::optional(
        "join",
        Wants::OneOf(&[
            Form::of(
                "Start",
                r#"r"^\d{4}-""#,
                "a line in which this pattern is found begins an entry, and those behind it \
                 in which it is not belong to it",
            ),
            Form::word("Indent", "a line and the indented ones behind it"),
        ]),
        "Indent",
        "Several lines are one entry, such as a stack trace; each is one unless given.",
    ),
    Argument::optional(
        "join_wait",
        ANY_TIME,
        r#""3s""#,
        "An entry of several lines waits so long for more of them.",
    )
    .or_duration(JOIN_WAIT),
    Argument::optional(
        "partial_after",
        ANY_TIME,
        r#""5s""#,
        "A line without its end is shown after so long, marked as incomplete, and comes \
         again when it is whole; it is waited for unless given.",
    ),
    Argument::optional(
        "time",
        Wants::OneOf(&[
            Form::word("Syslog", "`Nov 20 21:00:00` at its start"),
            Form::word(
                "Iso",
                "`2026-11-20T21:00:00.5+01:00` and its like, near its start",
            ),
        ]),
        "Syslog",
        "How the time is read that a line carries. Unless given it is not.",
    ),
    Argument::optional(
        "zone",
        Wants::Text,
        r#""Europe/Berlin""#,
        "With `time`: the time zone of lines that name none; this machine's unless given.",
    ),
    Argument::optional(
        "on_deleted",
        Wants::OneOf(&[
            Form::word("Drain", "the rest is read"),
            Form::word("Release", "it is given up, so that its space is free at once"),
        ]),
        "Release",
        "What becomes of a file that is deleted before it was read.",
    )
    .or("Drain"),
    Argument::optional(
        "held_bytes_max",
        Wants::Bytes(0, u64::MAX),
        "104857600",
        "With `Drain`: no more than this is read of a deleted file.",
    )
    .or_number(HELD_BYTES_MAX),
    Argument::optional(
        "archive_bytes_max",
        Wants::Bytes(0, u64::MAX),
        "10737418240",
        "A compressed file that has more in it is a gap.",
    )
    .or_number(Limits::BYTES_MAX),
    Argument::optional(
        "archive_ratio_max",
        Wants::Number(0, u64::MAX),
        "200",
        "So is one that has more than 1 GiB in it, and more than so many times its size.",
    )
    .or_number(Limits::RATIO_MAX),
];

const ANY_TIME: Wants = Wants::Duration(Duration::ZERO, Duration::MAX);

#[cfg(test)]
mod tests {
    use super::super::FACTORY;
    use std::path::Path;
    use tripline_api::{Args, Argument, BuildContext, SourceFactory as _};

    #[test]
    fn all_arguments_are_described() {
        let here = Path::new("/");
        let context = BuildContext { name: "app", directory: here, state: here };
        let build = |args: &Args<'_>| FACTORY.build(args, &context).err();
        let differences = Argument::differences(FACTORY.arguments(), &build);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}

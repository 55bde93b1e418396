//! `tripline explain`, `new`, `replay` and `tasks`.

use super::parse_source;
use clap::Args;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use tripline_api::SourceId;

/// Arguments of `tripline explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
LINE is one line, several, or `-` for standard input: lines of a log, or records
of a journal, which begin with `@`. Several lines are shown to the rules one after
the other, so rules that count go on counting. Nothing is done, and nothing that
the running daemon has counted is known here.

Examples:
  tripline explain tripline.ron -- 'Nov 20 21:14:03 www sshd[99]: Failed password for bob'
  tripline explain tripline.ron --source auth --rule ssh-brute -- \"$(tail -n 1 auth.log)\"
  tail -n 20 journal | tripline explain tripline.ron -- -")]
pub(crate) struct ExplainArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The source that the line comes from; otherwise it is looked for.
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    pub(crate) source: Option<SourceId>,
    /// Only what this rule makes of it.
    #[arg(long, value_name = "RULE")]
    pub(crate) rule: Option<String>,
    /// When it arrives, such as 2026-11-20T21:14:03 or 2026-11-20T21:14:03Z;
    /// otherwise at the time that the line carries, or now.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<jiff::Timestamp>,
    /// The line.
    #[arg(last = true, required = true, value_name = "LINE")]
    pub(crate) line: Vec<OsString>,
}

/// Arguments of `tripline new`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Writes a file with a rule for lines like this one, and its test, to standard
output. Addresses, numbers, paths and users become patterns and captures, the rest
stays as it is. For a record of a journal it is a rule for its table. It takes one
line; others like it belong into the test of the rule. It is something to begin
with: say what it should do, and to whom.

Examples:
  tripline new 'Nov 20 21:14:03 www sshd[99]: Failed password for bob from 192.0.2.1'
  tripline new --source auth \"$(tail -n 1 /var/log/auth.log)\" > rules.d/new.ron
  tripline check --strict rules.d/new.ron && tripline test rules.d/new.ron")]
pub(crate) struct NewArgs {
    /// A line of a log, or a record of a journal.
    #[arg(allow_hyphen_values = true)]
    pub(crate) line: OsString,
    /// What is too much: words of a line without quotes, or a second line.
    #[arg(hide = true)]
    pub(crate) more: Vec<OsString>,
    /// The source that the rule looks at; all logs, or all journals, unless given.
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    pub(crate) source: Option<SourceId>,
}

/// Arguments of `tripline replay`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The clock goes by the times that lines and transactions carry, over all files
together; what is due in between happens in between. Files may be compressed. A
journal is known by its content, and a log belongs to the source that would follow
it by its name, unless --source says which.

What would be done is counted, and is taken to go well: no program runs, nothing
is sent, and nothing that the daemon has counted is known here or changed.

Examples:
  tripline replay tripline.ron --dry-run /var/log/auth.log.2.gz /var/log/auth.log.1
  tripline replay tripline.ron --dry-run --since 2026-11-19 --until 2026-11-20 auth.log
  tripline replay tripline.ron --dry-run --diff-with old-rules.d /var/log/auth.log.1")]
pub(crate) struct ReplayArgs {
    /// The configuration, whose rules are replayed.
    pub(crate) config: PathBuf,
    /// Old logs and journals, in any order.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Do nothing of what the rules say. It has to be given: what a rule says about old
    /// lines is not to be done now.
    #[arg(long, required = true)]
    pub(crate) dry_run: bool,
    /// Replay these rules too, files or directories of *.ron, and show which firings only
    /// one of the two sets has. These are the old ones, those of the configuration the new.
    #[arg(long, num_args = 1, value_name = "RULES")]
    pub(crate) diff_with: Vec<PathBuf>,
    /// With --diff-with: show all firings that only one of both has (up to 100000), and not
    /// the first three of each rule.
    #[arg(long, requires = "diff_with")]
    pub(crate) all: bool,
    /// Only what happened at or after this time, such as 2026-11-19 or
    /// 2026-11-19T12:00:00Z; without a zone it is this machine's.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<jiff::Timestamp>,
    /// Only what happened before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) until: Option<jiff::Timestamp>,
    /// The source that all files are of.
    #[arg(long, value_name = "SOURCE", value_parser = parse_source)]
    pub(crate) source: Option<SourceId>,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `tripline tasks`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A task is an action of a rule that fired. What ended comes first, oldest first, and
behind it what is under way: running, pausing before another attempt, or waiting for
others. What ran when the daemon was stopped or killed begins again at its next start;
until then it is still shown as running. The newest 10000 that ended are remembered.

ID is that of a task, or that of an event (EVENT in the table, and in what the daemon
says): then it is all tasks of that event.

It only reads, also while the daemon runs.

Examples:
  tripline tasks tripline.ron
  tripline tasks tripline.ron --failed --rule ssh-brute
  tripline tasks tripline.ron --json -n 1000
  tripline tasks tripline.ron auth/0/5120")]
pub(crate) struct TasksArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Show everything that is known of this task, or of those of this event.
    #[arg(value_name = "ID", conflicts_with_all = ["failed", "running", "rule", "count"])]
    pub(crate) id: Option<String>,
    /// Only those that failed, took too long or gave up.
    #[arg(long, conflicts_with = "running")]
    pub(crate) failed: bool,
    /// Only what has not ended.
    #[arg(long)]
    pub(crate) running: bool,
    /// Only those of this rule.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,
    /// Write one JSON array.
    #[arg(long)]
    pub(crate) json: bool,
    /// The newest so many that ended, and so many others; 100 unless given.
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(crate) count: Option<NonZeroUsize>,
}

/// A time with its zone, or on this machine's clock; a day is its beginning.
fn parse_time(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at);
    }
    let local: Result<jiff::civil::DateTime, _> = text.parse();
    let here = jiff::tz::TimeZone::system();
    local.and_then(|local| here.to_timestamp(local)).map_err(|_| {
        "write it as 2026-11-19, 2026-11-19T12:00:00 or 2026-11-19T12:00:00Z".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_zone_or_are_local() {
        let noon: jiff::Timestamp = "2026-11-19T12:00:00Z".parse().unwrap();
        assert_eq!(parse_time("2026-11-19T13:00:00+01:00"), Ok(noon));
        let local = |text: &str| parse_time(text).unwrap();
        assert_eq!(local("2026-11-19"), local("2026-11-19T00:00:00"));
        assert!(parse_time("yesterday").unwrap_err().contains("2026-11-19"));
    }
}

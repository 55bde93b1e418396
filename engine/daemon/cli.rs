//! The command line: what can be typed, and the help for it.
//!
//! Help, man pages and shell completions are all made from this tree.

mod backup;
mod dead;
mod rules;

pub(crate) use backup::{BackupCommand, BackupVerifyArgs, SeedArgs};
pub(crate) use dead::{
    DeadCommand, DeadDropArgs, DeadListArgs, DeadRetryArgs, DeadShowArgs, Which,
};

pub(crate) use rules::{ExplainArgs, NewArgs, ReplayArgs, TasksArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;
use tripline_api::{FriendlyDuration, SourceId, Start};

/// Exit codes, as `--help` documents them. 0 is success everywhere.
pub(crate) mod exit {
    /// The question was answered, and the answer is no: errors found, a file
    /// damaged, two checkpoints differ.
    pub(crate) const NO: u8 = 1;
    /// It could not be done: wrong usage, a file that cannot be read.
    pub(crate) const FAILED: u8 = 2;
    /// `run --until-idle`: a listener stopped, usually at a gap.
    pub(crate) const STOPPED: u8 = 3;
    /// Another daemon uses the state directory.
    pub(crate) const IN_USE: u8 = 4;
}

/// Follows Perforce journals and log files, never loses its place, and hands
/// every entry to listeners and rules.
#[derive(Debug, Parser)]
#[command(name = "tripline", version)]
#[command(after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  the answer is no: errors found, a file damaged, two checkpoints differ
  2  it could not be done: wrong usage, or a file that cannot be read
  3  run --until-idle: a listener stopped, usually at a gap
  4  another daemon uses the state directory

Data goes to standard output, everything else to standard error. NO_COLOR is honoured.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Follow the sources, run the listeners and the rules, in the foreground.
    Run(RunArgs),
    /// Take what other Triplines forward, in the foreground, and append it to files.
    Receive(ReceiveArgs),
    /// Find all errors in configurations and rule files, each with its place and a repair.
    Check(CheckArgs),
    /// Run the tests inside rule files.
    Test(TestArgs),
    /// Show what the rules make of a line: which look at it, where each stops, and why.
    Explain(ExplainArgs),
    /// Show what the rules would have done with old files.
    Replay(ReplayArgs),
    /// Write a rule with its test from a sample line.
    New(NewArgs),
    /// Show how far every listener has come, or move one.
    Where(WhereArgs),
    /// Show what became of the actions of rules, and what is under way.
    Tasks(TasksArgs),
    /// Look after entries that were set aside because they were refused for good.
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Seed the standby that a listener keeps, or compare all of it.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Work on journal and checkpoint files, without a configuration.
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Show the columns of a Perforce table.
    Fields(FieldsArgs),
    /// Write a commented tripline.ron from the environment and what is found.
    Init(InitArgs),
    /// Write the manual pages.
    Man(ManArgs),
    /// Write the completions of a shell.
    Completions(CompletionsArgs),
}

/// Arguments of `tripline run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT stop it cleanly, SIGHUP reloads the configuration.

At the first start listeners and rules begin where their source says: with the
oldest entry there is, unless it has a `start`.

Examples:
  tripline run tripline.ron
  tripline run tripline.ron --until-idle    # for cron, for catching up
  tripline run tripline.ron --poll=5s       # where no directory can be watched")]
pub(crate) struct RunArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Process all there is, wait until every listener has settled it, and exit.
    #[arg(long)]
    pub(crate) until_idle: bool,
    /// Use no file-system events: look at everything each DURATION, 1s unless
    /// given (`--poll=10s`).
    ///
    /// Without this, events say where to look; where they cannot be believed,
    /// on network file systems, in overlays and wherever a directory cannot be
    /// watched, everything is looked at each second all the same. So this is
    /// for hosts on which no watches are to be used at all, or on which a look
    /// each second is too often.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        value_parser = parse_poll
    )]
    pub(crate) poll: Option<Duration>,
}

/// Arguments of `tripline receive`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
CONFIG says where to listen, and who may send:

  (
      listen: \"0.0.0.0:6515\",
      to: \"received\",     // the files: received/PEER/SOURCE/...
      state: \"state\",     // what was received, in a directory of its own
      peers: {
          \"web1\": (shared_key: \"web1.key\"),
          \"web2\": (),     // proves itself by a certificate for web2
      },
      tls: (certificate: \"server.pem\", key: \"server.key\", ca: \"ca.pem\"),
  )

A shared key is 64 hexadecimal digits in a file of mode 0600, the same on both
sides: `openssl rand -hex 32`. On this machine alone (listen: \"127.0.0.1:6515\")
neither `peers` nor `tls` is needed. The senders say
`Forward(from: [\"auth\"], to: \"tripline://HOST:6515\", peer: \"web1\",
shared_key: \"web1.key\")`.

A line is acknowledged when it is on the disk, and is in its file once, whatever
is killed or cut whenever. Others may read the files, and logrotate may rename
them. SIGTERM and SIGINT stop it cleanly.

Exits with 4 when another receiver or daemon uses the state directory.

Examples:
  tripline receive receive.ron
  tripline check receive.ron")]
pub(crate) struct ReceiveArgs {
    /// The configuration of the receiver.
    pub(crate) config: PathBuf,
}

/// Arguments of `tripline check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Rule files that are checked together are one set. When configurations are
checked with them, rules can name the sources of these and no others. The files
that a configuration names in its `rules` are checked with it.

Messages go to standard error and the count of them to standard output. With
--format json there is one object a line on standard output and nothing else.

Examples:
  tripline check tripline.ron
  tripline check tripline.ron rules.d
  tripline check /etc/tripline --strict --format json")]
pub(crate) struct CheckArgs {
    /// Files, and directories of which every *.ron is checked.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// How to write what is found.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Take warnings for errors.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Arguments of `tripline test`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Tests run on a clock of their own, and no action is done. What came of them goes
to standard output; the exit code is 1 if one failed, or if the rules have errors.

Examples:
  tripline test rules/ssh-brute.ron
  tripline test /etc/tripline/rules")]
pub(crate) struct TestArgs {
    /// Rule files, and directories of which every *.ron is one.
    #[arg(required = true, value_name = "RULES")]
    pub(crate) paths: Vec<PathBuf>,
}

/// How messages are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: the line, a caret, a sentence, a repair.
    Human,
    /// For programs: one object a line.
    Json,
}

/// Arguments of `tripline where`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
PLACE is `start`, `end`, a journal number such as `12`, a number and a byte
offset such as `12:3456`, or `checkpoint:12` for a database that was recovered
from checkpoint 12. The daemon must not be running while a place is set.

SOURCE is the name of a source. Of a source with many logs it means all of them,
and PLACE is `start` or `end`; SOURCE:PATH is one log, and there PLACE can be
a number and an offset too, in the file that is written to.

Examples:
  tripline where tripline.ron
  tripline where tripline.ron --json
  tripline where tripline.ron --set standby p4 checkpoint:12
  tripline where tripline.ron --set central auth:/var/log/auth.log end")]
pub(crate) struct WhereArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// Write JSON.
    #[arg(long, conflicts_with = "set")]
    pub(crate) json: bool,
    /// Move a listener to another place of a source.
    #[arg(long, num_args = 3, value_names = ["LISTENER", "SOURCE", "PLACE"])]
    pub(crate) set: Vec<String>,
    /// Do not ask before moving.
    #[arg(long, requires = "set")]
    pub(crate) yes: bool,
}

/// The commands on journal and checkpoint files.
///
/// All of them read plain and gzipped files, told apart by their first bytes.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Count records, transactions, operators and tables.
    Count(CountArgs),
    /// Write every record as a JSON object.
    Cat(CatArgs),
    /// Make a checkpoint out of an older one and the journals after it.
    Apply(ApplyArgs),
    /// Prove that a checkpoint and the journals after it give the next one.
    Verify(VerifyArgs),
    /// Compare two checkpoints, row by row.
    Diff(DiffArgs),
}

/// Arguments of `tripline journal count`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Writes one JSON object a file. `number` is what the journal says itself, or else
one less than its trailer says. `complete` is false when bytes are left behind
the last whole record, as in a journal that is being written: that alone is no
damage. Exits with 1 when something in the middle is no record, and when a
gzipped file is cut short or fails its checksum.

Examples:
  tripline journal count journal
  tripline journal count checkpoints/*.jnl.*.gz")]
pub(crate) struct CountArgs {
    /// Journals or checkpoints, plain or gzipped; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// Arguments of `tripline journal cat`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Passwords and tickets of db.user and db.ticket are written as [redacted]; only
--raw shows the bytes as they are. Bytes behind the last whole record are not
written: they may still grow.

The number in an id is what the journal says itself in its first records. A
server's first journal does not say it, and has 0 there, even when its trailer
tells that it was 1: an id never changes. --since goes by the trailer's number
then, and a journal without any number is written as a whole.

Examples:
  tripline journal cat journal --table db.change --op rv
  tripline journal cat journal.12.gz journal --since 12:3456
  tripline journal cat journal --table db.user --raw")]
pub(crate) struct CatArgs {
    /// Journals or checkpoints, plain or gzipped; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Only records of this table; may be repeated.
    #[arg(long = "table", value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// Only records with this operator, such as `pv` or `ex`; may be repeated.
    #[arg(long = "op", value_name = "OP")]
    pub(crate) ops: Vec<String>,
    /// Only records at or behind this place: a journal number, a number and a
    /// byte offset such as `12:3456`, `checkpoint:12`, `start` or `end`.
    #[arg(long, value_name = "PLACE", value_parser = parse_place)]
    pub(crate) since: Option<Start>,
    /// Write the bytes of the records as they are, secrets included.
    #[arg(long)]
    pub(crate) raw: bool,
    /// The source's name in the ids, instead of the file's name.
    #[arg(long, value_name = "NAME", value_parser = parse_source)]
    pub(crate) source: Option<SourceId>,
}

/// Arguments of `tripline journal apply`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Rows are written in the order of their keys. Only what a transaction's end
commits is applied; a record at the end of the last journal that is still being
written is left out, and a note says so.

OUT is replaced only when all went well: not when a journal is missing in
between, is damaged or was cut short, nor when the checkpoint was. Until then
the result is in OUT.PID.part beside it, which the next run removes if this one
is killed. OUT may be read by those who may read the checkpoint, and by nobody
else. What is no regular file, such as /dev/stdout, is written straight into.
OUT may be CHECKPOINT itself, if that is not compressed: it is brought up to date.

Examples:
  tripline journal apply --to checkpoint.13 checkpoint.12.gz journal.12
  tripline journal apply --part --to standby.ckp standby.ckp - < transactions")]
pub(crate) struct ApplyArgs {
    /// The checkpoint to write.
    #[arg(long, value_name = "OUT")]
    pub(crate) to: PathBuf,
    /// The journals are stretches of journals, as the `replay` of a HotBackup gets
    /// them: whether one is missing in between is not looked at.
    #[arg(long)]
    pub(crate) part: bool,
    /// The checkpoint to begin with.
    pub(crate) checkpoint: PathBuf,
    /// The journals after it, in order.
    #[arg(required = true, value_name = "JOURNAL")]
    pub(crate) journals: Vec<PathBuf>,
}

/// Arguments of `tripline journal verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Writes, per table, how many rows were compared and how many differ. A server
writes some changes into no journal: its note on the last checkpoint, what an
upgrade or a restore changes. Rows that differ so, as the files themselves show,
are counted as explained. Exits with 0 when all others are the same, 1 when not,
or when a file is damaged or was cut short. A record at the end of the last
journal that is still being written is left out, and a note says so.
Hashes of passwords and tickets are compared and never shown.

Examples:
  tripline journal verify checkpoint.12.gz journal.12 checkpoint.13.gz --explain")]
pub(crate) struct VerifyArgs {
    /// A checkpoint, the journals after it, and the checkpoint they lead to.
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Also write the rows that differ.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// Arguments of `tripline journal diff`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Writes, per table, how many rows were compared and how many differ. Exits with
0 when the rows are the same, 1 when not, or when a file is damaged, was cut
short or has no rows. Hashes of passwords and tickets are compared and never
shown.

Examples:
  tripline journal diff checkpoint.12.gz checkpoint.13.gz --explain")]
pub(crate) struct DiffArgs {
    /// A checkpoint.
    #[arg(value_name = "A")]
    pub(crate) left: PathBuf,
    /// Another one.
    #[arg(value_name = "B")]
    pub(crate) right: PathBuf,
    /// Also write the rows that differ.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// Arguments of `tripline fields`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tripline fields db.user
  tripline fields db.user 7")]
pub(crate) struct FieldsArgs {
    /// The table, such as db.change.
    pub(crate) table: String,
    /// The version that records carry in front of the table; the youngest
    /// when left out.
    pub(crate) version: Option<u32>,
}

/// Arguments of `tripline init`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Looks at P4ROOT, P4JOURNAL, P4LOG and P4PORT, and at the journals and logs that
are there. What follows logs is commented out.

Examples:
  P4ROOT=/p4/root tripline init
  tripline init --to /etc/tripline/tripline.ron")]
pub(crate) struct InitArgs {
    /// The file to write; it must not exist.
    #[arg(long, value_name = "FILE", default_value = "tripline.ron")]
    pub(crate) to: PathBuf,
}

/// Arguments of `tripline man`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tripline man | man -l -
  tripline man --to /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write one page a command into this directory, instead of the first
    /// page to standard output.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

/// Arguments of `tripline completions`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  tripline completions bash > /etc/bash_completion.d/tripline
  tripline completions zsh --to ~/.zfunc")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
    /// Write a file with the usual name into this directory, instead of to
    /// standard output.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
}

/// Reads a place as `tripline where --set` takes it.
///
/// # Errors
///
/// With a sentence that says how places are written.
pub(crate) fn parse_place(text: &str) -> Result<Start, String> {
    let place = match text {
        "start" => Some(Start::Oldest),
        "end" => Some(Start::Now),
        _ => match text.split_once(':') {
            Some(("checkpoint", number)) => number.parse().ok().map(Start::Checkpoint),
            Some((sequence, offset)) => match (sequence.parse(), offset.parse()) {
                (Ok(sequence), Ok(offset)) => Some(Start::Offset(sequence, offset)),
                _ => None,
            },
            None => text.parse().ok().map(Start::Sequence),
        },
    };
    place.ok_or_else(|| {
        format!(
            "`{}` is no place: write `start`, `end`, a number such as `12`, \
             `12:3456` or `checkpoint:12`",
            text.escape_debug()
        )
    })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    FriendlyDuration::try_from(text.to_owned()).map(|duration| duration.0)
}

/// A pause between two looks at everything.
fn parse_poll(text: &str) -> Result<Duration, String> {
    let FriendlyDuration(poll) = FriendlyDuration::try_from(text.to_owned())?;
    match (POLL_MIN..=POLL_MAX).contains(&poll) {
        true => Ok(poll),
        false => Err(format!("it must lie between {POLL_MIN:?} and {POLL_MAX:?}")),
    }
}

/// Looking more often than this is a busy loop.
const POLL_MIN: Duration = Duration::from_millis(10);
/// A day: no clock has trouble with it.
const POLL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

fn parse_source(text: &str) -> Result<SourceId, String> {
    SourceId::new(text).ok_or_else(|| {
        "a name has letters, digits, `_`, `-` and `.`, and does not begin with `.`"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_sentence_and_an_example() {
        fn look(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            if command.has_subcommands() {
                command.get_subcommands().for_each(look);
            } else {
                let help = command.get_after_help().map(ToString::to_string);
                assert!(
                    help.is_some_and(|help| help.contains("Example")),
                    "{} shows no example",
                    command.get_name()
                );
            }
        }
        look(&Cli::command());
    }

    #[test]
    fn places() {
        assert_eq!(parse_place("start"), Ok(Start::Oldest));
        assert_eq!(parse_place("end"), Ok(Start::Now));
        assert_eq!(parse_place("12"), Ok(Start::Sequence(12)));
        assert_eq!(parse_place("12:3456"), Ok(Start::Offset(12, 3456)));
        assert_eq!(parse_place("checkpoint:12"), Ok(Start::Checkpoint(12)));
        for bad in ["", "twelve", "12:", ":1", "-1", "checkpoint:", "1:2:3"] {
            assert!(parse_place(bad).unwrap_err().contains("is no place"), "{bad}");
        }
    }
}

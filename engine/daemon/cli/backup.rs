//! The arguments of `tripline backup`.

use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// The commands on the backup that a listener keeps.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Bring the newest checkpoint to a standby that is new or too old.
    Seed(SeedArgs),
    /// Compare everything on a standby with what it should be.
    Verify(BackupVerifyArgs),
}

/// Arguments of `tripline backup seed`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The newest whole checkpoint beside the source's journals is copied to the
standby, byte for byte, and read back; only then it gets its name. With
`archives`, the versioned files that it names are copied too. When it was broken
off, it goes on where it was the next time. A file that is there and is another
one is never overwritten. The listener then begins with the journal behind the
checkpoint, unless it can go on where the standby is; the journals themselves are
copied by `tripline run`.

With `replay`, nothing is applied before a person has restored the checkpoint on
the standby, and says with --restored which one it was. Until then a newer
checkpoint is only copied. The daemon must not be running.

Examples:
  tripline backup seed tripline.ron
  tripline backup seed tripline.ron standby --restored 15")]
pub(crate) struct SeedArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The HotBackup; may be left out where there is only one.
    pub(crate) listener: Option<String>,
    /// The checkpoint of this number is restored: apply the journals behind it.
    #[arg(long, value_name = "N")]
    pub(crate) restored: Option<u64>,
}

/// Arguments of `tripline backup verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Copies of journals are compared with the source's, and older ones and
checkpoints with their checksums. No journal may be missing, and without `replay`
there must be a checkpoint to restore before them. With `archives`, every revision
that the checkpoint and the journals behind it name is looked for on the standby,
and its content compared with size and digest of its row; what no row has a digest
of is counted as unchecked. All is read, nothing is changed, and the daemon may
run; what it brings meanwhile may be counted as missing. What is to be compared is
kept in a file below TMPDIR.

Exits with 0 when everything is there and as it should be, 1 when not, 2 when it
could not be compared.

Examples:
  tripline backup verify tripline.ron
  tripline backup verify tripline.ron standby --explain
  tripline backup verify tripline.ron standby /p4/checkpoints/checkpoint.15.gz
  tripline backup verify tripline.ron --local /p4/standby")]
pub(crate) struct BackupVerifyArgs {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The HotBackup; may be left out where there is only one.
    pub(crate) listener: Option<String>,
    /// The checkpoint to begin with, instead of the newest there is.
    pub(crate) checkpoint: Option<PathBuf>,
    /// The standby's directory on this machine: nothing goes over SSH, and the
    /// checkpoint and the journals are those in it.
    #[arg(long, value_name = "DIR")]
    pub(crate) local: Option<PathBuf>,
    /// Also write what is missing or differs.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl BackupVerifyArgs {
    /// The listener and the checkpoint; the one may stand without the other.
    pub(crate) fn which(
        &self,
        is_listener: impl Fn(&str) -> bool,
    ) -> (Option<&str>, Option<&Path>) {
        match (self.listener.as_deref(), self.checkpoint.as_deref()) {
            (Some(word), None) if !is_listener(word) && Path::new(word).is_file() => {
                (None, Some(Path::new(word)))
            }
            both => both,
        }
    }
}

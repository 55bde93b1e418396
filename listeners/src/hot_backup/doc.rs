//! What people configure it by.

use super::{TIMEOUT_MAX, TIMEOUT_MIN};
use crate::arguments::FROM_ONE;
use crate::ssh::Settings;
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Keeps a standby ready: copies the journals of one source to a directory on another host, as \
they are written. The current one is `journal` there; when the source begins the next one \
it becomes `journal.N`, with its SHA-256 beside it in `journal.N.sha256` (for `sha256sum \
-c`). An account that may do nothing but SFTP is enough (`ForceCommand internal-sftp`, in a \
chroot if you like). Every record is synced to the standby's disk before its place is \
settled: `tripline where` shows what is persisted.\n\
\n\
What the standby holds says where to go on. At each start its current journal is read back \
once and compared with the source's; where they differ, in what was settled before, the \
backup stops and says at which byte. Nothing is ever overwritten, and there is never a \
hole: at a gap it stops. What a loss of power on the standby took away behind the last \
settled place is written again.\n\
\n\
With `replay`, a command on the standby gets the records of whole transactions on its \
standard input. They lie there in a file before it begins, so it never gets a part of them, \
whatever breaks; a run goes on when the connection is cut or Tripline stopped, no other \
begins before it has ended, and it is known later what came of it. (A run that still goes \
on when its place is set by hand, or other tables are excluded, counts for nothing: what it \
applied comes again.) When it has ended with 0 and read its input to the end, the place \
stands in the file `applied` beside the journals, and is settled: `tripline where` shows it \
as that of `NAME.replay`. When it fails, the same comes again; so a transaction may be \
handed to it twice, which leaves a Perforce database as once does. What the command says is \
in `replay.log`. The words reach it as they are, by `sh -c` with one script that is always \
the same, and needs `flock` and `cmp`: an account that is kept to a command must allow it, \
and may compare the whole text.\n\
\n\
With `archives` the versioned files that committed rows of db.rev, db.storage and their \
like name (and of transactions too long to be held, rows not committed yet) are brought \
too, on a lane of its own, `NAME.archives`. Each is read once and compared with size and \
MD5 of its row: whole files, compressed ones by what is in them, and the revision of an RCS \
file; not where keywords may have been written out, where the row has no digest, and in RCS \
files of more than 256 MiB or 5 million lines. A file replaces the one before at once, when \
all of it is on the disk. What is missing, or is not what its row says, is not brought and \
holds up nothing: it is in the file `archives.missing` there and, the first hundred, among \
the dead letters, and is looked for again each minute and at each start; after a hundred \
thousand, more are only counted there. What is purged or taken away meanwhile is not \
missing any more. (An RCS file is brought, for its other revisions.) Nothing is ever \
deleted there. Only what journals name is brought; what a checkpoint names, when the \
standby is seeded.\n\
\n\
`tripline backup seed` brings the newest checkpoint to a standby that is new or too old, \
and the versioned files it names. `tripline backup verify` compares all that a standby has \
with what it should have.\n\
\n\
Hosts must be known: an unknown or changed key stops the backup, and the message says what \
to type.";

pub(super) const LIMITS: &[&str] = &[
    "Journals hold the hashes of passwords and tickets, and a byte-exact copy **keeps \
     them**: give the standby the care that the server gets.",
    "It restores no checkpoint: `backup seed` brings it, and a person restores it. Until \
     then that one is waited for: a newer one is copied beside it. Checkpoints of many \
     files (`p4d -jcp`) are passed over.",
    "A journal whose end did not come, because of a gap, stays there as \
     `journal.N.unfinished`, without a checksum.",
    "What a command of `replay` that failed had applied comes to it again.",
    "Versioned files are brought one after the other; of RCS files the whole, whenever a \
     revision was added. Of a transaction that is too long to be held they are brought \
     before it is committed.",
    "Of a lazy copy that is missing, `archives.missing` says nothing more once a row that \
     names the same content is taken away or purged: `backup verify` finds it.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    FROM_ONE,
    Argument::needed(
        "to",
        Wants::Text,
        r#""ssh://backup@standby.example.com/p4/journals""#,
        "The host and a directory there for this backup alone: \
         \"ssh://user@host:port/directory\".",
    ),
    Argument::optional(
        "way",
        Wants::OneOf(&[
            Form::word("Library", "a library that is built in"),
            Form::word(
                "Program",
                "the system's `ssh`, which knows jump hosts, certificates and hardware keys",
            ),
        ]),
        "Program",
        "How the host is reached; `Library` unless given, or `Program` where Tripline was \
         built without it.",
    ),
    Argument::optional(
        "key",
        Wants::Path,
        r#""/etc/tripline/standby.key""#,
        "The private key, without a passphrase, which nobody but its owner may read; those \
         of an agent unless given.",
    ),
    Argument::optional(
        "known_hosts",
        Wants::Path,
        r#""/etc/tripline/known_hosts""#,
        "The keys of hosts; `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts` unless given.",
    ),
    Argument::optional(
        "ssh_config",
        Wants::Path,
        r#""ssh_config""#,
        "With `way: Program`: a file for its `-F`; neither the user's nor the system's \
         unless given.",
    ),
    Argument::optional(
        "connect_timeout",
        TIMEOUT,
        r#""30s""#,
        "The connection must stand, and we be let in, within this.",
    )
    .or_duration(Settings::CONNECT_TIMEOUT),
    Argument::optional(
        "answer_timeout",
        TIMEOUT,
        r#""1m""#,
        "While something is under way, some of it must move within this.",
    )
    .or_duration(Settings::ANSWER_TIMEOUT),
    Argument::optional(
        "replay",
        Wants::Texts,
        r#"["p4d", "-r", "/p4/1/offline", "-f", "-jr", "-"]"#,
        "A program on the standby and its arguments, which applies journals; none unless \
         given.",
    ),
    Argument::optional(
        "exclude_tables",
        Wants::Texts,
        r#"["db.have"]"#,
        "With `replay`: rows of these tables are not applied. What depends on them is then \
         wrong on the standby, such as which files clients have (db.have), and so are \
         checksums of tables. The copies of the journals are whole all the same.",
    ),
    Argument::optional(
        "case",
        Wants::OneOf(&[
            Form::word("Sensitive", "as with `p4d -C0`"),
            Form::word("Insensitive", "as with `p4d -C1`"),
        ]),
        "Sensitive",
        "With `replay`: how the standby's database handles case, unless `-C0` or `-C1` \
         among the words of `replay` says it. It is compared with the header of each \
         journal before anything of it is applied, as a database that handles case \
         otherwise than the server would become another one. Where nothing says it, it is \
         left to `p4d` to refuse.",
    ),
    Argument::optional(
        "archives",
        Wants::Block(ARCHIVES),
        r#"(root: "/p4/1/root")"#,
        "The versioned files are brought too.",
    ),
    Argument::ON_GAP.or("Stop"),
    Argument::QUIET,
];

const ARCHIVES: &[Argument] = &[
    Argument::needed(
        "root",
        Wants::Path,
        r#""/p4/1/root""#,
        "The server's root, below which its depots are.",
    ),
    Argument::optional(
        "depots",
        Wants::Named,
        r#"{"big": "/vol2/big"}"#,
        "Where depots are that are not below the root.",
    ),
    Argument::optional(
        "to",
        Wants::Text,
        r#""ssh://backup@standby.example.com/p4/depots""#,
        "Where they are brought to; `archives/` below the journals unless given.",
    ),
];

const TIMEOUT: Wants = Wants::Duration(TIMEOUT_MIN, TIMEOUT_MAX);

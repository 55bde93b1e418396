//! What people configure an `Exec` by.

use super::{
    ACKNOWLEDGE_TIMEOUT, BYTES, DURATION_MAX, DURATION_MIN, ENTRIES, GRACE, TIMEOUT,
    WINDOW,
};
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Hands entries to a program, as JSON lines on its standard input: what `Print` writes, with \
the same ids. A gap becomes a line with `gap` in it.\n\
\n\
No shell has a part in it, and nothing an entry holds is an argument. A script is a program \
too when its first line names its interpreter; for a line of shell write `run: [\"/bin/sh\", \
\"-c\", \"...\"]`, which never sees an entry but on its standard input. The program has the \
daemon's user and umask, and of its environment PATH and LANG; TRIPLINE_LISTENER is the \
listener's name. Secrets belong into a file that it reads.\n\
\n\
With `mode: Batch` it is started for each batch, reads its standard input to the end, which \
comes after a whole line, and ends. The code it ends with is its answer: 0, all of it is \
taken; 75 (EX_TEMPFAIL), again later; 65 (EX_DATAERR), something in it will never be taken: \
it is started with halves until that entry is found, and only that is set aside. With any \
other code, when it dies of a fault such as a segmentation fault, or has not ended after \
`timeout`, `on_failure` decides. Killed by somebody else, or not started because it is gone \
or may not be executed, it is tried again whatever `on_failure` says; so programs may be \
replaced at any time, best by `mv`. While it takes longer than a few seconds for a batch, \
`where` says that it is still at work.\n\
\n\
With `mode: Acknowledged` it is started once and answers each line, in order, with a line \
of its own: `OK` when it has it for good; `ERR why` when it never will: that entry is set \
aside; `DEFER why`, not now: after a pause that entry comes again, and all that were sent \
behind it. When no answer comes in time, or it ends, or says something else, it is ended \
and started again after a pause. What it has acknowledged does not come again; what it has \
not comes with the same ids. It has to flush its standard output after each line.\n\
\n\
What it writes to standard error, and in a batch to standard output, is read and thrown \
away but for its end, which is in the daemon's messages when it fails.\n\
\n\
A program in Python for `mode: Acknowledged` (another is `examples/feed.py`):\n\
\n    \
#!/usr/bin/env python3\n    \
import json, sys\n    \
for line in sys.stdin:\n        \
entry = json.loads(line)\n        \
try:\n            \
with open(\"/var/tmp/feed.txt\", \"a\") as out:\n                \
print(entry[\"id\"], entry.get(\"text\"), file=out)\n            \
print(\"OK\", flush=True)\n        \
except OSError as error:\n            \
print(\"DEFER\", error, flush=True)";

pub(super) const LIMITS: &[&str] = &[
    "Everything may come twice, after a kill or a power loss: a program that counts looks \
     at the ids.",
    "It ends a program with all that it started, but for what runs as another user, what \
     left its parents, its process group and its environment behind, and what another \
     service started for it.",
    "When the daemon is killed, a program goes on until it notices that its standard input \
     ends; a batch may be handed over again meanwhile.",
    "A program gets the descriptors that the daemon itself was started with, besides 0, 1 \
     and 2.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::FROM,
    Argument::needed(
        "run",
        Wants::Texts,
        r#"["/usr/local/bin/feed", "--all"]"#,
        "The path of a program, and its arguments, which it gets as they are. A relative \
         path, such as `./feed`, starts at the configuration.",
    ),
    Argument::optional(
        "mode",
        Wants::OneOf(&[
            Form::word("Batch", "a process for each batch"),
            Form::word("Acknowledged", "one process, which answers entry by entry"),
        ]),
        "Acknowledged",
        "How entries are handed over.",
    )
    .or("Batch"),
    Argument::optional(
        "env",
        Wants::Named,
        r#"{"REGION": "eu"}"#,
        "Variables of its environment, besides those that it has.",
    ),
    Argument::optional("cwd", Wants::Path, r#""/srv/feed""#, "The directory it runs in.")
        .or(r#""/""#),
    Argument::SECRETS,
    Argument::optional(
        "grace",
        DURATION,
        r#""10s""#,
        "To end it, it and all that it has started get TERM, and KILL after so long (0.3s \
         when the daemon stops). What it leaves running when it ends is ended too.",
    )
    .or_duration(GRACE),
    Argument::optional(
        "entries_max",
        Wants::Number(1, ENTRIES.1 as u64),
        "1000",
        "`Batch`: at most so many entries for a process.",
    )
    .or_number(ENTRIES.0 as u64),
    Argument::optional(
        "bytes_max",
        Wants::Bytes(1, BYTES.1 as u64),
        "1048576",
        "`Batch`: at most so many bytes for a process, but one entry at least.",
    )
    .or_number(BYTES.0 as u64),
    Argument::optional(
        "timeout",
        DURATION,
        r#""5m""#,
        "`Batch`: it must have ended by then.",
    )
    .or_duration(TIMEOUT),
    Argument::optional(
        "on_failure",
        Wants::OneOf(&[
            Form::word("Retry", "it is started again with the same entries"),
            Form::word("SetAside", "the entry is looked for and set aside, as with 65"),
            Form::word("Stop", "the listener stops"),
        ]),
        "Stop",
        "`Batch`: what follows when it failed and did not say whose fault it is. Most \
         failures are not an entry's fault: a full disk, or a typing error in a script, \
         would set aside whatever comes.",
    )
    .or("Retry"),
    Argument::optional(
        "window",
        Wants::Number(1, WINDOW.1 as u64),
        "1",
        "`Acknowledged`: at most so many entries wait for an answer.",
    )
    .or_number(WINDOW.0 as u64),
    Argument::optional(
        "acknowledge_timeout",
        DURATION,
        r#""5m""#,
        "`Acknowledged`: an answer must come within this.",
    )
    .or_duration(ACKNOWLEDGE_TIMEOUT),
    Argument::optional(
        "ready",
        Wants::Flag,
        "true",
        "`Acknowledged`: it says `OK` before the first entry too.",
    )
    .or("false"),
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

const DURATION: Wants = Wants::Duration(DURATION_MIN, DURATION_MAX);

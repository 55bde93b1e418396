//! What people configure a `Review` by.

use crate::arguments::FROM_ONE;
use crate::mail::transport::{GIVE_UP_ARGUMENT, SENDER, VIA};
use tripline_api::{Argument, Wants};

pub(super) const DOC: &str = "\
The Perforce review daemon without any load on the server: tells users of submitted \
changes with files that they review (`Reviews:` of `p4 user`; later lines override earlier \
ones, `-` excludes). Who that is and where they get mail is learned from the journal's own \
tables, as it changes them. One mail for each change and address, in which nobody else is \
named: number, user, client, date, description, jobs fixed, the first 200 files with \
revision and action, a link. Its headers `X-Perforce-Change`, `X-Perforce-User` and \
`X-Perforce-Client` are for filters.\n\
\n\
A reviewer who is no user and a group is everybody in that group and its groups. Service \
and operator users get no mail, nor does who has no deliverable address: name@host without \
a dot in the host is none.\n\
\n\
What was decided is in a database in the state directory before it is sent, so that \
neither a kill nor a restart loses a mail. While the server is away, mails wait and are \
tried again. One whose recipient is refused for good is set aside (`tripline dead list`); \
nobody else waits for it. A refused password or sender, or a missing STARTTLS, stops the \
listener. After a person moved the cursor back, mails come again.";

pub(super) const LIMITS: &[&str] = &[
    "Protections are not asked: who subscribes to files that they may not see hears of them \
     all the same, as they do from the server's `p4 reviews`.",
    "A mail that it was killed over, between its acceptance and remembering that, is sent \
     again, with the same Message-ID.",
    "Descriptions of pending changes take 64 MiB at most; when one has gone, its mail has \
     the first 31 characters.",
    "Servers before 2006.2 write no end of a transaction, so nothing is ever submitted. A \
     checkpoint that is a directory of files (`p4d -jcp`) is not read.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    FROM_ONE,
    SENDER,
    VIA,
    GIVE_UP_ARGUMENT,
    Argument::optional(
        "checkpoint",
        Wants::Path,
        r#""/p4/1/checkpoints""#,
        "The checkpoint of the journal that it begins with, gzipped or not, or the \
         directory in which the server writes them as `NAME.checkpoint.N` or `NAME.ckp.N`: \
         with it all users and reviewers are known from the start, and of changes in it \
         nobody hears. Without it they are known from when the journal first says \
         something of them. It is read once, and again behind a gap when the directory \
         has the one that fits.",
    ),
    Argument::optional(
        "own_changes",
        Wants::Flag,
        "false",
        "`false`: whoever submitted does not hear of it.",
    )
    .or("true"),
    Argument::optional(
        "users",
        Wants::Named,
        r#"{"ann": "ann@example.com"}"#,
        "Addresses by user, in place of the server's.",
    ),
    Argument::optional("exclude", Wants::Texts, r#"["build"]"#, "Users who get nothing."),
    Argument::optional(
        "link",
        Wants::Text,
        r#""https://swarm.example.com/changes/{change}""#,
        "A URL with `{change}`, `{user}` or `{client}` in it.",
    ),
    Argument::optional(
        "zone",
        Wants::Text,
        r#""Europe/Berlin""#,
        "The time zone of dates; this machine's unless given.",
    ),
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

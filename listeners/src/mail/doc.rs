//! What people configure a `Mail` by.

use super::Rhythm;
use super::transport::{GIVE_UP_ARGUMENT, SENDER, VIA};
use crate::arguments::{OPS, TABLES};
use std::time::Duration;
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Mails entries, many in one mail. The first entry waits a moment, so that what comes \
together goes together, and then at most one mail goes out in a minute (`digest`). A mail \
shows its first entries and counts the others: a flood of a million is two mails, and \
their counts add up. That is so for journals too: not the transaction is the unit, but \
what came together. A gap is an entry and says how to repair it. `--until-idle` waits for \
the mail; a daemon that is stopped does not, and collects again at the next start.\n\
\n\
An entry is settled when the mail that has it was taken by the server, or by the program. \
The mail is written down before it is sent; after a crash it goes out as it was written, \
with the same Message-ID, and what comes again is not mailed again. While the server is \
away, or says to come back later, the mail is tried again with longer and longer pauses, \
and what comes meanwhile goes into the next. A recipient that is refused for good is set \
aside (`tripline dead list`) with the mail. A refused password or sender, or a missing \
STARTTLS, stops the listener: everything after it would go the same way.\n\
\n\
`subject` and `body` are templates as of Jinja, with `listener`, `host`, `count`, `gaps`, \
`suppressed` (those that are not shown), `sources`, `first` and `last` (ids), and \
`entries`, each with `id`, `source`, `path`, `line`, `text`, `op`, `table`, `fields`, \
`time`, `when` (the time as text), `gap` and `summary` (all of it in one line). A name that \
is none is an error, which `tripline check` finds; one that only shows with certain entries \
is said at the end of the mail, which is worded as without a template then.";

pub(super) const LIMITS: &[&str] = &[
    "It sends a mail once more, with the same Message-ID, when it cannot know whether the \
     server took it.",
    "Addresses are ASCII.",
    "A mail that several recipients refused is one dead letter, and goes to all of these \
     when it is delivered again.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::FROM,
    Argument::needed(
        "to",
        Wants::Texts,
        r#"["Night shift <ops@example.com>"]"#,
        "The addresses that mails go to.",
    ),
    SENDER,
    VIA,
    Argument::optional(
        "matching",
        Wants::Text,
        r#""Failed password|Accepted publickey for root""#,
        "Only entries in which this pattern (as of `grep -E`) is found: in the text of a \
         line, in the bytes of a record. It is for bytes, at most 4096 of them, and its \
         classes are those of ASCII; of an entry the first MiB is searched.",
    ),
    TABLES,
    OPS,
    Argument::optional(
        "digest",
        Wants::Block(DIGEST),
        r#"(after: "10s", or_entries: 500, every: "5m", show: 50)"#,
        "When a mail goes out, and how much it shows.",
    ),
    Argument::optional(
        "subject",
        Wants::Text,
        r#""{{ count }} failed logins on {{ host }}""#,
        "The subject: a template. Listener, host and count unless given.",
    ),
    Argument::optional(
        "body",
        Wants::Text,
        r#""{% for entry in entries %}{{ entry.text }}\n{% endfor %}""#,
        "The text: a template. A line for each entry that is shown unless given.",
    ),
    Argument::optional(
        "attach",
        Wants::OneOf(&[Form::word("Json", "the entries that are shown, as JSON lines")]),
        "Json",
        "What is attached; nothing unless given.",
    ),
    Argument::SECRETS,
    GIVE_UP_ARGUMENT,
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

const DIGEST: &[Argument] = &[
    Argument::optional(
        "after",
        PERIOD,
        r#""30s""#,
        "The first entry waits so long for others.",
    )
    .or_duration(Rhythm::AFTER),
    Argument::optional(
        "or_entries",
        Wants::Number(1, u64::MAX),
        "500",
        "So many entries do not wait for `after`.",
    ),
    Argument::optional("every", PERIOD, r#""5m""#, "At most one mail in this time.")
        .or_duration(Rhythm::EVERY),
    Argument::optional(
        "show",
        Wants::Number(1, Rhythm::SHOW_MAX as u64),
        "50",
        "So many entries are in a mail; the others are counted.",
    )
    .or_number(Rhythm::SHOW as u64),
];

const PERIOD: Wants = Wants::Duration(Duration::ZERO, Rhythm::PERIOD_MAX);

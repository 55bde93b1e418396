//! Which events.

use super::{Block, Field, Holds, Need, Others, Wants, Word};
use Need::Optional;

const SOURCES: &str =
    "Names of sources in the configuration; all of that kind unless given.";

/// The kinds of events.
pub static ON: [&Block; 5] = [
    &Block {
        word: "Lines",
        title: "`Lines`",
        doc: "Lines of logs, one event each.",
        fields: &[
            Field {
                name: "source",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: SOURCES,
                example: r#""auth""#,
            },
            Field {
                name: "program",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: "Only lines of these programs: the word in front of `[123]:` or `:` \
                    in the head that a syslog daemon writes.",
                example: r#""sshd""#,
            },
            Field {
                name: "whole",
                wants: Wants::Flag,
                need: Optional,
                doc: "`true`: patterns see the line as it is. Otherwise they see \
                    `event.text`, which is the line without the head of time, host and \
                    program where it has one.",
                example: "true",
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Lines(source: "auth", program: "sshd")"#,
    },
    &Block {
        word: "Journal",
        title: "`Journal`",
        doc: "Transactions of Perforce journals, one event each: all rows up to and with \
            their `@ex@`. A submit is one event.",
        fields: &[
            Field {
                name: "source",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: SOURCES,
                example: r#""p4""#,
            },
            Field {
                name: "table",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: "Only transactions with a row of one of these tables. `tripline \
                    fields TABLE` shows what is in it.",
                example: r#""db.change""#,
            },
            Field {
                name: "op",
                wants: Wants::Words(&[
                    Word { name: "Put", doc: "a new row, `@pv@`" },
                    Word {
                        name: "Replace",
                        doc: "a row in the place of another, `@rv@`",
                    },
                    Word { name: "Delete", doc: "a row is gone, `@dv@`" },
                ]),
                need: Optional,
                doc: "Only when such a row was written so.",
                example: "Delete",
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Journal(source: "p4", table: "db.protect")"#,
    },
    &Block {
        word: "Task",
        title: "`Task`",
        doc: "Runs of actions, when they have ended for good.",
        fields: &[
            Field {
                name: "rule",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: "Only of these rules.",
                example: r#""nightly""#,
            },
            Field {
                name: "status",
                wants: Wants::Words(&[
                    Word { name: "Succeeded", doc: "as it should" },
                    Word { name: "Failed", doc: "with an error that is not tried again" },
                    Word { name: "TimedOut", doc: "it took too long" },
                    Word { name: "GaveUp", doc: "all attempts failed" },
                ]),
                need: Optional,
                doc: "Only those that ended so.",
                example: "[Failed, TimedOut, GaveUp]",
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: "Task(status: [Failed, TimedOut, GaveUp])",
    },
    &Block {
        word: "Engine",
        title: "`Engine`",
        doc: "What happens to Tripline itself, and what rules emit.",
        fields: &[
            Field {
                name: "event",
                wants: Wants::Words(&[
                    Word { name: "Started", doc: "the daemon started" },
                    Word { name: "Stopping", doc: "the daemon stops" },
                    Word { name: "Reloaded", doc: "another set of rules is in use" },
                    Word {
                        name: "ReloadRefused",
                        doc: "a set of rules had errors; the old one stays in use",
                    },
                    Word { name: "Gap", doc: "continuity could not be proved" },
                    Word {
                        name: "ListenerStopped",
                        doc: "a listener stopped and needs a person",
                    },
                    Word {
                        name: "AboutToBeLost",
                        doc: "what a listener has not delivered is in the oldest file that is kept",
                    },
                    Word {
                        name: "SetAside",
                        doc: "entries were set aside: their receiver will never take them",
                    },
                    Word { name: "SourceLost", doc: "a source cannot be read" },
                    Word { name: "SourceBack", doc: "it can be read again" },
                    Word {
                        name: "ClockSkew",
                        doc: "the time of events is far from the clock's",
                    },
                    Word {
                        name: "KeysEvicted",
                        doc: "a rule counts more things apart than it may",
                    },
                    Word {
                        name: "RuleFailed",
                        doc: "an expression or a template failed on an event",
                    },
                ]),
                need: Optional,
                doc: "Only these; all unless given, or none with `emitted`.",
                example: "[Gap, ListenerStopped]",
            },
            Field {
                name: "emitted",
                wants: Wants::Texts(Holds::Name),
                need: Optional,
                doc: "What `Emit` emits with one of these kinds. Its fields are in `emitted`.",
                example: r#""deploy""#,
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: "Engine(event: [Gap, ListenerStopped])",
    },
    &Block {
        word: "Any",
        title: "`Any`",
        doc: "Events of several kinds. Several sources of one kind are a list in its \
            `source`.",
        fields: &[],
        shared: &[],
        item: Some(Wants::Kinds(&ON)),
        others: Others::Wrong,
        example: r#"Any([Lines(source: "auth"), Task()])"#,
    },
];

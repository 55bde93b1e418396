//! How many events make a rule fire.

use super::{Block, Field, Holds, Need, ON, Others, Wants, Word, text};
use Need::{Optional, Required};

/// The ways to count.
pub static WHEN: &[&Block] = &[
    &Block {
        word: "Each",
        title: "`Each`",
        doc: "Every event makes it fire.",
        fields: &[],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: "Each",
    },
    &Block {
        word: "Count",
        title: "`Count`",
        doc: "Fires when the newest `of` events lie within the time, both ends included. \
            Firing uses them up: the next one needs `of` new ones. Captures are those of \
            the last event; `first`, `last`, `events` and `count` are there too.",
        fields: &[
            Field {
                name: "of",
                wants: Wants::Number(2, 100_000),
                need: Required,
                doc: "So many events.",
                example: "5",
            },
            Field {
                name: "within",
                wants: Wants::Duration,
                need: Required,
                doc: "In this time, which slides.",
                example: r#""60s""#,
            },
            text(
                "distinct",
                Holds::FieldName,
                Optional,
                "Only events count that differ in this field.",
                r#""user""#,
            ),
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Count(of: 5, within: "60s")"#,
    },
    &Block {
        word: "Absent",
        title: "`Absent`",
        doc: "Fires when no event came for so long. The clock starts with the first event, \
            or with the rule for what is in `expect`. It stops while the source cannot be \
            read. `on_return` says what to do when it is back.",
        fields: &[
            Field {
                name: "for",
                wants: Wants::Duration,
                need: Required,
                doc: "So long.",
                example: r#""5m""#,
            },
            Field {
                name: "expect",
                wants: Wants::TextMaps,
                need: Optional,
                doc: "Values of `by` that must come even if they never did; `[{}]` without \
                    `by`.",
                example: r#"[{"edge": "edge-fra"}]"#,
            },
            Field {
                name: "again",
                wants: Wants::Duration,
                need: Optional,
                doc: "Fires again each time so long passed.",
                example: r#""1h""#,
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Absent(for: "5m", again: "1h")"#,
    },
    &Block {
        word: "Pair",
        title: "`Pair`",
        doc: "One event, and then another with the same `by`. Further first events are \
            ignored until then. Their fields are in `start` and `end`.",
        fields: &[
            Field {
                name: "until",
                wants: Wants::Block(&UNTIL),
                need: Required,
                doc: "The second event.",
                example: r#"(match: r"^backup done")"#,
            },
            Field {
                name: "within",
                wants: Wants::Duration,
                need: Required,
                doc: "In this time.",
                example: r#""2h""#,
            },
            Field {
                name: "fire",
                wants: Wants::Word(&[
                    Word {
                        name: "IfMissing",
                        doc: "when the time is over and it did not come",
                    },
                    Word { name: "IfSeen", doc: "when it comes in time" },
                ]),
                need: Required,
                doc: "When it fires.",
                example: "IfMissing",
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Pair(until: (match: r"^backup done"), within: "2h", fire: IfMissing)"#,
    },
    &Block {
        word: "Digest",
        title: "`Digest`",
        doc: "Collects what comes in a time that the first event starts, then fires once, \
            with `events`, `count`, `first`, `last`, and `dropped`. Never fires with none.",
        fields: &[
            Field {
                name: "every",
                wants: Wants::Duration,
                need: Required,
                doc: "The time.",
                example: r#""15m""#,
            },
            Field {
                name: "keep",
                wants: Wants::Number(1, 10_000),
                need: Optional,
                doc: "So many events are in `events` (100); the others are counted in \
                    `dropped`.",
                example: "200",
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Digest(every: "15m")"#,
    },
];

/// The second event of a pair.
pub static UNTIL: Block = Block {
    word: "",
    title: "`until`",
    doc: "The second event of a pair, as a rule says it.",
    fields: &[
        Field {
            name: "on",
            wants: Wants::Kind(&ON),
            need: Optional,
            doc: "Which events; those of the rule unless given.",
            example: r#"Lines(source: "backup")"#,
        },
        Field {
            name: "match",
            wants: Wants::Texts(Holds::Pattern),
            need: Optional,
            doc: "As in a rule. It captures what the rule's `by` names.",
            example: r#"r"^backup of (?P<host>\S+) done""#,
        },
        text("if", Holds::Expression, Optional, "As in a rule.", r#""code == 0""#),
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(match: r"^backup done")"#,
};

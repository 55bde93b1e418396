//! What rules should do.

use super::{Block, Field, Holds, Need, Others, Wants, text};
use Need::{Optional, Required};

/// A test.
pub static TEST: Block = Block {
    word: "",
    title: "a test",
    doc: "Gives the rules of the file something, on a clock of its own, and compares what \
        they do.",
    fields: &[
        text(
            "name",
            Holds::Name,
            Required,
            "What is shown by it.",
            r#""five failures block""#,
        ),
        Field {
            name: "given",
            wants: Wants::Kinds(GIVEN),
            need: Required,
            doc: "What happens, in order.",
            example: r#"[Lines(text: "a line")]"#,
        },
        Field {
            name: "pretend",
            wants: Wants::KindMap(PRETEND),
            need: Optional,
            doc: "How actions end, by their id; well unless given.",
            example: r#"{"block": Fails(exit: 1)}"#,
        },
        Field {
            name: "expect",
            wants: Wants::Kinds(EXPECTED),
            need: Required,
            doc: "All actions, in order. Of each only what is written is compared.",
            example: r#"[Mail(subject: Has("192.0.2.1"))]"#,
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(
    name: "five failures are mailed",
    given: [Lines(text: "Failed password for root from 192.0.2.1", times: 5, every: "1s")],
    expect: [Mail(subject: Has("192.0.2.1"))],
)"#,
};

/// What happens in a test.
pub static GIVEN: &[&Block] = &[
    &Block {
        word: "Lines",
        title: "`Lines`",
        doc: "Lines of a log, or records of a journal, appear.",
        fields: &[
            text(
                "text",
                Holds::Plain,
                Required,
                "One or several lines; `{{ i }}` is the number of the repetition, from 0.",
                r#""a line""#,
            ),
            text(
                "source",
                Holds::Name,
                Optional,
                "The source; the only one of the file's rules unless given.",
                r#""auth""#,
            ),
            Field {
                name: "times",
                wants: Wants::Number(1, 100_000),
                need: Optional,
                doc: "So many times (1).",
                example: "5",
            },
            Field {
                name: "every",
                wants: Wants::Duration,
                need: Optional,
                doc: "So long apart; all at once unless given.",
                example: r#""10s""#,
            },
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Lines(text: "a line", times: 5, every: "10s")"#,
    },
    &Block {
        word: "Wait",
        title: "`Wait`",
        doc: "Time passes.",
        fields: &[],
        shared: &[],
        item: Some(Wants::Duration),
        others: Others::Wrong,
        example: r#"Wait("5m")"#,
    },
    &Block {
        word: "Event",
        title: "`Event`",
        doc: "An event with these fields, for what is no line and no record.",
        fields: &[],
        shared: &[],
        item: Some(Wants::JsonMap),
        others: Others::Wrong,
        example: r#"Event({"event.kind": "task", "task.status": "failed"})"#,
    },
];

/// How actions end in a test.
pub static PRETEND: &[&Block] = &[
    &Block {
        word: "Fails",
        title: "`Fails`",
        doc: "With an error, each time.",
        fields: &[
            Field {
                name: "exit",
                wants: Wants::Number(1, 255),
                need: Optional,
                doc: "The code it ends with (1).",
                example: "1",
            },
            text(
                "stderr",
                Holds::Plain,
                Optional,
                "What it says.",
                r#""permission denied""#,
            ),
        ],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Fails(exit: 1, stderr: "permission denied")"#,
    },
    &Block {
        word: "TimesOut",
        title: "`TimesOut`",
        doc: "It takes too long, each time.",
        fields: &[],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: "TimesOut",
    },
    &Block {
        word: "Succeeds",
        title: "`Succeeds`",
        doc: "Well.",
        fields: &[text("stdout", Holds::Plain, Optional, "What it says.", r#""42""#)],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: r#"Succeeds(stdout: "42")"#,
    },
];

/// What all expected actions have.
static EXPECTED_COMMON: &[Field] = &[
    text("rule", Holds::Name, Optional, "Of which rule.", r#""ssh-brute""#),
    Field {
        name: "after",
        wants: Wants::Duration,
        need: Optional,
        doc: "When, from the test's start.",
        example: r#""40s""#,
    },
];

const fn expected(
    word: &'static str,
    title: &'static str,
    example: &'static str,
) -> Block {
    Block {
        word,
        title,
        doc: "One with these fields, which are those of the action. A text is exactly \
            that, `Has(\"..\")` is a part.",
        fields: &[],
        shared: EXPECTED_COMMON,
        item: None,
        others: Others::Wanted,
        example,
    }
}

/// Actions that are expected.
pub static EXPECTED: &[&Block] = &[
    &expected("Mail", "`Mail`", r#"Mail(subject: Has("192.0.2.1"))"#),
    &expected("Exec", "`Exec`", r#"Exec(after: "40s", env: {"IP": "192.0.2.1"})"#),
    &expected("Post", "`Post`", r#"Post(json: {"user": "bob"})"#),
    &expected("Forward", "`Forward`", r#"Forward(to: "tcp://127.0.0.1:6514")"#),
    &expected("Print", "`Print`", r#"Print(to: "/var/log/logins.jsonl")"#),
    &expected("Emit", "`Emit`", r#"Emit(kind: "deploy")"#),
    &expected("Set", "`Set`", r#"Set(flag: "maintenance")"#),
    &expected("Clear", "`Clear`", r#"Clear(flag: "maintenance")"#),
    &expected("Touch", "`Touch`", r#"Touch(file: "ups-rack3")"#),
];

/// A part of a text.
pub static HAS: Block = Block {
    word: "Has",
    title: "`Has`",
    doc: "A text that has this in it.",
    fields: &[],
    shared: &[],
    item: Some(Wants::Text(Holds::Plain)),
    others: Others::Wrong,
    example: r#"Has("192.0.2.1")"#,
};

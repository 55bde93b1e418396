//! Files, rules, and what rules have beside actions.

use super::{
    ACTIONS, Block, Field, Holds, Need, ON, Others, TEST, WHEN, Wants, Word, text,
};
use Need::{Optional, Required};

/// One file.
pub static FILE: Block = Block {
    word: "",
    title: "a rule file",
    doc: "A file is one block in parentheses. All files that are loaded together are one \
        set: what one of them defines, all of them know.",
    fields: &[
        Field {
            name: "define",
            wants: Wants::TextMap(Holds::Plain),
            need: Optional,
            doc: "Names for texts, known to every expression and template.",
            example: r#"{"oncall": "oncall@example.com"}"#,
        },
        Field {
            name: "patterns",
            wants: Wants::TextMap(Holds::Pattern),
            need: Optional,
            doc: "Patterns by name. `%{NAME}` in a pattern is replaced by it, \
                `%{NAME:field}` captures it too. Those that are there already are in \
                the library below.",
            example: r#"{"EDGE": r"edge-[a-z]{3}"}"#,
        },
        Field {
            name: "calendars",
            wants: Wants::BlockMap(&CALENDAR_TIME),
            need: Optional,
            doc: "Times by name, for `quiet`.",
            example: r#"{"night": [(from: "22:00", to: "07:00")]}"#,
        },
        Field {
            name: "rules",
            wants: Wants::Blocks(&RULE),
            need: Optional,
            doc: "The rules. Their order means nothing: every rule sees every event.",
            example: "[(name: \"..\", on: .., do: [..])]",
        },
        Field {
            name: "tests",
            wants: Wants::Blocks(&TEST),
            need: Optional,
            doc: "What the rules of this file should do.",
            example: "[(name: \"..\", given: [..], expect: [..])]",
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: "(\n    define: {..},\n    patterns: {..},\n    calendars: {..},\n    rules: [..],\n    tests: [..],\n)",
};

/// A rule.
pub static RULE: Block = Block {
    word: "",
    title: "a rule",
    doc: "`on`, `match`, `if` and `unless` say which events; `when` how many of them; \
        `limit` and `quiet` when to hold back; `do` what to do.",
    fields: &[
        text(
            "name",
            Holds::Name,
            Required,
            "Unique in the set. It is the rule's identity: what it has counted stays \
             with the name over a reload.",
            r#""ssh-brute""#,
        ),
        Field {
            name: "on",
            wants: Wants::Kind(&ON),
            need: Required,
            doc: "Which events it looks at.",
            example: r#"Lines(source: "auth")"#,
        },
        text(
            "prefix",
            Holds::Pattern,
            Optional,
            "A pattern that must be found at the very start of the text. `match` and \
             `unless_match` look at what is behind it, or at its group `rest`. Good for \
             many patterns with one beginning: it is looked for once.",
            r#"r"%{SYSLOGHEAD}sshd\[\d+\]: ""#,
        ),
        Field {
            name: "match",
            wants: Wants::Texts(Holds::Pattern),
            need: Optional,
            doc: "Patterns, of which one must be found in `event.text`. Named groups, \
                `(?P<ip>..)` or `%{IP:ip}`, become fields. The first pattern that is \
                found gives them; what only others have is `none` then.",
            example: r#"r"^Failed \S+ for (?P<user>\S+) from %{IP:ip}""#,
        },
        Field {
            name: "unless_match",
            wants: Wants::Texts(Holds::Pattern),
            need: Optional,
            doc: "Patterns of which none may be found.",
            example: r#"r"from 10\.""#,
        },
        text(
            "if",
            Holds::Expression,
            Optional,
            "An expression that must be true.",
            r#""pct >= 90""#,
        ),
        text(
            "unless",
            Holds::Expression,
            Optional,
            "An expression that must be false.",
            r#""ip is cidr('10.0.0.0/8')""#,
        ),
        Field {
            name: "when",
            wants: Wants::Kind(WHEN),
            need: Optional,
            doc: "How many events make it fire; `Each` unless given.",
            example: r#"Count(of: 5, within: "60s")"#,
        },
        Field {
            name: "by",
            wants: Wants::Texts(Holds::FieldName),
            need: Optional,
            doc: "The fields by which `when`, `settle` and `limit` count apart: by address, \
                by user. Of 100000 values the one that came longest ago is forgotten.",
            example: r#"["ip"]"#,
        },
        Field {
            name: "settle",
            wants: Wants::Duration,
            need: Optional,
            doc: "Waits until so long no event came, then fires once, with all of them in \
                `events`: a burst is one. What never settles fires after 60 times so long. Not \
                together with `when`.",
            example: r#""2s""#,
        },
        Field {
            name: "limit",
            wants: Wants::Block(&LIMIT),
            need: Optional,
            doc: "At most so many firings in a time.",
            example: r#"(times: 1, per: "10m")"#,
        },
        Field {
            name: "quiet",
            wants: Wants::Block(&QUIET),
            need: Optional,
            doc: "Times in which it does not act.",
            example: r#"(in: ["night"], then: Hold)"#,
        },
        text(
            "one_at_a_time",
            Holds::Name,
            Optional,
            "A name. Of all rules that have the same only one acts at a time.",
            r#""site""#,
        ),
        Field {
            name: "overlap",
            wants: Wants::Kind(OVERLAP),
            need: Optional,
            doc: "What happens when it fires while it still acts: `Parallel(4)` unless \
                given, or `Queue(100)` with `one_at_a_time`.",
            example: "Queue(1)",
        },
        Field {
            name: "do",
            wants: Wants::Kinds(ACTIONS),
            need: Required,
            doc: "What it does, in order: each action needs the one before it to succeed, \
                unless `needs` says otherwise.",
            example: r#"[Mail(to: ["ops@example.com"], subject: "{{ ip }}")]"#,
        },
        Field {
            name: "on_failure",
            wants: Wants::Kinds(ACTIONS),
            need: Optional,
            doc: "What it does, once, after an action failed for good. `task` tells which \
                and why.",
            example: r#"[Mail(to: ["ops@example.com"], subject: "{{ task.reason }}")]"#,
        },
        Field {
            name: "on_return",
            wants: Wants::Kinds(ACTIONS),
            need: Optional,
            doc: "With `Absent`: what it does when what was absent is back.",
            example: r#"[Mail(to: ["ops@example.com"], subject: "back")]"#,
        },
        Field {
            name: "enabled",
            wants: Wants::Flag,
            need: Optional,
            doc: "`false` takes it out of use. It is checked all the same.",
            example: "false",
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(
    name: "ssh-brute",
    on: Lines(source: "auth", program: "sshd"),
    match: r"^Failed \S+ for (?P<user>\S+) from %{IP:ip}",
    when: Count(of: 5, within: "60s"),
    by: ["ip"],
    do: [Mail(to: ["ops@example.com"], subject: "{{ ip }}: {{ count }} failures")],
)"#,
};

/// `limit`.
pub static LIMIT: Block = Block {
    word: "",
    title: "`limit`",
    doc: "Counts firings. What it swallows is counted, and is `suppressed` in the next \
        firing.",
    fields: &[
        Field {
            name: "times",
            wants: Wants::Number(1, 100_000),
            need: Required,
            doc: "So many firings.",
            example: "1",
        },
        Field {
            name: "per",
            wants: Wants::Duration,
            need: Required,
            doc: "In this time, which slides.",
            example: r#""10m""#,
        },
        Field {
            name: "by",
            wants: Wants::Texts(Holds::FieldName),
            need: Optional,
            doc: "Counted apart by these fields; those of the rule unless given, `[]` for \
                all together.",
            example: "[]",
        },
        Field {
            name: "then",
            wants: Wants::Kinds(ACTIONS),
            need: Optional,
            doc: "What it does once, with the first firing that is swallowed.",
            example: r#"[Mail(to: ["ops@example.com"], subject: "too many")]"#,
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(times: 1, per: "10m")"#,
};

/// `quiet`.
pub static QUIET: Block = Block {
    word: "",
    title: "`quiet`",
    doc: "Times in which a rule fires and does not act.",
    fields: &[
        Field {
            name: "in",
            wants: Wants::Texts(Holds::Name),
            need: Required,
            doc: "Names of calendars: any of them.",
            example: r#"["night", "weekend"]"#,
        },
        Field {
            name: "then",
            wants: Wants::Word(&[
                Word {
                    name: "Hold",
                    doc: "it is worded at once, and acted on together with the others at the end of the quiet time",
                },
                Word { name: "Drop", doc: "it is counted and forgotten" },
            ]),
            need: Required,
            doc: "What becomes of a firing.",
            example: "Hold",
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(in: ["night"], then: Hold)"#,
};

/// `overlap`.
pub static OVERLAP: &[&Block] = &[
    &Block {
        word: "Queue",
        title: "`Queue`",
        doc: "One acts, so many wait; of more the oldest is skipped.",
        fields: &[],
        shared: &[],
        item: Some(Wants::Number(1, 10_000)),
        others: Others::Wrong,
        example: "Queue(1)",
    },
    &Block {
        word: "Skip",
        title: "`Skip`",
        doc: "One acts, others are skipped.",
        fields: &[],
        shared: &[],
        item: None,
        others: Others::Wrong,
        example: "Skip",
    },
    &Block {
        word: "Parallel",
        title: "`Parallel`",
        doc: "So many act at the same time, others wait.",
        fields: &[],
        shared: &[],
        item: Some(Wants::Number(1, 100)),
        others: Others::Wrong,
        example: "Parallel(4)",
    },
];

/// A time of a calendar.
pub static CALENDAR_TIME: Block = Block {
    word: "",
    title: "a time of a calendar",
    doc: "A time of the day on some days of the week, or a time between two instants. A \
        calendar is a list of them, and any of them counts. A time that begins on a day \
        and ends before it began ends on the next day.",
    fields: &[
        text(
            "from",
            Holds::Plain,
            Optional,
            "`\"22:00\"`, or `\"2026-12-01T18:00:00+01:00\"`; the start of the day unless \
             given.",
            r#""22:00""#,
        ),
        text(
            "to",
            Holds::Plain,
            Optional,
            "The same, exclusive; the end of the day unless given.",
            r#""07:00""#,
        ),
        Field {
            name: "days",
            wants: Wants::Words(&[
                Word { name: "Mon", doc: "Monday" },
                Word { name: "Tue", doc: "Tuesday" },
                Word { name: "Wed", doc: "Wednesday" },
                Word { name: "Thu", doc: "Thursday" },
                Word { name: "Fri", doc: "Friday" },
                Word { name: "Sat", doc: "Saturday" },
                Word { name: "Sun", doc: "Sunday" },
            ]),
            need: Optional,
            doc: "The days on which it begins; every day unless given.",
            example: "[Sat, Sun]",
        },
        text(
            "zone",
            Holds::Name,
            Optional,
            "A time zone of the IANA database; this machine's unless given.",
            r#""Europe/Zurich""#,
        ),
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(from: "22:00", to: "07:00", days: [Mon, Tue, Wed, Thu, Fri], zone: "Europe/Zurich")"#,
};

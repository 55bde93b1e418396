//! What rules do.

use super::{Block, Field, Holds, Need, Others, Wants, text};
use Need::{Optional, Required};

/// `retry`.
pub static RETRY: Block = Block {
    word: "",
    title: "`retry`",
    doc: "How often an action that failed is tried again. The pauses double from `backoff` \
        to `max`, a little more or less each.",
    fields: &[
        Field {
            name: "times",
            wants: Wants::Number(0, 1_000),
            need: Required,
            doc: "So many more attempts.",
            example: "3",
        },
        Field {
            name: "backoff",
            wants: Wants::Duration,
            need: Optional,
            doc: "The first pause (\"5s\").",
            example: r#""30s""#,
        },
        Field {
            name: "max",
            wants: Wants::Duration,
            need: Optional,
            doc: "The longest pause (\"10m\").",
            example: r#""10m""#,
        },
    ],
    shared: &[],
    item: None,
    others: Others::Wrong,
    example: r#"(times: 3, backoff: "30s", max: "10m")"#,
};

/// What all actions have.
pub static COMMON: &[Field] = &[
    text(
        "id",
        Holds::Name,
        Optional,
        "A name for it: letters, digits, `-` and `_`. Actions behind it know its output by \
         that name, with `_` for each `-`.",
        r#""block""#,
    ),
    Field {
        name: "needs",
        wants: Wants::TextList(Holds::Name),
        need: Optional,
        doc: "The ids of actions that must have succeeded first; the one before it unless \
            given, `[]` for none.",
        example: r#"["export"]"#,
    },
    Field {
        name: "timeout",
        wants: Wants::Duration,
        need: Optional,
        doc: "How long one attempt may take (\"10m\" for `Exec`, \"1m\" for others).",
        example: r#""30s""#,
    },
    Field {
        name: "retry",
        wants: Wants::Block(&RETRY),
        need: Optional,
        doc: "How often it is tried again; for `Mail` and `Post` 5 times unless given, for \
            others not.",
        example: r#"(times: 3, backoff: "30s")"#,
    },
    Field {
        name: "may_fail",
        wants: Wants::Flag,
        need: Optional,
        doc: "`true`: when it fails, what needs it is done all the same, and `on_failure` \
            is not.",
        example: "true",
    },
];

/// The kinds of actions.
pub static ACTIONS: &[&Block] = &[
    &Block {
        word: "Mail",
        title: "`Mail`",
        doc: "Sends a mail, as the listener `Mail` does. When all addresses are refused for \
            good it has failed, with `exit` 65, and is not tried again; when some are, \
            `stderr` names them. A mail that comes again has the same Message-ID.",
        fields: &[
            Field {
                name: "to",
                wants: Wants::TextList(Holds::Template),
                need: Required,
                doc: "Addresses.",
                example: r#"["ops@example.com"]"#,
            },
            text(
                "subject",
                Holds::Template,
                Required,
                "Its subject: one line.",
                r#""{{ fs }} is {{ pct }}% full""#,
            ),
            text(
                "body",
                Holds::Template,
                Optional,
                "Its text; the texts of the events unless given.",
                r#""{{ event.line }}""#,
            ),
            text(
                "sender",
                Holds::Plain,
                Optional,
                "An address; `tripline@` and this host unless given.",
                r#""tripline@example.com""#,
            ),
            Field {
                name: "via",
                wants: Wants::Raw,
                need: Optional,
                doc: "How it is sent: as the listener `Mail` has it, `Sendmail()` unless \
                    given.",
                example: r#"Smtp(server: "smtp://mail.example.com")"#,
            },
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Mail(to: ["ops@example.com"], subject: "{{ event.text }}")"#,
    },
    &Block {
        word: "Exec",
        title: "`Exec`",
        doc: "Runs a program. No shell has a part in it. It ends with 0 when it is done; \
            with 75 it is tried again, also without `retry`, 5 times. With all it started \
            it gets TERM at its `timeout`, and KILL 5 seconds later.",
        fields: &[
            Field {
                name: "run",
                wants: Wants::TextList(Holds::Template),
                need: Required,
                doc: "The path of a program, and its arguments: each text is one argument, \
                    whatever it becomes. Put `\"--\"` in front of what comes from events.",
                example: r#"["/usr/local/sbin/block", "--", "{{ ip }}"]"#,
            },
            Field {
                name: "env",
                wants: Wants::TextMap(Holds::Template),
                need: Optional,
                doc: "Variables. Besides these it has PATH, LANG, TRIPLINE_RULE, \
                    TRIPLINE_EVENT (an id that is the same when it comes again) and \
                    TRIPLINE_RUN, and nothing else.",
                example: r#"{"IP": "{{ ip }}"}"#,
            },
            text(
                "stdin",
                Holds::Template,
                Optional,
                "What it reads; the event as a line of JSON unless given.",
                r#""{{ record.stdout }}""#,
            ),
            text(
                "cwd",
                Holds::Plain,
                Optional,
                "The directory it runs in (/).",
                r#""/srv/site""#,
            ),
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Exec(run: ["/usr/local/sbin/block", "--", "{{ ip }}"], timeout: "10s")"#,
    },
    &Block {
        word: "Post",
        title: "`Post`",
        doc: "Posts to an address, with https or to this machine. An answer of 200 to 299 \
            is success; 408, 425, 429 and 500 to 599 are tried again, and so is what was \
            not answered. `exit` is the number of the answer. A request that comes again \
            has the same `Idempotency-Key`.",
        fields: &[
            text(
                "url",
                Holds::Template,
                Required,
                "The address. Its host is written out; each value in it is escaped.",
                r#""https://audit.example.com/hosts/{{ event.host }}""#,
            ),
            Field {
                name: "json",
                wants: Wants::Json,
                need: Optional,
                doc: "What is posted: values whose texts are templates. The event as JSON \
                    unless it or `body` is given.",
                example: r#"{"user": "{{ user }}", "count": 1}"#,
            },
            text(
                "body",
                Holds::Template,
                Optional,
                "A text to post instead of `json`.",
                r#""{{ event.line }}""#,
            ),
            Field {
                name: "headers",
                wants: Wants::TextMap(Holds::Template),
                need: Optional,
                doc: "Headers. Secrets do not belong here: see `token`.",
                example: r#"{"X-Source": "{{ event.source }}"}"#,
            },
            text(
                "token",
                Holds::Plain,
                Optional,
                "A file that only its owner may read, with a token that is sent as \
                 `Authorization: Bearer`.",
                r#""/etc/tripline/audit.token""#,
            ),
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Post(url: "https://audit.example.com/logins", json: {"user": "{{ user }}"})"#,
    },
    &Block {
        word: "Forward",
        title: "`Forward`",
        doc: "Hands the event to a receiver as it is, as the listener `Forward` does. Its \
            arguments are that listener's, without `from`; another Tripline is none for it. \
            It is done when the receiver has it.",
        fields: &[],
        shared: COMMON,
        item: None,
        others: Others::Kept,
        example: r#"Forward(to: "tcp://127.0.0.1:6514", format: Lines)"#,
    },
    &Block {
        word: "Print",
        title: "`Print`",
        doc: "Writes a line of JSON to a file, once, as the listener `Print` does: `text` is \
            the line that the rule fired on, and `path` is the rule and the action. (All of an \
            event is on the standard input of an `Exec`.) Its arguments are that listener's, \
            without `from`. No listener, and no action with other arguments, may write to \
            the same file.",
        fields: &[],
        shared: COMMON,
        item: None,
        others: Others::Kept,
        example: r#"Print(to: "/var/log/logins.jsonl")"#,
    },
    &Block {
        word: "Emit",
        title: "`Emit`",
        doc: "Makes an event that rules see with `on: Engine(emitted: ..)`.",
        fields: &[
            text("kind", Holds::Name, Required, "What it is called.", r#""deploy""#),
            Field {
                name: "fields",
                wants: Wants::TextMap(Holds::Template),
                need: Optional,
                doc: "What is in it; rules see it as `emitted.NAME`.",
                example: r#"{"version": "{{ version }}"}"#,
            },
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Emit(kind: "deploy", fields: {"version": "{{ version }}"})"#,
    },
    &Block {
        word: "Set",
        title: "`Set`",
        doc: "Sets a flag, for which `flag('..')` asks in expressions of any rule.",
        fields: &[
            text("flag", Holds::Template, Required, "Its name.", r#""maintenance""#),
            Field {
                name: "for",
                wants: Wants::Duration,
                need: Required,
                doc: "It is taken away after so long.",
                example: r#""1h""#,
            },
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Set(flag: "maintenance", for: "1h")"#,
    },
    &Block {
        word: "Clear",
        title: "`Clear`",
        doc: "Takes a flag away.",
        fields: &[text(
            "flag",
            Holds::Template,
            Required,
            "Its name.",
            r#""maintenance""#,
        )],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Clear(flag: "maintenance")"#,
    },
    &Block {
        word: "Touch",
        title: "`Touch`",
        doc: "Makes an empty file, or makes its time new.",
        fields: &[
            text(
                "dir",
                Holds::Plain,
                Required,
                "A directory, as an absolute path.",
                r#""/run/tripline/flags""#,
            ),
            text(
                "file",
                Holds::Template,
                Required,
                "The name of a file in it. What has a `/` or begins with a `.` fails.",
                r#""ups-{{ ups }}""#,
            ),
        ],
        shared: COMMON,
        item: None,
        others: Others::Wrong,
        example: r#"Touch(dir: "/run/tripline/flags", file: "ups-{{ ups }}")"#,
    },
];

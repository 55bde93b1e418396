//! Rules and input, of which the tests take some.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::sync::Arc;
use tripline_api::{LineTime, TimeFormat};
use tripline_rules::{Known, RuleSet, SourceFile, load};

/// All rules; `BASE+N` is the instant so many seconds behind the beginning, `HERE` a
/// directory.
const POOL: &[&str] = &[
    r#"(name: "each", on: Lines(source: "log"), match: r"login (?P<user>\w) %{FLOAT:n}",
        do: [Emit(kind: "login", fields: {"user": "{{ user }}", "n": "{{ n }}", "t": "{{ event.time }}"})])"#,
    r#"(name: "count", on: Lines(source: "log"), match: r"login (?P<user>\w) %{FLOAT:n}", by: ["user"],
        when: Count(of: 3, within: "60s"),
        do: [Emit(kind: "count", fields: {"t": "{{ count }} {{ first.n }} {{ last.n }} {{ last.event.time }}"})])"#,
    r#"(name: "distinct", on: Lines(source: "log"), match: r"login (?P<user>\w) %{FLOAT:n}",
        when: Count(of: 2, within: "5m", distinct: "user"), limit: (times: 2, per: "10m"),
        do: [Emit(kind: "distinct", fields: {"t": "{{ first.user }} {{ suppressed }}"})])"#,
    r#"(name: "missing", on: Lines(source: "log"), match: r"begin (?P<k>\w)", by: ["k"],
        when: Pair(until: (match: r"end (?P<k>\w)"), within: "90s", fire: IfMissing),
        do: [Emit(kind: "missing", fields: {"t": "{{ k }} {{ start.event.time }}"})])"#,
    r#"(name: "seen", on: Lines(source: "log"), match: r"begin (?P<k>\w)", by: ["k"],
        when: Pair(until: (match: r"end (?P<k>\w)"), within: "90s", fire: IfSeen),
        do: [Emit(kind: "seen", fields: {"t": "{{ k }} {{ start.event.id }} {{ end.event.id }}"})])"#,
    r#"(name: "digest", on: Lines(source: "log"), match: r"(?P<what>login|oops|begin)", by: ["what"],
        when: Digest(every: "2m", keep: 2),
        do: [Emit(kind: "digest", fields: {"t": "{{ count }} {{ dropped }} {{ first.event.id }}"})])"#,
    r#"(name: "absent", on: Lines(source: "log"), match: r"beat (?P<k>\w)", by: ["k"],
        when: Absent(for: "3m", again: "10m", expect: [{"k": "z"}]),
        do: [Emit(kind: "absent", fields: {"t": "{{ k }} {{ absent_for }}"})],
        on_return: [Emit(kind: "back", fields: {"t": "{{ k }} {{ absent_for }}"})])"#,
    r#"(name: "settle", on: Lines(source: "log"), match: r"login (?P<user>\w)", by: ["user"], settle: "20s",
        do: [Emit(kind: "settle", fields: {"t": "{{ count }} {{ last.event.id }}"})])"#,
    r#"(name: "limit", on: Lines(source: "log"), match: r"oops", limit: (times: 1, per: "3m",
            then: [Emit(kind: "too-many", fields: {"t": "{{ event.id }}"})]),
        do: [Emit(kind: "oops", fields: {"t": "{{ suppressed }}"})])"#,
    r#"(name: "hold", on: Lines(source: "log"), match: r"oops", quiet: (in: ["night"], then: Hold),
        do: [Emit(kind: "held", fields: {"t": "{{ event.id }}"})])"#,
    r#"(name: "drop", on: Lines(source: "log"), match: r"login|oops", quiet: (in: ["night"], then: Drop),
        do: [Emit(kind: "login", fields: {"user": "d", "n": "1", "t": "{{ event.id }}"})])"#,
    r#"(name: "set", on: Lines(source: "log"), match: r"maint on", do: [Set(flag: "m", for: "4m")])"#,
    r#"(name: "clear", on: Lines(source: "log"), match: r"maint off", do: [Clear(flag: "m")])"#,
    r#"(name: "flagged", on: Lines(source: "log"), match: r"oops|begin", if: "flag('m')",
        do: [Emit(kind: "flagged", fields: {"t": "{{ event.id }}"})])"#,
    r#"(name: "chain", on: Engine(emitted: ["login"]), when: Count(of: 2, within: "2m"),
        do: [Emit(kind: "twice", fields: {"t": "{{ first.emitted.t }}"})])"#,
    r#"(name: "chained", on: Engine(emitted: ["twice", "digest", "absent"]),
        do: [Emit(kind: "end", fields: {"t": "{{ emitted.kind }} {{ emitted.t }}"})])"#,
    r#"(name: "failing", on: Lines(source: "log"), match: r"login (?P<user>\w) (?P<n>\S+)",
        do: [Emit(id: "add", kind: "x", fields: {"t": "{{ (n | int) + 1 }}"}),
             Emit(id: "tell", kind: "y", fields: {"t": "{{ user }}"})],
        on_failure: [Emit(kind: "failed", fields: {"t": "{{ task.action }} {{ task.skipped | join(',') }}"})]),
       (name: "ended", on: Task(rule: "failing"), when: Count(of: 5, within: "10m"), by: ["task.action"],
        do: [Emit(kind: "ended", fields: {"t": "{{ task.rule }} {{ task.status }}"})])"#,
    r#"(name: "wrong", on: Lines(source: "log"), match: r"login (?P<user>\w) (?P<n>\S+)", if: "n | int > 3",
        do: [Emit(kind: "wrong", fields: {"t": "{{ n }}"})])"#,
    r#"(name: "troubled", on: Engine(event: [RuleFailed, ClockSkew]),
        do: [Emit(kind: "troubled", fields: {"t": "{{ engine.event }} {{ engine.rule }}"})])"#,
    r#"(name: "journal", on: Journal(source: "p4", table: "db.domain"),
        do: [Emit(kind: "journal", fields: {"t": "{{ event.id }} {{ event.time }}"})])"#,
    r#"(name: "changes", on: Journal(source: "p4", table: "db.change"), when: Digest(every: "3m", keep: 3),
        do: [Emit(kind: "changes", fields: {"t": "{{ count }} {{ last.event.time }}"})])"#,
    r#"(name: "both", on: Any([Lines(source: "log"), Journal(source: "p4", table: "db.domain")]), match: r"^$|oops|^",
        when: Count(of: 4, within: "2m"), do: [Emit(kind: "both", fields: {"t": "{{ last.event.id }}"})])"#,
    r#"(name: "toucher", on: Lines(source: "log"), match: r"touch (?P<k>\S+)", overlap: Parallel(3),
        do: [Touch(id: "one", dir: "HERE", file: "{{ k }}"), Touch(id: "two", dir: "HERE", file: "{{ k }}2")],
        on_failure: [Touch(id: "three", dir: "HERE", file: "failed-{{ task.action }}")]),
       (name: "touched", on: Task(rule: "toucher"), do: [Touch(id: "it", dir: "HERE", file: "touched")])"#,
];

/// Rules whose tasks end when a thread is done with them: the order is another each time.
pub(crate) const BY_THREADS: &[&str] = &["toucher", "touched"];

/// A line that some rule always looks at, with which the time begins.
pub(crate) const START: &str = "start";

const STARTED: &str = r#"
    (name: "kinds", enabled: false, on: Lines(), match: r"x", do: [
        Emit(kind: "login", fields: {"user": "", "n": "", "t": ""}), Emit(kind: "twice", fields: {"t": ""}),
        Emit(kind: "digest", fields: {"t": ""}), Emit(kind: "absent", fields: {"t": ""})]),
    (name: "start", on: Lines(source: "log"), match: r"start$",
    do: [Emit(kind: "start", fields: {"t": "{{ event.time }}"})])"#;

/// Some of the rules: often few, as what one of them misses others would make good.
pub(crate) fn some_rules() -> impl Strategy<Value = Vec<&'static str>> {
    let some = prop_oneof![
        2 => prop::sample::subsequence(POOL.to_vec(), 1..=3),
        1 => prop::sample::subsequence(POOL.to_vec(), 1..=POOL.len()),
    ];
    some.prop_map(|mut rules| {
        rules.push(STARTED);
        rules
    })
}

/// The rules as a set.
pub(crate) fn set(rules: &[&str], base: Timestamp, here: &str) -> Arc<RuleSet> {
    let at = |seconds| base + SignedDuration::from_secs(seconds);
    let text = format!(
        r#"(calendars: {{"night": [(from: "{:.0}", to: "{:.0}"), (from: "{:.0}", to: "{:.0}")]}}, rules: [{}])"#,
        at(300),
        at(500),
        at(1000),
        at(1400),
        rules.join(",\n").replace("HERE", here)
    );
    let loaded = load(&[SourceFile::new("rules.ron", text)], &Known::default());
    let said: Vec<_> = loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{said:#?}")))
}

/// The time of lines.
pub(crate) fn line_time() -> LineTime {
    LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap()
}

/// When something happened: against what came before.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// So many seconds later.
    Later(i64),
    /// So many seconds before the latest: it comes late.
    Late(i64),
    /// So many days off.
    Days(i64),
    /// It carries no time.
    Untimed,
}

/// Something that comes.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Line(When, String),
    /// Rows of tables, and the process that writes them; some are of two processes.
    Transaction(When, Vec<&'static str>, bool),
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        12 => (0..40_i64).prop_map(When::Later),
        2 => prop::sample::select(vec![60, 90, 120, 180, 600, 1200]).prop_map(When::Later),
        2 => (1..700_i64).prop_map(When::Late),
        1 => prop::sample::select(vec![-2, -1, 400]).prop_map(When::Days),
        2 => Just(When::Untimed),
    ]
}

fn text() -> impl Strategy<Value = String> {
    let user = prop::sample::select(vec!['a', 'b']);
    let number = prop_oneof![
        3 => (0..9_u32).prop_map(|it| it.to_string()),
        // As many digits as a number can have, and sometimes more.
        2 => (1..100_u32, 1_u64 << 50..1 << 60).prop_map(|(one, two)| format!("{one}.{two}")),
        1 => Just("many".to_owned()),
    ];
    let fixed = [
        "oops",
        "oops",
        "begin a",
        "begin b",
        "end a",
        "end b",
        "beat z",
        "beat y",
        "maint on",
        "maint off",
        "touch a",
        "touch .a",
        "nothing of interest",
        "",
    ];
    prop_oneof![
        1 => (user, number).prop_map(|(user, number)| format!("login {user} {number}")),
        2 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let rows = prop::sample::subsequence(
        vec![
            "@pv@ 0 @db.x@ 1 \n",
            "@pv@ 6 @db.domain@ @ws@ 99 @h@ @/@ @@ @@ @ann@ 1 2 0 @text@ @@ @@ \n",
            "@pv@ 0 @db.desc@ 7 @Fix\nit@ \n",
            "@rv@ 5 @db.change@ 7 7 @ws@ @ann@ 1767614400 1 @Fix@ @//depot/*@ @@ @@ 0 0 \n",
        ],
        0..=4,
    );
    prop_oneof![
        5 => (when(), text()).prop_map(|(when, text)| Item::Line(when, text)),
        1 => (when(), rows, any::<bool>())
            .prop_map(|(when, rows, is_split)| Item::Transaction(when, rows, is_split)),
    ]
}

/// Lines, and often transactions.
pub(crate) fn some_items() -> impl Strategy<Value = Vec<Item>> {
    let items = (prop::collection::vec(item(), 1..80), any::<bool>());
    items.prop_map(|(mut items, has_journal)| {
        items.retain(|it| has_journal || matches!(it, Item::Line(..)));
        items
    })
}

/// What is written, and whether to the journal: each ends a line or a transaction.
pub(crate) fn written(items: &[Item], base: Timestamp) -> Vec<(bool, String)> {
    let mut latest = 0;
    let mut second = |when: When| match when {
        When::Later(by) => {
            latest += by;
            Some(latest)
        }
        When::Late(by) => Some(latest - by),
        When::Days(by) => Some(latest + by * 86_400),
        When::Untimed => None,
    };
    let write = |item: &Item| match item {
        Item::Line(when, text) => {
            let at = second(*when).map(|it| base + SignedDuration::from_secs(it));
            (
                false,
                at.map_or_else(|| format!("{text}\n"), |at| format!("{at:.0} {text}\n")),
            )
        }
        Item::Transaction(when, rows, is_split) => {
            let at = base.as_second() + second(*when).unwrap_or(0);
            let middle = rows.len() / 2;
            let other = "@pv@ 0 @db.x@ 2 \n";
            let rows = match is_split {
                true => format!(
                    "{}@mx@ 1 {at}\n{other}@ex@ 2 {at}\n{}",
                    rows[..middle].concat(),
                    rows[middle..].concat()
                ),
                false => rows.concat(),
            };
            (true, format!("{rows}@ex@ 1 {at}\n"))
        }
    };
    items.iter().map(write).collect()
}

#[test]
fn all_rules_are_sound() {
    let rules: Vec<_> = POOL.iter().chain([&STARTED]).copied().collect();
    let set = set(&rules, Timestamp::UNIX_EPOCH, "/nowhere");
    assert_eq!(set.rules.len(), POOL.len() + 4);
}

use super::test_support::{NOON, Play, at, rules};
use super::*;
use crate::model::{EngineEvent, Status};
use std::sync::Arc;
use tripline_api::{LineTime, Place, TimeFormat};

impl Play {
    fn line(&mut self, second: i64, line: &str) {
        self.timed(second, line, None);
    }

    fn timed(&mut self, second: i64, line: &str, time: Option<(&LineTime, i64)>) {
        self.hand(Clock::Now(at(second)), "log", line, time);
    }

    fn engine(&mut self, second: i64, event: EngineEvent, source: &str) {
        let (listener, rule, message) = Default::default();
        let note = Note { event, source: source.to_owned(), listener, rule, message };
        let event = Event::engine(&note, &format!("engine/0/{second}"), at(second));
        self.machine.event(&event, at(second), &mut self.out);
    }

    /// The text of the only action of each firing, with its time.
    fn fired(&mut self) -> Vec<(i64, String)> {
        let set = Arc::clone(self.machine.rules());
        let texts = self.out.drain(..).map(|output| match output {
            Output::Fired(firing) => {
                let rule =
                    set.rules.iter().find(|rule| *rule.name == *firing.rule).unwrap();
                let action = &firing.actions(rule)[0];
                let job = render(&set, action, &firing, &Default::default()).unwrap();
                let Job::Emit { fields, .. } = job else { panic!("{job:?}") };
                (firing.at / 1000 - NOON, fields[0].1.clone())
            }
            Output::Note(note, _) => (-1, note.message),
        });
        texts.collect()
    }
}

fn texts(fired: Vec<(i64, String)>) -> Vec<String> {
    fired.into_iter().map(|(at, text)| format!("{at} {text}")).collect()
}

#[test]
fn a_brute_force_is_counted_by_address() {
    let mut play = Play::new(
        r#"(name: "r", on: Lines(source: "log"), match: r"from (?P<ip>\S+) as (?P<user>\S+)",
            unless: "ip is cidr('10.0.0.0/8')", by: ["ip"],
            when: Count(of: 3, within: "60s"), limit: (times: 1, per: "10m"),
            do: [Emit(kind: "x", fields: {"t": "{{ ip }} {{ user }} {{ count }} {{ first.user }} {{ suppressed }}"})])"#,
    );
    for (second, user) in
        [(0, "a"), (30, "b"), (60, "c"), (61, "d"), (62, "e"), (63, "f")]
    {
        play.line(second, &format!("from 192.0.2.1 as {user}"));
        play.line(second, &format!("from 10.0.0.1 as {user}"));
    }
    for second in [700, 701, 702] {
        play.line(second, "from 192.0.2.1 as g");
    }
    let wanted = ["60 192.0.2.1 c 3 a 0", "702 192.0.2.1 g 3 g 1"];
    assert_eq!(texts(play.fired()), wanted);
    assert_eq!(play.machine.counts().next().unwrap().suppressed, 1);
}

#[test]
fn windows_go_by_the_time_of_lines_if_it_is_near() {
    let rule = r#"(name: "r", on: Lines(), match: r"oops", when: Count(of: 2, within: "10s"),
        do: [Emit(kind: "x", fields: {"t": "{{ event.time | rfc3339 }}"})])"#;
    let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
    let time = Some((&time, NOON));
    let mut play = Play::new(rule);
    play.timed(100, "2026-01-05 12:00:00 oops", time);
    play.timed(100, "2026-01-05 12:00:11 oops", time);
    assert!(play.fired().is_empty(), "they arrived together, and happened apart");
    play.timed(200, "2026-01-05 12:00:20 oops", time);
    assert_eq!(texts(play.fired()), ["20 2026-01-05T12:00:20Z"]);
    play.timed(300, "2026-01-04 12:00:00 oops", time);
    play.timed(301, "2026-01-04 12:00:00 oops", time);
    let fired = play.fired();
    assert!(fired[0].1.contains("1d 5m before its arrival"), "{fired:?}");
    assert_eq!(
        texts(fired[1..].to_vec()),
        ["301 2026-01-05T12:05:01Z"],
        "arrival counts"
    );
}

#[test]
fn a_heartbeat_is_missed_and_comes_back() {
    let mut play = Play::new(
        r#"(name: "r", on: Lines(source: "log"), match: r"beat (?P<edge>\w+)", by: ["edge"],
            when: Absent(for: "5m", expect: [{"edge": "fra"}], again: "1h"),
            do: [Emit(kind: "x", fields: {"t": "no {{ edge }} for {{ absent_for }}"})],
            on_return: [Emit(kind: "x", fields: {"t": "{{ edge }} after {{ absent_for }}"})])"#,
    );
    play.line(100, "beat sfo");
    play.line(400, "beat sfo");
    assert_eq!(
        texts(play.fired()),
        ["300 no fra for 5m"],
        "an event at its end is in time"
    );
    play.engine(500, EngineEvent::SourceLost, "log");
    play.tick(5000);
    assert!(play.fired().is_empty(), "clocks stand still");
    play.engine(5000, EngineEvent::SourceBack, "log");
    play.tick(5200);
    assert_eq!(texts(play.fired()), ["5200 no sfo for 1h 20m"]);
    play.line(5300, "beat fra");
    assert_eq!(texts(play.fired()), ["5300 fra after 1h 28m 20s"]);
}

#[test]
fn pairs_are_about_one_or_the_other() {
    let rule = |fire: &str, text: &str| {
        format!(
            r#"(name: "{fire}", on: Lines(), match: r"begin (?P<k>\w)", by: ["k"],
            when: Pair(until: (match: r"end (?P<k>\w) (?P<how>\w+)"), within: "60s", fire: {fire}),
            do: [Emit(kind: "x", fields: {{"t": "{text}"}})]),"#
        )
    };
    let mut play = Play::new(&format!(
        "{}{}",
        rule("IfSeen", "{{ k }} {{ start.event.text }}, {{ end.how }}"),
        rule("IfMissing", "{{ k }} never")
    ));
    play.line(0, "begin a");
    play.line(10, "begin a");
    play.line(20, "begin b");
    play.line(60, "end a well");
    play.tick(200);
    assert_eq!(texts(play.fired()), ["60 a begin a, well", "80 b never"]);
}

#[test]
fn quiet_hours_hold_and_drop() {
    let rule = |then: &str| {
        format!(
            r#"(calendars: {{"noon": [(from: "12:00", to: "12:30", zone: "UTC")]}}, rules: [
            (name: "r", on: Lines(), match: r"(?P<what>oops \d)", quiet: (in: ["noon"], then: {then}),
             do: [Emit(kind: "x", fields: {{"t": "{{{{ what }}}}"}})])])"#
        )
    };
    for (then, wanted) in [
        ("Hold", vec!["10 oops 1", "20 oops 2", "1800 oops 3"]),
        ("Drop", vec!["1800 oops 3"]),
    ] {
        let machine = Machine::new(rules(&rule(then)), at(0));
        let mut play = Play::of(machine);
        play.line(10, "oops 1");
        play.line(20, "oops 2");
        assert!(play.out.is_empty());
        let due = (then == "Hold").then(|| at(1800));
        assert_eq!(play.machine.due(), due);
        play.tick(1800);
        play.line(1800, "oops 3");
        assert_eq!(texts(play.fired()), wanted);
    }
}

#[test]
fn what_fails_is_said_once_a_minute_and_stops_nothing() {
    let mut play = Play::new(
        r#"(name: "r", on: Lines(), match: r"n=(?P<n>\S+)", if: "n | int > 3",
            do: [Emit(kind: "x", fields: {"t": "{{ n }}"})])"#,
    );
    for (second, n) in [(0, "x"), (1, "y"), (2, "4"), (61, "z")] {
        play.line(second, &format!("n={n}"));
    }
    let fired = play.fired();
    assert_eq!(fired.len(), 3, "{fired:?}");
    assert!(fired[0].1.starts_with("rule `r`: `if: \"n | int > 3\"` failed on log/0/0"));
    assert_eq!(fired[1], (2, "4".to_owned()));
    assert_eq!(play.machine.counts().next().unwrap().failed, 3);
}

#[test]
fn a_submit_is_recognised_and_has_its_description() {
    let set = rules(
        r#"(rules: [(name: "r", on: Journal(source: "p4", table: "db.change"),
            if: "submit and submit.files is p4path('//depot/main/...')",
            do: [Emit(kind: "x", fields: {"t": "{{ submit.change }} {{ submit.user }} {{ submit.description | firstline }} {{ submit.files[0].path }}#{{ submit.files[0].rev }} {{ submit.files[0].action }} {{ db.change.status }} {{ db.rev.rows | length }}"})])])"#,
    );
    let journal = b"@pv@ 0 @db.desc@ 7 @Fix the loader\nand more\n@ \n@ex@ 1 1767614400\n\
        @rv@ 5 @db.change@ 7 7 @ws@ @ann@ 1767614400 0 @Fix@ @//depot/main/*@ @@ @@ 0 0 \n\
        @ex@ 1 1767614401\n\
        @rv@ 5 @db.change@ 7 7 @ws@ @ann@ 1767614400 1 @Fix@ @//depot/main/*@ @@ @@ 0 0 \n\
        @pv@ 9 @db.rev@ @//depot/main/a.c@ 3 0 1 7 1767614400 1 00 12 0 0 @//depot/main/a.c@ @1.7@ 0 \n\
        @mx@ 1 1767614402\n@pv@ 0 @db.x@ 1 \n@ex@ 2 1767614402\n\
        @pv@ 9 @db.rev@ @//depot/main/b.c@ 1 0 0 7 1767614400 1 00 12 0 0 @//depot/main/b.c@ @1.7@ 0 \n\
        @ex@ 1 1767614403\n";
    let mut play = Play::of(Machine::new(set, at(0)));
    let mut gather = Gather::default();
    let mut reader = p4journal::Reader::new(&journal[..]);
    while let Some(entry) = reader.next().unwrap() {
        let place = Place { offset: entry.offset, ..Place::default() };
        if let Some(transaction) = gather.push(entry.bytes, place) {
            play.machine.transaction(
                "p4",
                &transaction,
                Clock::Now(at(5)),
                &mut play.out,
            );
            // It is durable between any two.
            let bytes = play.machine.parts().unwrap();
            play.machine.restore(&bytes).unwrap();
        }
    }
    let wanted = "3 7 ann Fix the loader //depot/main/a.c#3 edit submitted 2";
    assert_eq!(texts(play.fired()), [wanted]);
}

#[test]
fn tasks_and_emitted_events_are_events() {
    let set = rules(
        r#"(rules: [
        (name: "failed", on: Task(status: [Failed, GaveUp]), do: [Emit(kind: "bad", fields: {"t": "{{ task.rule }}"})]),
        (name: "bad", on: Engine(emitted: ["bad"]), do: [Emit(kind: "bad", fields: {"t": "{{ emitted.t }}"})])])"#,
    );
    let mut play = Play::of(Machine::new(set, at(0)));
    let end = |status| TaskEnd {
        rule: "x".to_owned(),
        action: "block".to_owned(),
        status,
        exit: 1,
        reason: "no".to_owned(),
        stderr: String::new(),
        duration: "1s".to_owned(),
        attempts: 1,
        skipped: Vec::new(),
    };
    for status in [Status::Succeeded, Status::Failed] {
        let event = Event::task(&end(status), "x/0/1/r/block", at(0), 1);
        play.machine.event(&event, at(0), &mut play.out);
    }
    assert_eq!(texts(play.fired()), ["0 x"]);
    for depth in [0, 8, 9] {
        let event =
            Event::emitted("bad", &[("t".into(), "y".into())], "x/0/2", at(0), depth);
        play.machine.event(&event, at(0), &mut play.out);
    }
    let fired = play.fired();
    assert_eq!(texts(fired[..2].to_vec()), ["0 y", "0 y"]);
    assert!(fired[2].1.contains("fire each other in a ring"));
}

#[test]
fn a_ring_is_told_once_in_a_while_and_comes_of_what_it_is_about() {
    let mut play = Play::new(
        r#"(name: "r", on: Engine(emitted: ["x"]), if: "1 / (engine.message | length - 1) > 0",
            do: [Emit(kind: "x", fields: {"t": "x"})])"#,
    );
    let mut notes = Vec::new();
    for (second, depth) in [(0, 3), (1, 9), (2, 9), (60, 12), (61, 9)] {
        let event = Event::emitted("x", &[], &format!("x/0/{second}"), at(second), depth);
        play.machine.event(&event, at(second), &mut play.out);
        notes.extend(play.out.drain(..).map(|output| match output {
            Output::Note(note, depth) => (second, &*note.rule == "r", depth),
            Output::Fired(firing) => panic!("{firing:?}"),
        }));
    }
    assert_eq!(notes, [(0, true, 3), (1, false, 8), (61, false, 8)]);
}

#[test]
fn state_is_kept_while_the_meaning_is_the_same() {
    let rule = |within: &str, text: &str| {
        rules(&format!(
            r#"(rules: [(name: "r", on: Lines(), match: r"oops", when: Count(of: 2, within: "{within}"),
                do: [Emit(kind: "x", fields: {{"t": "{text}"}})])])"#
        ))
    };
    let before = {
        let machine = Machine::new(rule("60s", "a"), at(0));
        let mut play = Play::of(machine);
        play.line(0, "oops");
        play.machine.parts().unwrap()
    };
    for (set, wanted) in [(rule("60s", "b"), 1), (rule("61s", "a"), 0)] {
        let mut play = Play::of(Machine::new(set, at(1)));
        let restored = play.machine.restore(&before).unwrap();
        assert_eq!((restored.kept.len(), restored.anew.len()), (wanted, 1 - wanted));
        play.line(1, "oops");
        assert_eq!(play.fired().len(), wanted);
    }
    let mut machine = Machine::new(rule("60s", "a"), at(0));
    let unknown = Part { name: "x".to_owned(), bytes: Some(b"{}".to_vec()) };
    assert!(machine.restore(&[unknown]).is_err());
}

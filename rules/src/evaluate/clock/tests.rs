use super::*;
use crate::evaluate::test_support::{NOON, Play, at, rules};
use crate::evaluate::{Lines, Note};
use tripline_api::{LineTime, Place, TimeFormat};

const DAY: i64 = 86_400;

impl Play {
    /// A line that happened then, of a source.
    fn dated(&mut self, clock: Clock, source: &str, second: i64, text: &str) {
        let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
        let line = format!("{:.0} {text}", at(second));
        self.hand(clock, source, &line, Some((&time, NOON)));
    }

    fn live(&mut self, second: i64, text: &str) {
        self.dated(Clock::Now(at(second)), "log", second, text);
    }

    /// One of a source that is read late, while others came so far.
    fn then(&mut self, until: Option<i64>, source: &str, second: i64, text: &str) {
        let until = until.map(at);
        let behind = Behind { until, is_in_order: true };
        self.dated(Clock::Then(at(DAY), behind), source, second, text);
    }

    /// When rules fired, with their names and how long something was absent.
    fn fired_rules(&mut self) -> Vec<String> {
        let text = |output| match output {
            Output::Fired(it) => {
                let absent = it.event().get("absent_for").map(ToString::to_string);
                let absent = absent.unwrap_or_default().replace('"', "");
                let text = format!("{} {} {absent}", it.at / 1000 - NOON, it.rule);
                text.trim_end().to_owned()
            }
            Output::Note(Note { event, .. }, _) => format!("{event:?}"),
        };
        self.out.drain(..).map(text).collect()
    }
}

fn absent(name: &str, source: &str, more: &str) -> String {
    format!(
        r#"(name: "{name}", on: Lines(source: "{source}"), match: r"beat (?P<k>\w+)",
        by: ["k"], when: Absent(for: "10m"{more}), do: [Emit(kind: "x")]),"#
    )
}

#[test]
fn what_was_due_in_a_time_that_is_jumped_over_comes_once() {
    let rest = r#"(name: "pair", on: Lines(), match: r"beat (?P<k>\w+)", by: ["k"],
            when: Pair(until: (match: r"end (?P<k>\w+)"), within: "1m", fire: IfMissing),
            do: [Emit(kind: "x")]),
        (name: "digest", on: Lines(), match: r"beat", when: Digest(every: "1m"),
            do: [Emit(kind: "x")]),
        (name: "settled", on: Lines(), match: r"beat", settle: "1m", do: [Emit(kind: "x")]),"#;
    let again = absent("absent", "log", r#", again: "1m""#);
    let mut play = Play::new(&format!("{rest}{again}"));
    play.live(0, "beat a");
    let years = 50 * 365 * DAY;
    play.tick(years + 30);
    assert_eq!(
        play.fired_rules(),
        ["60 pair", "60 digest", "60 settled", &format!("{years} absent 18250d")]
    );
    assert_eq!(play.machine.due(), Some(at(years + 60)), "and again at its time");
    play.tick(years + 60);
    assert_eq!(play.fired_rules(), [format!("{} absent 18250d 1m", years + 60)]);
    // The same with lines, of which the first is old.
    let mut play = Play::new(&again);
    play.then(Some(DAY), "log", -years, "beat a");
    play.then(Some(DAY), "log", 0, "beat b");
    assert_eq!(play.fired_rules(), ["-60 absent 18249d 23h 59m"]);
}

#[test]
fn a_tick_gives_so_much_and_the_next_one_goes_on() {
    let mut play = Play::new(&absent("r", "log", ""));
    for number in 0..2 * OUTPUTS_MAX + 1 {
        play.live(0, &format!("beat {number}"));
    }
    for count in [OUTPUTS_MAX, OUTPUTS_MAX, 1, 0] {
        let more = play.machine.due().is_some_and(|due| due <= at(3600));
        assert_eq!(more, count > 0);
        assert_eq!(play.tick(3600).fired_rules().len(), count);
    }
}

#[test]
fn the_clock_waits_for_what_is_read_last() {
    let both = format!("{}{}", absent("a", "a", ""), absent("b", "b", ""));
    let mut play = Play::new(&both);
    play.then(None, "b", 0, "beat k");
    // Of `b` nothing more was read.
    play.then(Some(0), "a", 0, "beat k");
    play.then(Some(0), "a", 590, "beat k");
    play.then(Some(0), "a", 1180, "beat k");
    assert!(play.fired_rules().is_empty());
    // But `a` was missed at that time, whatever `b` brings.
    play.then(Some(0), "a", 1781, "beat k");
    assert_eq!(play.fired_rules(), ["1780 a 10m"]);
    play.then(Some(1781), "b", 500, "beat k");
    play.then(Some(1781), "b", 1100, "beat k");
    play.then(Some(1781), "b", 1700, "beat k");
    assert!(play.fired_rules().is_empty(), "it came each ten minutes");
    play.tick(DAY);
    assert_eq!(play.fired_rules(), ["2300 b 10m", "2381 a 10m"]);
}

#[test]
fn a_rule_of_two_sources_misses_nothing_that_may_still_come() {
    let mut play = Play::new(&absent("r", "a", "").replace(r#""a""#, r#"["a", "b"]"#));
    play.then(None, "b", 0, "beat k");
    play.then(Some(0), "a", 1, "beat k");
    play.then(Some(0), "a", 1200, "beat k");
    play.then(Some(1200), "b", 600, "beat k");
    assert!(play.fired_rules().is_empty());
}

/// A line without a time, of a source in which that is so of all, or not.
fn plain(
    play: &mut Play,
    now: i64,
    source: &str,
    time: Option<&LineTime>,
) -> Vec<String> {
    let (start, bytes) = (Place::default(), &b"oops\n"[..]);
    let time = time.map(|it| (it, NOON));
    let lines = Lines { source, start, bytes, spans: None, time };
    let clock = Clock::Then(at(now), Behind::default());
    play.machine.lines(&lines, clock, &mut play.out);
    play.fired_rules()
}

#[test]
fn what_carries_no_time_happens_now() {
    let rule = r#"(name: "r", on: Lines(), match: r"oops", when: Count(of: 2, within: "10s"),
        do: [Emit(kind: "x")])"#;
    let mut play = Play::new(rule);
    play.then(None, "a", 0, "oops");
    assert!(plain(&mut play, DAY, "plain", None).is_empty());
    assert_eq!(plain(&mut play, DAY + 5, "plain", None), ["86405 r"]);
    // Unless its source says when others happened.
    let time = LineTime::new(TimeFormat::Iso, Some("UTC")).unwrap();
    let time = Some(&time);
    assert!(plain(&mut play, DAY + 6, "b", time).is_empty());
    play.then(None, "b", 25, "oops");
    assert_eq!(plain(&mut play, DAY + 6, "b", time), ["25 r"]);
    // What is still to come is not believed.
    play.then(None, "b", 3 * DAY, "oops");
    assert_eq!(play.fired_rules(), ["ClockSkew"]);
    assert_eq!(plain(&mut play, DAY + 6, "b", time), ["25 r"]);
    assert_eq!(play.machine.clock(), at(0));
}

#[test]
fn a_clock_that_was_ahead_is_set_back() {
    let text = format!(
        r#"{}(name: "burst", on: Lines(), match: r"beat", when: Count(of: 2, within: "60s"),
        limit: (times: 1, per: "1h"), do: [Emit(kind: "x")])"#,
        absent("r", "log", r#", again: "1h""#)
    );
    let ahead = 400 * DAY;
    for is_restart in [false, true] {
        let mut play = Play::new(&text);
        play.live(0, "beat a");
        play.live(ahead, "beat a");
        play.tick(ahead + 5);
        assert_eq!(play.fired_rules(), [format!("{} r 399d 23h 10m", ahead - 3000)]);
        // The clock is right again.
        if is_restart {
            let parts = play.machine.parts().unwrap();
            let set = Arc::clone(play.machine.rules());
            play.machine = Machine::new(set, at(10));
            play.machine.restore(&parts).unwrap();
        }
        play.live(10, "beat a");
        assert_eq!(play.fired_rules(), ["ClockSkew", "10 burst"]);
        play.live(11, "beat a");
        play.live(12, "beat a");
        assert!(
            play.fired_rules().is_empty(),
            "it is limited, and the clock was told of"
        );
        assert_eq!(play.tick(612).fired_rules(), ["612 r 10m"]);
        // A little is no more than a pause.
        play.live(560, "beat a");
        assert_eq!(play.machine.clock(), at(612));
        assert!(play.fired_rules().is_empty());
    }
}

#[test]
fn a_clock_that_is_set_back_in_a_quiet_time_holds_no_longer() {
    let text = r#"(calendars: {"night": [(from: "22:00", to: "07:00", zone: "UTC")]}, rules: [
        (name: "r", on: Lines(), match: r"beat", quiet: (in: ["night"], then: Hold),
         do: [Emit(kind: "x")])])"#;
    let machine = Machine::new(rules(text), at(0));
    let mut play = Play::of(machine);
    play.live(11 * 3600, "beat");
    assert!(play.fired_rules().is_empty());
    assert_eq!(play.machine.due(), Some(at(19 * 3600)));
    assert_eq!(play.tick(3600).fired_rules(), ["ClockSkew", "39600 r"]);
}

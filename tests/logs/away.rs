//! One of many receivers is away for long: nobody else notices, nothing is lost,
//! and it is said in time when something is about to be.

use super::ground::{Disk, Ground, PATIENCE, Watch, on_these};
use super::lines::Writer;
use super::receiver::Receiver;
use crate::site::wait_until;
use std::fs;
use std::time::Duration;

/// How many receivers there are besides the one that is away.
const OTHERS: usize = 9;
/// It is looked half a minute apart, and five seconds after the start.
const A_LOOK: Duration = Duration::from_secs(45);
const KEPT: &str = "is the oldest file that is kept";

const BOTH: [(Disk, Watch); 2] =
    [(Disk::Memory, Watch::Events), (Disk::Real, Watch::Poll)];

/// Ten listeners that forward, the first of them to a receiver that is away.
fn configure(ground: &Ground, away: &Receiver, others: &[Receiver]) {
    let forward = |(number, receiver): (usize, &Receiver)| {
        let to = receiver.address();
        format!("\"to-{number}\": Forward(from: [\"logs\"], to: \"{to}\", format: Lines)")
    };
    let all = std::iter::once(away).chain(others);
    let listeners: Vec<_> = all.enumerate().map(forward).collect();
    let print = "\"audit\": Print(from: [\"logs\"], to: \"out/printed.jsonl\")";
    let listeners = format!("{print}, {}", listeners.join(", "));
    ground.configure_with(r#"paths: ["logs/app.log"]"#, &listeners);
}

/// What the one that was away needs is in files that were rotated and compressed
/// meanwhile.
#[test]
fn one_of_ten_receivers_is_away_through_rotations() {
    on_these(&BOTH, |ground| {
        let away = Receiver::new();
        away.go_away(true);
        let others: Vec<_> = (0..OTHERS).map(|_| Receiver::new()).collect();
        configure(ground, &away, &others);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let running = ground.start();
        for _ in 0..4 {
            writer.write(500);
            // Each of the others has everything while the one is away.
            for other in &others {
                assert!(wait_until(PATIENCE, || other.has(&writer.last())), "{ground}");
            }
            ground.wait_for(&[&writer]);
            ground.logrotate("app.log", "rotate 9\ncreate\ncompress\ndelaycompress");
            writer.reopen(&ground.log("app.log"));
        }
        assert!(ground.log("app.log.4.gz").exists(), "{ground}");
        assert_eq!(away.count(), 0, "{ground}");
        let is_said = || ground.said().contains(KEPT);
        assert!(wait_until(A_LOOK, is_said), "{ground}: {}", ground.said());
        let said = ground.said();
        let words = format!("to-0: logs: {}", ground.log("app.log.4.gz").display());
        assert!(said.contains(&words), "{ground}: {said}");
        assert_eq!(said.matches(KEPT).count(), 1, "{ground}: {said}");
        away.go_away(false);
        writer.write(10);
        // It is tried again after a minute at most.
        let has_all = || away.has(&writer.last());
        assert!(wait_until(Duration::from_secs(90), has_all), "{ground}");
        running.stop();
        for receiver in std::iter::once(&away).chain(&others) {
            ground.assert_received(receiver, &[&writer], 0);
        }
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// What was stopped needs a person: it is said at each start.
#[test]
fn the_file_that_a_listener_stopped_in_is_the_next_to_go() {
    on_these(&BOTH[..1], |ground| {
        let stops = "\"stops\": Exec(from: [\"logs\"], run: [\"/nonexistent\"])";
        ground.configure_with(r#"paths: ["logs/app.log"]"#, stops);
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(5);
        ground.logrotate("app.log", "rotate 2\ncreate");
        writer.reopen(&ground.log("app.log"));
        writer.write(5);
        let running = ground.start();
        let is_said = || ground.said().contains(KEPT);
        assert!(wait_until(A_LOOK, is_said), "{ground}: {}", ground.said());
        running.stop();
        let bytes = fs::metadata(ground.log("app.log.1")).unwrap().len()
            + fs::metadata(ground.log("app.log")).unwrap().len();
        let said = ground.said();
        assert!(said.contains(&format!("({bytes} bytes in all)")), "{ground}: {said}");
    });
}

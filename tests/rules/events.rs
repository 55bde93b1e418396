//! What happens to Tripline itself is an event like any other.

use super::place::{PATIENCE, Place};
use crate::site::wait_until;
use std::fs;

const WATCH: &str = r#"
    (name: "watch", on: Engine(), do: [Exec(run: ["/usr/bin/tee", "-a", "HERE/events"],
     stdin: "{{ engine.event }} {{ engine.source }} {{ engine.listener }}\n", timeout: "20s")])
"#;

#[test]
fn a_gap_a_stop_and_a_start_are_events() {
    let place = Place::new("", WATCH);
    let config = String::from_utf8(place.dir.read("tripline.ron")).unwrap();
    let stops = r#"listeners: {"stops": Exec(from: ["app"], run: ["/nonexistent"]),
        "keeps": Print(from: ["app"], to: "out/print.jsonl", on_gap: Stop)}"#;
    place.dir.write("tripline.ron", config.replace("listeners: {}", stops));
    std::fs::create_dir(place.file("out")).unwrap();
    place.append("one\ntwo\n");
    let daemon = place.start();
    let events = || fs::read_to_string(place.file("events")).unwrap_or_default();
    let has = |words: &'static str| wait_until(PATIENCE, || events().contains(words));
    assert!(has("started  \n"), "{}\n{}", events(), place.said());
    assert!(wait_until(PATIENCE, || place.file("out/print.jsonl").exists()));
    // What was read is gone, and something else is there.
    let settled = || {
        place
            .places()
            .iter()
            .all(|row| row["listener"] == "stops" || row["bytes_behind"] == 0)
    };
    assert!(wait_until(PATIENCE, settled));
    place.dir.write("logs/app.log", "x\n");
    assert!(
        has("gap app keeps\n") && has("listener_stopped  keeps\n"),
        "{}\n{}",
        events(),
        place.said()
    );
    daemon.stop();
    let daemon = place.start();
    assert!(has("stopping  \n"), "{}", events());
    daemon.stop();
}

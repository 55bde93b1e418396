//! Programs that hang, fork, flood, fail and vanish. Each is ended with all that it
//! started, the daemon says what happened, and when a good one takes its place all
//! is delivered.

use super::place::{Mode, PATIENCE, Place, keeper, living, zombies};
use crate::site::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Memory that a daemon may have had at most, in KiB.
const MEMORY_MAX: u64 = 150_000;

/// A bad program is run until the daemon has said this, and then replaced. Those
/// whose numbers it wrote to `pids` are gone by then.
fn comes_through(mode: Mode, arguments: &str, script: &str, words: &str) -> Place {
    let place = Place::new();
    place.program("feed", &format!("echo $$ >> pids\n{script}"));
    place.configure(mode, arguments);
    place.write("one\ntwo\nthree\n");
    let daemon = place.start();
    place.wait_until_said(words);
    place.program("feed", keeper(mode));
    place.wait_until_settled();
    let left = living(&place.path("pids"));
    assert!(left.is_empty(), "{script}: {left:?} live");
    assert!(!place.read("pids").is_empty(), "{script}: it never ran");
    assert!(wait_until(PATIENCE, || zombies(daemon.pid()) == 0), "{script}: zombies");
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    assert!(peak < MEMORY_MAX, "{script}: {peak} KiB");
    daemon.stop();
    assert_eq!(place.got().len(), 3, "{script}");
    assert!(!place.said().contains("panicked"), "{}", place.said());
    place
}

const SHORT: &str = "timeout: \"300ms\", grace: \"200ms\"";
const SHORT_ANSWER: &str = "acknowledge_timeout: \"300ms\", grace: \"200ms\"";

#[test]
fn one_that_hangs() {
    let hangs = "exec sleep 1000";
    comes_through(Mode::Batch, SHORT, hangs, "had not ended after 300ms");
    comes_through(Mode::Acknowledged, SHORT_ANSWER, hangs, "not answered for 300ms");
}

#[test]
fn one_that_ignores_term() {
    let ignores = "trap '' TERM HUP INT\nwhile :; do sleep 1000; done";
    comes_through(Mode::Batch, SHORT, ignores, "had not ended after 300ms");
    comes_through(Mode::Acknowledged, SHORT_ANSWER, ignores, "not answered for 300ms");
}

#[test]
fn one_whose_children_outlive_it() {
    let forks = "sleep 1000 &\necho $! >> pids\nexit 1";
    comes_through(Mode::Batch, "", forks, "ended with code 1");
    comes_through(Mode::Acknowledged, "", forks, "ended with code 1");
    let forks = "(sleep 1000 & echo $! >> pids)\nexec sleep 1000";
    comes_through(Mode::Batch, SHORT, forks, "had not ended after 300ms");
}

#[test]
fn one_whose_children_have_a_session_of_their_own() {
    let setsid = "setsid sleep 1000 &\necho $! >> pids\nexec sleep 1000";
    comes_through(Mode::Batch, SHORT, setsid, "had not ended after 300ms");
    comes_through(Mode::Acknowledged, SHORT_ANSWER, setsid, "not answered for 300ms");
    let orphans = "(setsid sleep 1000 > /dev/null 2>&1 & echo $! >> pids)\nexit 1";
    comes_through(Mode::Batch, "", orphans, "ended with code 1");
}

#[test]
fn one_that_closes_its_standard_input() {
    let closes = "exec 0<&-\nexit 1";
    comes_through(Mode::Batch, "", closes, "ended with code 1");
    comes_through(Mode::Acknowledged, "", closes, "ended with code 1");
    let closes = "exec 0<&-\nexec sleep 1000";
    comes_through(Mode::Acknowledged, SHORT_ANSWER, closes, "not answered for 300ms");
}

#[test]
fn one_that_prints_ten_gibibytes() {
    let floods = "head -c 10737418240 /dev/zero\nhead -c 100000 /dev/zero >&2\nexit 1";
    let place = comes_through(Mode::Batch, "timeout: \"10m\"", floods, "[truncated]");
    let most = place.said().lines().map(str::len).max().unwrap();
    assert!(most < 5000, "a line of {most} bytes");
    let floods = "head -c 10737418240 /dev/zero";
    comes_through(Mode::Acknowledged, "", floods, "where only OK, DEFER and ERR");
}

#[test]
fn one_that_says_nothing_and_takes_all() {
    for code in [0, 75] {
        let place = Place::new();
        let script = format!("cat > part; cat part >> got; [ -e good ] || exit {code}");
        place.program("feed", &script);
        place.configure(Mode::Batch, "");
        place.write("one\ntwo\n");
        let daemon = place.start();
        if code > 0 {
            place.wait_until_said("./feed ended with code 75; trying again in");
            fs::write(place.path("good"), "").unwrap();
        }
        place.wait_until_settled();
        daemon.stop();
        assert_eq!(place.got().len(), 2);
    }
}

#[test]
fn one_that_fails() {
    comes_through(Mode::Batch, "", "exit 1", "ended with code 1; trying again");
    comes_through(Mode::Batch, "", "exit 139", "ended with code 139");
    let dies = "echo core >&2; kill -SEGV $$";
    let words = "killed by signal 11 (segmentation fault); it said \"core\"";
    comes_through(Mode::Batch, "", dies, words);
    comes_through(Mode::Acknowledged, "", dies, words);
}

#[test]
fn one_that_is_to_stop_the_listener_stops_it() {
    let place = Place::new();
    place.program("feed", "echo no luck; exit 1");
    place.configure(Mode::Batch, "on_failure: Stop");
    place.write("one\n");
    place.command(&["run", "--until-idle"]).status().unwrap();
    let said = place.said();
    let wanted = "feed stopped: ";
    assert!(said.contains(wanted) && said.contains("ended with code 1"), "{said}");
    assert!(said.contains("put it right and start again"), "{said}");
}

#[test]
fn one_that_is_not_there() {
    for mode in [Mode::Batch, Mode::Acknowledged] {
        let place = Place::new();
        place.configure(mode, "");
        place.write("one\n");
        let daemon = place.start();
        place.wait_until_said("put it back");
        place.program("feed", keeper(mode));
        place.wait_until_settled();
        // It may not be executed.
        let feed = place.path("feed");
        fs::set_permissions(&feed, fs::Permissions::from_mode(0o644)).unwrap();
        place.write("two\n");
        if mode == Mode::Batch {
            place.wait_until_said("chmod +x");
        }
        fs::set_permissions(&feed, fs::Permissions::from_mode(0o755)).unwrap();
        place.wait_until_settled();
        // It is removed while it is at work.
        fs::remove_file(&feed).unwrap();
        place.write("three\n");
        place.program("feed", keeper(mode));
        place.wait_until_settled();
        daemon.stop();
        assert_eq!(place.got().len(), 3, "{mode:?}");
    }
}

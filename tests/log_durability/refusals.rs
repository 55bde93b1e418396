//! The disk is full, broken, over its quota or read-only: at one operation, or
//! for a while.

use super::place::Place;
use crate::fault::{Fault, Shim, operations};
use crate::logs::ground::pause;
use crate::logs::receiver::Receiver;
use crate::site::{Daemon, in_words, wait_until};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Stdio;
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

/// After this long something will not happen any more.
const PATIENCE: Duration = Duration::from_secs(30);

/// One operation fails. Either the program cannot start, which it says, or it
/// goes on; and the next start completes whatever is left. No cursor is lost.
#[test]
fn one_operation_fails() {
    let shim = Shim::build();
    let count = count(&shim, None);
    let errors = [ENOSPC, EIO, EDQUOT, EROFS];
    for at in 1..=count {
        let errno = errors[at as usize % errors.len()];
        let context = format!("operation {at} fails with error {errno}");
        let mut place = Place::new(None);
        let mut command = place.command(&["run", "--until-idle"]);
        let fault = Fault::fail(&place.out(), at, errno, false);
        let output = shim.command(&mut command, &fault).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended = matches!(output.status.code(), Some(0 | 2 | 3));
        assert!(ended && !said.contains("panicked"), "{context}: {}", in_words(&output));
        assert!(output.status.success() || !said.is_empty(), "{context}: in words");
        place.rotate();
        place.catch_up(&context);
        place.assert_delivered(None, &context);
    }
}

/// A write falls short: by all of it, by nearly all, by the last byte.
#[test]
fn one_write_falls_short() {
    let shim = Shim::build();
    let count = count(&shim, None);
    for at in 1..=count {
        let bytes = [0, 1, 100, 4095][at as usize % 4];
        for then_kill in [false, true] {
            let context = format!("{bytes} bytes at operation {at}, kill: {then_kill}");
            let place = Place::new(None);
            let mut command = place.command(&["run", "--until-idle"]);
            let fault = Fault::short(&place.out(), at, bytes, then_kill);
            let output = shim.command(&mut command, &fault).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains("panicked"), "{context}: {}", in_words(&output));
            place.catch_up(&context);
            place.assert_delivered(None, &context);
            if then_kill || at % 3 != 0 {
                break;
            }
        }
    }
}

/// A sync fails once, whichever it is. What it was about may be gone, and a
/// second sync would not bring it: it is written again before it is synced
/// again.
#[test]
fn one_sync_fails_and_what_it_was_for_is_written_again() {
    let shim = Shim::build();
    let count = count(&shim, Some("sync"));
    assert!(count > 4, "{count} syncs");
    for at in 1..=count {
        let context = format!("sync {at} fails");
        let place = Place::new(None);
        let mut command = place.command(&["run", "--until-idle"]);
        let fault = Fault::fail(&place.out(), at, EIO, false).only("sync").traced();
        let output = shim.command(&mut command, &fault).output().unwrap();
        let trace = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_written_again(&trace, &context);
        place.catch_up(&context);
        place.assert_delivered(None, &context);
    }
}

/// Between the sync of a file that failed and the next one there is a write to
/// it, or it is cut to where it was sound, or the file is given up: as a database that is only being made is. (A
/// directory has nothing to write again.)
fn assert_written_again(trace: &str, context: &str) {
    let mut lines = trace.lines().filter_map(|line| line.strip_prefix("FF "));
    let mut written = BTreeSet::new();
    let failed = lines.find(|line| {
        if line.contains("write") {
            written.extend(line.rsplit(' ').next());
        }
        line.contains(" FAILS ")
    });
    let Some(path) = failed.and_then(|line| line.rsplit(' ').next()) else { return };
    let is_kept = ["printed.jsonl", "tripline.db", "tripline.db-wal"]
        .iter()
        .any(|name| path.ends_with(name));
    if !is_kept || !written.contains(path) {
        return;
    }
    for line in lines.filter(|line| line.ends_with(&format!(" {path}"))) {
        assert!(!line.contains("sync"), "{context}: synced again as it is:\n{trace}");
        if line.contains("write") || line.contains("truncate") {
            return;
        }
    }
}

fn count(shim: &Shim, only: Option<&'static str>) -> u64 {
    let place = Place::new(None);
    let mut command = place.command(&["run", "--until-idle"]);
    let mut fault = Fault::count(&place.out());
    if let Some(call) = only {
        fault = fault.only(call);
    }
    let sound = shim.command(&mut command, &fault).output().unwrap();
    assert!(sound.status.success(), "{}", in_words(&sound));
    operations(&sound.stderr).expect("the shim counts")
}

/// A daemon whose state directory, or whose output, refuses everything unless
/// the file `well` is there.
struct Patient {
    place: Place,
    daemon: Daemon,
}

impl Patient {
    fn start(receiver: &Receiver, what: &str, errno: i32) -> Self {
        let place = Place::new(Some(receiver));
        let well = place.root().join("well");
        fs::write(&well, "").unwrap();
        let said = File::create(place.root().join("said")).unwrap();
        let mut command = place.command(&["run"]);
        command.stdout(Stdio::null()).stderr(said);
        let fault = Fault::fail(&place.out().join(what), 1, errno, true).unless(&well);
        let daemon = Daemon::spawn(Shim::build().command(&mut command, &fault));
        let patient = Self { place, daemon };
        patient.wait("printed at first", || patient.place.is_printed());
        patient
    }

    fn fails(&self) {
        fs::remove_file(self.place.root().join("well")).unwrap();
    }

    fn is_well(&self) {
        fs::write(self.place.root().join("well"), "").unwrap();
    }

    fn said(&self) -> String {
        fs::read_to_string(self.place.root().join("said")).unwrap()
    }

    fn wait(&self, what: &str, condition: impl FnMut() -> bool) {
        assert!(wait_until(PATIENCE, condition), "not {what}: {}", self.said());
    }

    fn has_received(&self, receiver: &Receiver) -> bool {
        self.place.writers.iter().all(|writer| receiver.has(&writer.last()))
    }
}

/// The state cannot be saved for a while. The entries go on being delivered,
/// the trouble is named, nothing is busy meanwhile, and it is saved within five
/// seconds of when it can be, without a restart.
fn state_is_refused(errno: i32, text: &str, time: Duration) {
    let receiver = Receiver::new();
    let mut patient = Patient::start(&receiver, "state", errno);
    patient.fails();
    patient.place.write(5);
    patient.wait("said", || patient.said().contains("progress not saved"));
    let said = patient.said();
    assert!(said.contains("trying again in"), "{said}");
    assert!(said.contains(text), "no {text:?} in {said}");
    patient.place.rotate();
    patient.wait("printed meanwhile", || patient.place.is_printed());
    patient.wait("received meanwhile", || patient.has_received(&receiver));
    let before = patient.daemon.processor_time();
    pause(time);
    let used = patient.daemon.processor_time() - before;
    // The tick is 10 ms.
    assert!(used <= time / 20 + Duration::from_millis(30), "{used:?} of {time:?}");
    assert!(patient.daemon.is_running());
    patient.is_well();
    let is_saved = || patient.said().contains("progress is saved again");
    let limit = Duration::from_secs(5);
    assert!(wait_until(limit, is_saved), "not within {limit:?}: {}", patient.said());
    let said = patient.said();
    assert!(said.lines().count() < 40, "{said}");
    let Patient { place, daemon } = patient;
    daemon.stop();
    place.assert_delivered(Some(&receiver), text);
}

#[test]
fn the_disk_with_the_state_is_full_for_long() {
    state_is_refused(ENOSPC, "full", Duration::from_secs(14));
}

#[test]
fn the_disk_with_the_state_is_broken_for_a_while() {
    state_is_refused(EIO, "I/O error", Duration::from_secs(2));
}

#[test]
fn the_disk_with_the_state_is_over_its_quota_for_a_while() {
    state_is_refused(EDQUOT, "I/O error", Duration::from_secs(2));
}

#[test]
fn the_disk_with_the_state_is_read_only_for_a_while() {
    state_is_refused(EROFS, "I/O error", Duration::from_secs(2));
}

/// The output cannot be written for a while. That listener waits, and says so;
/// the other one goes on; nothing is lost and nothing printed twice.
#[test]
fn the_disk_with_the_output_is_full_for_a_while() {
    for errno in [ENOSPC, EIO] {
        let receiver = Receiver::new();
        let mut patient = Patient::start(&receiver, "printed.jsonl", errno);
        patient.fails();
        patient.place.write(5);
        patient.wait("said", || patient.said().contains("audit: "));
        assert!(patient.said().contains("trying again in"), "{}", patient.said());
        patient.place.rotate();
        patient.wait("received meanwhile", || patient.has_received(&receiver));
        assert!(!patient.place.is_printed() && patient.daemon.is_running());
        patient.is_well();
        patient.wait("printed", || patient.place.is_printed());
        patient.wait("said", || patient.said().contains("audit: works again"));
        let Patient { place, daemon } = patient;
        daemon.stop();
        place.assert_delivered(Some(&receiver), "the output was full");
    }
}

//! More files than descriptors, more changes than the queue of events has room
//! for, and a system that lets nothing be watched.

use super::ground::{
    Disk, Ground, PATIENCE, Running, Watch, on_each, on_these,
    on_these_under_other_limits,
};
use super::lines::Writer;
use crate::site::wait_until;
use crate::util::SYSTEM_LIMITS;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// How many descriptors the daemon may have where it may have few.
const DESCRIPTORS: usize = 256;

/// How long it may take to read many thousands of them for the first time.
const A_START: Duration = Duration::from_secs(120);

/// Starts a daemon that may have few descriptors.
fn start_with_few(ground: &Ground) -> Running<'_> {
    let mut limited = Command::new("sh");
    let script = format!("ulimit -n {DESCRIPTORS} && exec \"$@\"");
    let program = env!("CARGO_BIN_EXE_tripline");
    limited.args(["-c", &script, "sh", program]);
    ground.start_with(&mut ground.command_of(limited, &["run"]))
}

/// Fifty thousand logs at rest (on a disk five thousand, which is slow enough)
/// and twenty that are written to, with 256 descriptors. A daemon that starts
/// with all of them unread delivers them all; one that knows them delivers the
/// first new line within ten seconds; and neither has more descriptors than it
/// may.
#[test]
fn many_logs_with_few_descriptors() {
    on_each(|ground| {
        let count = match ground.disk {
            Disk::Memory => 50_000,
            Disk::Real => 5_000,
        };
        ground.configure(r#"paths: ["logs/**/*.log"]"#, None);
        for folder in 0..50 {
            let folder = ground.log(&format!("{folder}"));
            fs::create_dir(&folder).unwrap();
            for file in 0..count / 50 {
                fs::write(folder.join(format!("{file}.log")), "x\n").unwrap();
            }
        }
        let mut writers: Vec<_> = (0..20)
            .map(|name| Writer::new(name, &ground.log(&format!("{name}/live.log"))))
            .collect();
        for is_known in [false, true] {
            writers.iter_mut().for_each(|writer| writer.write(5));
            let began = Instant::now();
            let mut running = start_with_few(ground);
            let all: Vec<_> = writers.iter().collect();
            ground.wait_for_within(A_START, &all);
            let took = began.elapsed();
            let is_fast = took < Duration::from_secs(10);
            assert!(is_fast || !is_known, "{ground}: it took {took:?}");
            let idle = || ground.delivered().bare == count;
            assert!(wait_until(A_START, idle), "{ground}: {}", ground.delivered().bare);
            for _ in 0..5 {
                writers.iter_mut().for_each(|writer| writer.write(5));
                let all: Vec<_> = writers.iter().collect();
                ground.wait_for(&all);
                let open = running.descriptors();
                assert!(open < DESCRIPTORS, "{ground}: {open} descriptors");
            }
            running.assert_alive();
            running.stop();
        }
        let all: Vec<_> = writers.iter().collect();
        let delivered = ground.delivered();
        delivered.assert_complete(&all, 0, ground);
        assert_eq!(delivered.bare, count, "{ground}");
        assert_eq!(ground.said(), "", "{ground}");
    });
}

/// More logs than it may have descriptors come one after the other, and each is
/// deleted when it was read. Only a few of them are held.
#[test]
fn short_lived_logs_leave_no_descriptors_behind() {
    on_these(&[(Disk::Memory, Watch::Events)], |ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writer = Writer::new(1, &ground.log("first.log"));
        writer.write(1);
        let mut running = start_with_few(ground);
        ground.wait_for(&[&writer]);
        for job in 0..DESCRIPTORS + 50 {
            let path = ground.log(&format!("job-{job}.log"));
            writer.reopen(&path);
            writer.write(1);
            ground.wait_for(&[&writer]);
            fs::remove_file(&path).unwrap();
            let open = running.descriptors();
            assert!(open < DESCRIPTORS / 2, "{ground}: {open} descriptors");
        }
        writer.reopen(&ground.log("last.log"));
        writer.write(3);
        ground.wait_for(&[&writer]);
        running.assert_alive();
        running.stop();
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.said(), "", "{ground}");
    });
}

/// A limit of the system, changed for a while.
struct Sysctl {
    path: PathBuf,
    before: String,
}

impl Sysctl {
    /// Changes it; says so when that is not permitted.
    fn set(name: &str, value: u32) -> Option<Self> {
        let path = PathBuf::from(format!("/proc/sys/fs/inotify/{name}"));
        let changed: io::Result<_> = fs::read_to_string(&path)
            .and_then(|before| fs::write(&path, value.to_string()).map(|()| before));
        match changed {
            Ok(before) => Some(Self { path, before }),
            Err(error) => {
                eprintln!("skipped: {} cannot be changed: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).unwrap();
    }
}

/// Starts a daemon while a limit is another one, until it has come so far.
fn start_under<'a>(
    ground: &'a Ground,
    limit: (&str, u32),
    is_far: impl Fn() -> bool,
) -> Option<Running<'a>> {
    let mut command = ground.command(&["run"]);
    let _alone = SYSTEM_LIMITS.write().unwrap_or_else(|it| it.into_inner());
    let _limit = Sysctl::set(limit.0, limit.1)?;
    let running = ground.start_with(&mut command);
    assert!(wait_until(PATIENCE, is_far), "{ground}: {limit:?}");
    Some(running)
}

pub(super) const WITH_EVENTS: [(Disk, Watch); 2] =
    [(Disk::Memory, Watch::Events), (Disk::Real, Watch::Events)];

/// Far more happens while the daemon sleeps than the queue of events has room
/// for. All of it is found, and the overflow is said once.
#[test]
fn a_queue_of_events_overflows() {
    on_these_under_other_limits(&WITH_EVENTS, |ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut writer = Writer::new(0, &ground.log("first.log"));
        writer.write(1);
        let is_far = || !ground.printed().is_empty();
        let Some(running) = start_under(ground, ("max_queued_events", 16), is_far) else {
            return;
        };
        running.freeze();
        let count = match ground.disk {
            Disk::Memory => 10_000,
            Disk::Real => 1_000,
        };
        for number in 0..count {
            writer.reopen(&ground.log(&format!("{number}.log")));
            writer.write(1);
        }
        running.wake();
        let is_there = || ground.printed().len() as u64 == writer.written();
        assert!(wait_until(PATIENCE, is_there), "{ground}: {}", ground.printed().len());
        ground.wait_until_said("overflow");
        assert_eq!(ground.said().matches("overflow").count(), 1, "{ground}");
        running.stop();
        let delivered = ground.delivered();
        assert!(delivered.missing(&writer).is_empty(), "{ground}");
        assert_eq!(delivered.duplicates(), 0, "{ground}");
        ground.assert_settled();
    });
}

/// Follows two folders on a system that lets nothing, or nothing more, be
/// watched: it is said which limit is in the way and what its value is, and
/// everything is found by looking.
fn looks_instead(ground: &Ground, limit: (&str, u32)) {
    ground.configure(r#"paths: ["logs/a/*.log", "logs/b/*.log"]"#, None);
    let mut writers = ["a", "b"].map(|folder| {
        fs::create_dir(ground.log(folder)).unwrap();
        Writer::new(u32::from(folder == "b"), &ground.log(folder).join("app.log"))
    });
    let words = format!("fs.inotify.{} is {}", limit.0, limit.1);
    let is_told = || ground.said().contains(&words);
    let Some(mut running) = start_under(ground, limit, is_told) else { return };
    for folder in ["a", "b", "a", "b"] {
        writers.iter_mut().for_each(|writer| writer.write(20));
        ground.wait_for(&[&writers[0], &writers[1]]);
        ground.logrotate(&format!("{folder}/app.log"), "rotate 9\ncreate");
        let [a, b] = &mut writers;
        a.reopen(&ground.log("a/app.log"));
        b.reopen(&ground.log("b/app.log"));
    }
    writers.iter_mut().for_each(|writer| writer.write(20));
    ground.wait_for(&[&writers[0], &writers[1]]);
    running.assert_alive();
    running.stop();
    ground.assert_printed(&[&writers[0], &writers[1]]);
    let said = ground.said();
    assert_eq!(said.matches("fs.inotify").count(), 1, "{ground}: {said}");
}

#[test]
fn nothing_can_be_watched() {
    on_these_under_other_limits(&WITH_EVENTS, |ground| {
        looks_instead(ground, ("max_user_instances", 0))
    });
}

#[test]
fn nothing_more_can_be_watched() {
    on_these_under_other_limits(&WITH_EVENTS, |ground| {
        looks_instead(ground, ("max_user_watches", 1))
    });
}

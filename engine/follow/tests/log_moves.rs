//! A log is renamed and then changes places with another one, after any number of steps
//! of the reader: each line is handed out once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;
use tripline_api::{Again, Args, BuildContext, Changed, Reader, Settled, Step};
use tripline_follow::{Clock, log};

/// By then the reader has come to an end with each change.
const STEPS_MAX: usize = 60;
const LINES: u64 = 10;

#[test]
fn whenever_two_logs_change_places_each_line_comes_once() {
    let memory = Path::new("/dev/shm");
    for steps in 0..STEPS_MAX {
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let at = |name: &str| directory.path().join(name);
        let context = BuildContext {
            name: "logs",
            directory: directory.path(),
            state: directory.path(),
        };
        let clock = Clock::by_hand();
        let args = Args::new(r#"(paths: ["*.log"])"#);
        let source = log::FACTORY.build_with(clock.clone(), &args, &context).unwrap();
        let mut read =
            Read { clock, reader: source.open(&Settled::new()), lines: Vec::new() };
        write(&at("a.log"), "a", 0);
        write(&at("b.log"), "b", 0);
        read.steps(usize::MAX);
        fs::rename(at("b.log"), at("c.log")).unwrap();
        write(&at("a.log"), "a", 1);
        write(&at("c.log"), "b", 1);
        read.steps(steps);
        renameat_with(CWD, at("a.log"), CWD, at("c.log"), RenameFlags::EXCHANGE).unwrap();
        write(&at("c.log"), "a", 2);
        write(&at("a.log"), "b", 2);
        // Before anybody says that something changed, and then.
        read.steps_unasked(usize::MAX);
        read.steps(usize::MAX);
        for log in ["a", "b"] {
            let wanted: Vec<_> = (0..3 * LINES).map(|n| format!("{log} {n}")).collect();
            let found: Vec<_> =
                read.lines.iter().filter(|line| line.starts_with(log)).collect();
            assert!(found.iter().copied().eq(&wanted), "after {steps} steps: {found:?}");
        }
    }
}

/// The lines of a part.
fn write(path: &Path, log: &str, part: u64) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    for line in part * LINES..(part + 1) * LINES {
        writeln!(file, "{log} {line}").unwrap();
    }
}

struct Read {
    clock: Clock,
    reader: Box<dyn Reader>,
    lines: Vec<String>,
}

impl Read {
    fn steps(&mut self, most: usize) {
        self.reader.hint(Changed::Anything);
        self.steps_unasked(most);
    }

    /// So many steps, or until there is nothing more to do.
    fn steps_unasked(&mut self, most: usize) {
        for _ in 0..most {
            match self.reader.next().unwrap() {
                Step::Batch(batch) => {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    self.lines.extend(batch.entries().map(|it| text(it.text())));
                }
                Step::Gap(gap) => panic!("nothing is missing: {gap:?}"),
                Step::Idle(idle) => match idle.again {
                    Again::Later => return,
                    Again::Now => {}
                    Again::Soon | Again::At(_) => {
                        self.clock.wind_on(Duration::from_millis(40));
                    }
                },
                _ => {}
            }
        }
    }
}

//! Programs that behave, and programs that do everything but.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// After this long something will not happen any more.
const LONG: Duration = Duration::from_secs(60);

fn program(words: &[&str]) -> Program {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    Program::new(&words, "/".as_ref()).unwrap()
}

/// A script: the shell is the user's program here.
fn script(text: &str) -> Program {
    program(&["/bin/sh", "-c", text])
}

fn start(program: &Program, options: Options) -> Process {
    Process::start(program, options).unwrap()
}

fn run(program: &Program) -> Ended {
    let process = start(program, Options::default());
    process.close_input();
    process.wait(Instant::now() + LONG).unwrap()
}

fn output(program: &Program) -> String {
    let ended = run(program);
    assert_eq!(ended.how, How::Exited(0), "{ended}");
    String::from_utf8(ended.output.bytes().to_vec()).unwrap()
}

const READS: Options = Options {
    timeout: None,
    grace: Duration::from_secs(5),
    reads_output: true,
    said_max: Tail::BYTES_MAX,
};

/// Reads so many lines, each of them a number.
fn numbers(process: &Process, count: usize) -> Vec<i32> {
    let mut text = Vec::new();
    let until = Instant::now() + LONG;
    while text.iter().filter(|byte| **byte == b'\n').count() < count {
        assert!(Instant::now() < until, "{:?}", String::from_utf8_lossy(&text));
        process.wait_for_output(until);
        text.extend(process.read());
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().map(|line| line.trim().parse().unwrap()).collect()
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// What ended is not even a zombie.
fn is_gone(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn arguments_arrive_as_they_are() {
    let hostile = "$(touch /tmp/pwned) `id`; reboot\n--help \x1b[2J %s%n é \u{202e}";
    assert_eq!(output(&program(&["/usr/bin/printf", "%s", hostile])), hostile);
}

#[test]
fn the_environment_is_what_was_said() {
    let variables = BTreeMap::from([("A".to_owned(), "b c\n".to_owned())]);
    let program = program(&["/usr/bin/env", "-0"]).with_environment(&variables).unwrap();
    let text = output(&program.with_own("LISTENER", "feed"));
    let names: Vec<_> =
        text.split_terminator('\0').map(|it| it.split_once('=').unwrap()).collect();
    assert!(
        names.contains(&("A", "b c\n")) && names.contains(&("TRIPLINE_LISTENER", "feed"))
    );
    let mut names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    assert_eq!(names, ["A", "LANG", "PATH", "TRIPLINE_LISTENER", "TRIPLINE_RUN"]);
}

#[test]
fn a_program_has_three_descriptors_and_a_directory() {
    let _open = fs::File::open("/dev/null").unwrap();
    let listed = output(&program(&["/bin/ls", "/proc/self/fd"]));
    let ours = inherited();
    let mut theirs: Vec<&str> = listed.lines().filter(|fd| !ours.contains(*fd)).collect();
    // That of the listing.
    assert!(theirs.pop().is_some_and(|fd| fd > "2"), "{listed}");
    assert_eq!(theirs, ["0", "1", "2"]);
    assert_eq!(output(&program(&["/bin/pwd", "-P"])), "/\n");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    let program = program(&["/bin/pwd", "-P"]).in_directory(path.clone());
    assert_eq!(output(&program), format!("{}\n", path.display()));
}

/// What these tests were started with, but for the first three: nothing we can do
/// makes it go away.
fn inherited() -> BTreeSet<String> {
    let stays = |fd: &String| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
        (flags & libc::O_CLOEXEC == 0).then_some(())
    };
    let listed = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let listed = listed.filter_map(|entry| entry.file_name().into_string().ok());
    let listed = listed.filter(|fd| !["0", "1", "2"].contains(&fd.as_str()));
    listed.filter(|fd| stays(fd).is_some()).collect()
}

#[test]
fn ends_are_told_apart() {
    for code in [0, 1, 65, 75, 139] {
        assert_eq!(run(&script(&format!("exit {code}"))).how, How::Exited(code));
    }
    let ended = run(&script("echo no luck >&2; kill -SEGV $$"));
    assert_eq!(ended.how, How::Killed(11));
    assert!(ended.how.is_fault() && !How::Killed(15).is_fault());
    assert_eq!(
        ended.to_string(),
        "was killed by signal 11 (segmentation fault); it said \"no luck\""
    );
}

#[test]
fn what_does_not_start_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let cases = [
        ("/no/such/program".to_owned(), "put it back"),
        (make("plain", "#!/bin/sh\n", 0o600), "chmod +x"),
        (make("orphan", "#!/no/such/interpreter\n", 0o700), "first line"),
        (make("junk", "\u{1}\u{2}\n", 0o700), "#!/bin/sh"),
        (dir.path().to_str().unwrap().to_owned(), "may not be executed"),
    ];
    for (path, advice) in cases {
        let ended = run(&program(&[&path]));
        assert!(matches!(ended.how, How::NotStarted(_)), "{path}: {ended}");
        assert!(ended.to_string().contains(advice), "{path}: {ended}");
    }
    let elsewhere = program(&["/bin/true"]).in_directory(dir.path().join("gone"));
    assert!(run(&elsewhere).to_string().contains("no directory"));
}

#[test]
fn one_that_hangs_is_ended_in_time() {
    let timeout = Duration::from_millis(200);
    let options = Options { timeout: Some(timeout), ..Options::default() };
    let since = Instant::now();
    let process = start(&program(&["/bin/sleep", "1000"]), options);
    let ended = process.wait(since + LONG).unwrap();
    assert_eq!(ended.how, How::TimedOut(timeout));
    assert!(since.elapsed() >= timeout);
    assert!(since.elapsed() < options.grace, "TERM was enough");
}

#[test]
fn one_that_ignores_term_is_killed() {
    let grace = Duration::from_millis(300);
    let options = Options { grace, ..READS };
    let text = "trap '' TERM; echo $$; while :; do sleep 1000; done";
    let process = start(&script(text), options);
    let pid = numbers(&process, 1)[0];
    let since = Instant::now();
    process.end(grace);
    assert_eq!(process.wait(since + LONG).unwrap().how, How::Stopped);
    assert!(since.elapsed() >= grace);
    assert!(is_gone(pid));
}

/// Everybody says who he is and then stays, one way or the other.
const FAMILY: &str = "
    stay='echo $$; exec sleep 1000'
    sh -c \"$stay\" &
    setsid sh -c \"$stay\" &
    (setsid sh -c \"$stay\" &)
    setsid sh -c \"(setsid sh -c '$stay' &) ; exit 0\" &
    (setsid sh -c \"$stay\" < /dev/null 2> /dev/null &)
    setsid env -i sh -c \"trap '' TERM; echo \\$\\$; while :; do /bin/sleep 1000; done\" &
    sh -c \"trap '' TERM HUP INT; echo \\$\\$; while :; do sleep 1000; done\" &
";

#[test]
fn all_that_it_started_ends_with_it() {
    let options = Options { grace: Duration::from_millis(200), ..READS };
    let process = start(&script(&format!("{FAMILY} echo $$; wait")), options);
    let family = numbers(&process, 8);
    assert!(family.iter().all(|pid| lives(*pid)), "{family:?}");
    process.end(options.grace);
    let ended = process.wait(Instant::now() + LONG).unwrap();
    assert_eq!((ended.how, ended.left), (How::Stopped, 0));
    let left: Vec<_> = family.into_iter().filter(|pid| lives(*pid)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_that_forks_and_exits_leaves_nothing() {
    let since = Instant::now();
    // It ends while they hold its pipes.
    let text = "stay='echo $$ >&2; exec sleep 1000'; setsid sh -c \"$stay\" & \
                (setsid sh -c \"$stay\" &); sh -c \"$stay\" & exit 7";
    let ended = run(&script(text));
    assert_eq!((ended.how.clone(), ended.left), (How::Exited(7), 0));
    assert!(since.elapsed() < Duration::from_secs(20));
    let errors = String::from_utf8(ended.errors.bytes().to_vec()).unwrap();
    assert_eq!(errors.lines().count(), 3, "{errors}");
    assert!(errors.lines().all(|pid| !lives(pid.parse().unwrap())), "{errors}");
}

#[test]
fn what_it_started_may_finish_its_sentence() {
    // The last part of a pipeline ends after the shell.
    let text = "(sleep 0.2; echo last) & echo first";
    assert_eq!(output(&script(text)), "first\nlast\n");
}

/// A child that others of our code started.
struct Ours(std::process::Child);

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn others_are_left_alone() {
    let mut ours = Ours(Command::new("/bin/sleep").arg("1000").spawn().unwrap());
    let stays = start(&script(&format!("{FAMILY} echo $$; wait")), READS);
    let family = numbers(&stays, 8);
    let goes = start(&script(&format!("{FAMILY} echo $$; wait")), READS);
    let gone = numbers(&goes, 8);
    goes.end(Duration::ZERO);
    goes.wait(Instant::now() + LONG).unwrap();
    assert!(gone.iter().all(|pid| !lives(*pid)), "{gone:?}");
    assert!(family.iter().all(|pid| lives(*pid)), "{family:?}");
    assert!(ours.0.try_wait().unwrap().is_none());
    drop(stays);
    assert!(family.iter().all(|pid| !lives(*pid)), "{family:?}");
}

#[test]
fn one_that_was_stopped_is_killed_all_the_same() {
    let process = start(&script("echo $$; kill -STOP $$; echo on"), READS);
    let pid = numbers(&process, 1)[0];
    let stat = format!("/proc/{pid}/stat");
    while !fs::read_to_string(&stat).unwrap().contains(") T ") {
        std::thread::yield_now();
    }
    process.end(Duration::from_millis(50));
    process.wait(Instant::now() + LONG).unwrap();
    assert!(is_gone(pid));
}

#[test]
fn one_that_is_forgotten_ends() {
    let process = start(&script("echo $$; exec sleep 1000"), READS);
    let pid = numbers(&process, 1)[0];
    drop(process);
    assert!(is_gone(pid));
}

#[test]
fn closing_standard_input_does_no_harm() {
    let big = vec![b'x'; 10_000_000];
    for text in ["exec 0<&-; exit 3", "exit 3", "head -c 1 > /dev/null; exit 3"] {
        let process = start(&script(text), Options::default());
        process.write(big.clone());
        process.close_input();
        let ended = process.wait(Instant::now() + LONG).unwrap();
        assert_eq!(ended.how, How::Exited(3), "{text}");
        // And nobody minds what comes too late.
        process.write(big.clone());
    }
}

#[test]
fn one_that_never_reads_is_ended_in_time() {
    let timeout = Duration::from_millis(300);
    let options = Options { timeout: Some(timeout), ..Options::default() };
    let process = start(&program(&["/bin/sleep", "1000"]), options);
    process.write(vec![b'x'; 10_000_000]);
    process.close_input();
    let ended = process.wait(Instant::now() + LONG).unwrap();
    assert_eq!(ended.how, How::TimedOut(timeout));
}

#[test]
fn much_goes_in_and_comes_out() {
    let line = b"0123456789abcde\n";
    let big = line.repeat(1_000_000);
    let process = start(&program(&["/bin/cat"]), READS);
    process.write(big[..5_000_000].to_vec());
    process.write(big[5_000_000..].to_vec());
    process.close_input();
    let mut read = Vec::new();
    let until = Instant::now() + LONG;
    while read.len() < big.len() {
        process.wait_for_output(until);
        assert!(Instant::now() < until);
        let piece = process.read();
        assert!(piece.len() < 2 * Process::OUTPUT_BYTES_MAX, "{}", piece.len());
        read.extend(piece);
    }
    assert!(read == big);
    assert_eq!(process.wait(until).unwrap().how, How::Exited(0));
}

#[test]
fn what_is_said_without_end_costs_no_memory() {
    let before = memory();
    let text = "head -c 2000000000 /dev/zero | tr '\\0' x; \
                head -c 200000000 /dev/zero >&2; echo the end; echo bad >&2";
    let ended = run(&script(text));
    assert_eq!(ended.how, How::Exited(0));
    assert!(ended.output.is_cut() && ended.output.bytes().ends_with(b"xthe end\n"));
    assert!(ended.to_string().contains("[truncated]"), "{ended}");
    assert!(ended.errors.bytes().ends_with(b"\0bad\n"));
    let grown = memory().saturating_sub(before);
    assert!(grown < 200_000, "{grown} KiB");
}

/// In KiB; of all tests that run.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn one_that_is_not_listened_to_waits() {
    let text = "head -c 1000000 /dev/zero; echo $$ >&2";
    let process = start(&script(text), READS);
    // Nobody reads, so it cannot end: what waits is bounded.
    process.wait_for_output(Instant::now() + LONG);
    assert!(process.wait(Instant::now() + Duration::from_millis(200)).is_none());
    let until = Instant::now() + LONG;
    let mut read = 0;
    while process.wait(Instant::now()).is_none() && Instant::now() < until {
        process.wait_for_output(until);
        read += process.read().len();
    }
    read += process.read().len();
    assert_eq!(read, 1_000_000);
}

#[test]
fn what_is_there_from_the_beginning_is_read_to_its_end() {
    let input = b"0123456789abcde\n".repeat(500_000);
    let words = program(&["/usr/bin/wc", "-c"]);
    let process = Process::start_on(&words, Options::default(), &input).unwrap();
    let ended = process.wait(Instant::now() + LONG).unwrap();
    assert_eq!(ended.output.bytes(), b"8000000\n");
    // Whoever does not read it does no harm.
    let text = script("exec 0<&-; exit 3");
    let process = Process::start_on(&text, Options::default(), &input).unwrap();
    assert_eq!(process.wait(Instant::now() + LONG).unwrap().how, How::Exited(3));
}

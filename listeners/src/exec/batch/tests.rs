//! Programs that end with every code, and those that do not end.

use super::super::tests::{LONG, json, lines, numbered, read, script};
use super::*;
use crate::testing::{Feed, OwnedBatch};
use tempfile::TempDir;

const SETTINGS: Settings = Settings {
    entries_max: 10_000,
    bytes_max: 8 << 20,
    timeout: LONG,
    grace: Duration::from_millis(100),
    on_failure: OnFailure::Retry,
    patience: LONG,
};

fn batch(text: &str, directory: &TempDir, settings: Settings) -> Batch {
    Batch::new(script(text, directory.path()), Secrets::Redact, settings)
}

/// Hands some of the entries over, counted from the first.
fn listen(
    batch: &mut Batch,
    entries: &OwnedBatch,
    range: std::ops::Range<usize>,
) -> Result<(), ListenError> {
    let view = entries.view();
    let flags: Vec<bool> = (0..view.len()).map(|index| range.contains(&index)).collect();
    batch.listen(&View::some(view, &flags))
}

#[test]
fn entries_come_as_json_lines_to_as_many_processes_as_it_takes() {
    let directory = tempfile::tempdir().unwrap();
    let text = "cat > part; wc -l < part >> counts; cat part >> got";
    let ten = numbered(10);
    let settings = Settings { entries_max: 4, ..SETTINGS };
    let mut exec = batch(text, &directory, settings);
    ten.deliver(&mut exec).unwrap();
    assert_eq!(read(directory.path().join("got")), json(&ten));
    assert_eq!(read(directory.path().join("counts")), "4\n4\n2\n");
    // By bytes: each process gets one entry at least.
    std::fs::remove_file(directory.path().join("counts")).unwrap();
    let mut exec = batch(text, &directory, Settings { bytes_max: 1, ..SETTINGS });
    ten.deliver(&mut exec).unwrap();
    assert_eq!(read(directory.path().join("counts")), "1\n".repeat(10));
}

#[test]
fn codes_are_answers() {
    let directory = tempfile::tempdir().unwrap();
    let one = lines(&["one"]);
    let answer = |text: &str, on_failure| {
        let settings = Settings { on_failure, ..SETTINGS };
        match one.deliver(&mut batch(text, &directory, settings)) {
            Ok(()) => "taken".to_owned(),
            Err(ListenError::Retry(why)) => format!("retry: {why}"),
            Err(ListenError::Stop(why)) => format!("stop: {why}"),
            Err(ListenError::Rejected(Rejected { what, why })) => {
                assert_eq!(what, Culprit::OneOf);
                format!("rejected: {why}")
            }
            Err(error) => panic!("{error:?}"),
        }
    };
    use OnFailure::{Retry, SetAside, Stop};
    for (text, on_failure, wanted) in [
        ("cat > /dev/null", Stop, "taken"),
        ("exit 75", Stop, "retry: /bin/sh ended with code 75"),
        (
            "echo bad; exit 65",
            Retry,
            "rejected: /bin/sh ended with code 65; it said \"bad\"",
        ),
        ("exit 1", Retry, "retry: /bin/sh ended with code 1"),
        ("exit 1", SetAside, "rejected: "),
        ("exit 139", Stop, "stop: /bin/sh ended with code 139. It had 1 entry"),
        ("kill -SEGV $$", Retry, "retry: "),
        ("kill -SEGV $$", SetAside, "rejected: "),
        ("kill -ABRT $$", Stop, "stop: "),
        // That was somebody else.
        ("kill -TERM $$", Stop, "retry: "),
        ("kill -KILL $$", SetAside, "retry: "),
    ] {
        let answer = answer(text, on_failure);
        assert!(answer.starts_with(wanted), "{text}, {on_failure:?}: {answer}");
    }
}

#[test]
fn one_that_hangs_is_ended_and_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let timeout = Duration::from_millis(100);
    let settings = Settings { timeout, ..SETTINGS };
    let result = lines(&["x"]).deliver(&mut batch("sleep 1000", &directory, settings));
    let Err(ListenError::Retry(why)) = result else { panic!("{result:?}") };
    assert!(why.contains("had not ended after 100ms"), "{why}");
}

#[test]
fn what_is_not_there_is_tried_again_when_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("feed");
    let program = Program::new(&["./feed".to_owned()], directory.path()).unwrap();
    let settings = Settings { on_failure: OnFailure::Stop, ..SETTINGS };
    let mut exec = Batch::new(program, Secrets::Redact, settings);
    let one = lines(&["one"]);
    let Err(ListenError::Retry(why)) = one.deliver(&mut exec) else { panic!() };
    assert!(
        why.contains("/feed did not start: ") && why.contains("put it back"),
        "{why}"
    );
    std::os::unix::fs::symlink("/bin/cat", path).unwrap();
    one.deliver(&mut exec).unwrap();
}

/// It goes on between two calls, and is not started twice.
#[test]
fn one_that_takes_its_time_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let gate = directory.path().join("gate");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let settings = Settings { patience: Duration::from_millis(20), ..SETTINGS };
    let mut exec = batch("echo x >> starts; cat > got; cat gate", &directory, settings);
    let ten = numbered(10);
    let since = Instant::now();
    for _ in 0..5 {
        let Err(ListenError::Busy(why)) = ten.deliver(&mut exec) else { panic!() };
        assert_eq!(why, "/bin/sh is still at work on 10 entries");
    }
    assert!(since.elapsed() < LONG / 2);
    std::fs::write(&gate, "").unwrap();
    let until = Instant::now() + LONG;
    while ten.deliver(&mut exec).is_err() {
        assert!(Instant::now() < until);
    }
    assert_eq!(read(directory.path().join("starts")), "x\n");
    assert_eq!(read(directory.path().join("got")), json(&ten));
}

/// As a lane halves a batch: what one process took is not given to another.
#[test]
fn what_was_taken_of_a_batch_is_not_given_again() {
    let directory = tempfile::tempdir().unwrap();
    let text = "cat > part; grep -q 'line 6' part && exit 65; cat part >> got";
    let settings = Settings { entries_max: 4, ..SETTINGS };
    let mut exec = batch(text, &directory, settings);
    let ten = numbered(10);
    let is_rejected = |result| matches!(result, Err(ListenError::Rejected(_)));
    assert!(is_rejected(listen(&mut exec, &ten, 0..10)));
    listen(&mut exec, &ten, 0..5).unwrap();
    assert!(is_rejected(listen(&mut exec, &ten, 5..7)));
    listen(&mut exec, &ten, 5..6).unwrap();
    listen(&mut exec, &ten, 7..10).unwrap();
    let all = json(&ten);
    let wanted: String =
        all.split_inclusive('\n').filter(|line| !line.contains("line 6")).collect();
    assert_eq!(read(directory.path().join("got")), wanted);
    // When it all begins again, all of it is given again.
    exec.begin(&Feed::new("auth").begin(None)).unwrap();
    listen(&mut exec, &ten, 0..4).unwrap();
    assert_eq!(read(directory.path().join("got")).lines().count(), 13);
}

#[test]
fn a_gap_is_a_line_too() {
    let directory = tempfile::tempdir().unwrap();
    let feed = Feed::new("p4");
    let gap = feed.gap(None, Place::start_of(0, 1), Place::start_of(0, 3));
    let mut exec = batch("cat >> got; exit 65", &directory, SETTINGS);
    // There is nothing to set aside.
    exec.gap(&gap).unwrap();
    assert!(read(directory.path().join("got")).contains("\"id\":\"p4/3/0#gap\""));
    let mut exec = batch("exit 1", &directory, SETTINGS);
    assert!(matches!(exec.gap(&gap), Err(ListenError::Retry(_))));
}

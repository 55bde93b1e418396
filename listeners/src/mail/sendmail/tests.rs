use super::super::address::Address;
use super::super::message::Message;
use super::*;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn mail(to: &[&str]) -> Sealed {
    let message = Message {
        sender: Address::parse("tripline@example.com").unwrap(),
        to: to.iter().map(|to| Address::parse(to).unwrap()).collect(),
        subject: "$(touch pwned) `touch pwned`".to_owned(),
        text: "one\n.\n~! touch pwned\n".to_owned(),
        attachments: Vec::new(),
        headers: Vec::new(),
        id: "id".to_owned(),
        date: 0,
    };
    message.seal().unwrap()
}

/// A program that does this.
fn program(directory: &Path, script: &str) -> Sendmail {
    let path: PathBuf = directory.join("sendmail");
    let beside = directory.display();
    std::fs::write(&path, format!("#!/bin/sh\ncd {beside}\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let program = vec![path.display().to_string(), "-oi".to_owned()];
    Sendmail { program, timeout: Duration::from_secs(20) }
}

fn send(sendmail: &Sendmail, to: &[&str]) -> Report {
    sendmail.send(&mail(to), &Cancel::default())
}

#[test]
fn the_program_gets_words_and_a_mail() {
    let directory = tempfile::tempdir().unwrap();
    let script = "printf '%s\\n' \"$@\" > words; cat > mail; env > environment";
    let sendmail = program(directory.path(), script);
    let report = send(&sendmail, &["a@example.com", "`touch_pwned`$x@example.com"]);
    let Report::Answered(answers) = report else { panic!("{report:?}") };
    assert!(answers.iter().all(|(_, outcome)| *outcome == Outcome::Delivered));
    let read = |name| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(
        read("words"),
        "-oi\n-f\ntripline@example.com\n--\na@example.com\n`touch_pwned`$x@example.com\n"
    );
    let mail = read("mail");
    assert!(
        !mail.contains('\r') && mail.ends_with("\n\none\n.\n~! touch pwned\n"),
        "{mail}"
    );
    assert!(!directory.path().join("pwned").exists());
    let environment = read("environment");
    assert!(
        !environment.contains("CARGO") && !environment.contains("HOME="),
        "{environment}"
    );
}

#[test]
fn exit_codes_say_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    for (code, wanted) in [
        (0, "Answered([(\"a@example.com\", Delivered)])"),
        (75, "Failed"),
        (1, "Failed"),
        (69, "Failed"),
        (71, "Failed"),
        (65, "Answered([(\"a@example.com\", Refused"),
        (67, "Answered([(\"a@example.com\", Refused"),
        (68, "Answered([(\"a@example.com\", Refused"),
        (64, "Stop"),
        (77, "Stop"),
        (78, "Stop"),
    ] {
        let script = format!("echo 'why \u{1b}[2J' >&2; exit {code}");
        let report = format!(
            "{:?}",
            send(&program(directory.path(), &script), &["a@example.com"])
        );
        assert!(report.starts_with(wanted), "{code}: {report}");
        assert!(code == 0 || report.contains("why \\\\x1b[2J"), "{report}");
    }
    let killed = format!(
        "{:?}",
        send(&program(directory.path(), "kill -9 $$"), &["a@example.com"])
    );
    assert!(killed.starts_with("Failed") && killed.contains("signal 9"), "{killed}");
}

#[test]
fn one_that_is_refused_does_not_keep_the_others_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let script = "case \"$*\" in *b@*) exit 67;; esac; shift 4; echo \"$@\" >> taken";
    let sendmail = program(directory.path(), script);
    let report = send(&sendmail, &["a@example.com", "b@example.com", "c@example.com"]);
    let Report::Answered(answers) = report else { panic!("{report:?}") };
    let is_taken: Vec<bool> =
        answers.iter().map(|(_, outcome)| *outcome == Outcome::Delivered).collect();
    assert_eq!(is_taken, [true, false, true]);
    let taken = std::fs::read_to_string(directory.path().join("taken")).unwrap();
    assert_eq!(taken, "a@example.com\nc@example.com\n");
}

#[test]
fn a_program_that_does_not_end_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let stuck = program(directory.path(), "echo $$ > pid; sleep 1000 & sleep 1000");
    let stuck = Sendmail { timeout: Duration::from_millis(300), ..stuck };
    let report = format!("{:?}", send(&stuck, &["a@example.com"]));
    assert!(
        report.starts_with("Failed") && report.contains("longer than 300ms"),
        "{report}"
    );
    let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
    let is_gone = !Path::new("/proc").join(pid.trim()).join("exe").exists();
    assert!(is_gone, "{pid}");
    let noisy = program(directory.path(), "yes >&2");
    let report = format!("{:?}", send(&noisy, &["a@example.com"]));
    assert!(report.contains("does not stop talking"), "{report}");
    let cancel = Cancel::default();
    cancel.cancel();
    let stuck = Sendmail { timeout: Duration::from_secs(1000), ..stuck };
    assert!(matches!(stuck.send(&mail(&["a@example.com"]), &cancel), Report::Failed(_)));
}

#[test]
fn a_program_that_is_not_there_needs_a_person() {
    let nowhere = Sendmail {
        program: vec!["/nowhere/sendmail".to_owned()],
        timeout: Duration::from_secs(1),
    };
    assert!(nowhere.prepare().unwrap_err().contains("/nowhere/sendmail"));
    let report = format!("{:?}", send(&nowhere, &["a@example.com"]));
    assert!(
        report.starts_with("Stop") && report.contains("/nowhere/sendmail"),
        "{report}"
    );
}

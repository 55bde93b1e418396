//! Mails, to Postfix and to a server that puts off.

use crate::postfix::Postfix;
use crate::site::{
    HOSTILE, LONG, act, assert_nothing_was_run, hands, in_background, said, start, why,
};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tripline_act::Stop;
use tripline_rules::evaluate::{Job, Outcome, Start};

fn mail(via: &str, to: &[&str], subject: &str, body: &str) -> Start {
    let job = Job::Mail {
        to: to.iter().map(|&it| it.to_owned()).collect(),
        subject: subject.to_owned(),
        body: body.to_owned(),
        sender: Some("Trip <tripline@example.com>".to_owned()),
        via: Some(via.to_owned()),
    };
    start(1, job, LONG)
}

fn smtp(server: &str) -> String {
    format!("Smtp(server: \"{server}\", timeout: \"20s\")")
}

fn run(start: &Start) -> Outcome {
    act(&hands("/".as_ref()), start)
}

/// Hostile values, unknown recipients, a repetition after a crash.
#[test]
fn postfix_gets_what_was_meant_and_nothing_else() {
    let postfix = Postfix::start();
    let via = smtp(&postfix.server());
    for (number, text) in HOSTILE.iter().enumerate() {
        let body = format!("{text}\n.\n{text}");
        let mut start = mail(&via, &["ops@example.com"], text, &body);
        start.firing = format!("auth/0/{number}/{text}");
        start.rule = (*text).to_owned();
        // As after a crash.
        said(run(&start));
        said(run(&start));
    }
    let mails = postfix.mails("");
    assert_eq!(mails.len(), 2 * HOSTILE.len());
    for mail in &mails {
        assert_eq!(mail.header("X-Original-To"), "ops@example.com");
        let names: Vec<&str> =
            mail.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"Bcc"), "{names:?}");
        assert_eq!(names.iter().filter(|name| **name == "Subject").count(), 1);
        assert!(!mail.body.contains(['\x1b', '\u{202e}']), "{:?}", mail.body);
    }
    let distinct = postfix.distinct("", "ops");
    assert_eq!(distinct.len(), HOSTILE.len());
    assert!(distinct.iter().all(|(_, times)| *times == 2));

    let some = ["ann@example.com", "Nobody <nobody@example.com>"];
    let (_, stderr) = said(run(&mail(&via, &some, "some", "x")));
    assert!(stderr.contains("nobody@example.com (550"), "{stderr}");
    assert_eq!(postfix.mails("").iter().filter(|it| it.mailbox == "ann").count(), 1);
    let (exit, reason) = why(run(&mail(&via, &some[1..], "none", "x")));
    assert!(exit == 65 && reason.contains("not tried again"), "{reason}");
    assert_nothing_was_run();
}

#[test]
fn postfix_over_tls_by_its_certificate() {
    let postfix = Postfix::start();
    let via = |authority: &Path| {
        let server = postfix.server_by_name();
        format!("Smtp(server: \"{server}\", starttls: Required, ca_file: {authority:?})")
    };
    said(run(&mail(&via(&postfix.authority()), &["ops@example.com"], "tls", "x")));
    let mails = postfix.mails("");
    let received = mails[0].headers.iter().filter(|(name, _)| name == "Received");
    assert!(received.into_iter().any(|(_, it)| it.contains("TLSv1.3")), "{mails:?}");
    let (exit, reason) =
        why(run(&mail(&via(&postfix.conf()), &["ops@example.com"], "tls", "x")));
    assert!(exit == -1 && reason.contains("conf"), "{reason}");
}

/// What a server was told of one mail.
#[derive(Clone, Debug, Default)]
struct Taken {
    to: Vec<String>,
    id: String,
}

/// Refuses `never@`, puts `later@` off in its first connection, and takes the rest.
fn server() -> (SocketAddr, Arc<Mutex<Vec<Taken>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::<Mutex<Vec<Taken>>>::default();
    let kept = Arc::clone(&taken);
    let serve = move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(stream);
            let mut mail = Taken::default();
            let mut is_content = false;
            reader.get_mut().write_all(b"220 here\r\n").unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                let said = std::mem::take(&mut line);
                let answer = match said.trim_end() {
                    "." => {
                        is_content = false;
                        kept.lock().unwrap().push(std::mem::take(&mut mail));
                        "250 taken"
                    }
                    header if is_content => {
                        if let Some(id) = header.strip_prefix("Message-ID: ") {
                            mail.id = id.to_owned();
                        }
                        continue;
                    }
                    "DATA" => {
                        is_content = true;
                        "354 go on"
                    }
                    to if to.contains("<never@") => "550 no such user",
                    to if to.contains("<later@") && number == 0 => "450 try again",
                    to if to.starts_with("RCPT") => {
                        mail.to.push(to.to_owned());
                        "250 fine"
                    }
                    _ => "250 fine",
                };
                if reader.get_mut().write_all(format!("{answer}\r\n").as_bytes()).is_err()
                {
                    break;
                }
            }
        }
    };
    in_background(serve);
    (address, taken)
}

#[test]
fn another_attempt_is_for_those_who_were_put_off() {
    let (address, taken) = server();
    let to = ["ann@example.com", "later@example.com", "never@example.com"];
    let start = mail(&smtp(&format!("smtp://{address}")), &to, "x", "x");
    let hands = hands("/".as_ref());
    let (exit, reason) = why(act(&hands, &start));
    assert_eq!(exit, -1);
    let wanted =
        "the mail was put off for later@example.com (450 try again) (delivered to 1)";
    assert_eq!(reason, wanted);
    let (_, stderr) = said(act(&hands, &start));
    assert!(
        stderr.contains("delivered to 2, and refused for good for never@"),
        "{stderr}"
    );
    let taken = taken.lock().unwrap().clone();
    let [first, second] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(first.to, ["RCPT TO:<ann@example.com>"]);
    assert_eq!(second.to, ["RCPT TO:<later@example.com>"]);
    assert!(first.id == second.id && first.id.ends_with("@example.com>"), "{taken:?}");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let via = smtp(&format!("smtp://{}", silent.local_addr().unwrap()));
    let mut start = mail(&via, &["ops@example.com"], "x", "x");
    start.timeout = Duration::from_millis(300);
    let since = Instant::now();
    assert!(matches!(run(&start), Outcome::TimedOut { .. }));
    assert!(since.elapsed() < Duration::from_secs(10));
    start.timeout = LONG;
    let (hands, stop) = (hands("/".as_ref()), Stop::new());
    std::thread::scope(|scope| {
        let acts = scope.spawn(|| hands.act(&start, &stop));
        // The first is that of before.
        let _before = silent.accept().unwrap();
        let _connection = silent.accept().unwrap();
        stop.stop();
        assert_eq!(acts.join().unwrap(), None);
    });
}

#[test]
fn what_must_be_put_right_says_so() {
    let nowhere = "Sendmail(program: [\"/nowhere/sendmail\"])";
    let (exit, reason) = why(run(&mail(nowhere, &["ops@example.com"], "x", "x")));
    assert!(exit == -1 && reason.contains("/nowhere/sendmail"), "{reason}");
    assert!(!reason.contains("start again"), "{reason}");
    for to in [&[][..], &["ops@example.com\r\nRCPT TO:x@y"], &["-oQ/tmp@x"]] {
        let (exit, reason) = why(run(&mail("Sendmail()", to, "x", "x")));
        assert!(exit == 65 && !reason.contains(char::is_control), "{reason}");
    }
}

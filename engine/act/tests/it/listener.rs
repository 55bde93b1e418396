//! `Forward` and `Print`: what a listener of the registry does for an action.

use crate::site::{
    HOSTILE, LONG, act, context, hands, in_background, rules, said, start, try_rules,
    wait_until, why,
};
use crate::web::Web;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tripline_act::{Hands, Stop};
use tripline_rules::evaluate::{Job, Outcome, Start};

fn listener(listener: &'static str, arguments: &str, number: usize, line: &str) -> Start {
    let (arguments, line) = (arguments.to_owned(), line.to_owned());
    start(number, Job::Listener { listener, arguments, lines: vec![line] }, LONG)
}

fn forward(to: &str, number: usize, line: &str) -> Start {
    listener("Forward", &format!("to: \"{to}\", format: Lines"), number, line)
}

/// Keeps the lines that come over any connection, as long as the process lives.
fn receiver(at: &str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&lines);
    let serve = move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            in_background(move || {
                let mut reader = BufReader::new(stream);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                    let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                    kept.lock().unwrap().push(text);
                }
            });
        }
    };
    in_background(serve);
    (address, lines)
}

#[test]
fn a_line_arrives_as_one_whatever_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let (address, lines) = receiver("127.0.0.1:0");
    // One connection for all, so that their order is kept.
    let set = rules(&rule(&format!("Forward(to: \"tcp://{address}\", format: Lines)")));
    let hands = Hands::new(&set, &context(directory.path())).unwrap();
    for (number, line) in HOSTILE.iter().enumerate() {
        said(act(&hands, &forward(&format!("tcp://{address}"), number, line)));
    }
    assert!(wait_until(LONG, || lines.lock().unwrap().len() == HOSTILE.len()));
    let got = lines.lock().unwrap().clone();
    for (got, line) in got.iter().zip(HOSTILE) {
        assert_eq!(*got, format!("{}\n", line.replace(['\r', '\n'], " ")));
    }
}

#[test]
fn a_receiver_that_is_late_gets_it() {
    let directory = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut start = forward(&format!("tcp://{free}"), 1, "one");
    let hands = hands(directory.path());
    start.timeout = Duration::from_millis(200);
    let outcome = act(&hands, &start);
    let Outcome::TimedOut { stderr } = outcome else { panic!("{outcome:?}") };
    assert!(stderr.contains(&free.to_string()), "{stderr}");
    start.timeout = LONG;
    let lines = std::thread::scope(|scope| {
        let acts = scope.spawn(|| act(&hands, &start));
        let (_, lines) = receiver(&free.to_string());
        said(acts.join().unwrap());
        lines
    });
    assert!(wait_until(LONG, || *lines.lock().unwrap() == ["one\n"]));
}

#[test]
fn a_stop_ends_it_early() {
    let directory = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (hands, stop) = (hands(directory.path()), Stop::new());
    let starts = [1, 2].map(|number| forward(&format!("tcp://{free}"), number, "one"));
    std::thread::scope(|scope| {
        // One is at it, the other waits for that.
        let acts = starts.each_ref().map(|it| scope.spawn(|| hands.act(it, &stop)));
        let since = Instant::now();
        stop.stop();
        for act in acts {
            assert_eq!(act.join().unwrap(), None);
        }
        assert!(since.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn http_settles_by_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let web = Web::answering(&["503 Later", "200 OK", "422 No", "200 OK"]);
    let hands = hands(directory.path());
    let arguments = format!("to: \"{}\", format: Json", web.url("/in"));
    said(act(&hands, &listener("Forward", &arguments, 1, "one")));
    let (_, reason) = why(act(&hands, &listener("Forward", &arguments, 2, "two")));
    assert!(reason.contains("answered 422"), "{reason}");
    said(act(&hands, &listener("Forward", &arguments, 3, "three")));
    let got = web.got();
    assert_eq!(got.len(), 4);
    let line: serde_json::Value = serde_json::from_slice(&got[1].body).unwrap();
    assert_eq!(
        (line["source"].as_str(), line["text"].as_str()),
        (Some("rules"), Some("one"))
    );
    assert_eq!(got[0].header("idempotency-key"), got[1].header("idempotency-key"));
}

fn printed(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let parse = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        (word("id"), word("text"))
    };
    text.lines().map(parse).collect()
}

#[test]
fn a_line_is_printed_once_also_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let print = |number, line| listener("Print", "to: \"out.jsonl\"", number, line);
    for _ in 0..2 {
        // As after a crash.
        let hands = hands(directory.path());
        for (number, line) in HOSTILE.iter().enumerate() {
            said(act(&hands, &print(number, line)));
        }
    }
    let printed = printed(&directory.path().join("out.jsonl"));
    assert_eq!(printed.len(), HOSTILE.len());
    for ((_, text), line) in printed.iter().zip(HOSTILE) {
        assert_eq!(*text, line.replace(['\r', '\n'], " ").trim_end_matches('\r'));
    }
}

#[test]
fn many_at_once_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let set = rules(&rule("Print(to: \"out.jsonl\")"));
    let hands = Hands::new(&set, &context(directory.path())).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let hands = &hands;
            scope.spawn(move || {
                for number in 0..25 {
                    let number = thread * 25 + number;
                    let line = format!("line {number}");
                    let start = listener("Print", "to: \"out.jsonl\"", number, &line);
                    said(act(hands, &start));
                }
            });
        }
    });
    let printed = printed(&directory.path().join("out.jsonl"));
    let ids: std::collections::BTreeSet<_> = printed.iter().map(|it| &it.0).collect();
    let texts: std::collections::BTreeSet<_> = printed.iter().map(|it| &it.1).collect();
    assert_eq!((printed.len(), ids.len(), texts.len()), (200, 200, 200));
}

fn rule(action: &str) -> String {
    format!(r#"(rules: [(name: "r", on: Lines(), match: r"x", do: [{action}])])"#)
}

#[test]
fn what_a_listener_does_not_understand_is_found_before() {
    for (action, wanted) in [
        ("Forward(to: \"tcp://127.0.0.1:1\")", "format"),
        ("Forward(to: \"nowhere\", format: Lines)", "is no address"),
        (
            "Print(to: \"x\", tables: [\"db.rev\"])",
            "what an action hands to it is a line",
        ),
        ("Print(too: \"x\")", "too"),
    ] {
        let wrong = try_rules(&rule(action)).unwrap_err();
        assert!(wrong.contains(wanted), "{action}: {wrong}");
    }
    let directory = tempfile::tempdir().unwrap();
    for (actions, wanted) in [
        (r#"Forward(to: "tripline://127.0.0.1:1")"#, "another Tripline keeps"),
        (r#"Print(to: "x"), Print(to: "x", secrets: Keep)"#, "is written to by another"),
        (r#"Print(to: "x"), Print(to: "./x")"#, "is written to by another"),
    ] {
        let set = rules(&rule(actions));
        let wrong = Hands::new(&set, &context(directory.path())).err().unwrap();
        assert!(wrong.len() == 1 && wrong[0].contains(wanted), "{wrong:?}");
        assert!(wrong[0].starts_with("rules.ron:1: rule \"r\", "), "{wrong:?}");
        let problems = Hands::problems(&set, &context(directory.path()));
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.is_error && problem.to_string() == wrong[0], "{problem:?}");
    }
    let set = rules(&rule(r#"Print(to: "x"), Print(to: "x"), Print(to: "y")"#));
    let hands = Hands::new(&set, &context(directory.path())).unwrap();
    assert_eq!(hands.writes(), ["x", "y"].map(|name| directory.path().join(name)));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is touched");
}

#[test]
fn the_files_that_actions_write_to_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let set = rules(
        r#"(rules: [
            (name: "a", on: Lines(), do: [Print(to: "x"), Touch(dir: "/run", file: "a")],
             on_failure: [Print(to: "y")]),
            (name: "b", on: Lines(), match: r"(?P<f>\w+)",
             do: [Touch(dir: "/run", file: "{{ f }}"), Emit(kind: "x")],
             limit: (times: 1, per: "1m", then: [Print(to: "x")])),
        ])"#,
    );
    let written = Hands::written(&set, &context(directory.path()));
    let at = |name: &str| directory.path().join(name);
    let wanted = [at("x"), "/run/a".into(), at("y"), at("x")];
    let paths: Vec<_> = written.iter().map(|it| it.path.clone()).collect();
    assert_eq!(paths, wanted);
    let refused = written[2].refused("no".to_owned(), "another".to_owned());
    assert!(refused.is_error && refused.line == 3, "{refused:?}");
    assert_eq!((&*refused.rule, &*refused.message), ("a", "no"));
}

//! One entry in a thousand that a program will never take.

use super::place::{Mode, Place};

const LINES: usize = 1000;

fn lines() -> String {
    let line =
        |n: usize| if n == 500 { "poison\n".into() } else { format!("line {n}\n") };
    (0..LINES).map(line).collect()
}

/// All but one are delivered once, one is set aside, and the cursor passes it.
fn is_set_aside_alone(mode: Mode, arguments: &str, script: &str, why: &str) -> Place {
    let place = Place::new();
    place.program("feed", script);
    place.configure(mode, arguments);
    place.write(lines());
    let daemon = place.start();
    place.wait_until_settled();
    daemon.stop();
    let got = place.got();
    assert_eq!(got.len(), LINES - 1);
    assert!(got.values().all(|(line, count)| *count == 1 && !line.contains("poison")));
    let letters = place.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let (offset, content, said) = &letters[0];
    assert_eq!(*offset, lines().find("poison").unwrap() as u64);
    assert_eq!(content, b"poison\n");
    assert!(said.contains(why), "{said}");
    assert!(place.said().contains("feed: logs/0/"), "{}", place.said());
    assert!(place.said().contains("was set aside: "), "{}", place.said());
    place
}

#[test]
fn a_batch_is_halved() {
    let script = "echo run >> runs; cat > part; \
                  if grep -q poison part; then echo bad word; exit 65; fi; cat part >> got";
    let why = "ended with code 65; it said \"bad word\"";
    let place = is_set_aside_alone(Mode::Batch, "", script, why);
    let runs = place.read("runs").lines().count();
    assert!(runs < 2 + 12, "{runs} runs, of which one or two are not extra");
    // By a code that says nothing, when that is wanted.
    let script = script.replace("exit 65", "kill -SEGV $$");
    let arguments = "on_failure: SetAside, entries_max: 200";
    is_set_aside_alone(Mode::Batch, arguments, &script, "segmentation fault");
}

#[test]
fn an_answer_is_for_its_entry() {
    let script = "while IFS= read -r line; do case $line in \
                  *poison*) echo 'ERR bad word';; \
                  *) printf '%s\\n' \"$line\" >> got; echo OK;; esac; done";
    let place =
        is_set_aside_alone(Mode::Acknowledged, "", script, "answered ERR: \"bad word\"");
    // What is refused once more stays.
    let retry = &["dead", "retry", "--all", "--patience", "20s"];
    let retried = place.command(retry).status().unwrap();
    assert!(!retried.success() && place.said().contains("refused again"));
    assert_eq!(place.letters().len(), 1, "{}", place.said());
    is_set_aside_alone(Mode::Acknowledged, "window: 1", script, "bad word");
}

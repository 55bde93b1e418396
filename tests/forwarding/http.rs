//! What is posted: settled by an answer, found out and set aside when it is
//! refused.

use super::field::{Field, LONG};
use super::web::Web;
use crate::site::wait_until;

fn field(web: &Web, format: &str) -> Field {
    Field::new(&format!("to: \"http://{}/in\", format: {format}", web.address))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("line {n:06}")).collect()
}

#[test]
fn everything_arrives_once_through_answers_that_do_not_come() {
    // Some are refused for now, some answers are lost on the way.
    let web = Web::start(Box::new(|number, _| match number % 4 {
        1 => None,
        2 => Some("503 Later"),
        _ => Some("200 OK"),
    }));
    let field = field(&web, "Lines");
    let daemon = field.start();
    for round in 0..5 {
        field.append_numbered(round * 100..round * 100 + 100);
        let wanted = (round + 1) * 100;
        let came = wait_until(LONG, || web.got().lines.len() >= wanted);
        assert!(came, "{}", field.said());
        field.wait_until_settled();
    }
    daemon.stop();
    assert!(web.got().lines == numbered(500), "every line once and in order");
    let requests = web.got().requests;
    assert!(requests > 7, "{requests} requests");
}

/// One of a thousand is refused for good: it is found and set aside, and the
/// others arrive.
#[test]
fn one_that_is_refused_is_set_aside() {
    let web = Web::start(Box::new(|_, body| {
        Some(if body.contains("line 000500") { "422 No" } else { "200 OK" })
    }));
    let field = field(&web, "Json");
    field.append_numbered(0..1000);
    field.catch_up();
    let got = web.got();
    assert_eq!(got.lines.len(), 999);
    assert!(!got.lines.iter().any(|line| line.contains("line 000500")));
    assert!(got.requests <= 12, "{} requests", got.requests);
    assert_eq!(field.behind("out"), Some(0));
    let letters = field.dead();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let why = letters[0]["why"].as_str().unwrap();
    assert!(why.contains("answered 422"), "{why}");
    assert!(letters[0]["id"].as_str().unwrap().contains("/0/6000"), "{letters:?}");
}

/// A receiver that lets nobody in is no reason to give entries up.
#[test]
fn a_closed_door_sets_nothing_aside() {
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "302 Found"] {
        let web = Web::start(Box::new(move |number, _| {
            Some(if number < 2 { status } else { "200 OK" })
        }));
        let field = field(&web, "Lines");
        field.append_numbered(0..10);
        let daemon = field.start();
        field.wait_until_said(&format!("answered {}", &status[..3]));
        field.wait_until_settled();
        daemon.stop();
        assert!(field.dead().is_empty());
        assert!(web.got().lines == numbered(10));
    }
}

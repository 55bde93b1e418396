//! Receivers that go, come back, stop and start again: nothing is lost that was
//! not already with them.

use super::field::{Field, LONG};
use super::syslogd::{BOTH, Kind, Message, Syslogd};
use crate::site::wait_until;
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;

/// Each number from 0 came, for the first time in order; returns how many came
/// again.
#[track_caller]
pub(crate) fn assert_complete(
    messages: &[Message],
    count: usize,
    context: &str,
) -> usize {
    let mut next = 0;
    let mut again = 0;
    for message in messages {
        let number = message.text.split(' ').nth(1).unwrap_or_default();
        let number: usize = number.parse().unwrap_or_else(|_| panic!("{message:?}"));
        assert!(number <= next, "{context}: {next} is missing before {number}");
        if number == next { next += 1 } else { again += 1 }
    }
    assert_eq!(next, count, "{context}: not all came");
    again
}

#[test]
fn one_that_goes_between_batches_and_comes_back_has_everything_once() {
    for kind in BOTH {
        let mut syslogd = Syslogd::start(kind);
        let ports = syslogd.ports;
        let ways = [("lf", ports.lf, "Lf"), ("octets", ports.octets, "Octets")];
        let fields = ways.map(|(app, port, framing)| {
            Field::new(&format!(
                "to: \"tcp://127.0.0.1:{port}\", framing: {framing}, \
                 format: Rfc5424(app_name: \"{app}\")"
            ))
        });
        let daemons = [fields[0].start(), fields[1].start()];
        for round in 0..3 {
            let wanted = (round + 1) * 100;
            for field in &fields {
                field.append_numbered(round * 100..wanted);
            }
            if round > 0 {
                for field in &fields {
                    field.wait_until_said("cannot connect to tcp://127.0.0.1");
                }
                syslogd.go_on();
            }
            for (app, ..) in ways {
                let messages = syslogd.wait_for(app, wanted);
                let context = format!("{kind:?} {app}, round {round}");
                assert_eq!(assert_complete(&messages, wanted, &context), 0, "{context}");
            }
            syslogd.stop();
        }
        daemons.into_iter().for_each(crate::site::Daemon::stop);
    }
}

/// Stopped in the middle: what it has is more than its buffers hold.
#[test]
fn one_that_stops_reading_is_given_up_and_gets_everything_later() {
    let count = 20_000;
    let padding = "x".repeat(1200);
    let lines: String = (1..count).map(|n| format!("line {n:06} {padding}\n")).collect();
    let syslogd = Syslogd::start(Kind::Rsyslog);
    let field = Field::new(&format!(
        "to: \"tcp://127.0.0.1:{}\", framing: Octets, acknowledge_timeout: \"1s\", \
         format: Rfc5424(app_name: \"stopped\")",
        syslogd.ports.octets
    ));
    field.append_numbered(0..1);
    let daemon = field.start();
    syslogd.wait_for("stopped", 1);
    syslogd.signal(Signal::STOP);
    field.append(lines.as_bytes());
    field.wait_until_said("has not taken anything for 1s");
    syslogd.signal(Signal::CONT);
    syslogd.wait_until_written(&format!("line {:06} ", count - 1));
    daemon.stop();
    let messages = syslogd.messages("stopped");
    let again = assert_complete(&messages, count, "stopped");
    assert!(again <= 2 * count, "{again} came again");
}

/// The one that takes nothing does not hold up the other.
#[test]
fn a_slow_receiver_delays_nobody_else() {
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let fast = TcpListener::bind("127.0.0.1:0").unwrap();
    let field = Field::new("to: \"tcp://127.0.0.1:1\", format: Lines");
    let to = |listener: &TcpListener| {
        let address = listener.local_addr().unwrap();
        format!("Forward(from: [\"app\"], to: \"tcp://{address}\", format: Json)")
    };
    field.configure_with(&format!("\"slow\": {}, \"fast\": {}", to(&slow), to(&fast)));
    // They are called when there is something.
    field.append_numbered(0..1);
    let daemon = field.start();
    let (_held, _) = slow.accept().unwrap();
    let (stream, _) = fast.accept().unwrap();
    field.append_numbered(1..200_000);
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut count = 0;
    for line in BufReader::new(stream).lines() {
        assert!(line.unwrap().contains(&format!("line {count:06}")));
        count += 1;
        if count == 200_000 {
            break;
        }
    }
    assert_eq!(count, 200_000);
    let is_it = || field.behind("fast") == Some(0) && field.behind("slow") > Some(0);
    assert!(wait_until(LONG, is_it), "{:?}", field.places());
    daemon.kill();
}

#[test]
fn a_datagram_that_is_refused_was_not_sent() {
    for kind in BOTH {
        let mut syslogd = Syslogd::start(kind);
        let field = Field::new(&format!(
            "to: \"udp://127.0.0.1:{}\", format: Rfc5424(app_name: \"udp\")",
            syslogd.ports.udp
        ));
        let daemon = field.start();
        for round in 0..3 {
            let wanted = (round + 1) * 50;
            field.append_numbered(round * 50..wanted);
            if round > 0 {
                field.wait_until_said("nobody listens at udp://127.0.0.1");
                syslogd.go_on();
            }
            let messages = syslogd.wait_for("udp", wanted);
            let context = format!("{kind:?}, round {round}");
            assert_eq!(assert_complete(&messages, wanted, &context), 0, "{context}");
            // What is not settled would come again.
            field.wait_until_settled();
            syslogd.stop();
        }
        daemon.stop();
    }
}

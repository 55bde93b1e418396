//! A receiver comes back after a while, and a hundred want to call it.

use super::field::{Field, LONG};
use crate::logs::receiver::{bound, listening};
use crate::site::wait_until;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

const CALLERS: usize = 100;
/// So long nobody listens: the pauses of the callers have grown by then.
const AWAY: Duration = Duration::from_secs(3);
/// How many calls may come within ten milliseconds. They are spread over seconds,
/// so there is less than one on average.
const TOGETHER_MAX: usize = 12;

/// They do not come back at once, and each delivers everything in order, once.
#[test]
fn a_hundred_come_back_one_by_one() {
    let reserved = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let address = rustix::net::getsockname(&reserved).unwrap();
    let address = SocketAddr::try_from(address).unwrap();
    let field = Field::new("to: \"tcp://127.0.0.1:1\", format: Lines");
    let forward = |number: usize| {
        format!(
            "\"to-{number}\": Forward(from: [\"app\"], to: \"tcp://{address}\", \
             format: Json),"
        )
    };
    let listeners: String = (0..CALLERS).map(forward).collect();
    field.configure_with(&listeners);
    field.append_numbered(0..50);
    let daemon = field.start();
    let began = Instant::now();
    while began.elapsed() < AWAY {
        field.wait_until_said("trying again");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    field.append_numbered(50..100);
    let calls = take_all(&listening(address));
    let together = |from: &Instant| {
        let until = *from + Duration::from_millis(10);
        calls.iter().filter(|call| (*from..until).contains(*call)).count()
    };
    let most = calls.iter().map(together).max().unwrap();
    assert!(most <= TOGETHER_MAX, "{most} called within 10 ms");
    let is_settled = |number| field.behind(&format!("to-{number}")) == Some(0);
    assert!(wait_until(LONG, || (0..CALLERS).all(is_settled)));
    daemon.stop();
}

/// Takes what all of them deliver; returns when each of them called.
fn take_all(listener: &TcpListener) -> Vec<Instant> {
    let mut calls = Vec::new();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for _ in 0..CALLERS {
            let (stream, _) = listener.accept().unwrap();
            calls.push(Instant::now());
            stream.set_read_timeout(Some(LONG)).unwrap();
            threads.push(scope.spawn(move || {
                for (number, line) in BufReader::new(stream).lines().take(100).enumerate()
                {
                    let line = line.unwrap();
                    assert!(line.contains(&format!("line {number:06}")), "{line}");
                }
            }));
        }
    });
    calls
}

//! A network that takes everything and delivers nothing: the receiver is still
//! there, and hears no more.

use super::field::{Field, LONG};
use super::syslogd::program;
use crate::site::{Daemon, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

/// A network of its own, with nothing in it but a loopback.
pub(crate) struct Network(Daemon);

impl Network {
    /// `None`, said aloud, where this is not allowed.
    pub(crate) fn new() -> Option<Self> {
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        let mut command = Command::new(program("unshare", "util-linux"));
        command.args(["--net", "sleep", "1000"]);
        let network = Self(Daemon::spawn(&mut command));
        let is_other =
            || fs::read_link(network.path()).is_ok_and(|theirs| theirs != ours);
        if !wait_until(Duration::from_secs(5), is_other) {
            eprintln!("skipped: a network of its own needs an administrator");
            return None;
        }
        network.link("up");
        Some(network)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.pid())
    }

    /// What runs in it.
    pub(crate) fn enter(&self) -> Command {
        let mut command = Command::new(program("nsenter", "util-linux"));
        command.arg(format!("--net={}", self.path()));
        command
    }

    pub(crate) fn link(&self, state: &str) {
        let mut command = self.enter();
        command.arg(program("ip", "iproute2")).args(["link", "set", "lo", state]);
        assert!(command.status().unwrap().success(), "lo is not {state}");
    }

    fn listen(&self) -> TcpListener {
        let network = File::open(self.path()).unwrap();
        let bind = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).unwrap();
            TcpListener::bind("127.0.0.1:0").unwrap()
        };
        let thread = std::thread::Builder::new().name("bind".into()).spawn(bind);
        thread.unwrap().join().unwrap()
    }
}

#[test]
fn a_receiver_that_hears_no_more_is_given_up_and_loses_nothing() {
    let Some(network) = Network::new() else { return };
    let listener = network.listen();
    let field = Field::new(&format!(
        "to: \"tcp://{}\", acknowledge_timeout: \"2s\", format: Rfc5424()",
        listener.local_addr().unwrap()
    ));
    field.append_numbered(0..100);
    let daemon = field.start_by(network.enter());
    let mut lines = Vec::new();
    let mut receive = |until: usize| {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let last = format!("line {:06}", until - 1);
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let line = line.unwrap();
            let is_last = line.ends_with(&last);
            lines.push(line);
            if is_last {
                break;
            }
        }
        stream
    };
    let held = receive(100);
    field.wait_until_settled();
    network.link("down");
    let since = Instant::now();
    field.append_numbered(100..200);
    let is_noticed = || {
        let said = field.said();
        said.contains("has not taken anything for 2s") || said.contains("broke")
    };
    assert!(wait_until(Duration::from_secs(30), is_noticed), "{}", field.said());
    assert!(since.elapsed() < Duration::from_secs(30));
    assert_ne!(field.behind("out"), Some(0), "nothing of it is settled");
    network.link("up");
    let again = receive(200);
    field.wait_until_settled();
    daemon.stop();
    drop((held, again));
    let numbers: Vec<&str> = lines.iter().map(|line| &line[line.len() - 6..]).collect();
    let wanted: Vec<String> = (0..200).map(|number| format!("{number:06}")).collect();
    assert_eq!(numbers, wanted, "every line once and in order");
}

//! Servers that exist only here: slow, wrong, hostile.

use super::packet::{Attributes, PACKET_BYTES_MAX, VERSION};
use super::*;
use crate::ssh::transport::{Exit, Pipe};
use crate::ssh::{Address, Captured};
use std::collections::VecDeque;

/// What a server says to a packet (without its length), as packets without
/// their lengths.
type Answers = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

struct Script {
    answers: Option<Answers>,
    heard: Vec<u8>,
    says: VecDeque<u8>,
}

struct Scripted(Option<Script>);

impl Transport for Scripted {
    fn begin(&mut self, service: &Service) -> Result<Box<dyn Pipe>, Failure> {
        assert_eq!(*service, Service::Sftp);
        Ok(Box::new(self.0.take().unwrap()))
    }
}

impl Pipe for Script {
    fn connect(&mut self, _: Instant) -> Result<bool, Failure> {
        Ok(true)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(answers) = &mut self.answers else { return Ok(0) };
        let taken = bytes.len().min(1000);
        self.heard.extend(&bytes[..taken]);
        while let Some((length, rest)) = self.heard.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(packet) = rest.get(..length) else { break };
            for answer in answers(packet) {
                self.says.extend((answer.len() as u32).to_be_bytes());
                self.says.extend(answer);
            }
            self.heard.drain(..4 + length);
        }
        Ok(taken)
    }

    fn end_input(&mut self) -> Result<bool, Failure> {
        Ok(true)
    }

    /// Never much at once.
    fn read(&mut self, into: &mut [u8]) -> Result<Heard, Failure> {
        let count = into.len().min(self.says.len()).min(37);
        for (place, byte) in into.iter_mut().zip(self.says.drain(..count)) {
            *place = byte;
        }
        Ok(if count == 0 { Heard::Nothing } else { Heard::Bytes(count) })
    }

    fn wait(&mut self, _: bool, _: Instant) -> Result<(), Failure> {
        Ok(())
    }

    fn exit(&mut self) -> Result<Exit, Failure> {
        Ok(Exit::Unknown)
    }

    fn errors(&self) -> &Captured {
        panic!("nobody asks")
    }

    fn ended(&mut self) -> Failure {
        Failure::new(Kind::Broken, "it ended")
    }
}

fn begin(answers: Option<Answers>) -> Sftp {
    let address = Address::try_from("ssh://me@host/x".to_owned()).unwrap();
    let mut settings = Settings::new(address);
    settings.answer_timeout = Duration::from_millis(50);
    settings.connect_timeout = Duration::from_millis(50);
    let script = Script { answers, heard: Vec::new(), says: VecDeque::new() };
    Sftp::begin(&mut Scripted(Some(script)), &settings).unwrap()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// A server that greets, and answers everything else like this.
fn server(mut answers: impl FnMut(u8, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Sftp {
    let mut sftp = begin(Some(Box::new(move |packet| match packet[0] {
        1 => vec![version(VERSION, &[])],
        kind => answers(kind, &packet[1..5]),
    })));
    assert!(sftp.connect(later()).unwrap());
    sftp
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u32).to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

fn version(number: u32, extensions: &[&str]) -> Vec<u8> {
    let mut all = vec![2];
    all.extend(number.to_be_bytes());
    for text in extensions {
        all.extend(string(text.as_bytes()));
    }
    all
}

fn status(id: &[u8], code: u8) -> Vec<u8> {
    [&[101], id, &[0, 0, 0, code][..], &string(b"words"), &string(b"")].concat()
}

fn handle(id: &[u8], handle: &[u8]) -> Vec<u8> {
    [&[102], id, &string(handle)[..]].concat()
}

fn open(sftp: &mut Sftp) -> FileId {
    let ticket = sftp.open("file", Open::WRITE);
    sftp.wait(&ticket, later()).unwrap().unwrap()
}

#[test]
fn a_server_without_extensions_is_told_from_others() {
    let sftp = server(|_, _| Vec::new());
    let failure = sftp.needs(&[Extension::Fsync]).unwrap_err();
    assert_eq!(failure.kind(), Kind::Lacks);
    assert!(failure.to_string().contains("fsync@openssh.com"), "{failure}");
    let mut sftp = begin(Some(Box::new(|_| vec![version(6, &[])])));
    let failure = sftp.connect(later()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Lacks, "{failure}");
}

#[test]
fn limits_are_kept() {
    let limits = |fields: [u64; 4]| {
        let mut sftp = begin(Some(Box::new(move |packet| match packet[0] {
            1 => vec![version(VERSION, &["limits@openssh.com", "1"])],
            200 => {
                let fields: Vec<u8> =
                    fields.iter().flat_map(|field| field.to_be_bytes()).collect();
                vec![[&[201], &packet[1..5], &fields[..]].concat()]
            }
            3 => vec![handle(&packet[1..5], b"h")],
            6 => {
                assert!(packet.len() < 50_100, "{}", packet.len());
                vec![status(&packet[1..5], 0)]
            }
            _ => Vec::new(),
        })));
        assert!(sftp.connect(later()).unwrap());
        let file = open(&mut sftp);
        let bytes = [b'x'; 300_000];
        let mut taken = 0;
        while sftp.acknowledged(file) < 300_000 {
            taken += sftp.push(file, taken as u64, &bytes[taken..], later()).unwrap();
            sftp.turn(later()).unwrap();
        }
    };
    limits([0, 0, 50_000, 0]);
    limits([50_000, 1_000_000, 1_000_000, 1]);
    limits([1, 1, 1, 1]);
}

#[test]
fn writes_count_in_order_whatever_order_the_answers_have() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let mut sftp = server(move |kind, id| match kind {
        3 => vec![handle(id, b"h")],
        6 => {
            held.insert(0, id.to_vec());
            if held.len() < 3 {
                return Vec::new();
            }
            held.drain(..).map(|id| status(&id, 0)).collect()
        }
        _ => vec![status(id, 0)],
    });
    let file = open(&mut sftp);
    assert_eq!(sftp.push(file, 100, b"one", later()).unwrap(), 3);
    assert_eq!(sftp.push(file, 103, b"two", later()).unwrap(), 3);
    // It is answered before the writes, which it shall not be.
    let ticket = sftp.sync(file);
    assert!(sftp.wait(&ticket, Instant::now()).unwrap().is_none());
    assert_eq!((sftp.acknowledged(file), sftp.synced(file)), (0, 0));
    assert_eq!(sftp.push(file, 106, b"three", later()).unwrap(), 5);
    sftp.wait(&ticket, later()).unwrap().unwrap();
    assert_eq!(sftp.synced(file), 106);
    assert_eq!(sftp.acknowledged(file), 111);
}

#[test]
fn what_is_no_answer_ends_the_connection() {
    let huge = (PACKET_BYTES_MAX as u32 + 1).to_be_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("unknown type", vec![99, 0, 0, 0, 0]),
        ("nothing asked", status(&[9, 9, 9, 9], 0)),
        ("another kind", handle(&[0; 4], b"h")),
        ("a data", [&[103, 0, 0, 0, 0], &string(b"x")[..]].concat()),
        ("too short", vec![101, 0, 0, 0]),
        ("too long", [&[103, 0, 0, 0, 0], &string(b"x")[..], b"y"].concat()),
        ("a length without bytes", [&[104, 0, 0, 0, 0][..], &huge].concat()),
        ("a second version", version(VERSION, &[])),
        ("yes without attributes", status(&[0; 4], 0)),
    ];
    for (what, answer) in cases {
        let mut sftp = server(move |_, _| vec![answer.clone()]);
        let ticket = sftp.stat("file");
        let failure = sftp.wait(&ticket, later()).unwrap_err();
        assert_eq!(failure.kind(), Kind::Garbled, "{what}: {failure}");
        assert_eq!(sftp.turn(later()).unwrap_err().kind(), Kind::Garbled, "{what}");
    }
    // Text in the place of the first length.
    let mut sftp = begin(Some(Box::new(|_| vec![vec![0; PACKET_BYTES_MAX + 1]])));
    let failure = sftp.connect(later()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Garbled, "{failure}");
}

#[test]
fn names_that_are_none_end_the_connection() {
    for name in [&b"a/b"[..], b"", b"a\0"] {
        let mut sftp = server(move |kind, id| match kind {
            11 => vec![handle(id, b"h")],
            _ => {
                let fields = [&[0, 0, 0, 1], &string(name)[..], &string(b"")[..]];
                vec![[&[104], id, &fields.concat()[..], &[0; 4]].concat()]
            }
        });
        let ticket = sftp.list("directory");
        let failure = sftp.wait(&ticket, later()).unwrap_err();
        assert_eq!(failure.kind(), Kind::Garbled, "{failure}");
    }
}

#[test]
fn short_reads_are_completed() {
    let mut sftp = server(|kind, id| match kind {
        3 => vec![handle(id, b"h")],
        _ => vec![[&[103], id, &string(b"ab")[..]].concat()],
    });
    let file = open(&mut sftp);
    let mut reading = sftp.read(file, 0..7);
    let mut all = Vec::new();
    loop {
        match sftp.take(&mut reading, later()) {
            Ok(Taken::Bytes(bytes)) => all.extend(bytes),
            Ok(Taken::NotYet) => {}
            Ok(Taken::End) => panic!("it has no end"),
            Err(failure) => {
                // The last byte was asked for alone, and two came.
                assert_eq!(failure.kind(), Kind::Garbled, "{failure}");
                break;
            }
        }
    }
    assert_eq!((all.as_slice(), reading.at()), (&b"ababab"[..], 6));
}

#[test]
fn silence_has_an_end() {
    let mut sftp = begin(None);
    let failure = loop {
        if let Err(failure) = sftp.connect(Instant::now()) {
            break failure;
        }
    };
    assert_eq!(failure.kind(), Kind::Unreachable, "{failure}");
    let mut sftp = server(|_, _| Vec::new());
    let ticket = sftp.stat("file");
    let failure = sftp.wait(&ticket, later()).unwrap_err();
    assert_eq!(failure.kind(), Kind::Stalled, "{failure}");
}

#[test]
fn there_are_bounds() {
    let mut sftp = server(|kind, id| match kind {
        3 => vec![handle(id, b"h")],
        _ => Vec::new(),
    });
    for _ in 0..64 {
        open(&mut sftp);
    }
    let ticket = sftp.open("file", Open::WRITE);
    let failure = sftp.wait(&ticket, later()).unwrap_err();
    assert!(failure.to_string().contains("64 are open"), "{failure}");
    let tickets: Vec<Ticket<Attributes>> = (0..1030).map(|_| sftp.stat("x")).collect();
    assert!(tickets[1023].take().is_none());
    let failure = sftp.wait(&tickets[1024], later()).unwrap_err();
    assert!(failure.to_string().contains("1024 requests"), "{failure}");
    let file = FileId(0);
    assert_eq!(sftp.push(file, 0, b"x", Instant::now()).unwrap(), 0);
}

#[test]
fn a_file_nobody_wants_any_more_is_closed() {
    let mut sftp = server(|kind, id| match kind {
        3 => vec![handle(id, b"h")],
        _ => vec![status(id, 0)],
    });
    drop(sftp.open("file", Open::WRITE));
    while !sftp.is_idle() {
        sftp.turn(later()).unwrap();
    }
    assert_eq!(sftp.state.file_count(), 0);
}

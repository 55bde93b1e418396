//! Changes to try stores with.

use std::path::Path;
use tripline_api::{
    Change, Content, Cursor, Gap, GapKind, Kept, Key, Letter, ListenerId, Place, Proof,
    SourceId, State,
};

/// A key of two valid names.
///
/// # Panics
///
/// When one is not valid.
pub fn key(source: &str, listener: &str) -> Key {
    Key {
        source: SourceId::new(source).expect("a valid name"),
        listener: ListenerId::new(listener).expect("a valid name"),
        log: None,
    }
}

/// The key of a log.
///
/// # Panics
///
/// When a name is not valid.
pub fn log(source: &str, listener: &str, path: impl AsRef<Path>) -> Key {
    Key { log: Some(path.as_ref().into()), ..key(source, listener) }
}

/// A cursor with a proof, in the file with this sequence number.
pub fn cursor(sequence: u64) -> Cursor {
    let text = format!("@vv@ 1 @db.counters@ @journal@ @{sequence}@\n");
    Cursor {
        place: Place { era: 0, sequence, offset: 1000, line: 10 },
        proof: Some(Proof::new((2049, 77), text.as_bytes(), b"@ex@ 1 2\n")),
        next: sequence.is_multiple_of(2).then(|| sequence.wrapping_add(1)),
    }
}

/// A gap of the key's source that leads to this sequence number, of a kind
/// and with fields that depend on the number.
pub fn gap(key: &Key, number: u64) -> Gap {
    use GapKind::{
        Damaged, Deleted, Missing, Replaced, Restored, Truncated, Unterminated,
    };
    let kinds = [Missing, Replaced, Restored, Unterminated, Truncated, Deleted, Damaged];
    Gap {
        source: key.source.clone(),
        log: key.log.clone(),
        kind: kinds[number as usize % kinds.len()],
        from: Place { era: 0, sequence: number / 2, offset: 17, line: 1 },
        to: Place { era: 1, sequence: number, offset: 0, line: 0 },
        proof: None,
        missing: number.is_multiple_of(3).then_some((number / 2 + 1, number)),
        bytes: number.is_multiple_of(5).then_some(number * 100),
        why: format!("journal.{number} is not to be found"),
        repair: "bring it back".into(),
    }
}

/// A letter of an entry whose place depends on the number.
pub fn letter(key: &Key, number: u64) -> Letter {
    let bytes = vec![0, 0xff, b'\n', number as u8];
    Letter {
        key: key.clone(),
        place: Place { era: number, sequence: number / 2, offset: number, line: 3 },
        entries: 1 + number % 1000,
        content: match number % 2 {
            0 => Content::Entry(bytes),
            _ => Content::Made(bytes),
        },
        why: format!("550 {number}: no such user"),
        attempts: 1 + (number % 7) as u32,
    }
}

/// One change of each kind, to three listeners, one of them on a log.
pub fn changes() -> Vec<Change> {
    let backup = key("p4", "backup");
    let mail = key("p4", "mail");
    let other = key("log", "mail");
    vec![
        Change::Settled {
            key: backup.clone(),
            cursor: cursor(1),
            entries: 3,
            last_entry: Some(1_700_000_000),
        },
        Change::State { key: backup, state: State::Following, why: None },
        Change::Gap { key: mail.clone(), gap: gap(&mail, 4) },
        Change::SetByHand { key: other, cursor: Cursor::unproved(Place::default()) },
        Change::Settled {
            key: log("log", "mail", "/var/log/auth.log"),
            cursor: cursor(2),
            entries: 1,
            last_entry: None,
        },
        Change::Forget { key: log("log", "mail", "/var/log/old.log") },
        Change::SetAside(letter(&mail, 4)),
        Change::Unfile { key: mail.clone(), number: 77 },
        Change::Keep { listener: mail.listener, kept: kept(3) },
    ]
}

/// The listeners of the changes here.
pub const LISTENERS: [&str; 3] = ["backup", "mail", "ci"];

/// Two things to remember or to forget, which depend on the number.
pub fn kept(number: u64) -> Vec<Kept> {
    let value = |is_there: bool| is_there.then(|| number.to_le_bytes().to_vec());
    let even = number.is_multiple_of(2);
    vec![
        Kept { name: format!("a/{}", number % 5), value: value(!even) },
        Kept { name: format!("b/{}", number % 3), value: value(even) },
    ]
}

/// Commits that look random and are the same each time.
pub fn walk(commits: usize) -> impl Iterator<Item = Vec<Change>> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..commits).map(move |_| {
        let changes = random.below(4);
        (0..changes).map(|_| random.change()).collect()
    })
}

/// A small generator (xorshift), good enough to choose test cases.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn change(&mut self) -> Change {
        let mut key =
            key(["p4", "log"][self.below(2) as usize], LISTENERS[self.below(3) as usize]);
        let path =
            ["/var/log/a", "/var/log/a.b", "/var/log/a/b"].get(self.below(4) as usize);
        key.log = path.map(|path| Path::new(path).into());
        let number = self.below(50);
        match self.below(9) {
            7 => Change::Keep { listener: key.listener, kept: kept(number) },
            4 => Change::Forget { key },
            5 => Change::SetAside(letter(&key, number % 8)),
            6 => Change::Unfile { key, number: number + 1 },
            0 => Change::Gap { gap: gap(&key, number), key },
            1 => Change::SetByHand { key, cursor: cursor(number) },
            2 => Change::State {
                key,
                state: [State::Following, State::Stopped][self.below(2) as usize],
                why: number.is_multiple_of(2).then(|| format!("reason {number}")),
            },
            _ => Change::Settled {
                key,
                cursor: cursor(number),
                entries: self.below(1000),
                last_entry: number.is_multiple_of(3).then_some(number as i64 - 20),
            },
        }
    }
}

//! The first bytes of a connection, before any encryption: who calls, and how it
//! will prove it.

use crate::wire::{NAME_BYTES_MAX, is_name};

/// What each connection begins with.
const MAGIC: &[u8; 8] = b"TRIPLINE";
/// What is before the name: the last byte is its length.
pub const FIXED_BYTES: usize = MAGIC.len() + 2;
/// The longest greeting, in bytes.
pub const BYTES_MAX: usize = MAGIC.len() + 2 + NAME_BYTES_MAX;

/// How a sender proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not at all: on this machine only.
    None,
    /// By a key that both have, over TLS.
    Key,
    /// By a certificate, over TLS.
    Certificate,
}

impl Proof {
    const ALL: [(u8, Self); 3] =
        [(b'-', Self::None), (b'K', Self::Key), (b'C', Self::Certificate)];
}

/// Who calls, as it says itself, and how it will prove that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The peer: a name by [`is_name`].
    pub peer: String,
    /// How it will prove it.
    pub proof: Proof,
}

impl Greeting {
    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let proof = Proof::ALL.iter().find(|(_, proof)| *proof == self.proof);
        let letter = proof.map_or(b'-', |(letter, _)| *letter);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&[letter, self.peer.len() as u8]);
        bytes.extend_from_slice(self.peer.as_bytes());
        bytes
    }

    /// Reads a greeting, with how many bytes it has; `None` while there are too few.
    ///
    /// # Errors
    ///
    /// What came instead, in words.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let len = bytes.len().min(MAGIC.len());
        if bytes[..len] != MAGIC[..len] {
            return Err(in_words(bytes));
        }
        let Some((&[letter, name_len], rest)) =
            bytes.get(MAGIC.len()..).and_then(<[u8]>::split_first_chunk::<2>)
        else {
            return Ok(None);
        };
        let proof = Proof::ALL.iter().find(|(known, _)| *known == letter);
        let Some((_, proof)) = proof else {
            return Err(
                "it proves itself in a way that is not known here: is it a newer \
                        Tripline?"
                    .to_owned(),
            );
        };
        let name_len = usize::from(name_len);
        if name_len > NAME_BYTES_MAX {
            return Err("the name of its peer is too long".to_owned());
        }
        let Some(name) = rest.get(..name_len) else { return Ok(None) };
        match str::from_utf8(name) {
            Ok(name) if is_name(name) => {
                let greeting = Self { peer: name.to_owned(), proof: *proof };
                Ok(Some((greeting, MAGIC.len() + 2 + name_len)))
            }
            _ => Err("the name of its peer is none: names are made of letters, digits, \
                      `_`, `-` and `.`"
                .to_owned()),
        }
    }
}

/// What is spoken instead.
fn in_words(bytes: &[u8]) -> String {
    let what = match bytes {
        [0x16, 3, ..] => "TLS",
        [b'G' | b'P' | b'H' | b'O' | b'D', b'A'..=b'Z', ..] => "HTTP",
        [b'S', b'S', b'H', ..] => "SSH",
        _ => "another protocol",
    };
    format!("it is no Tripline: it speaks {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_comes_back_byte_by_byte() {
        for (_, proof) in Proof::ALL {
            let greeting = Greeting { peer: "web-1.example".into(), proof };
            let bytes = greeting.bytes();
            for len in 0..bytes.len() {
                assert_eq!(Greeting::read(&bytes[..len]), Ok(None));
            }
            let more = [&bytes[..], b"more"].concat();
            assert_eq!(Greeting::read(&more), Ok(Some((greeting, bytes.len()))));
            assert!(bytes.len() <= BYTES_MAX);
        }
    }

    #[test]
    fn what_is_something_else_is_named() {
        for (bytes, words) in [
            (&b"GET / HTTP/1.1\r\n"[..], "speaks HTTP"),
            (b"\x16\x03\x01\x02", "speaks TLS"),
            (b"SSH-2.0-", "speaks SSH"),
            (b"\0", "another protocol"),
            (b"TRIPLINEX\x04web1", "not known here"),
            (b"TRIPLINEK\x02..", "the name of its peer"),
            (b"TRIPLINEK\xff", "too long"),
            (b"TRIPLINEK\x00", "the name of its peer"),
        ] {
            let why = Greeting::read(bytes).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}

//! What logs are called in the receiver's folders.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Where gaps are written.
pub const GAPS: &str = "gaps.jsonl";
/// No name is longer, in bytes: what rotates files appends something to it, and a
/// name may have 255.
const NAME_BYTES_MAX: usize = 200;

/// The name of the file for a log with this path. Two paths never have the same.
///
/// The first `/` is left out, each other one is a `+`; what is no letter, digit,
/// `_`, `-`, `.`, `,`, `=`, `@` or `~` is `%` and two digits; so is a `.` in front. A
/// name that would be too long ends in `%~` and a hash of the path.
pub fn of_log(path: &[u8]) -> String {
    let (absolute, relative) = match path.strip_prefix(b"/") {
        Some(rest) => (rest, false),
        None => (path, true),
    };
    let mut name = if relative { "%-".to_owned() } else { String::new() };
    for (index, byte) in absolute.iter().enumerate() {
        match byte {
            b'/' => name.push('+'),
            b'.' if index == 0 => name.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => name.push(char::from(*byte)),
            b'_' | b'-' | b'.' | b',' | b'=' | b'@' | b'~' => {
                name.push(char::from(*byte))
            }
            _ => _ = write!(name, "%{byte:02X}"),
        }
    }
    if name.is_empty() || name == GAPS {
        // Neither is a log's: an empty path, and ours.
        name = format!("%~{name}");
    }
    if name.len() > NAME_BYTES_MAX {
        let hash = Sha256::digest(path);
        name.truncate(NAME_BYTES_MAX - 34);
        name.push_str("%~");
        hash[..16].iter().for_each(|byte| _ = write!(name, "{byte:02x}"));
    }
    name
}

/// The name of the file for a journal: `journal.12`; where its number was used
/// before, with the era behind it.
pub fn of_journal(sequence: u64, era: u64) -> String {
    match era {
        0 => format!("journal.{sequence}"),
        era => format!("journal.{sequence}~{era}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn names_can_be_read() {
        for (path, name) in [
            (&b"/var/log/auth.log"[..], "var+log+auth.log"),
            (b"/srv/a b/\xff\n.log", "srv+a%20b+%FF%0A.log"),
            (b"/../../etc/passwd", "%2E.+..+etc+passwd"),
            (b"/.hidden", "%2Ehidden"),
            (b"/", "%~"),
            (b"/gaps.jsonl", "%~gaps.jsonl"),
            (b"relative", "%-relative"),
            (b"/a+b", "a%2Bb"),
            (b"/50%", "50%25"),
        ] {
            assert_eq!(of_log(path), name);
        }
        assert_eq!(
            (of_journal(7, 0), of_journal(7, 2)),
            ("journal.7".into(), "journal.7~2".into())
        );
    }

    #[test]
    fn long_ones_stay_apart() {
        let path = |end: &str| format!("/{}{end}", "d/".repeat(2000));
        let (a, b) = (of_log(path("a").as_bytes()), of_log(path("b").as_bytes()));
        assert_ne!(a, b);
        assert_eq!(a.len(), NAME_BYTES_MAX);
        let hostile = of_log(&[b'/'; 4096]);
        assert!(hostile.len() <= NAME_BYTES_MAX && !hostile.contains('/'));
    }

    proptest! {
        #[test]
        fn names_are_one_safe_part_of_a_path_and_never_meet(
            paths in proptest::collection::btree_set(
                proptest::collection::vec(
                    prop_oneof![Just(b'/'), Just(b'.'), Just(b'+'), Just(b'%'), Just(b'2'), any::<u8>()],
                    0..12,
                ),
                0..200,
            )
        ) {
            let mut names = BTreeMap::new();
            for path in paths {
                let name = of_log(&path);
                prop_assert!(!name.is_empty() && !name.starts_with('.') && name != GAPS);
                prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
                let before = names.insert(name.clone(), path.clone());
                prop_assert!(before.is_none(), "{name}: {before:?} {path:?}");
            }
        }
    }
}

//! What must stand in a text for a pattern to be found in it.
//!
//! A search for all such literals at once, over a whole batch, passes by the lines in
//! which no pattern can be found. Wherever in a pattern the best literals are: at its
//! start, behind a class, in each branch of an alternation.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{Extractor, Seq};
use regex_syntax::hir::{Hir, HirKind};

/// Texts of which one is in everything that the pattern matches. `None`: there are none
/// that would help.
pub(super) fn required(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(pattern).ok()?;
    best(&hir, 0).map(|found| found.literals)
}

/// Literals, and how much they help.
struct Found {
    literals: Vec<Vec<u8>>,
    score: u32,
}

fn best(hir: &Hir, depth: usize) -> Option<Found> {
    if depth > DEPTH_MAX {
        return None;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(_) | HirKind::Class(_) => prefix(hir),
        HirKind::Capture(capture) => better(prefix(hir), best(&capture.sub, depth + 1)),
        HirKind::Repetition(repeated) if repeated.min > 0 => {
            better(prefix(hir), best(&repeated.sub, depth + 1))
        }
        HirKind::Repetition(_) => None,
        HirKind::Alternation(branches) => better(
            prefix(hir),
            all(branches.iter().map(|branch| best(branch, depth + 1))),
        ),
        HirKind::Concat(parts) => {
            let mut found = None;
            for at in 0..parts.len().min(PARTS_MAX) {
                let rest = Hir::concat(parts[at..].to_vec());
                found = better(found, prefix(&rest));
                found = better(found, best(&parts[at], depth + 1));
            }
            found
        }
    }
}

/// One of each branch: as good as the worst of them.
fn all(branches: impl Iterator<Item = Option<Found>>) -> Option<Found> {
    let mut union = Found { literals: Vec::new(), score: u32::MAX };
    for branch in branches {
        let branch = branch?;
        union.literals.extend(branch.literals);
        union.score = union.score.min(branch.score);
        if union.literals.len() > LITERALS_MAX {
            return None;
        }
    }
    (!union.literals.is_empty()).then_some(union)
}

fn better(one: Option<Found>, other: Option<Found>) -> Option<Found> {
    match (one, other) {
        (Some(one), Some(other)) if other.score > one.score => Some(other),
        (Some(one), _) => Some(one),
        (None, other) => other,
    }
}

/// What it begins with, if these are few and long enough.
fn prefix(hir: &Hir) -> Option<Found> {
    let mut extractor = Extractor::new();
    extractor
        .limit_class(10)
        .limit_total(LITERALS_MAX)
        .limit_literal_len(LITERAL_BYTES_MAX);
    let seq: Seq = extractor.extract(hir);
    let mut literals: Vec<Vec<u8>> =
        seq.literals()?.iter().map(|it| it.as_bytes().to_vec()).collect();
    literals.sort();
    literals.dedup();
    let score = literals.iter().map(|it| worth(it)).min()?;
    (score >= WORTH_MIN).then(|| Found {
        score: (score * 8).saturating_sub(literals.len() as u32),
        literals,
    })
}

/// How seldom a text is in logs, roughly: long is good, and what is in every line is not.
fn worth(literal: &[u8]) -> u32 {
    let rare = |byte: &u8| match byte {
        b'0'..=b'9' | b' ' | b'.' | b':' | b'-' | b'e' | b't' | b'a' | b'o' | b'r' => 2,
        b'a'..=b'z' | b'/' | b'=' | b'[' | b']' => 3,
        _ => 4,
    };
    literal.iter().map(rare).sum()
}

/// The most literals of one pattern.
const LITERALS_MAX: usize = 64;
/// The longest literal, in bytes: more does not help.
const LITERAL_BYTES_MAX: usize = 24;
/// The least that a literal must be worth: about three letters.
const WORTH_MIN: u32 = 8;
/// The most parts in a row that are looked at.
const PARTS_MAX: usize = 64;
/// How deep groups are looked into.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str) -> Option<Vec<String>> {
        let found = required(pattern)?;
        Some(found.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect())
    }

    #[test]
    fn the_best_literals_are_found() {
        for (pattern, wanted) in [
            (r"No space left", &["No space left"][..]),
            (r"^Failed \S+ for (?P<u>\S+) from", &["Failed "]),
            (r"sshd\[[0-9]+\]: Invalid user [^ ]+ from", &["]: Invalid user "]),
            (r"\d+: (FAILED|broken) x", &[": FAILED x", ": broken x"]),
            (r"(?:alpha|beta)+", &["alpha", "beta"]),
            (r"(Can't add|license).*(exceeded|expired)", &["Can't add", "license"]),
        ] {
            assert_eq!(of(pattern).unwrap(), wanted, "{pattern}");
        }
    }

    #[test]
    fn without_one_there_is_none() {
        for pattern in [r"\d+", r"a?b?", r"(foo|\d)", r".*", r"ab", r"(?:long enough)?"] {
            assert_eq!(of(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_match_has_one_of_them() {
        let texts = [
            "sshd[1]: Failed password for root from 10.0.0.1 port 1 ssh2",
            "LICENSE count exceeded",
            "Warning: it is broken",
        ];
        for pattern in
            [r"(?i)license.*exceeded", r"Failed \w+ for", r"(?i-u)WARNING: (it|that)"]
        {
            let found = required(pattern).unwrap();
            let regex = regex::bytes::RegexBuilder::new(pattern).unicode(false).build();
            let regex = regex.unwrap();
            for text in texts.iter().filter(|text| regex.is_match(text.as_bytes())) {
                let has = |it: &Vec<u8>| {
                    text.as_bytes()
                        .windows(it.len())
                        .any(|window| window == it.as_slice())
                };
                assert!(found.iter().any(has), "{pattern}: {text}: {found:?}");
            }
        }
    }
}

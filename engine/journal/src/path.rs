//! Paths with Perforce's wildcards, and lists of them in which later lines win.

use crate::key::Case;

/// A path with wildcards, as views, protections and subscriptions have it.
///
/// `...` stands for any bytes, also none; `*` and `%%0` to `%%9` for any but `/`. All
/// else stands for itself, so that the whole path must be matched: `//depot/a` does not
/// match `//depot/a/b`. A pattern is read from its left: `....c` is `...` and then `.c`.
/// Revisions (`#3`, `@now`) are no part of it.
///
/// Matching takes time in proportion to the path, and to the pattern by 64 bytes at a
/// time, whatever their bytes are: nothing is tried again.
///
/// ```
/// use p4journal::{Case, PathPattern};
///
/// let pattern = PathPattern::new(b"//depot/*/src/....c", Case::Sensitive).unwrap();
/// assert!(pattern.matches(b"//depot/main/src/a/b.c"));
/// assert!(!pattern.matches(b"//depot/main/old/src/b.c"));
/// assert_eq!(pattern.head(), b"//depot/");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    case: Case,
    head: Box<[u8]>,
    wild: Wild,
}

/// What follows the bytes before the first wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wild {
    /// Nothing.
    No,
    /// `...` and nothing more, as most patterns end.
    Anything,
    States(States),
}

/// The rest of a pattern as states, one bit each: bit `i` says that the first `i` of its
/// literal bytes were matched. Where wildcards stand between two literal bytes the state
/// stays as it is for any byte, or any but `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct States {
    /// The last state's bit.
    last: usize,
    /// The states that stay for any byte.
    any: Box<[u64]>,
    /// The states that stay for any byte but `/`.
    any_but_slash: Box<[u64]>,
    /// The different literal bytes, sorted.
    letters: Box<[u8]>,
    /// For each letter, the states that it leads on from.
    leads_on: Box<[u64]>,
}

/// What a line of a view does with the paths it matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapFlag {
    /// 0, written without a sign: they are in.
    #[default]
    Include,
    /// 1, written `-`: they are out.
    Exclude,
    /// 2, written `+`: they are in, and so is what earlier lines map to the same place.
    Overlay,
    /// 5, written `&`: they are in, at one more place.
    Ditto,
    /// Any other, by its number: such as 3 and 4, which servers use in views of what a
    /// client has. The paths are in.
    Other(i64),
}

/// Lines of a view, of which the last one that matches a path decides.
///
/// ```
/// use p4journal::{Case, PathView};
///
/// let lines = ["//depot/...", "-//depot/old/...", "\"//depot/old/read me\""];
/// let view = PathView::read(lines, Case::Sensitive).unwrap();
/// assert!(view.maps(b"//depot/main/a.c"));
/// assert!(!view.maps(b"//depot/old/a.c"));
/// assert!(view.maps(b"//depot/old/read me"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathView {
    lines: Vec<(MapFlag, PathPattern)>,
}

impl PathPattern {
    /// The longest pattern, in bytes. Servers take no longer paths than 2 KiB.
    pub const BYTES_MAX: usize = 4096;

    /// Reads a pattern; `None` when it is longer than [`Self::BYTES_MAX`].
    pub fn new(pattern: &[u8], case: Case) -> Option<Self> {
        if pattern.len() > Self::BYTES_MAX {
            return None;
        }
        let mut rest = pattern;
        let mut head = Vec::new();
        while let Some((Token::Literal(byte), after)) = Token::first_of(rest) {
            head.push(case.fold_byte(byte));
            rest = after;
        }
        let wild = match rest {
            b"" => Wild::No,
            b"..." => Wild::Anything,
            _ => Wild::States(States::new(rest, case)),
        };
        Some(Self { case, head: head.into(), wild })
    }

    /// Whether the pattern matches the whole path.
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some((start, rest)) = path.split_at_checked(self.head.len()) else {
            return false;
        };
        let starts = match self.case {
            Case::Sensitive => *start == *self.head,
            // The head is folded already.
            Case::Insensitive => start.eq_ignore_ascii_case(&self.head),
        };
        starts
            && match &self.wild {
                Wild::No => rest.is_empty(),
                Wild::Anything => true,
                Wild::States(states) => states.match_all(rest, self.case),
            }
    }

    /// The bytes before the first wildcard, in lower case if the case does not matter:
    /// every path that matches starts with them.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether it has no wildcard: it matches one path.
    pub const fn is_literal(&self) -> bool {
        matches!(self.wild, Wild::No)
    }
}

impl States {
    fn new(pattern: &[u8], case: Case) -> Self {
        let mut literal = Vec::new();
        let (mut any, mut any_but_slash) = (Vec::new(), Vec::new());
        let mut rest = pattern;
        while let Some((token, after)) = Token::first_of(rest) {
            match token {
                Token::Literal(byte) => literal.push(case.fold_byte(byte)),
                Token::Any => any.push(literal.len()),
                Token::AnyButSlash => any_but_slash.push(literal.len()),
            }
            rest = after;
        }
        let words = (literal.len() + 1).div_ceil(BITS);
        let mut letters = literal.clone();
        letters.sort_unstable();
        letters.dedup();
        let mut leads_on = Vec::with_capacity(letters.len() * words);
        for letter in &letters {
            let at = literal.iter().enumerate().filter(|(_, byte)| *byte == letter);
            leads_on.extend(bits(words, at.map(|(at, _)| at)));
        }
        Self {
            last: literal.len(),
            any: bits(words, any).into(),
            any_but_slash: bits(words, any_but_slash).into(),
            letters: letters.into(),
            leads_on: leads_on.into(),
        }
    }

    fn match_all(&self, path: &[u8], case: Case) -> bool {
        let words = self.any.len();
        // Nearly every pattern has less than 64 bytes behind its first wildcard.
        let (mut one, mut several) = ([0], Vec::new());
        let states: &mut [u64] = if words == 1 {
            &mut one
        } else {
            several.resize(words, 0);
            &mut several
        };
        states[0] = 1;
        let is_set = |set: &[u64]| set[self.last / BITS] >> (self.last % BITS) & 1 == 1;
        let ends_in_any = is_set(&self.any);
        for &byte in path {
            if ends_in_any && is_set(states) {
                return true;
            }
            if !self.step(states, case.fold_byte(byte)) {
                return false;
            }
        }
        is_set(states)
    }

    /// Takes one byte; whether there still is a way to match.
    fn step(&self, states: &mut [u64], byte: u8) -> bool {
        let words = states.len();
        let leads_on = match self.letters.binary_search(&byte) {
            Ok(at) => &self.leads_on[at * words..(at + 1) * words],
            Err(_) => &[],
        };
        let (mut carry, mut left) = (0, 0);
        for (word, state) in states.iter_mut().enumerate() {
            let moves = *state & leads_on.get(word).copied().unwrap_or(0);
            let mut stays = self.any[word];
            if byte != b'/' {
                stays |= self.any_but_slash[word];
            }
            *state = (*state & stays) | (moves << 1) | carry;
            carry = moves >> (BITS - 1);
            left |= *state;
        }
        left != 0
    }
}

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(u8),
    Any,
    AnyButSlash,
}

impl Token {
    /// The first token, and what follows it; `None` at the end.
    fn first_of(pattern: &[u8]) -> Option<(Self, &[u8])> {
        match pattern {
            [] => None,
            [b'.', b'.', b'.', rest @ ..] => Some((Self::Any, rest)),
            [b'%', b'%', b'0'..=b'9', rest @ ..] | [b'*', rest @ ..] => {
                Some((Self::AnyButSlash, rest))
            }
            [byte, rest @ ..] => Some((Self::Literal(*byte), rest)),
        }
    }
}

/// How many states one word has.
const BITS: usize = u64::BITS as usize;

/// `words` words with these bits set.
fn bits(words: usize, set: impl IntoIterator<Item = usize>) -> Vec<u64> {
    let mut bits = vec![0; words];
    for at in set {
        bits[at / BITS] |= 1 << (at % BITS);
    }
    bits
}

impl MapFlag {
    /// The flag with that number, as rows of tables have it.
    pub const fn of(number: i64) -> Self {
        match number {
            0 => Self::Include,
            1 => Self::Exclude,
            2 => Self::Overlay,
            5 => Self::Ditto,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Include => 0,
            Self::Exclude => 1,
            Self::Overlay => 2,
            Self::Ditto => 5,
            Self::Other(number) => number,
        }
    }

    /// Whether a path is in when a line with this flag decides.
    pub const fn includes(self) -> bool {
        !matches!(self, Self::Exclude)
    }
}

impl PathView {
    /// A view of no lines, which maps nothing.
    pub const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// Reads lines as people write them: a pattern, with a sign before it if need be, in
    /// double quotes when it holds a space, the sign inside or outside. What stands
    /// behind the first pattern of a line is passed over, empty lines too.
    ///
    /// # Errors
    ///
    /// The index of the first line that is no pattern, or one longer than
    /// [`PathPattern::BYTES_MAX`].
    pub fn read<'a>(
        lines: impl IntoIterator<Item = &'a str>,
        case: Case,
    ) -> Result<Self, usize> {
        let mut view = Self::new();
        for (index, line) in lines.into_iter().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let (flag, pattern) = written_line(line.trim()).ok_or(index)?;
            view.push(flag, PathPattern::new(pattern.as_bytes(), case).ok_or(index)?);
        }
        Ok(view)
    }

    /// Adds a line behind the others: it wins over them.
    pub fn push(&mut self, flag: MapFlag, pattern: PathPattern) {
        self.lines.push((flag, pattern));
    }

    /// Whether the path is in: the last line that matches it says so.
    pub fn maps(&self, path: &[u8]) -> bool {
        let decides = self.lines.iter().rev().find(|(_, pattern)| pattern.matches(path));
        decides.is_some_and(|(flag, _)| flag.includes())
    }
}

/// The sign and the first pattern of a line.
fn written_line(line: &str) -> Option<(MapFlag, &str)> {
    let (outside, line) = sign(line);
    let Some(quoted) = line.strip_prefix('"') else {
        let pattern = line.split_whitespace().next()?;
        return Some((outside.unwrap_or_default(), pattern));
    };
    let (quoted, _) = quoted.split_once('"')?;
    let (inside, pattern) = sign(quoted);
    (!pattern.is_empty()).then_some((outside.or(inside).unwrap_or_default(), pattern))
}

fn sign(line: &str) -> (Option<MapFlag>, &str) {
    let flag = match line.as_bytes().first() {
        Some(b'-') => MapFlag::Exclude,
        Some(b'+') => MapFlag::Overlay,
        Some(b'&') => MapFlag::Ditto,
        _ => return (None, line),
    };
    (Some(flag), &line[1..])
}

#[cfg(test)]
mod tests;

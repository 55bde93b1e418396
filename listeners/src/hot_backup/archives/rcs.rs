//! Revisions out of an RCS file, as far as Perforce writes them: a trunk whose
//! head is there in full, and the others as edits of the one after them.

use std::collections::HashMap;

/// A revision chain is not longer.
const REVISIONS_MAX: usize = 1_000_000;

/// So many lines are put together for one file, over all its revisions.
const LINES_MAX: usize = 1_000_000_000;

/// How the revisions came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// There are no more, or enough were taken.
    All,
    /// An edit does not fit, or the chain has no end.
    Damaged,
    /// There are more than can be put together in a reasonable time.
    TooMuch,
}

/// An RCS file that was understood.
#[derive(Debug)]
pub(crate) struct Rcs<'a> {
    head: &'a [u8],
    /// The revision before, for each.
    next: HashMap<&'a [u8], &'a [u8]>,
    /// As it stands in the file, with quotes doubled.
    texts: HashMap<&'a [u8], &'a [u8]>,
}

impl<'a> Rcs<'a> {
    /// Reads the file; `None` where it is cut, or no RCS file.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut words = Words { rest: bytes };
        let mut rcs = Self { head: b"", next: HashMap::new(), texts: HashMap::new() };
        if words.next()?? != Word::Plain(b"head") {
            return None;
        }
        // `head ;` is a file without a revision.
        if let Word::Plain(head) = words.next()?? {
            rcs.head = head;
        }
        rcs.deltas(&mut words)?;
        rcs.take_texts(&mut words)?;
        let is_whole = rcs.head.is_empty() || rcs.texts.contains_key(rcs.head);
        is_whole.then_some(rcs)
    }

    /// `1.2 date …; author …; state …; branches …; next 1.1;`, to `desc`.
    fn deltas(&mut self, words: &mut Words<'a>) -> Option<()> {
        let mut revision: &[u8] = b"";
        let mut is_first = true;
        loop {
            match words.next()?? {
                Word::Plain(b"desc") => {
                    return matches!(words.next()??, Word::Text(_)).then_some(());
                }
                Word::Plain(word) if is_first => {
                    // A number alone begins a delta, other words their fields.
                    if is_revision(word) {
                        revision = word;
                        continue;
                    }
                    if word == b"next"
                        && let Word::Plain(next) = words.next()??
                    {
                        self.next.insert(revision, next);
                    }
                    is_first = false;
                }
                Word::Semicolon => is_first = true,
                _ => {}
            }
            if self.next.len() > REVISIONS_MAX {
                return None;
            }
        }
    }

    /// `1.2 log @…@ text @…@`, to the end.
    fn take_texts(&mut self, words: &mut Words<'a>) -> Option<()> {
        while let Some(word) = words.next()? {
            let Word::Plain(revision) = word else { return None };
            loop {
                match words.next()?? {
                    Word::Plain(b"text") => break,
                    Word::Plain(_) | Word::Text(_) | Word::Semicolon => {}
                }
            }
            let Word::Text(text) = words.next()?? else { return None };
            self.texts.insert(revision, text);
            if self.texts.len() > REVISIONS_MAX {
                return None;
            }
        }
        Some(())
    }

    /// Hands out the revisions, the head first, until `take` has had enough.
    pub(crate) fn each(&self, mut take: impl FnMut(&[u8], &[Vec<u8>]) -> bool) -> End {
        let mut work = 0;
        let mut revision = self.head;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        // A chain that leads back into itself has an end, too.
        for count in 0..=self.texts.len() {
            let Some(text) = self.texts.get(revision) else {
                return if revision.is_empty() { End::All } else { End::Damaged };
            };
            let text = undoubled(text);
            let edited = match count {
                0 => Some(lines_of(&text).map(<[u8]>::to_vec).collect()),
                _ => edited(std::mem::take(&mut lines), &text),
            };
            let Some(edited) = edited else { return End::Damaged };
            lines = edited;
            if !take(revision, &lines) {
                return End::All;
            }
            revision = self.next.get(revision).copied().unwrap_or_default();
            if revision.is_empty() {
                return End::All;
            }
            work += lines.len();
            if work > LINES_MAX {
                return End::TooMuch;
            }
        }
        End::Damaged
    }
}

/// Takes lines away (`d5 2`) and adds some (`a7 1`), as the edits say. They count
/// lines as they were before any of them.
fn edited(mut before: Vec<Vec<u8>>, edits: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut after = Vec::with_capacity(before.len());
    let mut edits = lines_of(edits);
    let mut done = 0;
    while let Some(edit) = edits.next() {
        let text = std::str::from_utf8(edit).ok()?.trim_end();
        let (numbers, is_add) = match text.strip_prefix('a') {
            Some(numbers) => (numbers, true),
            None => (text.strip_prefix('d')?, false),
        };
        let (at, count) = numbers.split_once(' ')?;
        let (at, count): (usize, usize) = (at.parse().ok()?, count.parse().ok()?);
        let keep = if is_add { at } else { at.checked_sub(1)? };
        if keep < done || keep > before.len() {
            return None;
        }
        after.extend(before[done..keep].iter_mut().map(std::mem::take));
        done = keep;
        if is_add {
            for _ in 0..count {
                after.push(edits.next()?.to_vec());
            }
        } else {
            done = done.checked_add(count).filter(|done| *done <= before.len())?;
        }
    }
    after.extend(before.drain(done..));
    Some(after)
}

/// Lines with their ends.
fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

fn undoubled(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'@', rest) {
        plain.extend_from_slice(&rest[..=at]);
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    plain
}

fn is_revision(word: &[u8]) -> bool {
    word.contains(&b'.') && word.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word<'a> {
    Plain(&'a [u8]),
    /// What stands between two `@`.
    Text(&'a [u8]),
    Semicolon,
}

struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The next one, or that there is none; `None` where a text has no end.
    #[expect(clippy::option_option, reason = "an end is not a cut")]
    fn next(&mut self) -> Option<Option<Word<'a>>> {
        let blank = |byte: &u8| !byte.is_ascii_whitespace() && !matches!(*byte, 8 | 11);
        let start = self.rest.iter().position(blank).unwrap_or(self.rest.len());
        self.rest = &self.rest[start..];
        let Some(first) = self.rest.first() else { return Some(None) };
        match first {
            b'@' => {
                let body = &self.rest[1..];
                let mut from = 0;
                loop {
                    let at = from + memchr::memchr(b'@', &body[from..])?;
                    if body.get(at + 1) != Some(&b'@') {
                        self.rest = &body[at + 1..];
                        return Some(Some(Word::Text(&body[..at])));
                    }
                    from = at + 2;
                }
            }
            b';' | b':' => {
                self.rest = &self.rest[1..];
                Some(Some(Word::Semicolon))
            }
            _ => {
                let ends = |byte: &u8| {
                    byte.is_ascii_whitespace()
                        || matches!(*byte, b';' | b':' | b'@' | 8 | 11)
                };
                let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                Some(Some(Word::Plain(word)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &[u8] = b"head     1.9;\naccess   ;\nsymbols  ;\nlocks    ;comment  \
        @@;\n\n\n1.9\ndate     2011.06.24.16.23.54;  author p4;  state Exp;\nbranches \
        ;\nnext     1.2;\n\n1.2\ndate     2011.06.24.16.23.53;  author p4;  state \
        Exp;\nbranches ;\nnext     ;\n\n\ndesc\n@@\n\n\n1.9\nlog\n@@\ntext\n@one\ntwo \
        @@ three\nfour@\n\n\n1.2\nlog\n@@\ntext\n@d2 2\na3 2\nanother\n@@end\n@\n";

    fn all(bytes: &[u8]) -> Option<Vec<(String, String)>> {
        let rcs = Rcs::parse(bytes)?;
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let end = rcs.each(|revision, lines| {
            found.push((text(revision), text(&lines.concat())));
            true
        });
        (end == End::All).then_some(found)
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(at in 0..FILE.len(), bytes: Vec<u8>, insert: bool) {
            let mut file = FILE.to_vec();
            let end = if insert { at } else { (at + bytes.len()).min(file.len()) };
            file.splice(at..end, bytes.iter().copied());
            _ = all(&file);
            _ = all(&bytes);
        }
    }

    #[test]
    fn revisions_are_made_from_the_head_back() {
        let found = all(FILE).unwrap();
        assert_eq!(found[0], ("1.9".into(), "one\ntwo @ three\nfour".into()));
        assert_eq!(found[1], ("1.2".into(), "one\nanother\n@end\n".into()));
    }

    #[test]
    fn what_is_cut_or_wrong_is_none() {
        for end in 0..FILE.len() - 3 {
            let found = all(&FILE[..end]);
            assert!(found.is_none(), "cut at {end}: {found:?}");
        }
        for (from, to) in
            [("d2 2", "d9 2"), ("a3 2", "a3 9"), ("a3 2", "x"), ("d2", "d0")]
        {
            let text = String::from_utf8(FILE.to_vec()).unwrap().replacen(from, to, 1);
            assert!(all(text.as_bytes()).is_none(), "{to}");
        }
        // A chain without an end.
        let text = String::from_utf8(FILE.to_vec()).unwrap();
        let round = text.replace("next     ;", "next     1.9;");
        assert!(all(round.as_bytes()).is_none());
        assert_eq!(all(b"head ;\ndesc\n@@\n"), Some(Vec::new()));
    }
}

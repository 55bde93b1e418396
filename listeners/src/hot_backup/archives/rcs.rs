//! Revisions out of an RCS file, as far as Perforce writes them: a trunk whose
//! head is there in full, and the others as edits of the one after them.

use std::collections::HashMap;

/// A revision chain is not longer.
const REVISIONS_MAX: usize = 1_000_000;

/// A revision has no more lines: a file may be all line ends, and each line takes
/// more memory than that.
const REVISION_LINES_MAX: usize = 5_000_000;

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

    /// Hands out the revisions, the head first, until `take` has had enough: their
    /// lines as they stand in the file, for [`plain`].
    pub(crate) fn each(&self, mut take: impl FnMut(&[u8], &[&'a [u8]]) -> bool) -> End {
        let mut work = 0;
        let mut revision = self.head;
        let mut lines: Vec<&'a [u8]> = Vec::new();
        // A chain that leads back into itself has an end, too.
        for count in 0..=self.texts.len() {
            let Some(text) = self.texts.get(revision) else {
                return if revision.is_empty() { End::All } else { End::Damaged };
            };
            let edited = match count {
                0 => whole(text),
                _ => edited(&lines, text),
            };
            lines = match edited {
                Ok(edited) => edited,
                Err(end) => return end,
            };
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

/// The lines of the head.
fn whole(text: &[u8]) -> Result<Vec<&[u8]>, End> {
    let mut lines = Vec::new();
    for line in lines_of(text) {
        if lines.len() >= REVISION_LINES_MAX {
            return Err(End::TooMuch);
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Takes lines away (`d5 2`) and adds some (`a7 1`), as the edits say. They count
/// lines as they were before any of them.
fn edited<'a>(before: &[&'a [u8]], edits: &'a [u8]) -> Result<Vec<&'a [u8]>, End> {
    let mut after = Vec::with_capacity(before.len());
    let mut edits = lines_of(edits);
    let mut done = 0;
    while let Some(edit) = edits.next() {
        let edit = Edit::read(edit).ok_or(End::Damaged)?;
        if edit.keep < done || edit.keep > before.len() {
            return Err(End::Damaged);
        }
        after.extend_from_slice(&before[done..edit.keep]);
        done = edit.keep;
        if edit.is_add {
            for _ in 0..edit.count {
                if after.len() >= REVISION_LINES_MAX {
                    return Err(End::TooMuch);
                }
                after.push(edits.next().ok_or(End::Damaged)?);
            }
        } else {
            let end = done.checked_add(edit.count).filter(|end| *end <= before.len());
            done = end.ok_or(End::Damaged)?;
        }
    }
    after.extend_from_slice(&before[done..]);
    if after.len() > REVISION_LINES_MAX { Err(End::TooMuch) } else { Ok(after) }
}

/// What the first line of an edit says.
struct Edit {
    is_add: bool,
    /// So many lines from the first on stay before it.
    keep: usize,
    count: usize,
}

impl Edit {
    fn read(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line).ok()?.trim_end();
        let (numbers, is_add) = match text.strip_prefix('a') {
            Some(numbers) => (numbers, true),
            None => (text.strip_prefix('d')?, false),
        };
        let (at, count) = numbers.split_once(' ')?;
        let (at, count): (usize, usize) = (at.parse().ok()?, count.parse().ok()?);
        let keep = if is_add { at } else { at.checked_sub(1)? };
        Some(Self { is_add, keep, count })
    }
}

/// Lines with their ends. A doubled `@` is never parted by one.
fn lines_of(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|byte| *byte == b'\n')
}

/// Hands out what a line is without the doubling of `@`, in pieces.
pub(crate) fn plain<'a>(line: &'a [u8], mut take: impl FnMut(&'a [u8])) {
    let mut rest = line;
    while let Some(at) = memchr::memchr(b'@', rest) {
        take(&rest[..=at]);
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    take(rest);
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
            let mut bytes = Vec::new();
            lines.iter().for_each(|line| plain(line, |it| bytes.extend_from_slice(it)));
            found.push((text(revision), text(&bytes)));
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

    #[test]
    fn more_lines_than_memory_should_hold_are_too_much() {
        let text = |head: usize, edit: &str, added: usize| {
            let (head, added) = ("\n".repeat(head), "\n".repeat(added));
            format!(
                "head 1.2;\n1.2\ndate 1;\nnext 1.1;\n1.1\ndate 1;\nnext ;\ndesc\n@@\n\
                 1.2\nlog\n@@\ntext\n@{head}@\n1.1\nlog\n@@\ntext\n@{edit}{added}@\n"
            )
        };
        let ends = |text: &str| {
            let mut seen = 0;
            let rcs = Rcs::parse(text.as_bytes()).unwrap();
            let end = rcs.each(|_, lines| {
                seen += lines.len();
                true
            });
            (end, seen)
        };
        let max = REVISION_LINES_MAX;
        assert_eq!(ends(&text(max, "d1 1\n", 0)), (End::All, max + max - 1));
        assert_eq!(ends(&text(max + 1, "d1 1\n", 0)), (End::TooMuch, 0));
        assert_eq!(ends(&text(max, "a0 2\n", 2)), (End::TooMuch, max));
        assert_eq!(ends(&text(2, "a2 9000000\n", max)), (End::TooMuch, 2));
    }
}

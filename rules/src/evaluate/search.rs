//! Where in many lines a literal may be: by whatever search is the fastest for them.

use super::sieve::Sieve;
use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

/// Finds where one of some literals is: several bytes at a time where they are few (48 at
/// most) and the processor can, and otherwise byte by byte. The time it takes grows with
/// the bytes that are looked at, whatever is in them.
///
/// ```
/// use tripline_rules::evaluate::Search;
///
/// let search = Search::new(&["rev@", "user@"]).unwrap();
/// assert_eq!(search.find(b"@pv@ 9 @db.rev@ @db.user@", 0), Some(11));
/// assert_eq!(search.find(b"@pv@ 9 @db.rev@ @db.user@", 12), Some(20));
/// assert_eq!(search.find(b"@pv@ 9 @db.have@", 0), None);
/// ```
#[derive(Debug)]
pub struct Search(Kind);

#[derive(Debug)]
enum Kind {
    /// Several bytes at a time.
    Few(Searcher),
    /// Byte by byte.
    Any(AhoCorasick),
}

impl Search {
    /// A search for all of these literals at once. It takes a KiB of memory at most for
    /// each of their bytes; `None` if they are too long, which takes millions of bytes.
    pub fn new(literals: &[impl AsRef<[u8]>]) -> Option<Self> {
        let few = few(literals).map(Kind::Few);
        few.or_else(|| automaton(literals).map(Kind::Any)).map(Self)
    }

    /// Where in the bytes a literal begins, looked for from the byte `from` on, both
    /// counted from 0: that which begins first or, byte by byte, that which ends first.
    /// `None` if there is none.
    pub fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        if from > bytes.len() {
            return None;
        }
        let span = from..bytes.len();
        let found = match &self.0 {
            Kind::Few(few) => few.find_in(bytes, span.into()),
            Kind::Any(any) => any.find(Input::new(bytes).span(span)),
        };
        found.map(|found| found.start())
    }
}

fn few(literals: &[impl AsRef<[u8]>]) -> Option<Searcher> {
    if literals.len() > FEW_MAX {
        return None;
    }
    packed::Config::new().builder().extend(literals).build()
}

/// Finds all of them, and which they are, byte by byte; `None` if they are too long.
pub(super) fn automaton(literals: &[impl AsRef<[u8]>]) -> Option<AhoCorasick> {
    let mut builder = AhoCorasick::builder();
    builder.match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::DFA));
    builder.build(literals).ok()
}

/// One of those that together find where one of many literals may be.
#[derive(Debug)]
pub(super) enum Finder {
    /// For many that are not short.
    Sieve(Sieve),
    Search(Search),
}

impl Finder {
    /// What it takes to find all of these.
    pub(super) fn of(literals: Vec<Vec<u8>>) -> Vec<Self> {
        if let Some(few) = few(&literals) {
            return vec![Self::Search(Search(Kind::Few(few)))];
        }
        let (long, short): (Vec<_>, Vec<_>) = literals
            .into_iter()
            .partition(|literal| literal.len() >= Sieve::LITERAL_BYTES_MIN);
        let mut finders = Vec::new();
        if !short.is_empty() {
            finders.extend(Search::new(&short).map(Self::Search));
        }
        if !long.is_empty() {
            finders.push(Self::Sieve(Sieve::new(&long)));
        }
        finders
    }

    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        match self {
            Self::Sieve(sieve) => sieve.find(bytes, from),
            Self::Search(search) => search.find(bytes, from),
        }
    }
}

/// Goes through some bytes, where each finder stands at its next place.
pub(super) struct Seeker<'a> {
    finders: &'a [Finder],
    bytes: &'a [u8],
    /// Of each: `None` behind the last.
    next: Vec<Option<usize>>,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(finders: &'a [Finder], bytes: &'a [u8]) -> Self {
        let next = finders.iter().map(|finder| finder.find(bytes, 0)).collect();
        Self { finders, bytes, next }
    }

    /// The first place from this one on; they only grow.
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        for (finder, next) in self.finders.iter().zip(&mut self.next) {
            if next.is_some_and(|at| at < from) {
                *next = finder.find(self.bytes, from);
            }
        }
        self.next.iter().flatten().min().copied()
    }
}

/// With more literals than these, another search is faster.
const FEW_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_found_at_the_same_places() {
        let text = b"of one: a-07; of others: a-01, a-00";
        for count in [10, FEW_MAX, FEW_MAX + 1, 100] {
            let literals: Vec<_> =
                (0..count).map(|number| format!("a-{number:02}")).collect();
            let search = Search::new(&literals).unwrap();
            assert!(matches!(search.0, Kind::Any(_)) || count <= FEW_MAX, "{count}");
            let found = [0, 8, 9, 26, 32, text.len(), text.len() + 9]
                .map(|from| search.find(text, from));
            let wanted = [Some(8), Some(8), Some(25), Some(31), None, None, None];
            assert_eq!(found, wanted, "{count}");
        }
    }

    #[test]
    fn of_no_literal_nothing_is_found() {
        let search = Search::new(&[""; 0]).unwrap();
        assert_eq!(search.find(b"a line", 0), None);
    }
}

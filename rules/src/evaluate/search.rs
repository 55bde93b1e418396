//! Where in many lines a literal may be: by whatever search is the fastest for them.

use super::sieve::Sieve;
use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};

/// Finds where one of some literals may be.
#[derive(Debug)]
pub(super) enum Search {
    /// Many that are not short.
    Sieve(Sieve),
    /// Few: several bytes at a time, where the processor can.
    Few(Searcher),
    /// Whatever there is: byte by byte.
    Any(AhoCorasick),
}

impl Search {
    /// What it takes to find all of these.
    pub(super) fn of(literals: Vec<Vec<u8>>) -> Vec<Self> {
        if let Some(few) = few(&literals) {
            return vec![Self::Few(few)];
        }
        let (long, short): (Vec<_>, Vec<_>) = literals
            .into_iter()
            .partition(|literal| literal.len() >= Sieve::LITERAL_BYTES_MIN);
        let mut searches = Vec::new();
        if !short.is_empty() {
            searches.extend(few(&short).map(Self::Few).or_else(|| any(&short)));
        }
        if !long.is_empty() {
            searches.push(Self::Sieve(Sieve::new(&long)));
        }
        searches
    }

    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let span = from..bytes.len();
        match self {
            Self::Sieve(sieve) => sieve.find(bytes, from),
            Self::Few(few) => few.find_in(bytes, span.into()).map(|it| it.start()),
            Self::Any(any) => any.find(Input::new(bytes).span(span)).map(|it| it.start()),
        }
    }
}

fn few(literals: &[Vec<u8>]) -> Option<Searcher> {
    if literals.len() > FEW_MAX {
        return None;
    }
    packed::Config::new().builder().extend(literals).build()
}

fn any(literals: &[Vec<u8>]) -> Option<Search> {
    let mut builder = AhoCorasick::builder();
    builder.match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::DFA));
    builder.build(literals).ok().map(Search::Any)
}

/// Goes through some bytes, where each search stands at its next place.
pub(super) struct Seeker<'a> {
    searches: &'a [Search],
    bytes: &'a [u8],
    /// Of each: `None` behind the last.
    next: Vec<Option<usize>>,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(searches: &'a [Search], bytes: &'a [u8]) -> Self {
        let next = searches.iter().map(|search| search.find(bytes, 0)).collect();
        Self { searches, bytes, next }
    }

    /// The first place from this one on; they only grow.
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        for (search, next) in self.searches.iter().zip(&mut self.next) {
            if next.is_some_and(|at| at < from) {
                *next = search.find(self.bytes, from);
            }
        }
        self.next.iter().flatten().min().copied()
    }
}

/// With more literals than these, another search is faster.
const FEW_MAX: usize = 48;

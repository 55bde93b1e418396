//! Lines of a log, many at a time, and the rules that they may be for.
//!
//! First one search for the literals of all patterns at once goes over the whole batch, and
//! passes by nearly everything. On a line that has one, the patterns that need this
//! literal are looked for. Patterns without a literal are looked for in each line, all
//! in one search.

use super::head::Head;
use super::literals;
use super::matching;
use super::search::{Finder, Seeker, automaton};
use crate::compiled::{Rule, RuleSet, TextMatch, Trigger};
use aho_corasick::AhoCorasick;
use regex::bytes::{RegexSet, RegexSetBuilder};
use std::collections::BTreeMap;
use std::ops::Range;
use tripline_api::{Batch, LineTime, Place, Span};

/// Lines of one log.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// The place of the first byte.
    pub start: Place,
    /// The bytes of all lines, with their line feeds.
    pub bytes: &'a [u8],
    /// Where each entry ends, if entries may have several lines; otherwise each line is
    /// one.
    pub spans: Option<&'a [Span]>,
    /// How to read the time that a line carries, and a time near to it in seconds since
    /// 1970; without it a line happened when it arrived.
    pub time: Option<(&'a LineTime, i64)>,
}

impl<'a> From<&Batch<'a>> for Lines<'a> {
    fn from(batch: &Batch<'a>) -> Self {
        Self {
            source: batch.source.as_str(),
            start: batch.start,
            bytes: batch.bytes,
            spans: Some(batch.spans),
            time: batch.log.and_then(|log| log.time),
        }
    }
}

/// Which event of a rule it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// That of `on`.
    Main,
    /// The second one of a pair.
    Until,
}

/// A rule that looks at the lines of a source, by one of its triggers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Looker {
    pub(super) rule: usize,
    pub(super) role: Role,
    pub(super) programs: Vec<String>,
    pub(super) is_whole: bool,
}

impl Looker {
    /// What the patterns of the looker look at.
    pub(super) fn text<'r>(&self, rules: &'r [Rule]) -> &'r TextMatch {
        matching::text_of(&rules[self.rule], self.role)
    }

    fn finds(&self, rules: &[Rule], line: &[u8], head: &Head<'_>) -> bool {
        let is_program = self.programs.is_empty()
            || head.program.is_some_and(|program| {
                self.programs.iter().any(|it| it.as_bytes() == program)
            });
        let text = if self.is_whole { line } else { head.text };
        is_program && matching::is_found(self.text(rules), text)
    }
}

/// A line that a rule's patterns were found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) rule: usize,
    pub(super) role: Role,
    pub(super) is_whole: bool,
    /// The line in the batch, with its end.
    pub(super) line: Range<usize>,
}

/// What was found in a batch, line by line.
pub(super) struct Hits(pub(super) Vec<Hit>);

impl Hits {
    /// Those of each line together.
    pub(super) fn of_lines(&self) -> impl Iterator<Item = &[Hit]> {
        self.0.chunk_by(|one, other| one.line.start == other.line.start)
    }
}

/// All that look at the lines of one source.
#[derive(Debug)]
pub(super) struct LineIndex {
    lookers: Vec<Looker>,
    /// Where a literal may be.
    searches: Vec<Finder>,
    /// Which literals are in a line; `None` if there are none.
    literals: Option<AhoCorasick>,
    /// The lookers that need a literal, by its number.
    by_literal: Vec<Vec<u32>>,
    /// Those that look at each line without asking a set first: they have no pattern, or
    /// a prefix.
    always: Vec<u32>,
    /// Patterns without literals.
    whole: Group,
    text: Group,
}

/// Patterns that are searched for all at once in each line.
#[derive(Debug, Default)]
struct Group {
    set: Option<RegexSet>,
    /// The looker of each.
    of: Vec<u32>,
}

impl LineIndex {
    /// Of those rules that look at this source.
    pub(super) fn new(set: &RuleSet, lookers: Vec<Looker>) -> Self {
        let mut index = Self {
            lookers,
            searches: Vec::new(),
            literals: None,
            by_literal: Vec::new(),
            always: Vec::new(),
            whole: Group::default(),
            text: Group::default(),
        };
        let mut numbers: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let (mut whole, mut text) = (Vec::new(), Vec::new());
        for (number, looker) in index.lookers.iter().enumerate() {
            let number = number as u32;
            let wanted = looker.text(&set.rules);
            if let Some(literals) = literals_of(wanted) {
                for literal in literals {
                    let next = numbers.len();
                    let at = *numbers.entry(literal).or_insert(next);
                    index.by_literal.resize_with(numbers.len(), Vec::new);
                    index.by_literal[at].push(number);
                }
            } else if wanted.any.is_empty() || wanted.prefix.is_some() {
                index.always.push(number);
            } else {
                let patterns = if looker.is_whole { &mut whole } else { &mut text };
                patterns
                    .extend(wanted.any.iter().map(|it| (number, it.expanded.as_str())));
            }
        }
        let mut literals: Vec<(Vec<u8>, usize)> = numbers.into_iter().collect();
        literals.sort_by_key(|(_, number)| *number);
        let literals: Vec<_> = literals.into_iter().map(|(literal, _)| literal).collect();
        if !literals.is_empty() {
            index.literals = automaton(&literals);
        }
        if index.literals.is_some() {
            index.searches = Finder::of(literals);
        } else {
            index.always.extend(index.by_literal.drain(..).flatten());
        }
        index.whole = Group::new(&whole, &mut index.always);
        index.text = Group::new(&text, &mut index.always);
        index.always.sort_unstable();
        index.always.dedup();
        index
    }

    /// The lookers whose patterns are found, line by line, those of a line in the order
    /// of rules.
    pub(super) fn scan(&self, rules: &[Rule], lines: &Lines<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        let mut found = Found::new(self.lookers.len());
        let mut seeker = Seeker::new(&self.searches, lines.bytes);
        if self.looks_at_each_line() {
            let mut next = seeker.next(0);
            for line in EachLine::new(lines) {
                if next.is_some_and(|at| at < line.end) {
                    self.collect(&lines.bytes[line.clone()], &mut found);
                    next = seeker.next(line.end);
                }
                self.always.iter().for_each(|looker| found.add(*looker));
                self.look(rules, lines.bytes, line, &mut found, &mut hits);
            }
            return hits;
        }
        let mut at = 0;
        let mut entries = Entries::new(lines);
        while let Some(start) = seeker.next(at) {
            let line = entries.around(start);
            at = line.end.max(start + 1);
            self.collect(&lines.bytes[line.clone()], &mut found);
            self.look(rules, lines.bytes, line, &mut found, &mut hits);
        }
        hits
    }

    const fn looks_at_each_line(&self) -> bool {
        !self.always.is_empty() || self.whole.set.is_some() || self.text.set.is_some()
    }

    /// Those that need a literal which is in the line.
    fn collect(&self, line: &[u8], found: &mut Found) {
        let Some(literals) = &self.literals else { return };
        for literal in literals.find_overlapping_iter(line) {
            let lookers = &self.by_literal[literal.pattern().as_usize()];
            lookers.iter().for_each(|looker| found.add(*looker));
        }
    }

    fn look(
        &self,
        rules: &[Rule],
        bytes: &[u8],
        line: Range<usize>,
        found: &mut Found,
        hits: &mut Vec<Hit>,
    ) {
        let text = without_end(&bytes[line.clone()]);
        let mut head = None;
        self.whole.find(text, found);
        if self.text.set.is_some() {
            let head = head.get_or_insert_with(|| Head::of(text));
            self.text.find(head.text, found);
        }
        if found.list.is_empty() {
            return;
        }
        let head = head.get_or_insert_with(|| Head::of(text));
        found.list.sort_unstable();
        let mut last = None;
        for number in &found.list {
            let looker = &self.lookers[*number as usize];
            let who = (looker.rule, looker.role);
            // Several triggers of a rule are one event to it.
            if last == Some(who) || !looker.finds(rules, text, head) {
                continue;
            }
            last = Some(who);
            let (rule, role, is_whole) = (looker.rule, looker.role, looker.is_whole);
            hits.push(Hit { rule, role, is_whole, line: line.clone() });
        }
        found.clear();
    }
}

impl Group {
    /// One search for all patterns; those that do not fit into one are always looked for.
    fn new(patterns: &[(u32, &str)], always: &mut Vec<u32>) -> Self {
        if patterns.is_empty() {
            return Self::default();
        }
        let of = patterns.iter().map(|(looker, _)| *looker).collect();
        let built = RegexSetBuilder::new(patterns.iter().map(|(_, pattern)| pattern))
            .unicode(false)
            .size_limit(SET_BYTES_MAX)
            .dfa_size_limit(SET_BYTES_MAX)
            .build();
        match built {
            Ok(set) => Self { set: Some(set), of },
            Err(_) => {
                always.extend(of);
                Self::default()
            }
        }
    }

    fn find(&self, text: &[u8], found: &mut Found) {
        let Some(set) = &self.set else { return };
        for pattern in set.matches(text).iter() {
            found.add(self.of[pattern]);
        }
    }
}

/// Lookers, each once.
struct Found {
    list: Vec<u32>,
    is_in: Vec<bool>,
}

impl Found {
    fn new(lookers: usize) -> Self {
        Self { list: Vec::new(), is_in: vec![false; lookers] }
    }

    fn add(&mut self, looker: u32) {
        let is_in = &mut self.is_in[looker as usize];
        if !*is_in {
            *is_in = true;
            self.list.push(looker);
        }
    }

    fn clear(&mut self) {
        for looker in self.list.drain(..) {
            self.is_in[looker as usize] = false;
        }
    }
}

/// Literals of which a text must have one to be found; the best of its patterns'.
fn literals_of(wanted: &TextMatch) -> Option<Vec<Vec<u8>>> {
    let prefix = || literals::required(&wanted.prefix.as_ref()?.expanded);
    if wanted.any.is_empty() {
        return prefix();
    }
    let mut all = Vec::new();
    for pattern in &wanted.any {
        match literals::required(&pattern.expanded) {
            Some(literals) => all.extend(literals),
            None => return prefix(),
        }
    }
    Some(all)
}

/// The rules that look at the lines of this source.
pub(super) fn lookers(set: &RuleSet, source: &str) -> Vec<Looker> {
    let mut lookers = Vec::new();
    for (rule, it) in set.rules.iter().enumerate().filter(|(_, rule)| rule.enabled) {
        for (role, triggers) in matching::roles(it) {
            for trigger in triggers {
                let Trigger::Lines { sources, programs, whole } = trigger else {
                    continue;
                };
                if sources.is_empty() || sources.iter().any(|it| it == source) {
                    let programs = programs.clone();
                    lookers.push(Looker { rule, role, programs, is_whole: *whole });
                }
            }
        }
    }
    // By rule, and the second event of a pair before the first.
    lookers.sort_by_key(|it| (it.rule, std::cmp::Reverse(it.role)));
    lookers
}

/// A line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Finds the entry around a byte; bytes only grow.
struct Entries<'a> {
    lines: &'a Lines<'a>,
    /// Index of the span looked at, and where it begins.
    at: (usize, usize),
}

impl<'a> Entries<'a> {
    const fn new(lines: &'a Lines<'a>) -> Self {
        Self { lines, at: (0, 0) }
    }

    fn around(&mut self, byte: usize) -> Range<usize> {
        let bytes = self.lines.bytes;
        let Some(spans) = self.lines.spans else {
            let start = memchr::memrchr(b'\n', &bytes[..byte]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &bytes[byte..]);
            return start..end.map_or(bytes.len(), |at| byte + at + 1);
        };
        let ahead = spans[self.at.0..].partition_point(|span| span.end as usize <= byte);
        if ahead > 0 {
            let index = self.at.0 + ahead;
            self.at = (index, spans[index - 1].end as usize);
        }
        let end = spans.get(self.at.0).map_or(bytes.len(), |span| span.end as usize);
        self.at.1..end
    }
}

/// All entries in order.
struct EachLine<'a> {
    lines: &'a Lines<'a>,
    index: usize,
    at: usize,
}

impl<'a> EachLine<'a> {
    const fn new(lines: &'a Lines<'a>) -> Self {
        Self { lines, index: 0, at: 0 }
    }
}

impl Iterator for EachLine<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let (bytes, start) = (self.lines.bytes, self.at);
        self.at = match self.lines.spans {
            Some(spans) => spans.get(self.index)?.end as usize,
            None if start == bytes.len() => return None,
            None => memchr::memchr(b'\n', &bytes[start..])
                .map_or(bytes.len(), |end| start + end + 1),
        };
        self.index += 1;
        Some(start..self.at)
    }
}

/// The most memory of one search for many patterns, in bytes.
const SET_BYTES_MAX: usize = 64 << 20;

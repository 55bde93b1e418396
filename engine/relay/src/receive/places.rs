//! How far a log or journal came, and what of a run is new: pure.

use crate::wire::{At, Gap, Run};

/// How far one log, or one journal, of a stream came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Everything before is written.
    pub at: At,
    /// How the last line that was written ends.
    pub line: LineEnd,
    /// The gap that leads here is written down.
    pub gap_noted: bool,
}

impl Reached {
    /// Nothing but a gap was written yet; or nothing since that.
    pub fn begins_with_a_gap(&self) -> bool {
        self.gap_noted && self.line == LineEnd::Whole
    }
}

/// How the last line that was written to a log's file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// With a line feed; or nothing was written yet.
    #[default]
    Whole,
    /// Without: what follows in the same file of the sender belongs to it.
    Open,
    /// Without, and its rest was left out by the sender, which cuts long lines.
    Cut,
}

impl LineEnd {
    /// A number for the database.
    pub const fn number(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Open => 1,
            Self::Cut => 2,
        }
    }

    /// What has this number.
    pub const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Open,
            2 => Self::Cut,
            _ => Self::Whole,
        }
    }
}

/// What is to be done with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The line before it has no line feed and is over: one is written first. Where
    /// the line was, for who wants to take it away again.
    pub closes: Option<(At, LineEnd)>,
    /// What is written.
    pub bytes: &'a [u8],
    /// Where that leads.
    pub reached: Reached,
}

/// What of a run was not written before; `None` when all of it was.
///
/// Of a journal every byte is kept as it is. Of a log too, but for a line without
/// a line feed that is over, since what follows would become a part of it: the last
/// one of a file that was rotated away, and one that was cut.
pub fn of_run<'a>(
    reached: Option<&Reached>,
    run: &Run<'a>,
    is_log: bool,
) -> Option<Step<'a>> {
    let next = At { offset: run.next, ..run.at };
    let begin = || Reached { at: run.at, ..Reached::default() };
    let before = reached.copied().unwrap_or_else(begin);
    if before.at >= next && reached.is_some() {
        return None;
    }
    let is_same_file =
        (before.at.era, before.at.sequence) == (run.at.era, run.at.sequence);
    let had = match is_same_file {
        true => before.at.offset.saturating_sub(run.at.offset),
        false => 0,
    };
    // Within what was left out there is no place.
    let had = usize::try_from(had).unwrap_or(usize::MAX).min(run.bytes.len());
    let bytes = &run.bytes[had..];
    let goes_on = is_same_file && before.at.offset == run.at.offset + had as u64;
    let closes = match before.line {
        LineEnd::Whole => None,
        LineEnd::Open if goes_on => None,
        _ if bytes.is_empty() || !is_log => None,
        end => Some((before.at, end)),
    };
    let is_cut = next.offset > run.at.offset + run.bytes.len() as u64;
    let line = match bytes.last() {
        _ if is_cut => LineEnd::Cut,
        Some(b'\n') => LineEnd::Whole,
        Some(_) => LineEnd::Open,
        None => before.line,
    };
    Some(Step { closes, bytes, reached: Reached { at: next, line, gap_noted: false } })
}

/// Where a gap leads; `None` when it was written down before.
pub fn of_gap(reached: Option<&Reached>, gap: &Gap<'_>) -> Option<Reached> {
    match reached {
        Some(before) if before.at > gap.to => None,
        Some(before) if before.at == gap.to && before.gap_noted => None,
        before => {
            let line = before.map_or(LineEnd::Whole, |before| match before.line {
                LineEnd::Whole => LineEnd::Whole,
                // Nothing of it follows any more.
                LineEnd::Open | LineEnd::Cut => LineEnd::Cut,
            });
            Some(Reached { at: gap.to, line, gap_noted: true })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(sequence: u64, offset: u64, bytes: &[u8]) -> Run<'_> {
        Run {
            index: 0,
            at: At { era: 5, sequence, offset },
            line: 0,
            next: offset + bytes.len() as u64,
            entries: 1,
            did_rotate: false,
            incomplete: false,
            bytes,
        }
    }

    /// What a file has after these runs.
    fn write(runs: &[Run<'_>]) -> Vec<u8> {
        let mut reached: Option<Reached> = None;
        let mut file = Vec::new();
        for run in runs {
            let Some(step) = of_run(reached.as_ref(), run, true) else { continue };
            if step.closes.is_some() {
                file.push(b'\n');
            }
            file.extend_from_slice(step.bytes);
            reached = Some(step.reached);
        }
        file
    }

    #[test]
    fn what_comes_again_is_dropped_byte_by_byte() {
        let text = b"one\ntwo\nthree\n";
        for a in 0..text.len() {
            for b in 0..=a {
                let runs = [run(0, 0, &text[..a]), run(0, b as u64, &text[b..])];
                assert_eq!(write(&runs), text, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_torn_line_is_no_part_of_the_next() {
        assert_eq!(write(&[run(0, 0, b"torn"), run(1, 0, b"next\n")]), b"torn\nnext\n");
        assert_eq!(write(&[run(0, 0, b"goes "), run(0, 5, b"on\n")]), b"goes on\n");
        assert_eq!(write(&[run(0, 0, b"torn")]), b"torn", "nothing follows yet");
        let cut = Run { next: 5000, ..run(0, 0, b"long") };
        assert_eq!(write(&[cut, cut, run(0, 5000, b"next\n")]), b"long\nnext\n");
        let reached = of_run(None, &run(0, 0, b"torn"), false).unwrap().reached;
        let step = of_run(Some(&reached), &run(1, 0, b"next\n"), false).unwrap();
        assert_eq!(step.closes, None, "a journal is as it is");
    }

    #[test]
    fn a_gap_is_noted_once_and_moves_the_place() {
        let gap = |sequence, offset| Gap {
            index: 0,
            to: At { era: 5, sequence, offset },
            text: b"",
        };
        let first = of_run(None, &run(0, 0, b"one\n"), true).unwrap().reached;
        let at_once = of_gap(Some(&first), &gap(0, 4)).unwrap();
        assert_eq!(of_gap(Some(&at_once), &gap(0, 4)), None);
        let far = of_gap(Some(&at_once), &gap(2, 0)).unwrap();
        assert_eq!(of_gap(Some(&far), &gap(0, 4)), None);
        assert_eq!(of_run(Some(&far), &run(0, 0, b"one\n"), true), None);
        let behind = of_run(Some(&far), &run(2, 0, b"two\n"), true).unwrap();
        assert!(!behind.reached.gap_noted);
        assert_eq!(behind.bytes, b"two\n");
        assert!(of_gap(None, &gap(0, 0)).is_some());
    }

    proptest! {
        /// However a file is cut into runs, and from wherever a part comes again.
        #[test]
        fn a_file_comes_out_as_it_was(
            text in "[ab\n]{0,60}",
            parts in proptest::collection::vec((0_usize..60, 0_usize..60), 0..20),
        ) {
            let text = text.as_bytes();
            let mut reached = 0;
            let mut runs = Vec::new();
            for (back, len) in parts {
                // A sender never skips anything.
                let from = reached - back.min(reached);
                let to = (from + len).min(text.len());
                runs.push(run(0, from as u64, &text[from..to]));
                reached = reached.max(to);
            }
            runs.push(run(0, reached as u64, &text[reached..]));
            prop_assert_eq!(write(&runs), text);
        }
    }
}

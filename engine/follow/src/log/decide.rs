//! Which file of a log to read next: a pure function of where a reader is and
//! what files there are.
//!
//! Every rotation, cut and loss ends up here as one table of facts; each row of
//! behaviour is a file in `tests/decide_log/`.

use tripline_api::GapKind;

/// Where a reader is in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub(super) struct Position {
    /// There is a place to go on at; otherwise it begins at the oldest file.
    pub(super) begun: bool,
    /// The file of the place is held open, so it can be read whatever became of
    /// its name.
    pub(super) held: bool,
    /// It was read to its end.
    pub(super) exhausted: bool,
    /// What came at its end was an error in the content, not an end.
    pub(super) broken: bool,
    /// The file that is written to has the inode of the place, but not its
    /// content: it was cut in place, as a copying rotation does.
    pub(super) cut: bool,
    /// The file that came next when last looked, if it is still there.
    pub(super) successor: Option<usize>,
    /// The last look was so short a time ago that nothing can have come and
    /// gone in between.
    pub(super) awake: bool,
}

/// What is known of one file of the log. They are ordered oldest first; the one
/// that is written to, where it is there, is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields, default))]
pub(super) struct Candidate {
    /// It stands at the log's own path.
    pub(super) live: bool,
    /// Whether the place is in it.
    pub(super) mine: Match,
    /// The file system says that it is the file of the place: a hint.
    pub(super) same_inode: bool,
    /// It was written to after the place was, so it is not one of those read
    /// before.
    pub(super) younger: bool,
    /// It was last written to before the place was, so it is not the file of the
    /// place, however alike they are.
    pub(super) older: bool,
    /// By the numbers in the names, a file is missing just before it.
    pub(super) after_hole: bool,
    /// Whether it can be read.
    pub(super) condition: Condition,
}

/// Whether a place is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(super) enum Match {
    /// It is not: another start, or other bytes before the offset.
    #[default]
    No,
    /// The head and the bytes before the offset are those that were read.
    Yes,
    /// It begins alike, but ends before the offset.
    Shorter,
    /// It begins alike and is compressed: only reading it tells.
    Unknown,
}

/// Whether a file can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(super) enum Condition {
    /// It can, and has content.
    #[default]
    Ready,
    /// There is nothing in it yet.
    Empty,
    /// Compressed, and not yet known to be whole.
    Unverified,
    /// Compressed, and still being written as it seems: why.
    Unfinished(String),
    /// Compressed, and damaged: it can be read up to there.
    Broken,
    /// The system does not let it be read, or it is no file: why.
    Unreadable(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(super) enum Decision {
    /// The place is in this file: go on there.
    Read(usize),
    /// Go on in the file that is held.
    Drain,
    /// The file is done with: go on at the start of this one, its successor,
    /// behind a gap where one is named.
    Next(usize, Option<GapKind>),
    /// Read this compressed file through, to know whether it is whole and
    /// whether the place is in it.
    Verify(usize),
    /// Continuity would be lost: look again before that is believed.
    Doubt,
    /// There is nothing to do, or not yet; what is in the way, in words.
    Wait(Option<String>),
}

/// Decides. While not `sure`, what would be a loss is doubted: a rotation may be
/// under way.
pub(super) fn decide(at: &Position, files: &[Candidate], sure: bool) -> Decision {
    if !at.begun {
        // With nothing in it there is nothing to begin with, and whoever writes
        // may still do so to one that was rotated empty.
        let first = next_from(0, files).filter(|it| !files[*it].is_empty_live());
        return first.map_or(Decision::Wait(None), |it| enter(it, &files[it], None));
    }
    let mine = mine(files);
    if let Some(mine) = mine.filter(|mine| files[*mine].mine == Match::Yes) {
        return in_file(at, files, mine, sure);
    }
    if at.held && !at.exhausted {
        return Decision::Drain;
    }
    if let Some(unknown) = mine {
        return match &files[unknown].condition {
            Condition::Unfinished(why) => Decision::Wait(Some(why.clone())),
            _ => Decision::Verify(unknown),
        };
    }
    nowhere(at, files, sure)
}

/// The file that the place is in, or may be in.
///
/// Files can begin alike, and be alike up to the place. Then it is the first of
/// them that was written to after the place was, so that nothing is passed over:
/// also where the file with the right inode comes later, because that may have
/// been cut and the first one be its copy. One that was written to last before
/// the place was can only be it with the right inode, by a clock that was set
/// back.
pub(super) fn mine(files: &[Candidate]) -> Option<usize> {
    let may_be = |file: &&Candidate| {
        matches!(file.mine, Match::Yes | Match::Unknown)
            && (!file.older || file.same_inode)
    };
    let first = files.iter().position(|file| may_be(&file))?;
    if files[first].younger || files[first].same_inode {
        return Some(first);
    }
    // Written to at the same instant: here the inode tells.
    let same = files.iter().position(|file| may_be(&file) && file.same_inode);
    Some(same.unwrap_or(first))
}

/// Whether the file of the place was cut in place: it is there, and the place is
/// not in it.
pub(super) fn is_cut(files: &[Candidate]) -> bool {
    let same = files.iter().rposition(|file| file.same_inode);
    same.is_some_and(|same| mine(files).is_none_or(|mine| mine < same))
}

/// The place is in one of the files.
fn in_file(at: &Position, files: &[Candidate], mine: usize, sure: bool) -> Decision {
    if !at.exhausted {
        return match &files[mine].condition {
            Condition::Unverified => Decision::Verify(mine),
            Condition::Unfinished(why) | Condition::Unreadable(why) if !at.held => {
                Decision::Wait(Some(why.clone()))
            }
            _ => Decision::Read(mine),
        };
    }
    let Some(index) = next_from(mine + 1, files) else { return Decision::Wait(None) };
    let next = &files[index];
    let is_after_hole = files[mine + 1..=index].iter().any(|file| file.after_hole);
    let gap = match (at.cut, at.broken, is_after_hole) {
        (_, true, _) => Some(GapKind::Damaged),
        (true, ..) => Some(GapKind::Truncated),
        (.., true) if !sure => return Decision::Doubt,
        (.., true) => Some(GapKind::Missing),
        _ => None,
    };
    if next.is_empty_live() && gap.is_none() {
        // Whoever wrote the old one may still do so.
        return Decision::Wait(None);
    }
    enter(index, next, gap)
}

/// The place is in none of the files.
fn nowhere(at: &Position, files: &[Candidate], sure: bool) -> Decision {
    let first_younger = (files.iter().position(|file| file.younger || file.live))
        .and_then(|at| next_from(at, files));
    if at.held {
        // Deleted, and read to its end. What was the successor may have been
        // copied and cut since: then its copies come first.
        let successor = at.successor.and_then(|it| next_from(it, files));
        let Some(next) = successor.into_iter().chain(first_younger).min() else {
            return Decision::Wait(None);
        };
        if files[next].is_empty_live() {
            return Decision::Wait(None);
        }
        let is_known = successor == Some(next) || at.awake;
        return enter(next, &files[next], (!is_known).then_some(GapKind::Missing));
    }
    if at.cut {
        // A copy that ends before the place holds nothing new; what was written
        // behind its end is what the gap is about.
        let copy = |file: &Candidate| file.younger && !file.live;
        let next = match first_younger {
            Some(it) if copy(&files[it]) && files[it].mine == Match::Shorter => {
                next_from(it + 1, files)
            }
            other => other,
        };
        return next.map_or(Decision::Wait(None), |next| {
            enter(next, &files[next], Some(GapKind::Truncated))
        });
    }
    match first_younger {
        None => Decision::Wait(None),
        Some(_) if !sure => Decision::Doubt,
        Some(next) => enter(next, &files[next], Some(GapKind::Deleted)),
    }
}

/// The next file with something in it, or else the live one: in an empty one
/// there is nothing to read, and nothing to recognise it by.
fn next_from(from: usize, files: &[Candidate]) -> Option<usize> {
    let is_one = |file: &Candidate| file.live || file.condition != Condition::Empty;
    files[from..].iter().position(is_one).map(|at| from + at)
}

/// Begins a file, if it can be read.
fn enter(index: usize, file: &Candidate, gap: Option<GapKind>) -> Decision {
    match &file.condition {
        Condition::Unverified => Decision::Verify(index),
        Condition::Unfinished(why) | Condition::Unreadable(why) => {
            Decision::Wait(Some(why.clone()))
        }
        Condition::Ready | Condition::Empty | Condition::Broken => {
            Decision::Next(index, gap)
        }
    }
}

impl Candidate {
    fn is_empty_live(&self) -> bool {
        self.live && self.condition == Condition::Empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        at: Position,
        files: Vec<Candidate>,
        sure: bool,
        then: Decision,
    }

    /// The name of a case says what it shows.
    #[test]
    fn every_case_file_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decide_log");
        let options = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        let mut cases = 0;
        let mut failed = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let case: Case = options
                .from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let decision = decide(&case.at, &case.files, case.sure);
            if decision != case.then {
                let path = path.display();
                failed.push(format!("{path}: {decision:?}, not {:?}", case.then));
            }
            cases += 1;
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(cases >= 30, "only {cases} case files");
    }
}

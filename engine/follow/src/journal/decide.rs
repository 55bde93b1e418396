//! Which file to read next: a pure function of what was read and what is there.
//!
//! Every rotation, restore, loss and race ends up here as one table of facts,
//! and each row of behaviour is a file in `tests/decide/`.

use tripline_api::GapKind;

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Position {
    /// The journal it is in, or wants to begin with.
    pub(crate) sequence: u64,
    /// How far it has read in it.
    pub(crate) offset: u64,
    /// It has read up to a trailer, which names this number as the next.
    #[cfg_attr(test, serde(default))]
    pub(crate) next: Option<u64>,
    /// It holds the file open and has read all of it.
    #[cfg_attr(test, serde(default))]
    pub(crate) exhausted: bool,
    /// Something was read there; otherwise somebody only named the place.
    #[cfg_attr(test, serde(default))]
    pub(crate) proved: bool,
    /// When the journal began, in seconds since 1970, as its header says.
    #[cfg_attr(test, serde(default))]
    pub(crate) began: Option<i64>,
    /// The numbering has started over before: older files of the right number
    /// are of another life.
    #[cfg_attr(test, serde(default))]
    pub(crate) restored: bool,
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Candidate {
    /// The number inside.
    #[cfg_attr(test, serde(default))]
    pub(crate) number: Option<u64>,
    /// What its trailer or its name says of the number.
    #[cfg_attr(test, serde(default))]
    pub(crate) hint: Option<u64>,
    /// It stands at the configured path.
    #[cfg_attr(test, serde(default))]
    pub(crate) live: bool,
    #[cfg_attr(test, serde(default))]
    pub(crate) gzip: bool,
    /// The reader holds this very file open.
    #[cfg_attr(test, serde(default))]
    pub(crate) held: bool,
    /// Bytes in it; of a compressed file not read yet, 0.
    #[cfg_attr(test, serde(default))]
    pub(crate) size: u64,
    #[cfg_attr(test, serde(default))]
    pub(crate) header_time: Option<i64>,
    /// Its header names another root than ours: perhaps another server's, and
    /// perhaps ours was moved, so it is taken only where there is no other.
    #[cfg_attr(test, serde(default))]
    pub(crate) foreign: bool,
    pub(crate) condition: Condition,
    /// Whether it is the file the position is in.
    #[cfg_attr(test, serde(default))]
    pub(crate) proof: Match,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) enum Condition {
    /// It can be read.
    Ready,
    /// Compressed, and not yet known to be whole.
    Unverified,
    /// Too little in it to tell anything.
    NotYet,
    /// Not whole, and why: a copy or a compression in the making, or one that
    /// never came to its end.
    Unusable(String),
    /// The system does not let it be read, and why.
    Unreadable(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) enum Match {
    /// It was not compared, or cannot be without being read.
    #[default]
    Unknown,
    /// Its head and the bytes before the offset are those that were read.
    Yes,
    /// Its head is, but what stands before the offset is not.
    HeadOnly,
    /// It begins differently.
    No,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) enum Decision {
    /// Go on at the position, in this file.
    Resume(usize),
    /// The journal is finished: begin this one, its successor.
    Next(usize),
    /// Read this compressed file through first, to know whether it is whole.
    Verify(usize),
    /// Continuity is lost: go on with this file, from its start.
    Gap {
        kind: GapKind,
        file: usize,
        /// The journals of which nothing was found.
        missing: Option<(u64, u64)>,
        /// The numbering starts over.
        new_era: bool,
    },
    /// There is nothing to do, or not yet; what is missing, in words.
    Wait(Option<String>),
}

/// Decides. While `patient`, a file that may be the wanted one and cannot be
/// read yet is waited for; otherwise what is lost is lost.
pub(crate) fn decide(at: &Position, files: &[Candidate], patient: bool) -> Decision {
    if let Some(decision) = same_journal(at, files) {
        return decision;
    }
    if let Some(next) = at.next
        && let Some(decision) = successor(at, next, files)
    {
        return decision;
    }
    let held_is_live = files.iter().any(|f| f.held && f.live);
    if at.exhausted && held_is_live {
        // It is being written to: whatever else lies around, this is the end.
        return Decision::Wait(None);
    }
    let unclear = unclear(at, files);
    match loss(at, files) {
        Some(_) if unclear.as_ref().is_some_and(|u| u.is_there || patient) => {
            Decision::Wait(unclear.map(|u| u.why))
        }
        Some(gap) => gap,
        None => Decision::Wait(unclear.map(|u| u.why).or_else(|| nowhere(at))),
    }
}

/// The journal the position is in, under whatever name it has now.
fn same_journal(at: &Position, files: &[Candidate]) -> Option<Decision> {
    let usable = |f: &Candidate| {
        let more = !at.exhausted || (!f.held && f.size > at.offset);
        let unread = f.condition == Condition::Unverified && f.proof == Match::Unknown;
        match f.condition {
            // An exhausted file's compressed twin has nothing to add.
            Condition::Unverified => !at.exhausted && at.next.is_none() && unread,
            Condition::Ready => more && f.proof == Match::Yes,
            _ => false,
        }
    };
    let best = best(files, |f| belongs(at, f) && usable(f))?;
    if at.next.is_some() && files[best].size <= at.offset {
        return None;
    }
    Some(match files[best].condition {
        Condition::Ready => Decision::Resume(best),
        _ => Decision::Verify(best),
    })
}

fn successor(at: &Position, next: u64, files: &[Candidate]) -> Option<Decision> {
    let best = best(files, |f| {
        f.number == Some(next) && f.is_readable() && !f.held && may_follow(at, f)
    })?;
    Some(match files[best].condition {
        Condition::Ready => Decision::Next(best),
        _ => Decision::Verify(best),
    })
}

/// What was lost, if anything else is there to go on with.
fn loss(at: &Position, files: &[Candidate]) -> Option<Decision> {
    let wanted = at.next.unwrap_or(at.sequence);
    if at.next.is_none()
        && !at.exhausted
        && let Some(file) = best(files, |f| belongs(at, f) && f.is_other_content())
    {
        let kind = match files[file].proof {
            Match::HeadOnly => GapKind::Replaced,
            _ => GapKind::Restored,
        };
        return Some(Decision::Gap { kind, file, missing: None, new_era: true });
    }
    let newer = |f: &&Candidate| {
        f.is_readable()
            && may_follow(at, f)
            && !is_older(at, f)
            && f.number.is_some_and(|number| number > at.sequence)
    };
    let lowest = files.iter().filter(newer).filter_map(|f| f.number).min();
    // With the live journal's numbers behind ours, what is ahead is of an
    // earlier life of the server.
    let gone_back = at.proved.then(|| gone_back(at, files)).flatten();
    if let (Some(number), None) = (lowest, &gone_back) {
        let file = best(files, |f| newer(&f) && f.number == Some(number))?;
        let first = if at.exhausted && at.next.is_none() { wanted + 1 } else { wanted };
        let missing = (first < number).then(|| (first, number - 1));
        let kind =
            if missing.is_some() { GapKind::Missing } else { GapKind::Unterminated };
        return Some(match files[file].condition {
            Condition::Ready => Decision::Gap { kind, file, missing, new_era: false },
            _ => Decision::Verify(file),
        });
    }
    gone_back
}

/// The live journal is not ours, and its number is one we have passed.
fn gone_back(at: &Position, files: &[Candidate]) -> Option<Decision> {
    let file = best(files, |f| {
        f.live
            && !f.held
            && f.condition == Condition::Ready
            && f.proof != Match::Yes
            && f.number.is_none_or(|number| number <= at.sequence)
    })?;
    let kind = match files[file].number {
        Some(_) => GapKind::Restored,
        None => GapKind::Replaced,
    };
    Some(Decision::Gap { kind, file, missing: None, new_era: true })
}

struct Unclear {
    /// It is surely the wanted one, so no time is too long to wait for it.
    is_there: bool,
    why: String,
}

/// A file that may turn out to be the wanted one.
fn unclear(at: &Position, files: &[Candidate]) -> Option<Unclear> {
    let wanted = at.next.unwrap_or(at.sequence);
    let may_be = |f: &&Candidate| {
        !f.held && (f.live || f.hint == Some(wanted) || f.number == Some(wanted))
    };
    files.iter().filter(may_be).find_map(|f| match &f.condition {
        Condition::NotYet if f.live => Some(Unclear {
            is_there: false,
            why: format!("the live journal says nothing yet; journal {wanted} is next"),
        }),
        Condition::NotYet => Some(Unclear {
            is_there: false,
            why: format!("the file of journal {wanted} is not written yet"),
        }),
        Condition::Unusable(why) => Some(Unclear { is_there: false, why: why.clone() }),
        Condition::Unreadable(why) => Some(Unclear { is_there: true, why: why.clone() }),
        Condition::Ready | Condition::Unverified => None,
    })
}

fn nowhere(at: &Position) -> Option<String> {
    let unfinished = at.next.is_none() && !at.exhausted;
    unfinished.then(|| format!("journal {} is not there yet", at.sequence))
}

/// Whether the file claims to be the journal the position is in.
fn belongs(at: &Position, f: &Candidate) -> bool {
    match f.number {
        Some(number) => number == at.sequence,
        None if at.proved => match f.proof {
            Match::Yes | Match::HeadOnly => true,
            // Compressed, begins as the one that was read, and not read through.
            Match::Unknown => f.condition == Condition::Unverified,
            Match::No => false,
        },
        None => may_be_meant(at, f),
    }
}

/// Whether a file without a number inside can be the one that somebody named
/// by number: a server's first, by what its trailer or name says, or a live one
/// that was put in another's place.
pub(super) fn may_be_meant(at: &Position, f: &Candidate) -> bool {
    at.sequence == 0 || f.hint == Some(at.sequence) || (at.restored && f.live)
}

/// Whether the file can come behind what was read: it is of the server's life
/// after the last restore.
fn may_follow(at: &Position, f: &Candidate) -> bool {
    f.live || !at.restored || !is_older(at, f)
}

fn is_older(at: &Position, f: &Candidate) -> bool {
    match (at.began, f.header_time) {
        (Some(began), Some(time)) => time < began && !f.live,
        _ => false,
    }
}

/// The best of several files of one number: one that names the same server,
/// then one that needs no decompression, then the live one, then the longest.
fn best(files: &[Candidate], fits: impl Fn(&Candidate) -> bool) -> Option<usize> {
    let fitting = files.iter().enumerate().filter(|(_, f)| fits(f));
    fitting
        .max_by_key(|(_, f)| (!f.foreign, !f.gzip, f.live, f.size))
        .map(|(index, _)| index)
}

impl Candidate {
    const fn is_readable(&self) -> bool {
        matches!(self.condition, Condition::Ready | Condition::Unverified)
    }

    /// It is there, and something is wrong with it.
    pub(crate) const fn is_trouble(&self) -> bool {
        matches!(self.condition, Condition::Unusable(_) | Condition::Unreadable(_))
    }

    fn is_other_content(&self) -> bool {
        self.condition == Condition::Ready
            && matches!(self.proof, Match::No | Match::HeadOnly)
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
        patient: bool,
        then: Decision,
    }

    /// The name of a case says what it shows.
    #[test]
    fn every_case_file_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/decide");
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
            let decision = decide(&case.at, &case.files, case.patient);
            if decision != case.then {
                failed.push(format!(
                    "{}: {decision:?}, not {:?}",
                    path.display(),
                    case.then
                ));
            }
            cases += 1;
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(cases >= 20, "only {cases} case files");
    }
}

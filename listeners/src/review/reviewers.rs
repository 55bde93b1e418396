//! Who reviews a file.
//!
//! Lines are found by the folder in which a path must lie to match them, so
//! that a change of a hundred thousand files on a server with ten thousand
//! lines looks at the few that may match.

use super::rows::{Line, Name};
use p4journal::{Case, PathPattern};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The lines of `db.review`.
#[derive(Debug)]
pub(super) struct Reviewers {
    case: Case,
    /// By user, case folded, and number.
    lines: BTreeMap<(Name, i64), Line>,
    /// The same lines, by the folder in which what they match lies.
    folders: HashMap<Box<[u8]>, Folder>,
}

type Folder = BTreeMap<(Name, i64), Indexed>;

#[derive(Debug)]
struct Indexed {
    pattern: PathPattern,
    includes: bool,
}

/// Nobody reviews a longer path: servers take no longer ones than 2 KiB.
const PATH_BYTES_MAX: usize = 8 * 1024;

impl Reviewers {
    pub(super) fn new(case: Case) -> Self {
        Self { case, lines: BTreeMap::new(), folders: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn get(&self, user: &Name, seq: i64) -> Option<&Line> {
        self.lines.get(&(Name::clone(user), seq))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&(Name, i64), &Line)> {
        self.lines.iter()
    }

    /// Puts a line of `user`, whose case is folded.
    pub(super) fn put(&mut self, user: Name, line: Line) {
        let key = (user, line.seq);
        self.remove(&key.0, key.1);
        if let Some(pattern) = PathPattern::new(&line.pattern, self.case) {
            let includes = line.flag.includes();
            let folder = self.folders.entry(folder_of(&pattern).into()).or_default();
            folder.insert(key.clone(), Indexed { pattern, includes });
        }
        self.lines.insert(key, line);
    }

    /// Whether there was such a line.
    pub(super) fn remove(&mut self, user: &Name, seq: i64) -> bool {
        let key = (Name::clone(user), seq);
        let Some(line) = self.lines.remove(&key) else { return false };
        if let Some(pattern) = PathPattern::new(&line.pattern, self.case) {
            let folder = folder_of(&pattern);
            if let Some(lines) = self.folders.get_mut(folder) {
                lines.remove(&key);
                if lines.is_empty() {
                    self.folders.remove(folder);
                }
            }
        }
        true
    }

    /// Takes all lines out.
    pub(super) fn drain(&mut self) -> Vec<Line> {
        self.folders.clear();
        std::mem::take(&mut self.lines).into_values().collect()
    }

    /// Adds who reviews this file to those `found` for the same change.
    ///
    /// Of a user's lines that match, the last one decides.
    pub(super) fn add_of(&self, path: &[u8], found: &mut BTreeSet<Name>) {
        if path.len() > PATH_BYTES_MAX || self.folders.is_empty() {
            return;
        }
        let path = self.case.fold(path);
        let mut deciding: BTreeMap<&Name, (i64, bool)> = BTreeMap::new();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for end in std::iter::once(0).chain(ends.map(|(at, _)| at + 1)) {
            let Some(lines) = self.folders.get(&path[..end]) else { continue };
            for ((user, seq), line) in lines {
                let is_known = found.contains(user)
                    || deciding.get(user).is_some_and(|(later, _)| later > seq);
                if !is_known && line.pattern.matches(&path) {
                    deciding.insert(user, (*seq, line.includes));
                }
            }
        }
        let includes = deciding.into_iter().filter(|(_, (_, includes))| *includes);
        found.extend(includes.map(|(user, _)| Name::clone(user)));
    }
}

/// What a path must start with, up to the last slash.
fn folder_of(pattern: &PathPattern) -> &[u8] {
    let head = pattern.head();
    let end = head.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    &head[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use p4journal::MapFlag;

    fn reviewers(case: Case, lines: &[(&str, i64, i64, &str)]) -> Reviewers {
        let mut reviewers = Reviewers::new(case);
        for &(user, seq, flag, pattern) in lines {
            let user = Name::from(user.as_bytes());
            let flag = MapFlag::of(flag);
            let line = Line { user, seq, flag, pattern: pattern.as_bytes().into() };
            reviewers.put(Name::clone(&line.user), line);
        }
        reviewers
    }

    fn of(reviewers: &Reviewers, path: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        reviewers.add_of(path.as_bytes(), &mut found);
        found.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    #[test]
    fn the_last_line_of_each_user_decides() {
        let mut reviewers = reviewers(
            Case::Sensitive,
            &[
                ("ann", 0, 0, "//depot/..."),
                ("ann", 1, 1, "//depot/old/..."),
                ("ann", 2, 2, "//depot/old/keep*"),
                ("bob", 1, 0, "//.../README"),
                ("bob", 0, 1, "//..."),
                ("cy", 0, 0, "//depot/a"),
                ("eve", 0, 0, "..."),
                ("mallory", 0, 0, &"*a".repeat(3000)),
            ],
        );
        assert_eq!(of(&reviewers, "//depot/a"), ["ann", "cy", "eve"]);
        assert_eq!(of(&reviewers, "//depot/old/x/README"), ["bob", "eve"]);
        assert_eq!(of(&reviewers, "//depot/old/keep.c"), ["ann", "eve"]);
        assert_eq!(of(&reviewers, "//Depot/a"), ["eve"]);
        let (ann, eve) = (Name::from(&b"ann"[..]), Name::from(&b"eve"[..]));
        assert!(reviewers.remove(&ann, 1) && !reviewers.remove(&ann, 1));
        assert!(reviewers.remove(&eve, 0));
        assert_eq!(of(&reviewers, "//depot/old/x"), ["ann"]);
        assert_eq!(reviewers.drain().len(), 6);
        assert_eq!(of(&reviewers, "//depot/a"), [""; 0]);
    }

    #[test]
    fn case_folds() {
        let reviewers = reviewers(
            Case::Insensitive,
            &[("ann", 0, 0, "//Depot/Src/..."), ("ann", 1, 1, "//depot/SRC/*.TXT")],
        );
        assert_eq!(of(&reviewers, "//dePOT/src/A.c"), ["ann"]);
        assert_eq!(of(&reviewers, "//depot/src/a.txt"), [""; 0]);
    }

    #[test]
    fn a_path_too_long_is_nobodys() {
        let reviewers = reviewers(Case::Sensitive, &[("ann", 0, 0, "//...")]);
        assert_eq!(of(&reviewers, &"/".repeat(PATH_BYTES_MAX)), ["ann"]);
        assert_eq!(of(&reviewers, &"/".repeat(PATH_BYTES_MAX + 1)), [""; 0]);
    }
}

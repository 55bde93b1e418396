//! Which logs there are: found by their patterns, known by their paths, and
//! recognised when they are renamed.

mod moves;
mod older;

use super::family::is_absent;
use super::links::{Links, Targets};
use super::names;
use super::paths::{Listed, Patterns};
use super::scan::Scan;
use super::trail::Trail;
use crate::file::Stamp;
use moves::Move;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tripline_api::{Cursor, Place, Settled, Start};

/// How many files are looked at in one slice of a scan.
const SLICE_FILES: usize = 256;
/// How many files that cannot be followed are remembered, to be told.
const TROUBLES_MAX: usize = 1000;

/// All logs of a source.
pub(super) struct Logs {
    patterns: Patterns,
    /// Where rotated files are kept besides the logs' own folders.
    rotated: Vec<PathBuf>,
    trails: Vec<Trail>,
    by_path: HashMap<Arc<Path>, usize>,
    /// Who reads the file with this inode, or did last.
    owners: HashMap<(u64, u64), usize>,
    scan: Scan,
    links: Links,
    /// The time of the last look.
    now: Instant,
    /// The source was not begun with before.
    is_fresh: bool,
    /// Found on the walk as links, by their paths.
    found_links: HashSet<PathBuf>,
    /// Logs to look at.
    woken: Vec<usize>,
    /// Logs whose place is another without an entry.
    moved: Vec<usize>,
    directories: BTreeSet<PathBuf>,
    has_new_directories: bool,
    /// Files that match and are not followed, and why.
    troubles: BTreeMap<PathBuf, String>,
    /// Files of which something was said that is said once.
    told_of: BTreeSet<PathBuf>,
    notices: Vec<String>,
}

/// What one log has to know of the others.
#[derive(Clone, Copy)]
pub(super) struct Others<'a> {
    index: usize,
    by_path: &'a HashMap<Arc<Path>, usize>,
    owners: &'a HashMap<(u64, u64), usize>,
    patterns: &'a Patterns,
}

impl Others<'_> {
    /// Whether another log reads the file with an inode, or did last.
    pub(super) fn own(&self, inode: (u64, u64)) -> bool {
        self.owners.get(&inode).is_some_and(|owner| *owner != self.index)
    }

    /// Whether the file at a path is followed as a log of its own.
    pub(super) fn follow(&self, path: &Path) -> bool {
        self.patterns.is_literal(path) || self.by_path.contains_key(path)
    }
}

impl Logs {
    pub(super) fn new(
        patterns: Patterns,
        rotated: Vec<PathBuf>,
        targets: Targets,
        settled: &Settled,
    ) -> Self {
        let mut logs = Self {
            patterns,
            rotated,
            trails: Vec::new(),
            by_path: HashMap::new(),
            owners: HashMap::new(),
            scan: Scan::new(),
            links: Links::new(targets),
            now: Instant::now(),
            is_fresh: !settled.contains_key(&None),
            found_links: HashSet::new(),
            woken: Vec::new(),
            moved: Vec::new(),
            directories: BTreeSet::new(),
            has_new_directories: false,
            troubles: BTreeMap::new(),
            told_of: BTreeSet::new(),
            notices: Vec::new(),
        };
        for (path, cursor) in settled {
            // What is no longer asked for stays where it is.
            let Some(path) = path.as_ref().filter(|it| logs.patterns.matches(it)) else {
                continue;
            };
            let index = logs.add(path.clone(), Some(cursor.clone()));
            if let Some(proof) = &cursor.proof {
                logs.owners.insert(proof.inode, index);
            }
        }
        logs
    }

    pub(super) fn trail_mut(&mut self, index: usize) -> &mut Trail {
        &mut self.trails[index]
    }

    /// The logs that begin behind what is there.
    pub(super) fn to_pass(&self, start: &Start) -> BTreeSet<usize> {
        let is_one = |index: &usize| {
            let trail = &self.trails[*index];
            *start == Start::Now && trail.was_there && trail.cursor.is_none()
        };
        (0..self.trails.len()).filter(is_one).collect()
    }

    /// Why files that match are not followed.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &String> {
        self.troubles.values()
    }

    /// The directories in which a change is a reason to look, when they are
    /// others than before.
    pub(super) fn take_directories(&mut self) -> Option<Vec<PathBuf>> {
        std::mem::take(&mut self.has_new_directories)
            .then(|| self.directories.iter().cloned().collect())
    }

    /// Logs at which something changed.
    pub(super) fn take_woken(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.woken)
    }

    /// Logs whose place is another, without an entry that says so.
    pub(super) fn take_moved(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.moved)
    }

    /// Something that a person should know.
    pub(super) fn take_notice(&mut self) -> Option<String> {
        self.notices.pop()
    }

    /// Looks at everything again.
    pub(super) const fn rescan(&mut self) {
        self.scan.want();
    }

    /// Whether not all that is there is known yet.
    pub(super) const fn is_first_scan(&self) -> bool {
        self.scan.is_first()
    }

    pub(super) fn is_scanning(&self, now: Instant) -> bool {
        self.scan.has_work(now)
    }

    /// When everything will be looked at again, if that is known.
    pub(super) const fn scans_at(&self) -> Option<Instant> {
        self.scan.due_at()
    }

    /// A slice of a look at everything; returns whether that was the last one.
    pub(super) fn scan(&mut self, now: Instant) -> bool {
        self.now = now;
        if !self.scan.has_work(now) {
            return false;
        }
        if !self.scan.found.is_empty() {
            let count = self.scan.found.len().min(SLICE_FILES);
            let slice: Vec<_> = self.scan.found.drain(..count).collect();
            self.look_at(&slice);
        } else if let Some(walk) = &mut self.scan.walk {
            match walk.step() {
                Some(listed) => self.listed(listed),
                None => {
                    self.scan.walk = None;
                    // What is gone is not found by walking.
                    let lost = self.trails.iter().filter(|trail| !trail.is_found);
                    self.scan.found.extend(lost.map(|trail| trail.path.to_path_buf()));
                }
            }
        } else {
            self.begin_scan(now);
        }
        let is_over = self.scan.is_under_way()
            && self.scan.walk.is_none()
            && self.scan.found.is_empty();
        if is_over {
            self.add_links();
            if self.scan.end(now) {
                // What was read before is looked at, whether it changed or not.
                self.woken.extend(0..self.trails.len());
            }
        }
        is_over
    }

    fn listed(&mut self, listed: Listed) {
        if listed.is_worth_watching {
            self.watch(listed.directory.clone());
        }
        match listed.entries {
            Ok(entries) => {
                for found in entries {
                    if found.is_symlink {
                        self.found_links.insert(found.path.clone());
                    }
                    self.scan.found.push_back(found.path);
                }
            }
            Err(error) => {
                self.trouble(&listed.directory, &format!("cannot be listed: {error}"));
            }
        }
    }

    fn watch(&mut self, folder: PathBuf) {
        self.has_new_directories |= self.directories.insert(folder);
    }

    /// Where links lead to is watched too.
    fn add_links(&mut self) {
        for path in std::mem::take(&mut self.found_links) {
            if let Some(&index) = self.by_path.get(&*path)
                && let Some(folder) = self.links.add(&path, index)
            {
                self.watch(folder);
            }
        }
    }

    fn begin_scan(&mut self, now: Instant) {
        self.troubles.clear();
        self.scan.begin(self.patterns.walk(), now);
        for folder in self.rotated.clone() {
            self.watch(folder);
        }
        let literals = self.patterns.literals().to_vec();
        for path in literals {
            if let Some(folder) = path.parent() {
                self.watch(folder.to_owned());
            }
            if path.is_symlink() {
                self.found_links.insert(path.clone());
            }
            // It may have been rotated away, and its rotated files be there.
            if !path.exists() {
                if !self.by_path.contains_key(&*path) {
                    let index = self.add(path.clone().into(), None);
                    self.wake(index);
                }
                self.trouble(&path, "is not there");
            }
            self.scan.found.push_back(path);
        }
        self.trails.iter_mut().for_each(|trail| trail.is_found = false);
    }

    /// These paths changed.
    pub(super) fn changed(&mut self, paths: &[PathBuf]) {
        let mut changed = Vec::new();
        for path in paths {
            if self.by_path.contains_key(&**path) || self.patterns.matches(path) {
                changed.push(path.clone());
            } else if let Some(index) = self.links.log_at(path) {
                changed.push(self.trails[index].path.to_path_buf());
            } else if !self.wake_bases(path) && self.patterns.concerns_directory(path) {
                // A new directory, or one that is gone.
                self.rescan();
            }
        }
        self.look_at(&changed);
    }

    /// A rotated file changed: wakes the logs it may belong to.
    fn wake_bases(&mut self, path: &Path) -> bool {
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            return false;
        };
        let bases = names::bases_of(name.as_bytes());
        let mut woke = false;
        for base in &bases {
            let base = OsStr::from_bytes(base);
            if let Some(&index) = self.by_path.get(&*folder.join(base)) {
                self.wake(index);
                woke = true;
            }
            if self.rotated.iter().any(|it| it == folder) {
                let of_that_name =
                    |it: &&usize| self.trails[**it].path.file_name() == Some(base);
                let indexes: Vec<_> =
                    self.by_path.values().filter(of_that_name).copied().collect();
                woke |= !indexes.is_empty();
                indexes.into_iter().for_each(|index| self.wake(index));
            }
        }
        woke
    }

    fn wake(&mut self, index: usize) {
        self.trails[index].hint(self.now);
        self.woken.push(index);
    }

    /// The file at this log's path was read by another one: it may have been
    /// renamed. Returns false when it is still the other's: a second name.
    pub(super) fn settle_owner(&mut self, index: usize) -> bool {
        let path = self.trails[index].path.to_path_buf();
        self.trails[index].seen = Stamp::unknown();
        self.look_at(std::slice::from_ref(&path));
        let owner = self.owners.get(&self.trails[index].seen.inode).copied();
        let Some(owner) = owner.filter(|owner| *owner != index) else { return true };
        let followed = self.trails[owner].path.clone();
        self.notice(&path, &followed);
        // The look has woken it: it shall rest.
        self.woken.retain(|woken| *woken != index);
        false
    }

    /// A log, and what it has to know of the others.
    pub(super) fn trail_and_others(&mut self, index: usize) -> (&mut Trail, Others<'_>) {
        let Self { trails, by_path, owners, patterns, .. } = self;
        (&mut trails[index], Others { index, by_path, owners, patterns })
    }

    /// Looks at files that were found or have changed.
    fn look_at(&mut self, paths: &[PathBuf]) {
        let mut moves = Vec::new();
        for path in paths {
            self.look_at_one(path, &mut moves);
        }
        self.apply(moves);
    }

    fn look_at_one(&mut self, path: &Path, moves: &mut Vec<Move>) {
        let known = self.by_path.get(path).copied();
        if let Some(index) = known {
            self.trails[index].is_found = true;
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                if !is_absent(&error) {
                    self.trouble(path, &format!("cannot be looked at: {error}"));
                }
                if let Some(index) = known
                    && self.trails[index].seen.inode != (0, 0)
                {
                    self.trails[index].seen = Stamp::unknown();
                    self.wake(index);
                }
                return;
            }
        };
        if !metadata.is_file() {
            if !metadata.is_dir() || known.is_some() {
                self.trouble(path, "is not a regular file, so it is not followed");
            }
            return;
        }
        self.troubles.remove(path);
        let stamp = Stamp::of(&metadata);
        if known.is_none()
            && let Some(log) = self.newer_of(path)
        {
            self.tell_if_alive(path, stamp, &log);
            self.wake_bases(path);
            return;
        }
        let owner = self.owners.get(&stamp.inode).copied();
        if let Some(index) = known {
            let before = std::mem::replace(&mut self.trails[index].seen, stamp);
            if before == stamp {
                return;
            }
            if before.inode != stamp.inode && path.is_symlink() {
                // It may lead elsewhere by now.
                self.found_links.insert(path.to_owned());
                self.add_links();
            }
            self.wake(index);
            if owner == Some(index) {
                return;
            }
        }
        match owner {
            Some(owner) if Some(owner) != known && self.is_still_at(owner, stamp) => {
                if known.is_none() {
                    let followed = self.trails[owner].path.clone();
                    self.notice(path, &followed);
                }
            }
            Some(owner) if Some(owner) != known => {
                match self.moved_from(owner, path, stamp) {
                    Ok(Some(found)) => moves.push(found),
                    Ok(None) => self.begin(path, known, stamp),
                    // It moves still: another look.
                    Err(error) if is_absent(&error) => self.rescan(),
                    // It cannot be looked into: its own trail says so, until it
                    // can, and then it is moved.
                    Err(_) => {
                        let index = known.unwrap_or_else(|| self.add(path.into(), None));
                        self.trails[index].seen = stamp;
                        self.wake(index);
                    }
                }
            }
            _ => self.begin(path, known, stamp),
        }
    }

    fn begin(&mut self, path: &Path, known: Option<usize>, stamp: Stamp) {
        let index = known.unwrap_or_else(|| self.add(path.into(), None));
        self.trails[index].seen = stamp;
        self.owners.insert(stamp.inode, index);
        if known.is_none() {
            self.wake(index);
        }
    }

    fn add(&mut self, path: Arc<Path>, cursor: Option<Cursor>) -> usize {
        let index = self.trails.len();
        let is_first = self.patterns.literals().first().is_some_and(|it| **it == *path)
            && self.patterns.order(&path) == 0;
        let era = if is_first { 0 } else { Place::era_of_log(&path) };
        self.by_path.insert(path.clone(), index);
        let mut trail = Trail::new(path, era, cursor);
        trail.was_there = self.is_fresh && self.scan.is_first();
        // It was just looked at, and a scan that begins forgets it.
        trail.is_found = true;
        self.trails.push(trail);
        index
    }

    /// Said once for each.
    fn notice(&mut self, path: &Path, followed: &Path) {
        let is_one = format!(
            "{} is the same file as {}: it is followed once, under that name",
            path.display(),
            followed.display()
        );
        self.tell_of(path, is_one);
    }

    /// Says something of a file, once.
    pub(super) fn tell_of(&mut self, path: &Path, what: String) {
        if self.told_of.len() < TROUBLES_MAX && self.told_of.insert(path.to_owned()) {
            self.notices.push(what);
        }
    }

    fn trouble(&mut self, path: &Path, what: &str) {
        if self.troubles.len() < TROUBLES_MAX {
            let words = format!("{} {what}", path.display());
            self.troubles.insert(path.to_owned(), words);
        }
    }
}

//! The files of a log: the one that is written to, and its rotated siblings.

use super::names::{self, Age};
use crate::file::Stamp;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Within this time two changes of a folder can have the same time stamp, so a
/// folder that changed more recently may change again without a sign.
const STAMP_GRAIN: Duration = Duration::from_millis(10);

/// How many folders are remembered between two looks.
const LISTINGS_MAX: usize = 64;

/// One file of a log.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// It stands at the log's own path.
    pub(super) live: bool,
    /// By the numbers in the names, a file is missing just before it.
    pub(super) after_hole: bool,
    /// It is called like the file at the path when it is compressed.
    pub(super) is_compressed_live: bool,
    age: Option<Age>,
    is_compressed: bool,
}

/// The files of a log, oldest first; the live one, if it is there, is the last.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    pub(super) members: Vec<Member>,
    /// Nothing moved while they were looked at, so they all belong to one
    /// moment.
    pub(super) is_settled: bool,
    /// When the log's own folder was listed.
    pub(super) listed: Option<Instant>,
}

impl Family {
    /// Adds what the file at the log's path may have become: a compressed one of
    /// the same name. Says nothing of its age, so it is only for a place.
    pub(super) fn add_compressed(&mut self, log: &Path) {
        let Some(base) = log.file_name() else { return };
        for name in names::compressed(base.as_bytes()) {
            let path = log.with_file_name(OsStr::from_bytes(&name));
            if let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                let stamp = Stamp::of(&metadata);
                let member = Member::alone(&path, stamp);
                let member = Member { live: false, is_compressed_live: true, ..member };
                self.members.push(member);
            }
        }
    }

    /// Whether the file at the log's path is there.
    pub(super) fn has_live(&self) -> bool {
        self.members.last().is_some_and(|member| member.live)
    }

    /// What tells two looks at the same files apart.
    pub(super) fn fingerprint(&self) -> Vec<(PathBuf, (u64, u64))> {
        self.members.iter().map(|it| (it.path.clone(), it.stamp.inode)).collect()
    }
}

/// Lists folders, and keeps what it saw while they do not change: thousands of
/// logs may share one.
#[derive(Debug)]
pub(super) struct Folders {
    /// Where rotated files are kept besides the log's own folder.
    rotated: Vec<PathBuf>,
    listings: HashMap<PathBuf, Listing>,
}

#[derive(Debug)]
struct Listing {
    /// When the folder last changed, before it was listed.
    modified: SystemTime,
    /// It did not change while it was listed, and not just before.
    is_settled: bool,
    listed: Instant,
    /// The names that are rotations, by the name they are rotations of.
    rotations: HashMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Folders {
    pub(super) fn new(rotated: Vec<PathBuf>) -> Self {
        Self { rotated, listings: HashMap::new() }
    }

    /// What is there of a log now.
    ///
    /// # Errors
    ///
    /// When a folder cannot be listed; one that is not there is empty.
    pub(super) fn family(&mut self, log: &Path) -> io::Result<Family> {
        let Some((folder, base)) = log.parent().zip(log.file_name()) else {
            return Ok(Family::default());
        };
        let mut members = Vec::new();
        let mut is_settled = true;
        let rotated = std::mem::take(&mut self.rotated);
        for folder in std::iter::once(folder).chain(rotated.iter().map(PathBuf::as_path))
        {
            is_settled &= self.add_rotations(folder, base, &mut members)?;
        }
        self.rotated = rotated;
        sort(&mut members);
        members.extend(live(log)?);
        // The folders were not touched since they were listed: one moment.
        is_settled &= self.is_unchanged(folder);
        let listed = self.listings.get(folder).map(|listing| listing.listed);
        Ok(Family { members, is_settled, listed })
    }

    /// Whether a log has no rotated files as far as is known: a quick answer
    /// that [`Folders::is_alone`] has to confirm.
    ///
    /// # Errors
    ///
    /// As for [`Folders::family`].
    pub(super) fn seems_alone(&mut self, log: &Path) -> io::Result<bool> {
        let known = log.parent().and_then(|folder| self.listings.get(folder));
        match (known, log.file_name()) {
            (Some(listing), Some(base)) => {
                Ok(!listing.rotations.contains_key(base.as_bytes()))
            }
            _ => self.is_alone(log),
        }
    }

    /// Whether a log has no rotated files, nothing moves in the folders, and
    /// nothing did since they were listed.
    ///
    /// # Errors
    ///
    /// As for [`Folders::family`].
    pub(super) fn is_alone(&mut self, log: &Path) -> io::Result<bool> {
        let Some((folder, base)) = log.parent().zip(log.file_name()) else {
            return Ok(false);
        };
        let rotated = std::mem::take(&mut self.rotated);
        let mut is_alone = true;
        for folder in std::iter::once(folder).chain(rotated.iter().map(PathBuf::as_path))
        {
            is_alone &= self.listing(folder)?.is_none_or(|listing| {
                listing.is_settled && !listing.rotations.contains_key(base.as_bytes())
            });
        }
        self.rotated = rotated;
        Ok(is_alone)
    }

    fn add_rotations(
        &mut self,
        folder: &Path,
        base: &OsStr,
        members: &mut Vec<Member>,
    ) -> io::Result<bool> {
        let Some(listing) = self.listing(folder)? else { return Ok(true) };
        for name in listing.rotations.get(base.as_bytes()).into_iter().flatten() {
            let Some(rotation) = names::rotation_of(base.as_bytes(), name) else {
                continue;
            };
            let path = folder.join(OsStr::from_bytes(name));
            // One that went away meanwhile shows in the folder's time.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !metadata.is_file() {
                continue;
            }
            members.push(Member {
                path,
                stamp: Stamp::of(&metadata),
                live: false,
                after_hole: false,
                is_compressed_live: false,
                age: Some(rotation.age),
                is_compressed: rotation.is_compressed,
            });
        }
        Ok(listing.is_settled)
    }

    fn listing(&mut self, folder: &Path) -> io::Result<Option<&Listing>> {
        // One that was in motion serves all that ask in the same moment.
        let is_good = self.listings.get(folder).is_some_and(|listing| {
            listing.is_settled || listing.listed.elapsed() < STAMP_GRAIN
        });
        if !(is_good && self.is_unchanged(folder)) {
            if self.listings.len() >= LISTINGS_MAX {
                self.listings.clear();
            }
            match list(folder) {
                Ok(listing) => _ = self.listings.insert(folder.to_owned(), listing),
                Err(error) if is_absent(&error) => {
                    self.listings.remove(folder);
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.listings.get(folder))
    }

    /// Whether the folder is as it was listed.
    fn is_unchanged(&self, folder: &Path) -> bool {
        let listed = self.listings.get(folder).map(|listing| listing.modified);
        listed == modified(folder).ok()
    }
}

fn list(folder: &Path) -> io::Result<Listing> {
    let before = modified(folder)?;
    let mut rotations: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        for base in names::bases_of(name.as_bytes()) {
            rotations.entry(base).or_default().push(name.as_bytes().to_vec());
        }
    }
    let is_old = before.elapsed().is_ok_and(|age| age > STAMP_GRAIN);
    let is_settled = is_old && modified(folder)? == before;
    Ok(Listing { modified: before, is_settled, listed: Instant::now(), rotations })
}

fn modified(folder: &Path) -> io::Result<SystemTime> {
    fs::metadata(folder)?.modified()
}

impl Member {
    /// The file at a log's own path.
    pub(super) fn alone(path: &Path, stamp: Stamp) -> Self {
        Self {
            path: path.to_owned(),
            stamp,
            live: true,
            after_hole: false,
            is_compressed_live: false,
            age: None,
            is_compressed: false,
        }
    }

    /// Whether the file system says that the file was made after this time, in
    /// nanoseconds since 1970. Not every one does.
    pub(super) fn was_born_after(&self, time: i64) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| was_born_after(&metadata, time))
    }
}

/// Whether the file system says that a file was made after this time, in
/// nanoseconds since 1970: then it is another one with the same number.
pub(super) fn was_born_after(metadata: &fs::Metadata, time: i64) -> bool {
    let born = metadata.created().ok();
    let since_1970 = born.and_then(|it| it.duration_since(UNIX_EPOCH).ok());
    since_1970.is_some_and(|it| i128::from(time) < it.as_nanos() as i128)
}

fn live(log: &Path) -> io::Result<Option<Member>> {
    match fs::metadata(log) {
        Ok(metadata) => Ok(Some(Member::alone(log, Stamp::of(&metadata)))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Where a higher number is a newer file (log4j's `max`), their times rise with
/// the numbers, and not one falls.
fn turn_where_numbers_rise(members: &mut [Member]) {
    let is_numbered = |member: &Member| member.age.as_ref().is_some_and(Age::is_numbered);
    let Some(first) = members.iter().position(is_numbered) else { return };
    let count = members[first..].iter().take_while(|it| is_numbered(it)).count();
    let numbered = &mut members[first..first + count];
    let times: Vec<_> = numbered.iter().map(|member| member.stamp.modified).collect();
    let falls = times.windows(2).any(|pair| pair[0] > pair[1]);
    let rises = times.windows(2).any(|pair| pair[0] < pair[1]);
    if falls && !rises {
        numbered.reverse();
    }
}

/// Oldest first; by their times where the names have no order. Of a plain file
/// and a compressed one of the same name the plain one is kept: the other may
/// still be in the making.
fn sort(members: &mut Vec<Member>) {
    let plain: HashSet<_> =
        members.iter().filter(|it| !it.is_compressed).map(|it| it.path.clone()).collect();
    members
        .retain(|it| !it.is_compressed || !plain.contains(&it.path.with_extension("")));
    members.sort_by(|a, b| {
        let by_folder = || a.path.parent().cmp(&b.path.parent());
        let by_time = || a.stamp.modified.cmp(&b.stamp.modified);
        a.age.cmp(&b.age).then_with(by_folder).then_with(by_time)
    });
    turn_where_numbers_rise(members);
    for at in 1..members.len() {
        let pair = [members[at - 1].age.clone(), members[at].age.clone()];
        let ages: Vec<_> = pair.into_iter().flatten().collect();
        members[at].after_hole = ages.is_sorted() && !names::holes(&ages).is_empty();
    }
}

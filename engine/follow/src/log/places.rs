//! Places in logs for people: how far behind a cursor is, and where it can be
//! put.

use super::decide::Match;
use super::examine::Known;
use super::family::{Family, Folders};
use super::names;
use super::open::Open;
use super::source::LogSource;
use crate::archive::Format;
use crate::file;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tripline_api::{Behind, Cursor, Left, NextToGo, Place, Settled, SourceError, Start};

/// What is not settled of each log.
pub(super) fn behind(
    source: &LogSource,
    settled: &Settled,
) -> Result<Behind, SourceError> {
    let mut folders = Folders::new(source.rotated.clone());
    let mut behind = Behind::new();
    // The first start passes over what is there.
    let is_passed_over = settled.is_empty() && source.settings.start == Start::Now;
    for path in all_logs(source, settled)? {
        if is_passed_over {
            behind.insert(Some(path), Left { bytes: 0, next_to_go: None });
            continue;
        }
        let family = folders.family(&path).map_err(|error| {
            SourceError::io(format!("cannot look at {}", path.display()), error)
        })?;
        let cursor = settled.get(&Some(path.clone()));
        behind.insert(Some(path), left(source, &family, cursor));
    }
    Ok(behind)
}

/// What is left of a log behind a cursor; of compressed files what they have
/// compressed, as long as nobody reads them.
fn left(source: &LogSource, family: &Family, cursor: Option<&Cursor>) -> Left {
    let members = &family.members;
    let size = |from: usize| -> u64 {
        members[from..].iter().map(|member| member.stamp.size).sum()
    };
    // What an earlier look did not see rotated away says nothing of others.
    let next_to_go = |others_went: bool| {
        let oldest = members.first().filter(|oldest| !oldest.live)?;
        Some(NextToGo { path: oldest.path.clone(), others_went })
    };
    let Some(cursor) = cursor else {
        return Left { bytes: size(0), next_to_go: next_to_go(false) };
    };
    let inode = cursor.proof.as_ref().map(|proof| proof.inode);
    let mut known = Known::default();
    let mut mine = members.iter().rposition(|it| Some(it.stamp.inode) == inode);
    if mine.is_none() {
        let limits = source.settings.limits;
        mine = members.iter().rposition(|member| {
            let candidate = known.candidate(member, Some(cursor), limits, Instant::now());
            matches!(candidate.mine, Match::Yes | Match::Unknown)
        });
    }
    match mine {
        Some(mine) => {
            let others_went = cursor.place.sequence > 0;
            Left {
                bytes: size(mine).saturating_sub(cursor.place.offset),
                next_to_go: next_to_go(others_went).filter(|_| mine == 0),
            }
        }
        // Before that it is not known which were read.
        None => {
            let bytes = members.last().map_or(0, |member| member.stamp.size);
            Left { bytes, next_to_go: None }
        }
    }
}

/// Turns what a person asked for into places.
pub(super) fn find(
    source: &LogSource,
    wanted: &Start,
    log: Option<&Path>,
    before: &Settled,
) -> Result<Settled, SourceError> {
    let id = &source.settings.id;
    let mut paths = all_logs(source, before)?;
    if let Some(log) = log {
        paths.retain(|path| **path == *log);
        if paths.is_empty() {
            return Err(SourceError::new(format!(
                "{id} follows no log {}; `tripline where CONFIG` lists those it follows",
                log.display()
            )));
        }
    }
    let mut places = Settled::new();
    for path in paths {
        let cursor = before.get(&Some(path.clone()));
        if *wanted == Start::Now && log.is_none() && !path.is_file() {
            // It is gone, and at its end.
            continue;
        }
        let place = match (wanted, log) {
            (Start::Oldest, _) => Cursor::unproved(start(&path, cursor)),
            (Start::Now, _) => proved(&path, end(&path, cursor)?)?,
            (Start::Offset(sequence, offset), Some(_)) => {
                proved(&path, at(&path, cursor, *sequence, *offset)?)?
            }
            _ => {
                return Err(SourceError::new(format!(
                    "in a log one can go to `start`, to `end`, and with its path \
                     ({id}:{}) to SEQ:OFFSET in the file it is in",
                    path.display()
                )));
            }
        };
        places.insert(Some(path), place);
    }
    Ok(places)
}

fn start(path: &Path, cursor: Option<&Cursor>) -> Place {
    let era = cursor.map_or_else(|| Place::era_of_log(path), |it| it.place.era);
    Place::start_of(era, 0)
}

fn end(path: &Path, cursor: Option<&Cursor>) -> Result<Place, SourceError> {
    let start = live(path, cursor)?;
    let read = |error| SourceError::io(format!("cannot read {}", path.display()), error);
    let mut place = start;
    each_line(path, |bytes| {
        place = place.advance(bytes, 1);
        true
    })
    .map_err(read)?;
    Ok(place)
}

fn at(
    path: &Path,
    cursor: Option<&Cursor>,
    sequence: u64,
    offset: u64,
) -> Result<Place, SourceError> {
    let mut place = live(path, cursor)?;
    if sequence != place.sequence {
        return Err(SourceError::new(format!(
            "{} is at its file number {}; only in that one places can be set",
            path.display(),
            place.sequence
        )));
    }
    let read = |error| SourceError::io(format!("cannot read {}", path.display()), error);
    each_line(path, |bytes| {
        let goes_on = place.offset < offset;
        if goes_on {
            place = place.advance(bytes, 1);
        }
        goes_on
    })
    .map_err(read)?;
    match place.offset < offset {
        true => Err(SourceError::new(format!(
            "{} ends at offset {}",
            path.display(),
            place.offset
        ))),
        false => Ok(place),
    }
}

/// A place with what proves that it is in the file at the path, for which it was
/// found: that may be rotated before the place is used.
fn proved(path: &Path, place: Place) -> Result<Cursor, SourceError> {
    let mut open = Open::plain(path, None)?;
    open.read_head()?;
    let proof = Some(open.proof(&open.before(place.offset)?));
    Ok(Cursor { place, proof, next: None })
}

/// The start of the file that is written to, numbered as the cursor will be
/// when it gets there.
fn live(path: &Path, cursor: Option<&Cursor>) -> Result<Place, SourceError> {
    let metadata = fs::metadata(path).map_err(|error| {
        SourceError::io(format!("cannot open {}", path.display()), error)
    })?;
    let inode = file::Stamp::of(&metadata).inode;
    let Some(cursor) = cursor else {
        return Ok(Place::start_of(Place::era_of_log(path), 0));
    };
    let is_in_it = cursor.proof.as_ref().is_none_or(|proof| proof.inode == inode);
    let sequence = cursor.place.sequence + u64::from(!is_in_it);
    Ok(Place::start_of(cursor.place.era, sequence))
}

/// Calls with the length of each whole line, until that says no.
fn each_line(path: &Path, mut each: impl FnMut(u64) -> bool) -> io::Result<()> {
    let file = file::open(path)?;
    if Format::of_file(&file)?.is_some() {
        return Err(io::Error::other("it is compressed"));
    }
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let line_end = memchr::memchr(b'\n', buffer);
        let taken = line_end.map_or(buffer.len(), |at| at + 1);
        length += taken as u64;
        if line_end.is_some() && !each(std::mem::take(&mut length)) {
            return Ok(());
        }
        reader.consume(taken);
    }
}

/// Every log that is there or was begun with, ordered by its path.
fn all_logs(
    source: &LogSource,
    settled: &Settled,
) -> Result<Vec<Arc<Path>>, SourceError> {
    let mut paths: Vec<PathBuf> =
        settled.keys().flatten().map(|it| it.to_path_buf()).collect();
    let mut walk = source.patterns.walk();
    while let Some(listed) = walk.step() {
        let entries = listed.entries.map_err(|error| {
            let what = format!("cannot list {}", listed.directory.display());
            SourceError::io(what, error)
        })?;
        let files = entries.into_iter().map(|found| found.path);
        paths.extend(files.filter(|path| path.is_file()));
    }
    // Of two names of one file one is followed: the one begun with, or the first.
    let is_begun =
        |path: &PathBuf| settled.contains_key(&Some(Arc::from(path.as_path())));
    // What is called like an older file of a log is one.
    let is_older = |path: &PathBuf| {
        let bases = path.file_name().map(|name| names::bases_of(name.as_bytes()));
        let mut logs = bases
            .into_iter()
            .flatten()
            .map(|base| path.with_file_name(OsStr::from_bytes(&base)));
        logs.any(|log| is_begun(&log))
    };
    paths.retain(|path| {
        is_begun(path) || source.patterns.is_literal(path) || !is_older(path)
    });
    paths.sort_by_cached_key(|path| (!is_begun(path), path.clone()));
    paths.dedup();
    let mut inodes = HashSet::new();
    paths.retain(|path| match fs::metadata(path) {
        Ok(metadata) => inodes.insert(file::Stamp::of(&metadata).inode),
        Err(_) => true,
    });
    paths.sort();
    Ok(paths.into_iter().map(Arc::from).collect())
}

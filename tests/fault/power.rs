//! What a directory tree looks like after the power went away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a file system keeps of that which was not synced. Both happen; a
/// program has to live with either.
///
/// Only files that the program under test opened for writing, made, moved or
/// removed change: what others wrote stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// Nothing. Each directory has the entries it had when it was last synced,
    /// and each file the bytes it had when it was: none, if that was never.
    ///
    /// A directory that was there before the program and was never synced has
    /// the entries from before the program's first change to it; one that the
    /// program made and did not sync is empty, if it is there at all.
    A,
    /// Names, but no bytes. Directories are as they were when the power went
    /// away; each file has the bytes it had when it was last synced, and if
    /// that was never, NULs of the size it had.
    B,
}

/// Cuts the power: turns the tree into what would be left of it, and empties
/// the shadow, since what is left is durable.
///
/// The program must have ended. A file that has several names must not have
/// been written: each name gets a copy.
///
/// # Panics
///
/// When the tree or the shadow cannot be read or written.
pub(crate) fn power_loss(root: &Path, shadow: &Path, model: Model) {
    assert!(!shadow.starts_with(root), "the shadow would lose power too");
    let mut shadow = Shadow::read(shadow);
    shadow.note_modes(root).expect("the tree can be read");
    let mut plan = Plan::default();
    let result = match model {
        Model::A => roll_back(root, inode_of(root), &shadow, &mut plan),
        Model::B => keep_names(root, &shadow, &mut plan),
    }
    .and_then(|()| plan.carry_out(root, &shadow))
    .and_then(|()| shadow.clear());
    result.unwrap_or_else(|error| panic!("no power cut in {}: {error}", root.display()));
}

/// What is to be in the tree.
#[derive(Debug, Default)]
struct Plan {
    directories: BTreeSet<PathBuf>,
    /// Files that a power cut harms, and what becomes of them.
    files: BTreeMap<PathBuf, Bytes>,
    /// Everything else.
    untouched: BTreeSet<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
enum Bytes {
    /// Those of the shadow of this inode.
    Durable(u64),
    /// So many NULs.
    Nothing(u64),
}

/// Model B: all names stay.
fn keep_names(directory: &Path, shadow: &Shadow, plan: &mut Plan) -> io::Result<()> {
    for entry in entries(directory)? {
        let (path, metadata) = (entry.path(), entry.metadata()?);
        if metadata.is_dir() {
            plan.directories.insert(path.clone());
            keep_names(&path, shadow, plan)?;
        } else if shadow.is_touched(&metadata) {
            plan.files.insert(path, shadow.bytes(metadata.ino(), metadata.len()));
        } else {
            plan.untouched.insert(path);
        }
    }
    Ok(())
}

/// Model A: puts into the plan what the directory with this inode number has
/// durably, to be found at this path.
fn roll_back(
    directory: &Path,
    inode: u64,
    shadow: &Shadow,
    plan: &mut Plan,
) -> io::Result<()> {
    let Some(durable) = shadow.listings.get(&inode) else {
        // The program changed no name in here; maybe a file, or further down.
        for entry in entries(directory)? {
            let metadata = entry.metadata()?;
            let inode = metadata.ino();
            roll_back_entry(entry.path(), inode, metadata.is_dir(), shadow, plan)?;
        }
        return Ok(());
    };
    for entry in durable {
        let path = directory.join(&entry.name);
        // What others removed is gone, and what they moved is found below.
        if shadow.touched.contains_key(&entry.inode) || is_at(&path, entry.inode) {
            roll_back_entry(path, entry.inode, entry.is_directory, shadow, plan)?;
        }
    }
    keep_others(directory, shadow, plan)
}

/// What others put into a directory is there, whatever the program synced.
fn keep_others(directory: &Path, shadow: &Shadow, plan: &mut Plan) -> io::Result<()> {
    for entry in entries(directory)? {
        let (path, metadata) = (entry.path(), entry.metadata()?);
        match (shadow.is_touched(&metadata), metadata.is_dir()) {
            (false, true) if plan.directories.contains(&path) => {}
            (false, is_directory) => {
                plan.files.remove(&path);
                roll_back_entry(path, metadata.ino(), is_directory, shadow, plan)?;
            }
            (true, true) => keep_others(&path, shadow, plan)?,
            (true, false) => {}
        }
    }
    Ok(())
}

fn roll_back_entry(
    path: PathBuf,
    inode: u64,
    is_directory: bool,
    shadow: &Shadow,
    plan: &mut Plan,
) -> io::Result<()> {
    if is_directory {
        plan.directories.insert(path.clone());
        return roll_back(&path, inode, shadow, plan);
    }
    if shadow.touched.contains_key(&inode) {
        plan.files.insert(path, shadow.bytes(inode, 0));
    } else {
        plan.untouched.insert(path);
    }
    Ok(())
}

fn is_at(path: &Path, inode: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == inode)
}

impl Plan {
    fn carry_out(&self, root: &Path, shadow: &Shadow) -> io::Result<()> {
        self.remove_the_rest(root)?;
        for directory in &self.directories {
            fs::create_dir_all(directory)?;
        }
        for (path, bytes) in &self.files {
            write(path, *bytes, shadow)?;
        }
        Ok(())
    }

    /// Removes what is not in the plan. Of a file that is, the name stays if
    /// the inode does, as it would.
    fn remove_the_rest(&self, directory: &Path) -> io::Result<()> {
        for entry in entries(directory)? {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                self.remove_the_rest(&path)?;
                if !self.directories.contains(&path) && entries(&path)?.is_empty() {
                    fs::remove_dir(&path)?;
                }
            } else if self.untouched.contains(&path) {
                continue;
            } else if !self.keeps(&path, entry.metadata()?.ino()) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn keeps(&self, path: &Path, inode: u64) -> bool {
        match self.files.get(path) {
            Some(Bytes::Durable(durable)) => *durable == inode,
            Some(Bytes::Nothing(_)) => true,
            None => false,
        }
    }
}

fn write(path: &Path, bytes: Bytes, shadow: &Shadow) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    match bytes {
        Bytes::Nothing(length) => file.set_len(length),
        Bytes::Durable(inode) => {
            io::copy(&mut fs::File::open(shadow.part("i", inode))?, &mut file)?;
            match shadow.touched.get(&inode) {
                Some(Some(mode)) => {
                    fs::set_permissions(path, Permissions::from_mode(*mode))
                }
                _ => Ok(()),
            }
        }
    }
}

/// What the shim wrote; `shadow.h` says what that is.
struct Shadow {
    directory: PathBuf,
    /// What the program touched, with its permissions, where it still exists.
    touched: HashMap<u64, Option<u32>>,
    listings: HashMap<u64, Vec<Listed>>,
}

/// An entry of a directory that would survive.
struct Listed {
    inode: u64,
    is_directory: bool,
    name: OsString,
}

impl Shadow {
    fn read(directory: &Path) -> Self {
        let mut this = Self {
            directory: directory.to_owned(),
            touched: HashMap::new(),
            listings: HashMap::new(),
        };
        let parts = entries(directory).expect("the shadow is a directory");
        for part in parts {
            let name = part.file_name().into_string().expect("the shim writes ASCII");
            if let Some(inode) = number_behind(&name, "ns-") {
                let listing = fs::read(part.path()).expect("the shadow is readable");
                this.listings.insert(inode, parse_listing(&listing));
            } else if let Some(inode) = number_behind(&name, "keep-") {
                let mode = part.metadata().expect("the part is there").permissions();
                this.touched.insert(inode, Some(mode.mode()));
            } else if let Some(inode) = number_behind(&name, "t") {
                this.touched.entry(inode).or_default();
            }
        }
        this
    }

    /// A file may come back under another name, with the same permissions.
    fn note_modes(&mut self, directory: &Path) -> io::Result<()> {
        for entry in entries(directory)? {
            let metadata = entry.metadata()?;
            if let Some(mode) = self.touched.get_mut(&metadata.ino()) {
                *mode = Some(metadata.permissions().mode());
            }
            if metadata.is_dir() {
                self.note_modes(&entry.path())?;
            }
        }
        Ok(())
    }

    fn is_touched(&self, metadata: &Metadata) -> bool {
        self.touched.contains_key(&metadata.ino())
    }

    /// What is left of a file; `size_without` NULs if nothing ever was durable.
    fn bytes(&self, inode: u64, size_without: u64) -> Bytes {
        if self.part("i", inode).exists() {
            Bytes::Durable(inode)
        } else {
            Bytes::Nothing(size_without)
        }
    }

    fn part(&self, kind: &str, inode: u64) -> PathBuf {
        self.directory.join(format!("{kind}{inode}"))
    }

    fn clear(&self) -> io::Result<()> {
        entries(&self.directory)?.iter().try_for_each(|part| fs::remove_file(part.path()))
    }
}

fn parse_listing(listing: &[u8]) -> Vec<Listed> {
    listing
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
        .map(parse_entry)
        .collect()
}

fn parse_entry(line: &[u8]) -> Listed {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let mut word = || words.next().expect("inode, kind and name");
    let inode = str::from_utf8(word()).expect("a number").parse().expect("a number");
    let is_directory = word() == b"d";
    Listed { inode, is_directory, name: OsStr::from_bytes(word()).to_owned() }
}

fn number_behind(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.parse().ok()
}

fn inode_of(path: &Path) -> u64 {
    fs::metadata(path).expect("the tree is there").ino()
}

fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        // A directory that would survive may be gone from the living tree.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

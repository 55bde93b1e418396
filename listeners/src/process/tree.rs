//! Everything that a program has started.
//!
//! Nothing in Linux that an ordinary user may have holds a process and all that
//! comes from it together. So three signs are looked at: the process group,
//! which a child leaves with `setsid`; the chain of parents, which breaks where
//! one of them ends; and a variable in the environment that is handed on from
//! process to process, which few ever clear. It names one run of one program, so
//! what belongs to others is never mistaken for it.

use super::program::MARK;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal,
};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;

/// A program and what it has started.
pub(super) struct Tree {
    /// The program itself, as long as nobody has asked how it ended: until then
    /// its number is not given to another.
    leader: Option<Pid>,
    /// When it was started: what is older is none of its children.
    since: u64,
    /// What stands in the environment of what it started.
    mark: Vec<u8>,
    /// What was found so far, with when it was started: it stays ours when its
    /// parents are gone.
    ours: BTreeSet<(i32, u64)>,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: i32,
    parent: i32,
    group: i32,
    /// In ticks since the system started.
    since: u64,
    is_dead: bool,
}

/// So much of an environment is looked through: what we give is less, and few
/// programs add much to it.
const ENVIRONMENT_BYTES_MAX: u64 = 512 * 1024;
/// A line of numbers and a short name.
const STAT_BYTES_MAX: u64 = 4096;

impl Tree {
    /// The tree of a program that was just started with this mark.
    pub(super) fn new(leader: Pid, mark: &str) -> Self {
        let since = Seen::look(leader.as_raw_pid()).map_or(0, |seen| seen.since);
        let mark = format!("{MARK}={mark}").into_bytes();
        Self { leader: Some(leader), since, mark, ours: BTreeSet::new() }
    }

    /// The program's number may be another's from now on.
    pub(super) const fn forget_leader(&mut self) {
        self.leader = None;
    }

    /// Sends a signal to everything that lives; returns how many there were.
    pub(super) fn signal(&mut self, signal: Signal) -> usize {
        let living = self.living();
        if let Some(leader) = self.leader {
            // That nobody is left in it is fine.
            _ = kill_process_group(leader, signal);
        }
        for seen in &living {
            if self.leader.is_none_or(|leader| seen.group != leader.as_raw_pid()) {
                seen.signal(signal);
            }
        }
        living.len()
    }

    /// How many processes live.
    pub(super) fn count(&mut self) -> usize {
        self.living().len()
    }

    fn living(&mut self) -> Vec<Seen> {
        let mut rest = self.younger();
        let mut known = BTreeSet::new();
        let mut found = Vec::new();
        if let Some(leader) = self.leader {
            known.insert(leader.as_raw_pid());
            let is_in_group = |seen: &Seen| seen.group == leader.as_raw_pid();
            take(&mut rest, &mut known, &mut found, is_in_group);
        }
        let is_ours = |seen: &Seen| self.ours.contains(&(seen.pid, seen.since));
        take(&mut rest, &mut known, &mut found, is_ours);
        take_children(&mut rest, &mut known, &mut found);
        take(&mut rest, &mut known, &mut found, |seen| seen.carries(&self.mark));
        take_children(&mut rest, &mut known, &mut found);
        self.ours = found.iter().map(|seen| (seen.pid, seen.since)).collect();
        found.retain(|seen| !seen.is_dead);
        found
    }

    /// All processes that are no older than the program, but ourselves.
    fn younger(&self) -> Vec<Seen> {
        let Ok(listed) = fs::read_dir("/proc") else { return Vec::new() };
        let ourselves = std::process::id() as i32;
        listed
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| *pid != ourselves)
            .filter_map(Seen::look)
            .filter(|seen| seen.since >= self.since)
            .collect()
    }
}

/// Moves those that are meant from the rest to what was found.
fn take(
    rest: &mut Vec<Seen>,
    known: &mut BTreeSet<i32>,
    found: &mut Vec<Seen>,
    is_meant: impl Fn(&Seen) -> bool,
) {
    let (taken, left) = std::mem::take(rest).into_iter().partition(is_meant);
    let taken: Vec<Seen> = taken;
    *rest = left;
    known.extend(taken.iter().map(|seen| seen.pid));
    found.extend(taken);
}

/// The same with all that come from those that are known.
fn take_children(rest: &mut Vec<Seen>, known: &mut BTreeSet<i32>, found: &mut Vec<Seen>) {
    loop {
        let before = found.len();
        let parents = known.clone();
        take(rest, known, found, |seen| parents.contains(&seen.parent));
        if found.len() == before {
            return;
        }
    }
}

impl Seen {
    fn look(pid: i32) -> Option<Self> {
        let mut text = Vec::new();
        let file = File::open(format!("/proc/{pid}/stat")).ok()?;
        file.take(STAT_BYTES_MAX).read_to_end(&mut text).ok()?;
        Self::parse(pid, &text)
    }

    /// The name, in parentheses, may have anything in it: the rest comes behind
    /// the last one.
    fn parse(pid: i32, text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let text = std::str::from_utf8(&text[end + 1..]).ok()?;
        let fields: Vec<&str> = text.split_ascii_whitespace().take(20).collect();
        let threads: u64 = fields.get(17)?.parse().ok()?;
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            since: fields.get(19)?.parse().ok()?,
            // Its first thread may have ended before the others.
            is_dead: matches!(*fields.first()?, "Z" | "X") && threads <= 1,
        })
    }

    /// Whether the mark stands in its environment. Of others' processes nobody
    /// may know.
    fn carries(&self, mark: &[u8]) -> bool {
        if self.is_dead {
            return false;
        }
        let mut text = Vec::new();
        let file = File::open(format!("/proc/{}/environ", self.pid));
        let read =
            file.and_then(|file| file.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut text));
        read.is_ok() && text.split(|byte| *byte == 0).any(|variable| variable == mark)
    }

    /// Signals this process, and none that got its number since.
    fn signal(&self, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid).filter(|pid| !pid.is_init()) else {
            return;
        };
        let held = pidfd_open(pid, PidfdFlags::empty());
        let is_it = Self::look(self.pid).is_some_and(|now| now.since == self.since);
        // What has ended meanwhile needs no signal.
        match held {
            Ok(held) if is_it => _ = pidfd_send_signal(held, signal),
            Err(Errno::NOSYS) if is_it => _ = kill_process(pid, signal),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_confuse() {
        let text = b"7 (a) Z 1 1 (b) S 3 5 5 0 -1 4 1 0 0 0 0 0 0 0 20 0 2 0 4711 99 9\n";
        let seen = Seen::parse(7, text).unwrap();
        assert_eq!((seen.parent, seen.group, seen.since), (3, 5, 4711));
        assert!(!seen.is_dead);
        assert!(Seen::parse(7, b"7 (a) S 3").is_none());
        assert!(Seen::parse(7, b"").is_none());
        let text = b"7 (a) Z 3 5 5 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n";
        assert!(Seen::parse(7, text).unwrap().is_dead);
    }

    #[test]
    fn we_are_seen() {
        let seen = Seen::look(std::process::id() as i32).unwrap();
        assert!(!seen.is_dead && seen.since > 0);
        assert_eq!(seen.parent, std::os::unix::process::parent_id() as i32);
    }
}

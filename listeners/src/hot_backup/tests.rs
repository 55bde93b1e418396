//! The connection is cut behind any byte: what is on the standby is always the
//! start of what the source has, and in the end all of it.
//!
//! Some places each time; each of a stretch with `TRIPLINE_CUTS=6000-10096 cargo test
//! -p tripline-listeners hot_backup::tests -- --nocapture`.

use super::archives::{Archives, Root};
use super::copy::Copy;
use crate::ssh::testing::{Access, Host, Plan, find};
use crate::ssh::{Settings, Way};
use crate::testing::{Feed, OwnedBatch};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tripline_api::{Begin, Cursor, Flushed, ListenError, Listener, Place, SourceId};

const LIMIT: Duration = Duration::from_secs(60);

/// The same server, without the encryption around it: each byte is one of SFTP.
#[test]
fn cuts_in_the_protocol() {
    let directory = fast_directory();
    let (limit, ssh) = (directory.path().join("limit"), directory.path().join("ssh"));
    let server = find("sftp-server", "openssh-sftp-server").unwrap();
    // In the place of `ssh`; only its first connection is cut.
    let script = format!(
        "#!/bin/sh\nif test -e '{0}'; then n=$(cat '{0}'); rm '{0}'\n\
         dd bs=1 count=$n 2>/dev/null | {1}\nelse exec {1}\nfi\n",
        limit.display(),
        server.display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let backup = directory.path().join("backup");
    let address = format!("ssh://a@b{}", backup.display());
    let mut settings = Settings::new(address.try_into().unwrap());
    (settings.way, settings.program) = (Way::Program, ssh);
    let cut = |at: u64| fs::write(&limit, at.to_string()).unwrap();
    let cuts = Case::new(settings, backup).cut_everywhere(&cut, 61, true);
    assert!(cuts > 50, "{cuts}");
}

/// The same server, and nothing is cut.
fn local(directory: &Path) -> (Settings, PathBuf) {
    let (backup, ssh) = (directory.join("backup"), directory.join("ssh"));
    let server = find("sftp-server", "openssh-sftp-server").unwrap();
    fs::write(&ssh, format!("#!/bin/sh\nexec {}\n", server.display())).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let address = format!("ssh://a@b{}", backup.display());
    let mut settings = Settings::new(address.try_into().unwrap());
    (settings.way, settings.program) = (Way::Program, ssh);
    (settings, backup)
}

#[test]
fn a_journal_whose_rest_is_gone_is_not_taken_for_a_finished_one() {
    let finished = journal(1);
    let torn = &finished[..finished.len() / 2];
    let last = journal(3);
    for (is_restarted, first) in
        [(false, torn), (true, torn), (false, &finished[..]), (true, &finished[..])]
    {
        let directory = fast_directory();
        let (settings, backup) = local(directory.path());
        let mut copy = Copy::new(settings.clone(), "standby");
        let source = SourceId::new("p4").unwrap();
        let begin = Begin { source: &source, cursor: None, set_by_hand: false };
        patiently(|| copy.begin(&begin)).unwrap();
        let feed = Feed::new("p4").journal(1, first);
        feed.batches(None, 400).iter().for_each(|batch| copied(&mut copy, batch));
        // The rest of it and journal 2 are gone.
        if is_restarted {
            copy = Copy::new(settings, "standby");
            let to = Cursor::unproved(Place::start_of(0, 3));
            let begin = Begin { source: &source, cursor: Some(&to), set_by_hand: true };
            assert_eq!(patiently(|| copy.begin(&begin)).unwrap(), None);
        }
        let feed = Feed::new("p4").journal(3, &last);
        feed.batches(None, 400).iter().for_each(|batch| copied(&mut copy, batch));
        assert!(fs::read(backup.join("journal")).unwrap() == last);
        let is_over = first.len() == finished.len();
        let name = if is_over { "journal.1" } else { "journal.1.unfinished" };
        let mut names: Vec<_> = fs::read_dir(&backup).unwrap().collect();
        names.retain(|it| it.as_ref().is_ok_and(|it| it.file_name() != "journal"));
        let kept = fs::read(backup.join(name)).unwrap();
        assert!(feed_of(first) == kept, "{name} is what came");
        let sums = usize::from(backup.join("journal.1.sha256").exists());
        assert_eq!((names.len(), sums), if is_over { (2, 1) } else { (1, 0) });
    }
}

/// The records of it that are whole.
fn feed_of(bytes: &[u8]) -> Vec<u8> {
    let feed = Feed::new("p4").journal(1, bytes);
    feed.batches(None, 400).iter().flat_map(|batch| batch.view().bytes.to_vec()).collect()
}

fn copied(listener: &mut dyn Listener, batch: &OwnedBatch) {
    patiently(|| batch.deliver(listener)).unwrap();
    flushed(listener);
}

fn flushed(listener: &mut dyn Listener) {
    if listener.flush().unwrap() == Flushed::Soon {
        let until = Instant::now() + LIMIT;
        while !listener.is_flushed().unwrap() {
            assert!(Instant::now() < until, "it never ends");
        }
    }
}

#[test]
fn what_a_transaction_that_was_broken_up_names_is_brought_before_it_is_settled() {
    let directory = fast_directory();
    let (settings, backup) = local(directory.path());
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("d/x,d")).unwrap();
    let file = root.join("d/x,d/1.1");
    fs::write(file, "content").unwrap();
    let row = |revision: &str| {
        format!("@pv@ 9 @db.rev@ @//d/x@ 1 1 1 5 1 1 @@ 7 0 0 @//d/x@ @{revision}@ 1 \n")
    };
    // One that waits for its process, and one of the transaction that is open.
    let start = format!("{}@mx@ 7 1\n{}", row("1.1"), row("1.2"));
    let root = Root::new(root, BTreeMap::new());
    let mut archives = Archives::new(settings, "archives/", root, "standby.archives");
    let feed = Feed::new("p4").journal(1, start.as_bytes());
    patiently(|| match archives.begin(&feed.begin(None)) {
        Err(ListenError::Retry(why)) => Err(ListenError::Busy(why)),
        begun => begun,
    })
    .unwrap();
    feed.batches(None, 10_000).iter().for_each(|batch| copied(&mut archives, batch));
    // All this is settled, and does not come again.
    drop(archives);
    assert_eq!(fs::read(backup.join("archives/d/x,d/1.1")).unwrap(), b"content");
    let missing = fs::read_to_string(backup.join("archives.missing")).unwrap();
    assert!(missing.contains("1.2"), "{missing}");
}

#[cfg(feature = "ssh2")]
#[test]
fn cuts_through_the_library() {
    cuts_through(Way::Library);
}

#[test]
fn cuts_through_the_program() {
    cuts_through(Way::Program);
}

fn cuts_through(way: Way) {
    let directory = fast_directory();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open).unwrap();
    let host = Host::start(directory.path(), &Plan::new(Access::Commands)).unwrap();
    let limit = Arc::<Mutex<Option<u64>>>::default();
    let address = proxy(host.address(), Arc::clone(&limit));
    let mut settings = host.settings_at(address, way, "backup").unwrap();
    let key = fs::read_to_string(directory.path().join("host.pub")).unwrap();
    let known = directory.path().join("known");
    let name = format!("[{}]:{}", address.ip(), address.port());
    fs::write(&known, format!("{name} {key}")).unwrap();
    settings.known_hosts = Some(known);
    let cut = |at: u64| *limit.lock().unwrap() = Some(at);
    let cuts = Case::new(settings, host.local("backup")).cut_everywhere(&cut, 997, false);
    assert!(cuts > 5, "{cuts}");
}

/// Syncing costs nothing in memory.
fn fast_directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
        .unwrap()
}

/// Takes connections for a host as long as the test runs, and cuts the first
/// one after a limit was set, when so many bytes went there.
fn proxy(host: SocketAddr, limit: Arc<Mutex<Option<u64>>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        while let Ok((near, _)) = listener.accept() {
            let limit = limit.lock().unwrap().take().unwrap_or(u64::MAX);
            let far = TcpStream::connect(host).unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            for (from, to, limit) in [(near, far, limit), (far2, near2, u64::MAX)] {
                let pump = move || pump(from, to, limit);
                thread::Builder::new().name("pump".into()).spawn(pump).unwrap();
            }
        }
    };
    thread::Builder::new().name("proxy".into()).spawn(serve).unwrap();
    address
}

fn pump(mut from: TcpStream, mut to: TcpStream, limit: u64) {
    let (mut block, mut left) = ([0; 16 * 1024], limit);
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(count @ 1..) = from.read(&mut block[..most]) else { break };
        if to.write_all(&block[..count]).is_err() {
            break;
        }
        left -= count as u64;
    }
    _ = from.shutdown(Shutdown::Both);
    _ = to.shutdown(Shutdown::Both);
}

/// Two journals and the start of a third, and where they are copied to.
struct Case {
    settings: Settings,
    backup: PathBuf,
    journals: Vec<Vec<u8>>,
    feed: Feed,
}

impl Case {
    fn new(settings: Settings, backup: PathBuf) -> Self {
        let journals: Vec<_> = (1..=3).map(journal).collect();
        let mut feed = Feed::new("p4");
        for (number, bytes) in (1..).zip(&journals) {
            feed = feed.journal(number, bytes);
        }
        Self { settings, backup, journals, feed }
    }

    /// Cuts a copy behind each so many bytes, until it is over before that; how often
    /// it was cut. With `again`, what comes again to a standby that has it, too.
    fn cut_everywhere(&self, cut: &dyn Fn(u64), step: u64, again: bool) -> u32 {
        let (from, to, step) = wanted().unwrap_or((0, u64::MAX, step));
        let (begun, mut all) = (Instant::now(), 0);
        for round in 0..1 + u32::from(again) {
            for at in (from..to).step_by(step as usize) {
                if round == 0 {
                    _ = fs::remove_dir_all(&self.backup);
                }
                cut(at);
                // It knows nothing, or that it begins with the first.
                let from = Cursor::unproved(Place::start_of(0, 1));
                let losses = self.copy(Some(from).filter(|_| round > 0));
                self.check_whole();
                if losses == 0 {
                    break;
                }
                all += losses;
            }
        }
        println!("{all} cuts, {:.1?}", begun.elapsed());
        all
    }

    /// Copies everything, as a lane does; how often it had to begin again.
    fn copy(&self, cursor: Option<Cursor>) -> u32 {
        let mut copy = Copy::new(self.settings.clone(), "standby");
        let (mut settled, mut losses) = (cursor, 0);
        loop {
            match self.try_copy(&mut copy, &mut settled) {
                Ok(()) => return losses,
                Err(ListenError::Lost(_) | ListenError::Retry(_)) => losses += 1,
                Err(error) => panic!("{error:?}"),
            }
            self.check();
            assert!(losses < 10, "it does not come to an end");
        }
    }

    fn try_copy(
        &self,
        copy: &mut Copy,
        settled: &mut Option<Cursor>,
    ) -> Result<(), ListenError> {
        let source = SourceId::new("p4").unwrap();
        let begin =
            Begin { source: &source, cursor: settled.as_ref(), set_by_hand: false };
        let held = patiently(|| copy.begin(&begin))?;
        let place = |cursor: &Cursor| cursor.place;
        let from = match (settled.as_ref().map(place), held.as_ref().map(place)) {
            (Some(settled), Some(held)) => Some(settled.min(held)),
            (settled, held) => settled.or(held),
        };
        for batch in self.feed.batches(from, 400) {
            patiently(|| batch.deliver(copy))?;
            if copy.flush()? == Flushed::Soon {
                let until = Instant::now() + LIMIT;
                while !copy.is_flushed()? {
                    assert!(Instant::now() < until, "it is never synced");
                }
            }
            if settled.as_ref().is_none_or(|it| it.place < batch.end().place) {
                *settled = Some(batch.end().clone());
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.backup.join(name)).ok()
    }

    /// What is there is the start of what the source has. A server that was cut off
    /// may be at its last words.
    fn check(&self) {
        let until = Instant::now() + LIMIT;
        let is_right = || {
            let finished = |number| self.read(&format!("journal.{number}"));
            let all = (1..3).map_while(finished).collect::<Vec<_>>();
            let current = self.read("journal").unwrap_or_default();
            self.journals.starts_with(&all)
                && self.journals[all.len()].starts_with(&current)
        };
        while !is_right() {
            assert!(Instant::now() < until, "other bytes than the source has");
        }
    }

    fn check_whole(&self) {
        for number in 1..3 {
            let name = format!("journal.{number}");
            assert!(self.read(&name).as_ref() == Some(&self.journals[number - 1]));
            assert!(self.read(&format!("{name}.sha256")).is_some());
        }
        assert!(self.read("journal").as_ref() == Some(&self.journals[2]));
    }
}

/// Every place of a stretch, where that is wanted: `FROM-TO`.
fn wanted() -> Option<(u64, u64, u64)> {
    let text = std::env::var("TRIPLINE_CUTS").ok()?;
    let (from, to) = text.split_once('-').expect("FROM-TO");
    Some((from.parse().unwrap(), to.parse().unwrap(), 1))
}

/// Calls again while it is busy.
fn patiently<T>(
    mut call: impl FnMut() -> Result<T, ListenError>,
) -> Result<T, ListenError> {
    let until = Instant::now() + LIMIT;
    loop {
        match call() {
            Err(ListenError::Busy(_)) if Instant::now() < until => {}
            result => return result,
        }
    }
}

fn journal(number: u32) -> Vec<u8> {
    let mut text = format!(
        "@nx@ 2 170000000{number} @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
         @vv@ 1 @db.counters@ @journal@ @{number}@ \n@ex@ 10 170000000{number}\n"
    );
    for change in 0..12 {
        text += &format!("@pv@ 0 @db.desc@ {change} @text of {number}\nand more\n@ \n");
        text += &format!("@ex@ 20 17000000{number}{change}\n");
    }
    if number < 3 {
        text += &format!("@rv@ 1 @db.counters@ @journal@ @{}@ \n", number + 1);
        text += "@nx@ 3 1700000099 @58@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 11 1700000099\n";
    }
    text.into_bytes()
}

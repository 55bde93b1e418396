//! A host to test against, and waiting for what should happen.

use super::*;
use crate::ssh::testing::{Access, Host, Plan};
use std::ops::Deref;
use std::time::Instant;
use tempfile::TempDir;

/// Both ways, where there are both.
pub(super) const WAYS: &[Way] =
    if cfg!(feature = "ssh2") { &[Way::Library, Way::Program] } else { &[Way::Program] };

/// Nothing that works takes so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A host with a directory of its own.
pub(super) struct Ground {
    host: Host,
    // Goes after the host.
    directory: TempDir,
}

impl Ground {
    pub(super) fn new(access: Access) -> Self {
        Self::with(&Plan::new(access))
    }

    /// Where we are root the account is shut in, and its directory must not
    /// stand below one that everybody may write to.
    pub(super) fn with(plan: &Plan) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let directory = if is_root && plan.access == Access::Files {
            tempfile::tempdir_in("/run")
        } else {
            tempfile::tempdir()
        };
        let directory = directory.unwrap();
        if is_root {
            use std::os::unix::fs::PermissionsExt as _;
            let all = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(directory.path(), all).unwrap();
        }
        Self { host: Host::start(directory.path(), plan).unwrap(), directory }
    }

    pub(super) fn sftp(&self, way: Way) -> Sftp {
        open(&self.settings(way, "x").unwrap())
    }

    /// What the host wrote down, for the message of a test that fails.
    pub(super) fn log(&self) -> String {
        crate::ssh::testing::log_of(self.directory.path())
    }
}

impl Deref for Ground {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// Connects, or says why not.
pub(super) fn try_open(settings: &Settings) -> Result<Sftp, Failure> {
    let mut transport = settings.transport()?;
    let mut sftp = Sftp::begin(&mut *transport, settings)?;
    let latest = Instant::now() + PATIENCE;
    while !sftp.connect(soon())? {
        assert!(Instant::now() < latest, "it neither connects nor fails");
    }
    Ok(sftp)
}

pub(super) fn open(settings: &Settings) -> Sftp {
    try_open(settings).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Connecting must fail; how it does.
pub(super) fn fails(settings: &Settings) -> Failure {
    match try_open(settings) {
        Ok(_) => panic!("it connects"),
        Err(failure) => failure,
    }
}

/// A time that no call may pass by much.
pub(super) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(50)
}

pub(super) fn later() -> Instant {
    Instant::now() + PATIENCE
}

/// The answer.
pub(super) fn wait<T: FromAnswer>(
    sftp: &mut Sftp,
    ticket: &Ticket<T>,
) -> Result<T, Failure> {
    Ok(sftp.wait(ticket, later())?.expect("an answer in time"))
}

/// Pushes all of it, and waits until it is on the disk.
pub(super) fn put(
    sftp: &mut Sftp,
    file: FileId,
    offset: u64,
    bytes: &[u8],
) -> Result<(), Failure> {
    assert_eq!(sftp.push(file, offset, bytes, later())?, bytes.len());
    let synced = sftp.sync(file);
    wait(sftp, &synced)?;
    let end = offset + bytes.len() as u64;
    assert_eq!((sftp.acknowledged(file), sftp.synced(file)), (end, end));
    Ok(())
}

/// All bytes of a stretch.
pub(super) fn read(
    sftp: &mut Sftp,
    file: FileId,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, Failure> {
    let mut reading: Reading = sftp.read(file, range);
    let mut all = Vec::new();
    loop {
        match sftp.take(&mut reading, later())? {
            Taken::Bytes(bytes) => all.extend(bytes),
            Taken::NotYet => panic!("nothing came in time"),
            Taken::End => return Ok(all),
        }
    }
}

/// Bytes that tell where they belong.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32)
        .flat_map(|at| (at / 4).wrapping_mul(2_654_435_761).to_le_bytes())
        .take(length)
        .collect()
}

//! Another host, with a real sshd, and a configuration that keeps a backup there.

use crate::site::Site;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tripline_listeners::testing::sshd::{Access, Host, Plan};

/// A host that keeps a backup.
pub(crate) struct Standby {
    pub(crate) host: Host,
    arguments: String,
    /// Its parents are nobody else's to write, as a shut-in account needs it.
    directory: tempfile::TempDir,
}

impl Standby {
    /// A host whose account may do everything, and more arguments of the listener.
    pub(crate) fn new(arguments: &[&str]) -> Self {
        Self::with(&Plan::new(Access::Commands), arguments)
    }

    pub(crate) fn with(plan: &Plan, arguments: &[&str]) -> Self {
        let is_root = rustix::process::geteuid().is_root();
        let parent = if is_root { "/run" } else { env!("CARGO_TARGET_TMPDIR") };
        let directory = tempfile::tempdir_in(parent).unwrap();
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).unwrap();
        let host = Host::start(directory.path(), plan).unwrap();
        Self { host, arguments: arguments.join(", "), directory }
    }

    /// The listener as it stands in a configuration; `more` are arguments.
    pub(crate) fn listener(&self, more: &str) -> String {
        let keys = self.directory.path().display();
        format!(
            r#"HotBackup(from: ["p4"], to: "ssh://{}@{}{}", key: "{keys}/user",
                known_hosts: "{keys}/known_hosts", {} {more})"#,
            self.host.user(),
            self.host.address(),
            self.host.remote("backup"),
            if self.arguments.is_empty() {
                String::new()
            } else {
                self.arguments.clone() + ","
            },
        )
    }

    /// A backup there, and a print here.
    pub(crate) fn configure(&self, site: &Site) {
        self.configure_with(site, "");
    }

    pub(crate) fn configure_with(&self, site: &Site, more: &str) {
        site.configure(&format!(
            r#"
            "standby": {},
            "audit": Print(from: ["p4"], to: "out/audit.jsonl"),"#,
            self.listener(more)
        ));
        let backup = site.out().join("backup");
        if !backup.is_symlink() {
            std::os::unix::fs::symlink(self.backup(), backup).unwrap();
        }
    }

    /// Where the backup is, as seen from here.
    pub(crate) fn backup(&self) -> PathBuf {
        self.host.local("backup")
    }

    pub(crate) fn keys(&self) -> &Path {
        self.directory.path()
    }
}

/// What `where` says of a listener.
pub(crate) fn where_of(site: &Site, listener: &str) -> serde_json::Value {
    let output = site.command(&["where", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_it = |row: &&serde_json::Value| row["listener"] == listener;
    rows.as_array().unwrap().iter().find(is_it).cloned().unwrap()
}

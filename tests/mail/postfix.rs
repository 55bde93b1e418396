//! A mail server on a free port of loopback, with its own configuration, queue
//! and mailboxes.

use crate::site::{in_words, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// `ops@example.com` and `ann@example.com` have a mailbox; nobody else has.
pub(crate) struct Postfix {
    directory: tempfile::TempDir,
    port: u16,
}

const POSTFIX: &str = "/usr/sbin/postfix";
/// The user that owns the mailboxes: nobody.
const OWNER: u32 = 65534;
/// Starting and stopping is a script with pauses.
const START_MAX: Duration = Duration::from_secs(60);

/// A mail in a mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// `ops` or `ann`.
    pub(crate) mailbox: &'static str,
    /// Names and values, in order; lines joined.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Mail {
    fn read(mailbox: &'static str, path: &Path) -> Self {
        let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_owned(), value.trim().to_owned())
        };
        let headers = unfolded.lines().map(header).collect();
        Self { mailbox, headers, body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// How many entries it says it has.
    pub(crate) fn entries(&self) -> u64 {
        self.header("X-Tripline-Entries").parse().unwrap()
    }
}

impl Postfix {
    pub(crate) fn start() -> Self {
        assert!(
            Path::new(POSTFIX).exists(),
            "there is no {POSTFIX}: install the package postfix"
        );
        assert!(
            rustix::process::geteuid().is_root(),
            "postfix starts for the administrator only: run these tests as root"
        );
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let postfix = Self { directory, port };
        postfix.configure();
        postfix.begin();
        postfix
    }

    fn configure(&self) {
        let root = self.root();
        // Each of its parts has a user of its own.
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["conf", "queue", "data", "mail"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        make_certificates(root);
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let line = passwd.lines().find(|line| line.starts_with("postfix:")).unwrap();
        let user: u32 = line.split(':').nth(2).unwrap().parse().unwrap();
        chown(root.join("data"), Some(user), None).unwrap();
        chown(root.join("mail"), Some(OWNER), Some(OWNER)).unwrap();
        let main = format!(
            "compatibility_level = 3.6\n\
             queue_directory = {root}/queue\n\
             data_directory = {root}/data\n\
             command_directory = /usr/sbin\n\
             daemon_directory = /usr/lib/postfix/sbin\n\
             mail_owner = postfix\n\
             setgid_group = postdrop\n\
             myhostname = mail.example.com\n\
             mydestination =\n\
             local_recipient_maps =\n\
             alias_maps =\n\
             alias_database =\n\
             virtual_mailbox_domains = example.com\n\
             virtual_mailbox_base = {root}/mail\n\
             virtual_mailbox_maps = inline:{{ops@example.com=ops/, ann@example.com=ann/}}\n\
             virtual_uid_maps = static:{OWNER}\n\
             virtual_gid_maps = static:{OWNER}\n\
             virtual_minimum_uid = 100\n\
             inet_interfaces = 127.0.0.1\n\
             inet_protocols = ipv4\n\
             mynetworks = 127.0.0.0/8\n\
             smtpd_forbid_bare_newline = yes\n\
             smtpd_tls_security_level = may\n\
             smtpd_tls_cert_file = {root}/cert.pem\n\
             smtpd_tls_key_file = {root}/key.pem\n\
             smtpd_tls_received_header = yes\n\
             smtpd_error_sleep_time = 0\n\
             in_flow_delay = 0\n\
             maillog_file = {root}/log\n\
             maillog_file_prefixes = {root}\n",
            root = root.display()
        );
        fs::write(root.join("conf/main.cf"), main).unwrap();
        let mut services = format!("127.0.0.1:{} inet n - n - - smtpd\n", self.port);
        for (service, kind, columns, program) in SERVICES {
            services += &format!("{service} {kind} {columns} {program}\n");
        }
        fs::write(root.join("conf/master.cf"), services).unwrap();
    }

    /// Starts it, or starts it again.
    pub(crate) fn begin(&self) {
        self.control("start");
        let is_up = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        assert!(wait_until(START_MAX, is_up), "postfix does not listen");
    }

    /// Ends it; its queue and its mailboxes stay.
    pub(crate) fn end(&self) {
        self.control("stop");
    }

    fn control(&self, what: &str) {
        let mut command = Command::new(POSTFIX);
        command.arg("-c").arg(self.conf()).arg(what).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "postfix {what}: {}", in_words(&output));
    }

    /// As the configuration of `Mail` has it.
    pub(crate) fn server(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// By the name that is in its certificate.
    pub(crate) fn server_by_name(&self) -> String {
        format!("smtp://localhost:{}", self.port)
    }

    /// The certificate of the authority that signed its own.
    pub(crate) fn authority(&self) -> PathBuf {
        self.root().join("ca.pem")
    }

    /// The directory with its configuration.
    pub(crate) fn conf(&self) -> PathBuf {
        self.root().join("conf")
    }

    /// Waits until nothing is in its queue.
    pub(crate) fn settle(&self) {
        let is_empty = || {
            let queues = ["maildrop", "incoming", "active", "deferred"];
            let queues = queues.iter().map(|name| self.root().join("queue").join(name));
            queues.flat_map(|queue| files(&queue)).next().is_none()
        };
        let log = || fs::read_to_string(self.root().join("log")).unwrap_or_default();
        assert!(wait_until(START_MAX, is_empty), "not delivered:\n{}", log());
    }

    /// What is in the mailboxes when all is delivered, of one listener.
    pub(crate) fn mails(&self, listener: &str) -> Vec<Mail> {
        self.settle();
        let mailbox = |name: &'static str| {
            let files = files(&self.root().join("mail").join(name).join("new"));
            files.into_iter().map(move |path| Mail::read(name, &path))
        };
        let mut mails: Vec<Mail> = mailbox("ops").chain(mailbox("ann")).collect();
        mails.retain(|mail| mail.header("X-Tripline-Listener") == listener);
        mails
    }

    /// The mails of one mailbox that differ in their Message-ID, and how often
    /// each came.
    pub(crate) fn distinct(&self, listener: &str, mailbox: &str) -> Vec<(Mail, usize)> {
        let mut distinct: BTreeMap<String, (Mail, usize)> = BTreeMap::new();
        for mail in self.mails(listener) {
            if mail.mailbox == mailbox {
                let id = mail.header("Message-ID").to_owned();
                let known = distinct.entry(id).or_insert_with(|| (mail.clone(), 0));
                assert_eq!(known.0.body, mail.body, "the same id, another mail");
                known.1 += 1;
            }
        }
        distinct.into_values().collect()
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let mut command = Command::new(POSTFIX);
        command.arg("-c").arg(self.conf()).arg("stop").stdin(Stdio::null());
        _ = command.output();
    }
}

/// Without those that speak to others.
const SERVICES: &[(&str, &str, &str, &str)] = &[
    ("pickup", "unix", "n - n 1 1", "pickup"),
    ("cleanup", "unix", "n - n - 0", "cleanup"),
    ("qmgr", "unix", "n - n 300 1", "qmgr"),
    ("rewrite", "unix", "- - n - -", "trivial-rewrite"),
    ("bounce", "unix", "- - n - 0", "bounce"),
    ("defer", "unix", "- - n - 0", "bounce"),
    ("trace", "unix", "- - n - 0", "bounce"),
    ("virtual", "unix", "- n n - -", "virtual"),
    ("error", "unix", "- - n - -", "error"),
    ("retry", "unix", "- - n - -", "error"),
    ("proxymap", "unix", "- - n - -", "proxymap"),
    ("anvil", "unix", "- - n - 1", "anvil"),
    ("tlsmgr", "unix", "- - n 1000? 1", "tlsmgr"),
    ("showq", "unix", "n - n - -", "showq"),
    ("postlog", "unix-dgram", "n - n - 1", "postlogd"),
];

/// For `localhost`, by an authority of its own.
fn make_certificates(root: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(root).stdin(Stdio::null());
        let output = command.output().expect("openssl is needed: install openssl");
        assert!(output.status.success(), "{}", in_words(&output));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority -days 9"
    ));
    openssl(&format!("req {key} -keyout key.pem -out request.pem -subj /CN=localhost"));
    fs::write(root.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -out cert.pem -days 9 \
         -extfile names",
    );
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// All files below, as far as they are there.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

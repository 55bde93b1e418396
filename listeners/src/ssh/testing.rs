//! A real sshd on loopback, for tests here and in the suite over all listeners.
//!
//! Each connection is taken by us and given to an `sshd -i` of its own: so there
//! is no port to guess, and each of them is ours to end.

use super::{Address, Settings, Way};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Files below one directory, which is its root where we are root.
    Files,
    /// Everything.
    Commands,
}

/// How the host is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What its account may do.
    pub access: Access,
    /// More lines of its `sshd_config`.
    pub config: String,
    /// No file gets longer: a disk that is full.
    pub file_bytes_max: Option<u64>,
}

impl Plan {
    /// An account with this access, and nothing special.
    pub const fn new(access: Access) -> Self {
        Self { access, config: String::new(), file_bytes_max: None }
    }
}

/// A host that takes connections until it is dropped.
pub struct Host {
    directory: PathBuf,
    access: Access,
    address: SocketAddr,
    user: String,
    sessions: Sessions,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

type Sessions = Arc<Mutex<Vec<Child>>>;

impl Host {
    /// Makes keys and a configuration in the directory, which must be empty, and
    /// begins to take connections. An account that is shut into a directory
    /// needs one whose parents belong to root and are nobody else's to write:
    /// not below `/tmp`.
    pub fn start(directory: &Path, plan: &Plan) -> io::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let sshd = find("sshd", "openssh-server")?;
        find("ssh", "openssh-client")?;
        DirBuilder::new().mode(0o755).create(directory.join("served"))?;
        keygen(&directory.join("host"))?;
        keygen(&directory.join("user"))?;
        fs::copy(directory.join("user.pub"), directory.join("authorized_keys"))?;
        if is_root {
            // Where OpenSSH wants to shut itself in.
            fs::create_dir_all("/run/sshd")?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let host = Self {
            directory: directory.to_owned(),
            access: if is_root { plan.access } else { Access::Commands },
            address: listener.local_addr()?,
            user: whoami()?,
            sessions: Sessions::default(),
            stops: Arc::default(),
            thread: None,
        };
        fs::write(directory.join("sshd_config"), host.config(plan, is_root))?;
        host.know(&directory.join("host.pub"))?;
        host.serve(listener, sshd, plan.file_bytes_max)
    }

    fn serve(
        mut self,
        listener: TcpListener,
        sshd: PathBuf,
        file_bytes_max: Option<u64>,
    ) -> io::Result<Self> {
        let (sessions, stops) = (Arc::clone(&self.sessions), Arc::clone(&self.stops));
        let directory = self.directory.clone();
        let serve = move || {
            while let Ok((stream, _)) = listener.accept() {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(child) = session(&sshd, &directory, stream, file_bytes_max) else {
                    continue;
                };
                let mut sessions =
                    sessions.lock().unwrap_or_else(PoisonError::into_inner);
                sessions.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
                sessions.push(child);
            }
        };
        self.thread = Some(thread::Builder::new().name("sshd".into()).spawn(serve)?);
        Ok(self)
    }

    fn config(&self, plan: &Plan, is_root: bool) -> String {
        let at = |name| self.directory.join(name).display().to_string();
        // What comes first counts.
        let mut config = plan.config.clone();
        config += &format!(
            "\nHostKey {}\nAuthorizedKeysFile {}\nSubsystem sftp internal-sftp\n\
             UsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PrintMotd no\nPidFile none\nLogLevel VERBOSE\n",
            at("host"),
            at("authorized_keys"),
        );
        if plan.access == Access::Files {
            config += "ForceCommand internal-sftp\nDisableForwarding yes\n";
            if is_root {
                _ = writeln!(config, "ChrootDirectory {}", at("served"));
            }
        }
        config
    }

    /// Writes a host key into the file of known hosts, for this port, in the
    /// place of what is in it.
    pub fn know(&self, public_key: &Path) -> io::Result<()> {
        let key = fs::read_to_string(public_key)?;
        let line = format!("[{}]:{} {key}", self.address.ip(), self.address.port());
        fs::write(self.directory.join("known_hosts"), line)
    }

    /// How the host is reached, and a path on it.
    pub(crate) fn settings(&self, way: Way, name: &str) -> io::Result<Settings> {
        self.settings_at(self.address, way, name)
    }

    /// The same, when something at another address stands in between.
    pub(crate) fn settings_at(
        &self,
        address: SocketAddr,
        way: Way,
        name: &str,
    ) -> io::Result<Settings> {
        let written = format!(
            "ssh://{}@{address}{}",
            self.user,
            self.remote(name).trim_end_matches('/')
        );
        let written = if self.remote(name) == "/" { written + "/." } else { written };
        let mut settings =
            Settings::new(Address::try_from(written).map_err(io::Error::other)?);
        settings.way = way;
        settings.key = Some(self.directory.join("user"));
        settings.known_hosts = Some(self.directory.join("known_hosts"));
        Ok(settings)
    }

    /// A path as the host names it.
    pub fn remote(&self, name: &str) -> String {
        match self.access {
            Access::Files => format!("/{name}"),
            Access::Commands => self.local(name).display().to_string(),
        }
    }

    /// The same path as we name it.
    pub fn local(&self, name: &str) -> PathBuf {
        self.directory.join("served").join(name)
    }

    /// Where it takes connections.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom it lets in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Where its keys and its log, `sshd.log`, are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends all its processes at once, as a power cut does.
    pub fn kill(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        for mut child in sessions.drain(..) {
            end(&mut child);
        }
    }

    /// The processes that were started for connections, oldest first.
    pub fn processes(&self) -> Vec<u32> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.iter().map(Child::id).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
        self.kill();
    }
}

/// Starts an sshd for one connection.
fn session(
    sshd: &Path,
    directory: &Path,
    stream: TcpStream,
    file_bytes_max: Option<u64>,
) -> io::Result<Child> {
    stream.set_nodelay(true)?;
    let mut command = match file_bytes_max {
        None => Command::new(sshd),
        Some(bytes) => {
            // Without the signal a write beyond it fails, as on a full disk.
            let mut command = Command::new("env");
            command.args(["--ignore-signal=XFSZ", "prlimit"]);
            command.arg(format!("--fsize={bytes}")).arg(sshd);
            command
        }
    };
    let output: OwnedFd = stream.try_clone()?.into();
    command
        .args(["-i", "-f"])
        .arg(directory.join("sshd_config"))
        .arg("-E")
        .arg(directory.join("sshd.log"))
        .stdin(OwnedFd::from(stream))
        .stdout(output)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

fn end(child: &mut Child) {
    if !matches!(child.try_wait(), Ok(Some(_)))
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
    {
        _ = kill_process_group(pid, Signal::KILL);
    }
    _ = child.wait();
}

/// Makes a pair of keys, without a passphrase: `path` and `path.pub`.
pub fn keygen(path: &Path) -> io::Result<()> {
    let mut command = Command::new(find("ssh-keygen", "openssh-client")?);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path);
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let mut why = io::stderr();
    _ = why.write_all(&output.stderr);
    Err(io::Error::other(format!("cannot make the key {}", path.display())))
}

/// Finds a program, also where only root looks.
pub(crate) fn find(program: &str, package: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin", "/usr/lib/openssh"].map(PathBuf::from));
    let found = folders.iter().map(|folder| folder.join(program)).find(|it| it.is_file());
    found.ok_or_else(|| {
        let why = format!("there is no {program} here: install the package {package}");
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

fn whoami() -> io::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The log of the host, for the message of a test that failed.
pub(crate) fn log_of(directory: &Path) -> String {
    File::open(directory.join("sshd.log"))
        .and_then(io::read_to_string)
        .unwrap_or_else(|error| format!("no log: {error}"))
}

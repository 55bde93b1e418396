//! The receivers that everybody has: rsyslogd and syslog-ng, each with a
//! configuration of the test's own, on loopback.

use super::field::LONG;
use crate::site::{Daemon, wait_until};
use crate::util::Dir;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rsyslog,
    SyslogNg,
}

pub(crate) const BOTH: [Kind; 2] = [Kind::Rsyslog, Kind::SyslogNg];

/// Where it listens; for some of these at the same port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// TCP, messages of RFC 5424 and a line feed behind each.
    pub(crate) lf: u16,
    /// TCP, and the length before each.
    pub(crate) octets: u16,
    /// TCP, messages of RFC 3164 and a line feed behind each.
    pub(crate) old: u16,
    /// TLS, and the length before each.
    pub(crate) tls: u16,
    /// RFC 5424.
    pub(crate) udp: u16,
    /// RFC 3164.
    pub(crate) old_udp: u16,
}

/// A message as it was understood.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) pri: u64,
    pub(crate) time: String,
    pub(crate) host: String,
    pub(crate) app: String,
    pub(crate) procid: String,
    pub(crate) data: String,
    pub(crate) text: String,
}

/// The certificate that it shows, its key, and whose certificates it believes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certified<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
    /// Callers must have one that this one signed.
    pub(crate) ca: &'a Path,
}

/// A running one.
pub(crate) struct Syslogd {
    kind: Kind,
    pub(crate) ports: Ports,
    dir: Dir,
    daemon: Option<Daemon>,
}

impl Syslogd {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::start_with(kind, None)
    }

    pub(crate) fn start_with(kind: Kind, tls: Option<Certified<'_>>) -> Self {
        let (dir, ports) = (Dir::new(), ports(kind));
        let text = match kind {
            Kind::Rsyslog => rsyslog(dir.path(), ports, tls),
            Kind::SyslogNg => syslog_ng(dir.path(), ports, tls),
        };
        dir.write("syslogd.conf", text);
        let mut syslogd = Self { kind, ports, dir, daemon: None };
        syslogd.go_on();
        syslogd
    }

    /// Starts it at the same ports, and waits until it listens.
    pub(crate) fn go_on(&mut self) {
        let at = |name: &str| self.dir.path().join(name);
        let said = OpenOptions::new().create(true).append(true).open(at("said"));
        let mut command = match self.kind {
            Kind::Rsyslog => {
                let mut command = Command::new(program("rsyslogd", "rsyslog"));
                command.arg("-n").arg("-f").arg(at("syslogd.conf"));
                command.arg("-i").arg(at("pid"));
                command
            }
            Kind::SyslogNg => {
                let mut command = syslog_ng_command();
                command.args(["-F", "--no-caps", "-f"]).arg(at("syslogd.conf"));
                command.arg("--persist-file").arg(at("persist"));
                command.arg("--pidfile").arg(at("pid"));
                command.arg("--control").arg(at("control"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.unwrap());
        self.daemon = Some(Daemon::spawn(&mut command));
        let tcp = [self.ports.lf, self.ports.octets, self.ports.old];
        let udp = [self.ports.udp, self.ports.old_udp];
        let listens = wait_until(LONG, || {
            tcp.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
                && udp.iter().all(|port| is_bound(*port))
        });
        assert!(listens, "{:?} does not listen:\n{}", self.kind, self.said());
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.daemon.take().unwrap().stop();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap_or_default()
    }

    /// The messages of this program, in the order in which they came.
    pub(crate) fn messages(&self, app: &str) -> Vec<Message> {
        let bytes = fs::read(self.dir.path().join("out")).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(&bytes[..whole]);
        text.lines().map(|line| self.message(line)).filter(|it| it.app == app).collect()
    }

    /// The same, when there are so many.
    #[track_caller]
    pub(crate) fn wait_for(&self, app: &str, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        let came = wait_until(LONG, || {
            messages = self.messages(app);
            messages.len() >= count
        });
        let (kind, said) = (self.kind, self.said());
        assert!(came, "{kind:?}: {} of {count} for {app}:\n{said}", messages.len());
        messages
    }

    /// Waits until this is near the end of what it wrote.
    #[track_caller]
    pub(crate) fn wait_until_written(&self, words: &str) {
        const TAIL: u64 = 64 * 1024;
        let path = self.dir.path().join("out");
        let came = wait_until(LONG, || {
            let Ok(mut file) = File::open(&path) else { return false };
            let length = file.metadata().unwrap().len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).unwrap();
            let mut tail = Vec::new();
            file.read_to_end(&mut tail).unwrap();
            memchr::memmem::find(&tail, words.as_bytes()).is_some()
        });
        assert!(came, "{words:?} was never written:\n{}", self.said());
    }

    fn message(&self, line: &str) -> Message {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let field = |name: &str| {
            let text = value[name].as_str().unwrap_or_default();
            // Nothing, as RFC 5424 writes it.
            if text == "-" { String::new() } else { text.to_owned() }
        };
        let pri = &value["pri"];
        let pri = pri.as_u64().or_else(|| pri.as_str()?.parse().ok());
        let text = field("msg");
        // rsyslog leaves the mark, and the space behind the colon of RFC 3164.
        let text = match self.kind {
            Kind::Rsyslog => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
                let is_old = field("data").is_empty();
                text.strip_prefix(' ').filter(|_| is_old).unwrap_or(text).to_owned()
            }
            Kind::SyslogNg => text,
        };
        Message {
            pri: pri.unwrap(),
            time: field("time"),
            host: field("host"),
            app: field("app"),
            procid: field("procid"),
            data: field("data"),
            text,
        }
    }
}

impl Message {
    /// A parameter of the structured data.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.data.split_once(&format!(" {name}=\""))?;
        rest.split('"').next()
    }

    /// The offset in its id.
    #[track_caller]
    pub(crate) fn offset(&self) -> usize {
        let id = self.parameter("id").unwrap_or_else(|| panic!("no id: {self:?}"));
        let offset = id.rsplit('/').next().unwrap().split('~').next().unwrap();
        offset.parse().unwrap()
    }
}

fn ports(kind: Kind) -> Ports {
    let tcp: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let udp: Vec<_> =
        (0..2).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let tcp = |index: usize| tcp[index].local_addr().unwrap().port();
    let udp = |index: usize| udp[index].local_addr().unwrap().port();
    let (lf, old_udp) = (tcp(0), udp(0));
    match kind {
        // It tells by what comes.
        Kind::Rsyslog => {
            Ports { lf, octets: lf, old: lf, tls: tcp(3), udp: old_udp, old_udp }
        }
        Kind::SyslogNg => {
            Ports { lf, octets: tcp(1), old: tcp(2), tls: tcp(3), udp: udp(1), old_udp }
        }
    }
}

fn rsyslog(dir: &Path, ports: Ports, tls: Option<Certified<'_>>) -> String {
    let dir = dir.display();
    let global = tls.map_or_else(String::new, |tls| {
        format!(
            " defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{}\" \
             defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\"",
            tls.ca.display(),
            tls.certificate.display(),
            tls.key.display()
        )
    });
    let properties = [
        ("pri", "pri"),
        ("host", "hostname"),
        ("app", "app-name"),
        ("procid", "procid"),
        ("data", "structured-data"),
        ("msg", "msg"),
    ];
    let properties: String = properties
        .iter()
        .map(|(name, property)| {
            format!(
                " property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\")\n"
            )
        })
        .collect();
    let plain = "streamDriver.name=\"ptcp\" streamDriver.mode=\"0\"";
    let tls = tls.map_or_else(String::new, |_| {
        format!(
            "input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\" \
             streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
             streamDriver.authMode=\"x509/certvalid\")\n",
            ports.tls
        )
    });
    format!(
        "global(workDirectory=\"{dir}\" maxMessageSize=\"64k\"{global})\n\
         module(load=\"imtcp\")\nmodule(load=\"imudp\")\n{tls}\
         input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\" {plain})\n\
         input(type=\"imudp\" address=\"127.0.0.1\" port=\"{}\" rcvbufSize=\"1m\")\n\
         template(name=\"object\" type=\"list\" option.jsonf=\"on\") {{\n\
         {properties} property(outname=\"time\" name=\"timereported\" \
         dateFormat=\"rfc3339\" format=\"jsonf\")\n}}\n\
         action(type=\"omfile\" file=\"{dir}/out\" template=\"object\")\n",
        ports.lf, ports.udp
    )
}

fn syslog_ng(dir: &Path, ports: Ports, tls: Option<Certified<'_>>) -> String {
    let dir = dir.display();
    let tls = tls.map_or_else(String::new, |tls| {
        format!(
            "syslog(ip(\"127.0.0.1\") port({}) transport(\"tls\") tls(\
             cert-file(\"{}\") key-file(\"{}\") ca-file(\"{}\") \
             peer-verify(required-trusted)));\n",
            ports.tls,
            tls.certificate.display(),
            tls.key.display(),
            tls.ca.display()
        )
    });
    let network = |port: u16, transport: &str, flags: &str| {
        format!(
            "network(ip(\"127.0.0.1\") port({port}) transport(\"{transport}\"){flags});\n"
        )
    };
    let new = " flags(syslog-protocol)";
    format!(
        "@version: 3.38\noptions {{ keep-hostname(yes); use-dns(no); dns-cache(no); \
         stats-freq(0); log-msg-size(65536); }};\n\
         source input {{\n{}{}{}{}\
         syslog(ip(\"127.0.0.1\") port({}) transport(\"tcp\"));\n{tls}}};\n\
         destination output {{ file(\"{dir}/out\" template(\"$(format-json \
         pri=int($PRI) time=$ISODATE host=$HOST app=$PROGRAM procid=$PID msg=$MSG \
         data=$SDATA)\\n\")); }};\n\
         log {{ source(input); destination(output); }};\n",
        network(ports.lf, "tcp", new),
        network(ports.old, "tcp", ""),
        network(ports.udp, "udp", new),
        network(ports.old_udp, "udp", ""),
        ports.octets,
    )
}

/// A program that is somewhere, also where a user's search path does not lead.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    find(name)
        .unwrap_or_else(|| panic!("no {name}: install {package}, or run tests/tools"))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|it| it.is_file())
}

/// Installed, or unpacked by tests/tools, as it cannot be installed beside
/// rsyslog.
fn syslog_ng_command() -> Command {
    if let Some(program) = find("syslog-ng") {
        return Command::new(program);
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools");
    let root = tools.join("syslog-ng");
    let program = root.join("usr/sbin/syslog-ng");
    assert!(program.is_file(), "no {}: run tests/tools", program.display());
    let library = root.join("usr/lib");
    let folders = |folder: &Path| -> Vec<PathBuf> {
        let found = fs::read_dir(folder).into_iter().flatten().flatten();
        found.map(|it| it.path()).filter(|it| it.is_dir()).collect()
    };
    let modules = folders(&library.join("syslog-ng"));
    let mut libraries = folders(&library);
    libraries.extend(folders(&root.join("lib")));
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    for modules in modules {
        if modules.join("libafsocket.so").is_file() {
            command.arg(format!("--module-path={}", modules.display()));
        }
    }
    command
}

/// Whether somebody has this UDP port.
fn is_bound(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let port = format!(":{port:04X} ");
    table.lines().any(|line| line.contains(&port))
}

//! The words and numbers of syslog.

use serde::Deserialize;

/// What kind of program it comes from, in the order of their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::forward) enum Facility {
    Kern,
    User,
    Mail,
    Daemon,
    Auth,
    Syslog,
    Lpr,
    News,
    Uucp,
    Cron,
    Authpriv,
    Ftp,
    Ntp,
    Audit,
    Alert,
    Clock,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

impl Facility {
    /// The number before a message.
    pub(super) const fn with(self, severity: Severity) -> u8 {
        self as u8 * 8 + severity as u8
    }
}

/// How bad it is, in the order of their codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(in crate::forward) enum Severity {
    Emergency,
    Alert,
    Critical,
    Error,
    Warning,
    Notice,
    Info,
    Debug,
}

impl Severity {
    pub(super) fn at_least_warning(self) -> Self {
        self.min(Self::Warning)
    }
}

/// Where a message's header comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::forward) enum SyslogHeader {
    /// Always ours.
    Ours,
    /// From the line, where that begins with one.
    FromLine,
}

/// Names in headers are printable ASCII without a space.
pub(super) fn check_name(option: &str, name: &str, max: usize) -> Result<(), String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic();
    if !name.is_empty() && name.len() <= max && name.bytes().all(is_fine) {
        return Ok(());
    }
    Err(format!(
        "`{option}` is {name:?}: it must have 1 to {max} printable ASCII characters, \
         and no space"
    ))
}

/// This machine's name, or `-` when it has none that may stand in a header.
pub(super) fn this_host() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let is_fine = check_name("hostname", &name, super::HOST_MAX).is_ok();
    if is_fine { name.into_owned() } else { "-".to_owned() }
}

//! What goes wrong over SSH, and for whom it is to put right.

use super::text::shown;
use std::fmt;
use tripline_api::ListenError;

/// Something did not work, in words for the person who has to do with it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The host's key is not known, is another one or is revoked.
    HostKey,
    /// The host does not let us in.
    Login,
    /// Something on this machine is missing or not as it must be.
    Setup,
    /// The host lets us in and lacks what we need.
    Lacks,
    /// There is no connection.
    Unreachable,
    /// The connection ended. What was not synced is in doubt.
    Broken,
    /// Nothing was heard for so long that the connection was given up.
    Stalled,
    /// The peer does not keep to the protocol, or says more than is taken.
    Garbled,
    /// The server refused this one request; the connection goes on.
    Refused(Code),
}

/// Why a server refused a request, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    NoSuchFile,
    PermissionDenied,
    /// Anything else: a full disk, a file that exists already. OpenSSH says no
    /// more in this version of the protocol.
    Failure,
    Unsupported,
    Other(u32),
}

impl Code {
    pub(super) const fn new(code: u32) -> Self {
        match code {
            2 => Self::NoSuchFile,
            3 => Self::PermissionDenied,
            4 => Self::Failure,
            8 => Self::Unsupported,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchFile => f.write_str("there is no such file"),
            Self::PermissionDenied => f.write_str("permission denied"),
            Self::Failure => f.write_str("it failed, and the server does not say why"),
            Self::Unsupported => f.write_str("the server cannot do that"),
            Self::Other(code) => write!(f, "SFTP status {code}"),
        }
    }
}

impl Kind {
    /// Trying again is of no use before a person did something.
    pub(crate) const fn stops(self) -> bool {
        matches!(self, Self::HostKey | Self::Login | Self::Setup | Self::Lacks)
    }

    /// Whether the connection is over with it.
    pub(crate) const fn ends_connection(self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A request that was refused: what it was, and the server's words.
    pub(super) fn refused(what: &str, code: u32, words: &[u8]) -> Self {
        let code = Code::new(code);
        let mut message = format!("cannot {what}: {code}");
        // Most servers only repeat the code.
        let repeats: &[&[u8]] = &[b"", b"Failure", b"No such file", b"Permission denied"];
        if !repeats.contains(&words) {
            message += &format!(" ({})", shown(words));
        }
        Self { kind: Kind::Refused(code), message }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds what a person can do.
    #[must_use]
    pub(super) fn advise(mut self, advice: &str) -> Self {
        self.message += ": ";
        self.message += advice;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for ListenError {
    fn from(failure: Failure) -> Self {
        if failure.kind.stops() {
            Self::Stop(failure.message)
        } else {
            Self::Retry(failure.message)
        }
    }
}

//! The command line of `ssh`.

use crate::ssh::failure::{Failure, Kind};
use crate::ssh::transport::Service;
use crate::ssh::{Address, Settings};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options that hold whatever a configuration file says: what comes first wins,
/// and the command line comes first.
const ALWAYS: &[&str] = &[
    // Nobody is there to be asked.
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "NumberOfPasswordPrompts=0",
    // Nothing but our bytes goes through.
    "RequestTTY=no",
    "EscapeChar=none",
    "RemoteCommand=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "PermitLocalCommand=no",
    // A connection of its own, which ends when it ends.
    "ControlMaster=no",
    "ControlPath=none",
    "ForkAfterAuthentication=no",
    "StdinNull=no",
    "TCPKeepAlive=yes",
    "ServerAliveCountMax=3",
];

/// What of the environment `ssh` gets: who we are, and where the agent is.
const ENVIRONMENT: &[&str] = &["HOME", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "USER"];

/// Looks whether these settings can be put on a command line.
pub(super) fn check(settings: &Settings) -> Result<(), Failure> {
    find(&settings.program)?;
    let paths = [&settings.known_hosts, &settings.key, &settings.agent];
    for path in paths.into_iter().flatten() {
        option_path(path)?;
    }
    if let Some(config) = &settings.config
        && let Err(error) = std::fs::File::open(config)
    {
        let why = format!("cannot open the file {} for ssh: {error}", config.display());
        return Err(Failure::new(Kind::Setup, why));
    }
    Ok(())
}

/// Writes the command line.
pub(super) fn write(command: &mut Command, settings: &Settings, service: &Service) {
    command.env_clear();
    for name in ENVIRONMENT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // Its messages are read.
    command.env("LC_ALL", "C");
    command.arg("-F");
    match &settings.config {
        Some(config) => command.arg(config),
        None => command.arg("none"),
    };
    for option in ALWAYS {
        command.args(["-o", option]);
    }
    let seconds = |time: std::time::Duration| time.as_secs().max(1);
    command.arg(format!("-oConnectTimeout={}", seconds(settings.connect_timeout)));
    command.arg(format!("-oServerAliveInterval={}", seconds(settings.keepalive)));
    if let Some(path) = &settings.known_hosts {
        command.arg(joined("-oUserKnownHostsFile=", path));
        command.arg("-oGlobalKnownHostsFile=none");
    }
    if let Some(path) = &settings.key {
        command.arg(joined("-oIdentityFile=", path));
        command.args(["-o", "IdentitiesOnly=yes"]);
    }
    if let Some(path) = &settings.agent {
        command.arg(joined("-oIdentityAgent=", path));
    }
    if let Some(user) = &settings.address.user {
        command.args(["-l", user]);
    }
    if let Some(port) = settings.address.port {
        command.args(["-p", &port.to_string()]);
    }
    match service {
        // It says then which key the host showed.
        Service::Sftp => command.args(["-v", "-s"]),
        Service::Exec(_) => command.arg("-T"),
    };
    command.args(["--", &settings.address.host]);
    match service {
        Service::Sftp => command.arg("sftp"),
        Service::Exec(text) => command.arg(text),
    };
}

/// An option with a path, which [`check`] has looked at.
fn joined(option: &str, path: &Path) -> OsString {
    let mut joined = OsString::from(option);
    joined.push(option_path(path).unwrap_or_default());
    joined
}

/// A path as `ssh` wants it in an option: it splits these at white space, and
/// puts something else in the place of `%` and `$`.
fn option_path(path: &Path) -> Result<OsString, Failure> {
    let text = path.to_str().filter(|text| {
        !text.contains(|c: char| matches!(c, '"' | '\\' | '$' | '\'') || c.is_control())
    });
    let Some(text) = text else {
        let why = format!(
            "the file name {path:?} has characters that ssh does not take in an option: \
             give the file another name"
        );
        return Err(Failure::new(Kind::Setup, why));
    };
    // A `~` is only at the start of a word another one.
    let here = if text.starts_with('~') { "./" } else { "" };
    Ok(format!("\"{here}{}\"", text.replace('%', "%%")).into())
}

/// Looks whether the program is there.
fn find(program: &Path) -> Result<(), Failure> {
    let is_there = |path: PathBuf| path.is_file();
    let found = if program.components().count() > 1 {
        is_there(program.to_owned())
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| is_there(folder.join(program)))
    };
    if found { Ok(()) } else { Err(missing(program.as_os_str())) }
}

fn missing(program: &OsStr) -> Failure {
    let program = program.display();
    let why = format!(
        "there is no program {program:?} here: install OpenSSH's client (Debian: \
         openssh-client)"
    );
    Failure::new(Kind::Setup, why)
}

/// Says why the program did not start.
pub(super) fn cannot_run(settings: &Settings, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::NotFound {
        return missing(settings.program.as_os_str());
    }
    let address: &Address = &settings.address;
    let program = settings.program.display();
    Failure::new(
        Kind::Unreachable,
        format!("cannot connect to {address}: cannot run {program}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(settings: &Settings, service: &Service) -> Vec<String> {
        let mut command = Command::new("ssh");
        write(&mut command, settings, service);
        command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn settings(address: &str) -> Settings {
        Settings::new(Address::try_from(address.to_owned()).unwrap())
    }

    #[test]
    fn the_host_stands_behind_the_options() {
        let mut settings = settings("ssh://me@[::1]:2222/x");
        settings.known_hosts = Some("/a b/100%".into());
        settings.key = Some("~k".into());
        let line = line(&settings, &Service::Exec("p4d -jr -".into()));
        assert_eq!(line[..2], ["-F", "none"]);
        let has = |word: &str| line.iter().any(|it| it == word);
        assert!(has("BatchMode=yes") && has("StrictHostKeyChecking=yes"));
        assert!(has("-oUserKnownHostsFile=\"/a b/100%%\""), "{line:?}");
        assert!(has("-oIdentityFile=\"./~k\"") && has("IdentitiesOnly=yes"));
        let end = ["-l", "me", "-p", "2222", "-T", "--", "::1", "p4d -jr -"];
        assert_eq!(line[line.len() - end.len()..], end);
    }

    #[test]
    fn files_are_asked_for_as_a_subsystem() {
        let mut settings = settings("ssh://alias/x");
        settings.config = Some("/etc/hosts".into());
        check(&settings).unwrap();
        let line = line(&settings, &Service::Sftp);
        assert_eq!(line[..2], ["-F", "/etc/hosts"]);
        assert_eq!(line[line.len() - 5..], ["-v", "-s", "--", "alias", "sftp"]);
    }

    #[test]
    fn what_ssh_would_read_otherwise_is_refused() {
        let mut settings = settings("ssh://host/x");
        for bad in ["a\"b", "$HOME/k", "a\\b", "a\nb"] {
            settings.key = Some(bad.into());
            assert_eq!(check(&settings).unwrap_err().kind(), Kind::Setup, "{bad}");
        }
        settings.key = None;
        settings.program = "no-such-ssh".into();
        let failure = check(&settings).unwrap_err();
        assert!(failure.to_string().contains("openssh-client"), "{failure}");
    }
}

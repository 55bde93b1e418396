//! What to run, and in which surroundings.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A program with its arguments, its environment and its working directory.
///
/// Of our own environment it gets PATH and LANG. `Debug` shows no values of the
/// environment.
#[derive(Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    directory: PathBuf,
    has_session: bool,
}

/// The start of the names that are ours to give.
const OUR_NAMES: &str = "TRIPLINE_";
/// The variable by which what a program started is recognised.
pub(super) const MARK: &str = "TRIPLINE_RUN";

impl Program {
    /// How many bytes the words of `run`, and the environment, may have: the
    /// system takes little more in one word.
    pub const BYTES_MAX: usize = 128 * 1024;

    /// A program by its path, and its arguments. A relative path starts at
    /// `base`; a name without a `/` is not looked for.
    ///
    /// # Errors
    ///
    /// When the words cannot be a program and its arguments; says what to write.
    pub fn new(words: &[String], base: &Path) -> Result<Self, String> {
        let [program, arguments @ ..] = words else {
            return Err("`run` is empty: write a program and its arguments, as in \
                        `run: [\"/usr/local/bin/feed\", \"--all\"]`"
                .to_owned());
        };
        if !program.contains('/') || program.ends_with('/') {
            return Err(format!(
                "`run` begins with {program:?}, which is no path of a program: write all \
                 of it, such as \"/usr/bin/{}\"",
                program.trim_matches('/')
            ));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("`run` has a NUL in it, which no argument can have".to_owned());
        }
        if words.iter().map(String::len).sum::<usize>() > Self::BYTES_MAX {
            return Err("`run` is longer than 128 KiB: put some of it into a file that \
                        the program reads"
                .to_owned());
        }
        let mut environment = BTreeMap::new();
        for (name, otherwise) in [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C")]
        {
            let value = std::env::var_os(name).unwrap_or_else(|| otherwise.into());
            environment.insert(name.into(), value);
        }
        Ok(Self {
            path: base.join(program),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment,
            directory: "/".into(),
            has_session: false,
        })
    }

    /// With these in the environment.
    ///
    /// # Errors
    ///
    /// When one of them cannot be; says why.
    pub fn with_environment(
        mut self,
        variables: &BTreeMap<String, String>,
    ) -> Result<Self, String> {
        for (name, value) in variables {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            if !is_name || value.contains('\0') {
                return Err(format!("`env` has {name:?}, which cannot be handed over"));
            }
            if name.starts_with(OUR_NAMES) {
                return Err(format!(
                    "`env` has {name:?}: names that begin with {OUR_NAMES} are given by \
                     Tripline"
                ));
            }
            self.environment.insert(name.into(), value.into());
        }
        let bytes: usize = self.environment.iter().map(|(n, v)| n.len() + v.len()).sum();
        if bytes > Self::BYTES_MAX {
            return Err("`env` is longer than 128 KiB: put some of it into a file that \
                        the program reads"
                .to_owned());
        }
        Ok(self)
    }

    /// With `TRIPLINE_` and this name in the environment.
    #[must_use]
    pub fn with_own(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let name = format!("{OUR_NAMES}{name}");
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// In this directory, which is `/` otherwise.
    #[must_use]
    pub fn in_directory(self, directory: PathBuf) -> Self {
        Self { directory, ..self }
    }

    /// In a session of its own, so that it has no terminal to ask a person at, or to be
    /// stopped by; and without any descriptor but its pipes, also if others were open
    /// when our own process was started (from Linux 5.11 on).
    #[must_use]
    pub fn in_own_session(self) -> Self {
        Self { has_session: true, ..self }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it, in a process group of its own, with the mark by which what it
    /// starts is recognised. Its standard input is a pipe, or a file.
    pub(super) fn spawn(&self, mark: &str, input: Option<File>) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .env(MARK, mark)
            .current_dir(&self.directory)
            .stdin(input.map_or_else(Stdio::piped, Stdio::from))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.has_session {
            self.can_be_run()?;
            begin_session(&mut command);
        } else {
            command.process_group(0);
        }
        command.spawn()
    }

    /// What the system does not know how to run, the C library would hand to a shell in
    /// a process that was forked. What may not be read is left to the system.
    fn can_be_run(&self) -> io::Result<()> {
        let mut start = [0; 4];
        let mut open = OpenOptions::new();
        // A pipe in its place must not hold us up.
        open.read(true).custom_flags(libc::O_NONBLOCK);
        let Ok(mut file) = open.open(&self.path) else { return Ok(()) };
        if !file.metadata()?.is_file() {
            return Ok(());
        }
        let count = file.read(&mut start)?;
        if start[..count].starts_with(b"#!") || start == *b"\x7fELF" {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::ENOEXEC))
    }

    /// Why it did not start, and what a person can do.
    pub(super) fn why_not(&self, error: &io::Error) -> String {
        use io::ErrorKind::{ExecutableFileBusy, NotFound, PermissionDenied};
        let advice = match error.kind() {
            NotFound | PermissionDenied if !self.directory.is_dir() => {
                let directory = self.directory.display();
                return format!(
                    "there is no directory {directory} to run it in: make it, or put \
                     `cwd` right"
                );
            }
            NotFound if self.path.exists() => {
                "the program in its first line (`#!`) is not there: install that, or put \
                 the line right"
            }
            NotFound => "it is not there: put it back, or put `run` right",
            PermissionDenied => {
                "it may not be executed: allow that (chmod +x), also in the directories \
                 above it"
            }
            ExecutableFileBusy => "it is being written: put new ones in place by `mv`",
            _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
                "it is no program: a script begins with a line like `#!/bin/sh`"
            }
            _ => return error.to_string(),
        };
        format!("{error}: {advice}")
    }
}

/// A session, and with it a process group, of its own, and no descriptor but the pipes.
#[expect(unsafe_code, reason = "no stable library of ours asks for this in a safe form")]
fn begin_session(command: &mut Command) {
    let begin = || {
        rustix::process::setsid()?;
        // SAFETY: it closes descriptors at `exec`, those of the child alone. Systems
        // before Linux 5.11 do not know it.
        _ = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        Ok(())
    };
    // SAFETY: between fork and exec only two calls of the system are made, which
    // allocate nothing, take no lock and touch no memory of ours.
    unsafe {
        command.pre_exec(begin);
    }
}

impl fmt::Display for Program {
    /// Its path, escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.to_string_lossy().escape_debug())
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("path", &self.path)
            .field("arguments", &self.arguments)
            .field("environment", &self.environment.keys())
            .field("directory", &self.directory)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(words: &[&str]) -> Result<Program, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Program::new(&words, "/etc/tripline".as_ref())
    }

    #[test]
    fn a_program_has_a_path() {
        assert_eq!(program(&["/bin/cat"]).unwrap().path(), Path::new("/bin/cat"));
        let relative = program(&["./feed"]).unwrap();
        assert_eq!(relative.path(), Path::new("/etc/tripline/./feed"));
        for bad in [&[][..], &[""], &["cat"], &["/"], &["/bin/"], &["/bin/a\0b"]] {
            assert!(program(bad).is_err(), "{bad:?}");
        }
        assert!(program(&["cat"]).unwrap_err().contains("\"/usr/bin/cat\""));
        assert!(program(&["/bin/cat", &"x".repeat(200_000)]).is_err());
    }

    #[test]
    fn an_environment_has_names_and_no_secrets_to_show() {
        let with = |name: &str, value: &str| {
            let variables = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            program(&["/bin/cat"]).unwrap().with_environment(&variables)
        };
        let shown = format!("{:?}", with("TOKEN", "hush").unwrap());
        assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
        for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
            assert!(with(name, value).is_err(), "{name:?}");
        }
        assert!(with("TRIPLINE_RUN", "x").unwrap_err().contains("given by Tripline"));
        assert!(with("A", &"x".repeat(200_000)).is_err());
    }
}

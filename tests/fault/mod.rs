//! Crashes on demand: a program under test is killed, fails or loses power at
//! any operation on the file system, chosen by number.
//!
//! [`Shim`] preloads `shim.c` into a command; count the operations of a sound
//! run first ([`Fault::count`], [`operations`]), then run once for each number.
//! A process that is killed cannot show a missing fsync, since the kernel has
//! everything it wrote; so let it keep a shadow ([`Fault::shadow`]) and cut the
//! power afterwards with [`power_loss`].
//!
//! ```ignore
//! let shim = Shim::build();
//! let sound = shim.command(&mut command(), &Fault::count(&root)).output()?;
//! for at in 1..=operations(&sound.stderr).expect("the shim counts") {
//!     let shadow = tempfile::tempdir()?;
//!     let fault = Fault::kill(&root, at, When::Before).shadow(shadow.path());
//!     shim.command(&mut command(), &fault).output()?;
//!     power_loss(&root, shadow.path(), Model::A);
//!     // Run again without a fault, and see that nothing is missing.
//! }
//! ```

mod power;
mod selftest;

pub(crate) use power::{Model, power_loss};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The shim, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    library: PathBuf,
}

impl Shim {
    /// Compiles the shim, once a process.
    ///
    /// # Panics
    ///
    /// When there is no C compiler `cc`, or it does not like the shim.
    pub(crate) fn build() -> Self {
        static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| {
            compile("fault-shim.so", &["shim.c", "shadow.c"], &["-shared", "-fPIC"])
        });
        Self { library: library.clone() }
    }

    /// Lets a command run with a fault; hands the command back.
    pub(crate) fn command<'a>(
        &self,
        command: &'a mut Command,
        fault: &Fault,
    ) -> &'a mut Command {
        command.env("LD_PRELOAD", &self.library).env("FF_MATCH", &fault.paths);
        if let Some(shadow) = &fault.shadow {
            command.env("FF_SHADOW", shadow);
        }
        if let Some(until) = &fault.until {
            command.env("FF_UNTIL", until);
        }
        if let Some(call) = fault.call {
            command.env("FF_CALL", call);
        }
        if fault.traces {
            command.env("FF_TRACE", "1");
        }
        match fault.kind {
            Kind::Count => command.env("FF_MODE", "count"),
            Kind::Kill { at, when } => command
                .env("FF_MODE", "kill")
                .env("FF_N", at.to_string())
                .env("FF_WHEN", if when == When::After { "after" } else { "before" }),
            Kind::Fail { at, errno, lasts } => {
                if lasts {
                    command.env("FF_STICKY", "1");
                }
                command
                    .env("FF_MODE", "err")
                    .env("FF_N", at.to_string())
                    .env("FF_ERRNO", errno.to_string())
            }
            Kind::FailReads { errno } => {
                command.env("FF_MODE", "read").env("FF_ERRNO", errno.to_string())
            }
            Kind::Short { at, bytes, then_kill } => {
                if then_kill {
                    command.env("FF_KILL", "1");
                }
                command
                    .env("FF_MODE", "short")
                    .env("FF_N", at.to_string())
                    .env("FF_BYTES", bytes.to_string())
            }
        }
    }
}

/// What happens to which operation on which files.
///
/// Operations count from 1, over all threads. Two runs of a program with
/// several threads need not number them alike.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    paths: PathBuf,
    shadow: Option<PathBuf>,
    until: Option<PathBuf>,
    call: Option<&'static str>,
    traces: bool,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Count,
    Kill { at: u64, when: When },
    Fail { at: u64, errno: i32, lasts: bool },
    Short { at: u64, bytes: u64, then_kill: bool },
    FailReads { errno: i32 },
}

/// On which side of an operation a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The operation does not happen.
    Before,
    /// The operation is the last that happens.
    After,
}

impl Fault {
    /// Nothing happens; the operations are counted.
    pub(crate) fn count(paths: &Path) -> Self {
        Self::new(paths, Kind::Count)
    }

    /// The process is killed.
    pub(crate) fn kill(paths: &Path, at: u64, when: When) -> Self {
        Self::new(paths, Kind::Kill { at, when })
    }

    /// One operation fails with an error number, or it and all after it.
    pub(crate) fn fail(paths: &Path, at: u64, errno: i32, lasts: bool) -> Self {
        Self::new(paths, Kind::Fail { at, errno, lasts })
    }

    /// One operation, if it writes, writes at most so many bytes, and the
    /// process may then be killed.
    pub(crate) fn short(paths: &Path, at: u64, bytes: u64, then_kill: bool) -> Self {
        Self::new(paths, Kind::Short { at, bytes, then_kill })
    }

    /// Reading the files fails with an error number. It is not counted.
    pub(crate) fn fail_reads(paths: &Path, errno: i32) -> Self {
        Self::new(paths, Kind::FailReads { errno })
    }

    /// Also keeps what is durable, in an existing directory outside of `paths`
    /// and on the same file system.
    pub(crate) fn shadow(mut self, directory: &Path) -> Self {
        self.shadow = Some(directory.to_owned());
        self
    }

    /// Nothing fails while there is a file at this path, which a test makes and
    /// removes.
    pub(crate) fn unless(mut self, path: &Path) -> Self {
        self.until = Some(path.to_owned());
        self
    }

    /// Only calls with this in their name count: `sync`.
    pub(crate) const fn only(mut self, call: &'static str) -> Self {
        self.call = Some(call);
        self
    }

    /// Names each operation on standard error.
    pub(crate) const fn traced(mut self) -> Self {
        self.traces = true;
        self
    }

    /// `paths`: operations count on paths that contain this one, which must
    /// not be reached by symbolic links.
    fn new(paths: &Path, kind: Kind) -> Self {
        Self {
            paths: paths.to_owned(),
            shadow: None,
            until: None,
            call: None,
            traces: false,
            kind,
        }
    }
}

/// How many operations a run with [`Fault::count`] counted, from its standard
/// error. Programs that it started count for themselves; the largest number is
/// the run's own.
pub(crate) fn operations(stderr: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(stderr);
    let counts = text.lines().filter_map(|line| line.strip_prefix("FF_OPS="));
    counts.filter_map(|count| count.parse().ok()).max()
}

/// Compiles C files of this directory. Several processes may do so at once.
fn compile(name: &str, sources: &[&str], options: &[&str]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let product = directory.join(name);
    let unfinished = directory.join(format!("{name}.{}", std::process::id()));
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault");
    let status = Command::new("cc")
        // Fortified headers define some of the functions that the shim is
        // there to define.
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE"])
        .args(options)
        .arg("-o")
        .arg(&unfinished)
        .args(sources.iter().map(|source| here.join(source)))
        .args(["-ldl", "-lpthread"])
        .status()
        .expect("a C compiler is needed to test crashes");
    assert!(status.success(), "{name} did not compile");
    std::fs::rename(&unfinished, &product).expect("the product can be moved");
    product
}

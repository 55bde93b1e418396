//! The tools that compress, and logs for each of them to compress.

use crate::logs::ground::Ground;
use crate::logs::lines::Writer;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tool, by what it is called and what it calls its files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(super) name: &'static str,
    pub(super) suffix: &'static str,
    /// Fast, and with blocks as small as they get.
    pub(super) options: &'static [&'static str],
}

pub(super) const TOOLS: [Tool; 4] = [
    Tool { name: "gzip", suffix: "gz", options: &["-1"] },
    Tool { name: "zstd", suffix: "zst", options: &["-1"] },
    Tool { name: "xz", suffix: "xz", options: &["-0", "--block-size=65536"] },
    Tool { name: "bzip2", suffix: "bz2", options: &["-1"] },
];

impl Tool {
    /// Compresses to standard output.
    pub(super) fn command(self) -> Command {
        let mut command = Command::new(self.name);
        command.args(self.options).arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    /// The bytes, compressed.
    pub(super) fn compressed(self, bytes: &[u8]) -> Vec<u8> {
        let mut child = self.command().spawn().unwrap_or_else(|e| {
            panic!("no {} ({e}): tests/tools installs it", self.name)
        });
        let mut input = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || input.write_all(bytes).unwrap());
            child.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{}", self.name);
        output.stdout
    }

    /// Compresses a file as a person does, who names it: the file goes, another
    /// one comes.
    pub(crate) fn compress_file(self, path: &Path) {
        let mut command = Command::new(self.name);
        if self.name == "zstd" {
            command.args(["-q", "--rm"]);
        }
        let status = command.args(self.options).arg(path).status().unwrap();
        assert!(status.success() && !path.exists(), "{} {}", self.name, path.display());
    }
}

/// A log for each tool, with its writer.
pub(super) struct Logs<'a> {
    ground: &'a Ground,
    pub(super) writers: Vec<Writer>,
}

impl<'a> Logs<'a> {
    pub(super) fn new(ground: &'a Ground) -> Self {
        let writer = |(name, tool): (u32, &Tool)| {
            Writer::new(name, &ground.log(&format!("{}.log", tool.name)))
        };
        Self { ground, writers: (0..).zip(&TOOLS).map(writer).collect() }
    }

    pub(super) fn all(&self) -> Vec<&Writer> {
        self.writers.iter().collect()
    }

    pub(super) fn live(&self, tool: Tool) -> PathBuf {
        self.ground.log(&format!("{}.log", tool.name))
    }

    /// The newest rotated file.
    pub(super) fn plain(&self, tool: Tool) -> PathBuf {
        self.ground.log(&format!("{}.log.1", tool.name))
    }

    /// The same, compressed.
    pub(super) fn packed(&self, tool: Tool) -> PathBuf {
        self.ground.log(&format!("{}.log.1.{}", tool.name, tool.suffix))
    }

    pub(super) fn write(&mut self, count: u64) {
        self.writers.iter_mut().for_each(|writer| writer.write(count));
    }

    /// Moves the older files up by one, and the logs to where the newest were.
    pub(super) fn rename(&self) {
        for tool in TOOLS {
            let numbered = |number: u32, suffix: &str| {
                self.ground.log(&format!("{}.log.{number}{suffix}", tool.name))
            };
            for number in (1..9).rev() {
                for suffix in [String::new(), format!(".{}", tool.suffix)] {
                    let old = numbered(number, &suffix);
                    if old.exists() {
                        fs::rename(&old, numbered(number + 1, &suffix)).unwrap();
                    }
                }
            }
            fs::rename(self.live(tool), self.plain(tool)).unwrap();
        }
    }

    /// The writers go on in new files.
    pub(super) fn reopen(&mut self) {
        let paths = TOOLS.map(|tool| self.live(tool));
        for (writer, path) in self.writers.iter_mut().zip(&paths) {
            writer.reopen(path);
        }
    }

    pub(super) fn compress(&self) {
        for tool in TOOLS {
            tool.compress_file(&self.plain(tool));
        }
    }

    /// All that was written came once and in order, and nothing is said to be
    /// missing.
    pub(super) fn assert_whole(&self) {
        self.ground.assert_printed(&self.all());
        assert_eq!(self.ground.gaps().len(), 0, "{}", self.ground);
    }
}

//! A log, rules and the program that runs them, and what became of their tasks.

use crate::site::{Daemon, wait_until};
use crate::util::{Dir, Ran};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tripline_api::ListenerId;
use tripline_api::Store as _;
use tripline_store::SqliteStore;
use tripline_tasks::Ran as Task;

/// So long is waited for what must come.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a log, a configuration and rules.
pub(super) struct Place {
    pub(super) dir: Dir,
}

impl Place {
    /// `source` are the arguments of the log besides its path.
    pub(super) fn new(source: &str, rules: &str) -> Self {
        let place = Self { dir: Dir::new() };
        let config = format!(
            r#"(state: "state", sources: {{"app": Log(paths: ["logs/app.log"]{source})}},
               listeners: {{}}, rules: ["rules.d/*.ron"])"#
        );
        place.dir.write("tripline.ron", config);
        place.dir.write("logs/app.log", "");
        place.rules(rules);
        place
    }

    pub(super) fn rules(&self, rules: &str) {
        let rules = rules.replace("HERE", self.dir.path().to_str().unwrap());
        self.dir.write("rules.d/new", format!("(rules: [{rules}])"));
        let path = |name| self.dir.path().join("rules.d").join(name);
        std::fs::rename(path("new"), path("all.ron")).unwrap();
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The log, to append to.
    pub(super) fn log(&self) -> File {
        OpenOptions::new().append(true).open(self.file("logs/app.log")).unwrap()
    }

    pub(super) fn append(&self, text: &str) {
        self.log().write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn command(&self) -> Command {
        let mut command = self.dir.command(["run", "tripline.ron"]);
        let said = OpenOptions::new().append(true).create(true).open(self.file("said"));
        command.stdout(Stdio::null()).stderr(said.unwrap());
        command
    }

    pub(super) fn start(&self) -> Daemon {
        Daemon::spawn(&mut self.command())
    }

    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.file("said")).unwrap_or_default()
    }

    pub(super) fn until_idle(&self) -> Ran {
        self.dir.run(["run", "tripline.ron", "--until-idle"])
    }

    /// The tasks that have ended, oldest first.
    pub(super) fn tasks(&self) -> Vec<Task> {
        let Ok(mut store) = SqliteStore::open_to_read(&self.file("state")) else {
            return Vec::new();
        };
        let kept = store.kept(&ListenerId::new("rules").unwrap()).unwrap();
        kept.iter().filter_map(Task::read).collect()
    }

    /// The same as `rule.action status`.
    pub(super) fn ends(&self) -> Vec<String> {
        let end = |task: Task| {
            let status = serde_json::to_value(&task.end).unwrap()["status"].clone();
            let status = status.as_str().unwrap().to_owned();
            format!("{}.{} {status}", task.end.rule, task.end.action)
        };
        self.tasks().into_iter().map(end).collect()
    }

    /// Waits until so many tasks have ended.
    #[track_caller]
    pub(super) fn wait_for_tasks(&self, count: usize) {
        let has_all = wait_until(PATIENCE, || self.tasks().len() >= count);
        assert!(has_all, "{:?}\n{}", self.ends(), self.said());
    }

    /// The places of the rules.
    pub(super) fn places(&self) -> Vec<Value> {
        let ran = self.dir.run(["where", "tripline.ron", "--json"]).exits(0);
        serde_json::from_str(ran.stdout()).unwrap()
    }
}

/// Lines with numbers, as a program would write them now.
pub(super) fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers
        .map(|number| format!("Nov 20 21:14:03 www app[7]: job {number} done\n"))
        .collect()
}

//! What came of the tests, in words.

use crate::compiled::RuleSet;
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::path::PathBuf;
use std::time::Duration;

/// What came of all tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of files and in them.
    pub tests: Vec<TestReport>,
    /// What they did not touch.
    pub coverage: Coverage,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestReport {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// The line it begins in, from 1.
    pub line: usize,
    /// How much time passed in it.
    pub simulated: Duration,
    /// What is not as expected; empty if it passed.
    pub differences: Vec<String>,
    /// What happened.
    pub timeline: Vec<String>,
}

/// What the tests touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Rules that are in use.
    pub rules: usize,
    /// Those that fired in no test.
    pub never_fired: Vec<String>,
    /// Patterns that were found in nothing, as `RULE#NUMBER`, from 1.
    pub without_sample: Vec<String>,
}

impl Report {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.tests.iter().filter(|test| test.passed()).count()
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.tests.len() - self.passed()
    }
}

impl TestReport {
    /// Whether all was as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Coverage {
    pub(super) fn add(
        &mut self,
        set: &RuleSet,
        fired: &BTreeSet<String>,
        samples: &[BTreeSet<usize>],
    ) {
        for (index, rule) in set.rules.iter().enumerate().filter(|(_, rule)| rule.enabled)
        {
            self.rules += 1;
            if !fired.contains(&*rule.name) {
                self.never_fired.push(rule.name.to_string());
            }
            let found = |pattern: &usize| {
                samples.get(index).is_some_and(|it| it.contains(pattern))
            };
            let missing = (0..rule.text.any.len()).filter(|pattern| !found(pattern));
            self.without_sample
                .extend(missing.map(|it| format!("{}#{}", rule.name, it + 1)));
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut file = None;
        for test in &self.tests {
            if file != Some(&test.path) {
                file = Some(&test.path);
                writeln!(f, "{}", test.path.display())?;
            }
            write!(f, "{test}")?;
        }
        writeln!(f, "{}", self.coverage)?;
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

impl Display for TestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed() { "ok  " } else { "FAIL" };
        let seconds = self.simulated.as_secs_f64();
        if self.passed() && seconds == 0.0 {
            return writeln!(f, "  {word}  {}", self.name);
        }
        write!(f, "  {word}  {:<56}", self.name)?;
        if self.passed() {
            return writeln!(f, " {seconds:.1} s simulated");
        }
        writeln!(f, " {}:{}", self.path.display(), self.line)?;
        for difference in &self.differences {
            for line in difference.lines() {
                writeln!(f, "          {line}")?;
            }
        }
        let happened = match self.timeline.as_slice() {
            [] => "nothing happened".to_owned(),
            timeline => timeline.join(" · "),
        };
        writeln!(f, "          timeline: {happened}")
    }
}

impl Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired = self.rules - self.never_fired.len();
        write!(f, "coverage: {fired} of {} rules fired at least once", self.rules)?;
        for (words, names) in [
            ("never fired", &self.never_fired),
            ("patterns without a sample", &self.without_sample),
        ] {
            if !names.is_empty() {
                let more = names.len().saturating_sub(NAMES_MAX);
                let shown = names[..names.len() - more].join(", ");
                write!(f, "; {words}: {shown}")?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
            }
        }
        Ok(())
    }
}

/// The most names that are listed.
const NAMES_MAX: usize = 20;

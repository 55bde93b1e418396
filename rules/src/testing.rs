//! The tests inside rule files: the same machine as in the daemon, on a clock of its own,
//! with an executor that only pretends.
//!
//! A test begins on a Monday at noon, UTC. What is given happens in order; time passes
//! only where a test says so, and in the end until what `settle` waits for has settled and
//! what is tried again has ended. Then all actions of the file's rules must be those that were expected, in order; of
//! each only the fields that are written are compared.

mod compare;
mod report;
mod stage;

pub(crate) use compare::fields_of;
pub use report::{Coverage, Report, TestReport};

use crate::compiled::{RuleSet, Test};
use crate::evaluate::Machine;
use jiff::Timestamp;
use stage::Stage;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs all tests of a set, each for itself.
pub fn run_tests(set: &RuleSet) -> Report {
    let mut report = Report::default();
    for file in 0..set.files.len() {
        let rules = Arc::new(of_file(set, file));
        if rules.rules.is_empty() {
            continue;
        }
        let mut machine = Machine::new(Arc::clone(&rules), start());
        machine.collect_samples();
        let mut fired = BTreeSet::new();
        for test in set.tests.iter().filter(|test| test.file == file) {
            let (path, line) = (set.files[file].path.clone(), test.line);
            let (mut told, used) = run(machine, test);
            machine = used;
            fired.append(&mut told.fired);
            report.tests.push(TestReport {
                name: test.name.clone(),
                path,
                line,
                simulated: told.simulated,
                differences: told.differences,
                timeline: told.timeline,
            });
        }
        report.coverage.add(&rules, &fired, machine.samples());
    }
    report
}

/// What came of a test.
struct Told {
    differences: Vec<String>,
    timeline: Vec<String>,
    simulated: std::time::Duration,
    fired: BTreeSet<String>,
}

fn run(mut machine: Machine, test: &Test) -> (Told, Machine) {
    machine.begin_anew(start());
    let mut stage = Stage::new(machine, &test.written.pretend, start());
    stage.play(&test.written.given);
    let (mut acts, machine) = stage.end();
    let mut differences = compare::actions(&test.written.expect, &acts.actions);
    differences.append(&mut acts.troubles);
    let told = Told {
        differences,
        simulated: acts.passed(),
        timeline: acts.timeline,
        fired: acts.fired,
    };
    (told, machine)
}

/// The rules of one file, by themselves.
fn of_file(set: &RuleSet, file: usize) -> RuleSet {
    RuleSet {
        rules: set.rules.iter().filter(|rule| rule.file == file).cloned().collect(),
        tests: Vec::new(),
        files: set.files.clone(),
        define: set.define.clone(),
        templates: set.templates.clone(),
    }
}

/// When tests begin: 2026-01-05 12:00 UTC, a Monday.
fn start() -> Timestamp {
    Timestamp::from_second(1_767_614_400).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! The examples, for tests that want rules and lines as people have them.

use crate::model::Given;
use crate::{Known, RuleSet, SourceFile, load};
use std::sync::Arc;

/// The rules of each folder of examples.
pub(crate) fn sets() -> Vec<Arc<RuleSet>> {
    let mut sets = Vec::new();
    for folder in ["rules", "cookbook", "fail2ban"] {
        let folder = format!("{}/../examples/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> =
            paths.filter(|it| it.extension().is_some_and(|it| it == "ron")).collect();
        paths.sort();
        let read = |path: std::path::PathBuf| {
            SourceFile::new(path.clone(), std::fs::read_to_string(path).unwrap())
        };
        let files: Vec<_> = paths.into_iter().map(read).collect();
        sets.push(Arc::new(load(&files, &Known::default()).set.unwrap()));
    }
    sets
}

/// What the tests of some rules give them: lines, and records of journals.
pub(crate) fn texts(set: &RuleSet) -> Vec<String> {
    let given = set.tests.iter().flat_map(|test| &test.written.given);
    given
        .filter_map(|given| match &given.value {
            Given::Lines { text, .. } => Some(text.as_ref()?.value.clone() + "\n"),
            _ => None,
        })
        .collect()
}

//! What can be asked of a set of rules.

use super::{ActionKind, Rule, RuleSet, Trigger, When};
use sha2::{Digest as _, Sha256};

impl RuleSet {
    /// The SHA-256 of the paths and the bytes of all files: what people compare to know
    /// which set is in use.
    pub fn sha256(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        for file in &self.files {
            let path = file.path.as_os_str().as_encoded_bytes();
            all.update((path.len() as u64).to_le_bytes());
            all.update(path);
            all.update(file.sha256);
        }
        all.finalize().into()
    }

    /// Whether a rule looks at this source.
    pub fn looks_at(&self, source: &str, is_journal: bool) -> bool {
        let is_named =
            |names: &[String]| names.is_empty() || names.iter().any(|it| it == source);
        let looks = |trigger: &Trigger| match trigger {
            Trigger::Journal { sources, .. } => is_journal && is_named(sources),
            Trigger::Lines { sources, .. } => !is_journal && is_named(sources),
            Trigger::Task { .. } | Trigger::Engine { .. } => false,
        };
        let mut rules = self.rules.iter().filter(|rule| rule.enabled);
        rules.any(|rule| rule.triggers().any(looks))
    }
}

impl Rule {
    /// Whether it does nothing but hand lines on as they are, each as it comes: then lines
    /// that come together are handed on together.
    pub fn hands_on(&self) -> bool {
        let is_of_lines = |it: &Trigger| matches!(it, Trigger::Lines { .. });
        let [action] = self.actions.as_slice() else { return false };
        matches!(action.kind, ActionKind::Listener { .. })
            && self.on.iter().all(is_of_lines)
            && matches!(self.when, When::Each)
            && self.condition.is_none()
            && self.unless.is_none()
            && self.by.is_empty()
            && self.limit.is_none()
            && self.quiet.is_none()
            && self.settle.is_none()
            && self.on_failure.is_empty()
    }

    /// What it looks at: also for the second event of a pair.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        let until = match &self.when {
            When::Pair { until, .. } => until.on.as_slice(),
            _ => &[],
        };
        self.on.iter().chain(until)
    }
}

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

    /// The rules that count lines of this log by their time, by name.
    pub fn counting(&self, log: &str) -> impl Iterator<Item = &str> {
        let looks = move |trigger: &Trigger| match trigger {
            Trigger::Lines { sources, .. } => {
                sources.is_empty() || sources.iter().any(|it| it == log)
            }
            _ => false,
        };
        let rules = self.rules.iter().filter(|rule| rule.enabled && rule.counts());
        rules.filter(move |rule| rule.triggers().any(looks)).map(|rule| &*rule.name)
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

    /// Whether it matters to it how long events are apart. `quiet` asks what time it is
    /// when it acts, and that is no matter of the events.
    const fn counts(&self) -> bool {
        !matches!(self.when, When::Each) || self.settle.is_some() || self.limit.is_some()
    }

    /// Whether something can happen to it without an event.
    pub(crate) const fn waits(&self) -> bool {
        !matches!(self.when, When::Each | When::Count { .. })
            || self.settle.is_some()
            || self.quiet.is_some()
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

#[cfg(test)]
mod tests {
    use crate::{Known, SourceFile, load};

    #[test]
    fn who_counts_lines_by_their_time_is_known() {
        let rule = |name: &str, on: &str, how: &str| {
            format!("(name: {name:?}, on: {on}, {how} do: [Clear(flag: \"x\")]),")
        };
        let of = |sources: &str| format!("Lines(source: {sources})");
        let journal = "Journal(source: \"p4\", table: \"db.change\")";
        let count = "when: Count(of: 2, within: \"1m\"),";
        let absent = "when: Absent(for: \"1m\"),";
        let digest = "when: Digest(every: \"1m\"),";
        let limit = "limit: (times: 1, per: \"1m\"),";
        let settle = "settle: \"1s\",";
        let pair = "when: Pair(until: (on: Lines(source: \"a\"), match: \"x\"), \
                    within: \"1m\", fire: IfMissing),";
        let rules = [
            rule("each", &of("\"a\""), ""),
            rule("count", &of("[\"b\", \"a\"]"), count),
            rule("other", &of("\"b\""), count),
            rule("absent", "Lines()", absent),
            rule("digest", &of("\"a\""), digest),
            rule("limit", &of("\"a\""), limit),
            rule("settle", &of("\"a\""), settle),
            rule("pair", &of("\"b\""), pair),
            rule("journal", journal, count),
            rule("off", &of("\"a\""), &format!("enabled: false, {count}")),
        ];
        let text = format!("(rules: [{}])", rules.concat());
        let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
        let set = loaded.set.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let found: Vec<_> = set.counting("a").collect();
        assert_eq!(found, ["count", "absent", "digest", "limit", "settle", "pair"]);
        assert_eq!(set.counting("nosuch").collect::<Vec<_>>(), ["absent"]);
    }
}

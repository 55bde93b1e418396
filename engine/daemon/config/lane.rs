//! The rules as a listener among the others.

use super::{Config, Registry};
use crate::terminal::printable;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tripline_act::{ActContext, Hands};
use tripline_api::{Args, BuildContext, Built, ListenerId, Source};
use tripline_diagnose::shown;
use tripline_rules::RuleSet;
use tripline_rules::compiled::Trigger;
use tripline_tasks::{Crew, Rules, Setup};

/// What makes a rule fire is soon on the disk, so that its actions soon start.
const FLUSH_AFTER: Duration = Duration::from_millis(10);
/// Rules have clocks of their own.
const QUIET: Duration = Duration::from_secs(3600);

/// Adds the rules to the listeners of a configuration, if it has some.
///
/// # Errors
///
/// A sentence for each action that cannot be done.
pub(super) fn add(config: &mut Config, registry: &Registry) -> Result<(), Vec<String>> {
    let Some(set) = &config.rules else { return Ok(()) };
    let directory = config.path.parent().unwrap_or(&config.path).to_owned();
    let state = config.state.join(Rules::NAME);
    let context = ActContext { listeners: registry.listeners, directory, state };
    let hands = Arc::new(Hands::new(set, &context)?);
    let set = Arc::clone(set);
    let mut from = looked_at(&set, &config.sources);
    if looks_at_engine(&set)
        && let Some(engine) = engine(&config.state, registry)
    {
        from.push(engine.id().to_string());
        config.sources.push(engine);
    }
    let tell = Arc::new(|what: &str| {
        let what = printable(what);
        // Standard error may be gone; the work goes on all the same.
        _ = writeln!(std::io::stderr(), "tripline: {}: {what}", Rules::NAME);
    });
    let crew = Arc::new(Crew::new());
    config.crew = Some(Arc::clone(&crew));
    let to_see_failed = format!("tripline tasks {} --failed", shown(&config.path));
    let rules = Rules::new(Setup { set, hands, crew, tell, to_see_failed });
    let mut built = Built::new(Box::new(rules), from, QUIET);
    built.flush_after = FLUSH_AFTER;
    if let Some(id) = ListenerId::new(Rules::NAME) {
        config.listeners.push((id, built));
    }
    Ok(())
}

/// Where what happens to Tripline itself is written, in the state directory.
pub(crate) const ENGINE_FILE: &str = "engine/events.jsonl";

/// Whether a rule looks at what happens to Tripline itself.
fn looks_at_engine(set: &RuleSet) -> bool {
    let looks = |trigger: &Trigger| match trigger {
        Trigger::Engine { events, emitted } => !events.is_empty() || emitted.is_empty(),
        _ => false,
    };
    set.rules.iter().filter(|rule| rule.enabled).any(|rule| rule.triggers().any(looks))
}

/// What happens to Tripline itself, as a source: a log like any other.
pub(crate) fn engine(state: &Path, registry: &Registry) -> Option<Arc<dyn Source>> {
    let log = registry.sources.iter().find(|it| it.name() == "Log")?;
    let path = state.join(ENGINE_FILE);
    let directory = path.parent()?;
    let context = BuildContext { name: Rules::ENGINE, directory, state };
    let file = path.file_name()?.to_str()?;
    log.build(&Args::new(&format!("(paths: [{file:?}])")), &context).ok()
}

/// The sources that a rule looks at.
fn looked_at(set: &RuleSet, sources: &[Arc<dyn Source>]) -> Vec<String> {
    let is_looked_at =
        |it: &&Arc<dyn Source>| set.looks_at(it.id().as_str(), it.is_journal());
    let looked_at = sources.iter().filter(is_looked_at);
    looked_at.map(|source| source.id().to_string()).collect()
}

//! Where rules begin when they have no place yet, in a line for a person.

use crate::config::Config;
use crate::terminal;
use tripline_api::{Progress, Settled, SourceId};
use tripline_diagnose::shown;
use tripline_tasks::Rules;

/// Says of which sources rules are about to act on what was there before the first start:
/// a thousand old lines may start a thousand programs.
pub(super) fn say(config: &Config, known: &[Progress]) {
    let rules = config.listeners.iter().find(|(id, _)| id.as_str() == Rules::NAME);
    let Some((_, built)) = rules else { return };
    for source in &config.sources {
        let id = source.id();
        let is_followed = built.from.iter().any(|name| name == id.as_str());
        if !is_followed || id.as_str() == Rules::ENGINE || has_begun(known, id) {
            continue;
        }
        // What cannot be looked at now, the lane says.
        let behind = source.behind(&Settled::default()).unwrap_or_default();
        let bytes: u64 = behind.values().map(|left| left.bytes).sum();
        if bytes > 0 {
            let config = shown(&config.path);
            terminal::say(format_args!(
                "{id}: rules see it for the first time, and act on the {bytes} bytes that \
                 are there; to pass over these stop, and type \
                 `tripline where {config} --set rules {id} end`"
            ));
        }
    }
}

fn has_begun(known: &[Progress], source: &SourceId) -> bool {
    known.iter().any(|it| {
        it.key.listener.as_str() == Rules::NAME
            && it.key.source == *source
            && it.cursor.is_some()
    })
}

//! Arguments that several listeners have.

use std::time::Duration;
use tripline_api::{ArgsError, FriendlyDuration, SourceId};

/// After how long without entries `no_data` is called, unless configured.
const QUIET_DEFAULT: Duration = Duration::from_secs(5);

/// The quiet period: as written, or the default.
pub(crate) fn quiet(written: Option<FriendlyDuration>) -> Duration {
    written.map_or(QUIET_DEFAULT, |duration| duration.0)
}

/// Checks `from` as far as a listener can: whether sources of these names are
/// configured is known elsewhere.
pub(crate) fn check_sources(from: &[String]) -> Result<(), ArgsError> {
    if from.is_empty() {
        return Err(ArgsError::new(
            "`from` names no source: write the name of one, as in `from: [\"p4\"]`",
        ));
    }
    for (index, name) in from.iter().enumerate() {
        if SourceId::new(name).is_none() {
            return Err(ArgsError::new(format!(
                "`from` has {name:?}, which cannot be a source's name: names are made \
                 of letters, digits, `_`, `-` and `.`"
            )));
        }
        if from[..index].contains(name) {
            return Err(ArgsError::new(format!(
                "`from` names `{name}` twice: leave one of them out"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_once() {
        let check = |from: &[&str]| {
            let from: Vec<String> = from.iter().map(|&name| name.to_owned()).collect();
            check_sources(&from).map_err(|error| error.message)
        };
        assert_eq!(check(&["p4", "auth"]), Ok(()));
        assert!(check(&[]).unwrap_err().contains("names no source"));
        assert!(check(&["p4", "p4"]).unwrap_err().contains("twice"));
        assert!(check(&["../p4"]).unwrap_err().contains("cannot be"));
    }
}

//! Arguments that several listeners have.

use std::time::Duration;
use tripline_api::{ArgsError, Argument, FriendlyDuration, SourceId, Wants};

/// `from`, of a listener that follows one journal only.
pub(crate) const FROM_ONE: Argument =
    Argument::FROM.with_doc("The name of the one source that it follows, a `Journal`.");

/// `tables` of a listener that can choose records.
pub(crate) const TABLES: Argument = Argument::optional(
    "tables",
    Wants::Texts,
    r#"["db.user", "db.protect"]"#,
    "Only records of these tables of a journal; all unless given. Lines of logs have none.",
);

/// `ops` of a listener that can choose records.
pub(crate) const OPS: Argument = Argument::optional(
    "ops",
    Wants::Texts,
    r#"["rv", "dv"]"#,
    "Only records with these operators: \"pv\", \"rv\", \"dv\", \"vv\", \"dl\", \"ex\", \"mx\", \
     \"nx\", \"put\", \"del\"; all unless given. Lines of logs have none.",
);

/// The quiet period: as written, or the default.
pub(crate) fn quiet(written: Option<FriendlyDuration>) -> Result<Duration, ArgsError> {
    let quiet = written.map_or(QUIET, |written| written.0);
    if (QUIET_MIN..=QUIET_MAX).contains(&quiet) {
        Ok(quiet)
    } else {
        Err(ArgsError::new("`quiet` must lie between \"10ms\" and \"366 days\""))
    }
}

/// The quiet period, unless configured.
const QUIET: Duration = Duration::from_secs(5);
const QUIET_MIN: Duration = Duration::from_millis(10);
const QUIET_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

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
    use tripline_api::UnlessGiven;

    #[test]
    fn quiet_is_described_as_it_is() {
        let Wants::Duration(min, max) = Argument::QUIET.wants else { panic!() };
        assert_eq!((min, max), (QUIET_MIN, QUIET_MAX));
        let unless_given = Argument::QUIET.unless_given;
        assert!(matches!(unless_given, UnlessGiven::Duration(QUIET)));
    }

    #[test]
    fn quiet_has_bounds() {
        assert_eq!(quiet(None).unwrap(), QUIET);
        for bad in [Duration::ZERO, Duration::MAX] {
            assert!(quiet(Some(FriendlyDuration(bad))).is_err());
        }
    }

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

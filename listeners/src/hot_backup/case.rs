//! Whether source and standby handle case alike.
//!
//! The header of every journal says how the server that wrote it does. Of the
//! standby no journal says anything: its database is what `p4d` makes of it, by the
//! flag `-C0` or `-C1` it is started with. So what is compared with is what a
//! person says: `case`, or that flag among the words of `replay`. Where nobody says
//! anything, `p4d` itself refuses a journal of the other kind.

use crate::ssh::Address;
use p4journal::{Case, Header};
use serde::Deserialize;
use tripline_api::{ArgsError, ListenError};

/// `case` in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Stated {
    /// As with `p4d -C0`.
    Sensitive,
    /// As with `p4d -C1`.
    Insensitive,
}

/// How the standby handles case, as far as anybody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handling(Option<Case>);

impl Handling {
    /// From the argument, and from the words of the command.
    ///
    /// # Errors
    ///
    /// When they contradict each other.
    pub(super) fn new(
        stated: Option<Stated>,
        argv: &[String],
    ) -> Result<Self, ArgsError> {
        let stated = stated.map(|stated| match stated {
            Stated::Sensitive => Case::Sensitive,
            Stated::Insensitive => Case::Insensitive,
        });
        let flag = argv.iter().skip(1).find_map(|word| match word.as_str() {
            "-C0" => Some(Case::Sensitive),
            "-C1" => Some(Case::Insensitive),
            _ => None,
        });
        match (stated, flag) {
            (Some(stated), Some(flag)) if stated != flag => Err(ArgsError::new(format!(
                "`case` says one thing and `{}` in `replay` another: take one of them \
                 away",
                flag_of(flag)
            ))),
            _ => Ok(Self(stated.or(flag))),
        }
    }

    pub(super) const fn is_stated(self) -> bool {
        self.0.is_some()
    }

    /// Compares with what a journal says.
    ///
    /// # Errors
    ///
    /// A stop, when it was written by a server of the other kind.
    pub(super) fn check(
        self,
        header: &Header,
        standby: &Address,
    ) -> Result<(), ListenError> {
        let wrote = match header.case_insensitive {
            true => Case::Insensitive,
            false => Case::Sensitive,
        };
        let Some(there) = self.0.filter(|there| *there != wrote) else { return Ok(()) };
        Err(ListenError::Stop(format!(
            "the source {} (p4d {}), and the standby {standby} {} (p4d {}): what is \
             applied there would be another database. Restore a checkpoint on the \
             standby with p4d {}, and say so in `replay` or `case`",
            words(wrote),
            flag_of(wrote),
            words(there),
            flag_of(there),
            flag_of(wrote)
        )))
    }
}

const fn words(case: Case) -> &'static str {
    match case {
        Case::Sensitive => "tells names apart by case",
        Case::Insensitive => "does not tell names apart by case",
    }
}

const fn flag_of(case: Case) -> &'static str {
    match case {
        Case::Sensitive => "-C0",
        Case::Insensitive => "-C1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p4journal::Head;

    #[test]
    fn what_is_said_is_compared() {
        let argv = |flag: &str| ["p4d", flag, "-jr", "-"].map(str::to_owned);
        let none = Handling::new(None, &argv("-f")).unwrap();
        let folds = Handling::new(None, &argv("-C1")).unwrap();
        let both = Handling::new(Some(Stated::Insensitive), &argv("-C1")).unwrap();
        assert_eq!(both, folds);
        assert!(Handling::new(Some(Stated::Sensitive), &argv("-C1")).is_err());
        let address = Address::try_from("ssh://host/x".to_owned()).unwrap();
        for (flags, fits) in [(1, false), (2, true), (9, false), (10, true)] {
            let text = format!(
                "@nx@ 2 1700000000 @58@ {flags} 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
                 @vv@ 1 @db.counters@ @journal@ @15@ \n"
            );
            let head = Head::read(text.as_bytes());
            let header = head.header().unwrap();
            assert!(none.check(header, &address).is_ok());
            let checked = folds.check(header, &address);
            assert_eq!(checked.is_ok(), fits, "{flags}");
            if let Err(error) = checked {
                assert!(error.to_string().contains("-C0"), "{error}");
            }
        }
    }
}

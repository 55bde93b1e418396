//! What a person has done with a standby, by `tripline backup`.

mod seed;
mod upload;
mod verify;

use super::archives::{Archives, Root};
use super::replay::{APPLIED, APPLIED_BYTES_MAX, Applied};
use super::standby::Standby;
use crate::ssh::Settings;
use std::time::{Duration, Instant};
use tripline_api::{
    Backup, Compared, Difference, ListenError, Place, Seeded, Seeding, Tell, Verifying,
};

/// Works on one standby.
pub(super) struct Keeper {
    pub(super) settings: Settings,
    /// Journals are applied there.
    pub(super) has_replay: bool,
    pub(super) archives: Option<Kept>,
}

/// Where the versioned files are, here and there.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) settings: Settings,
    pub(super) prefix: &'static str,
    pub(super) root: Root,
}

impl Kept {
    pub(super) fn listener(&self, name: &str) -> Archives {
        Archives::new(self.settings.clone(), self.prefix, self.root.clone(), name)
    }
}

impl Backup for Keeper {
    fn seed(
        &mut self,
        seeding: &Seeding<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<Seeded, ListenError> {
        seed::seed(self, seeding, tell)
    }

    fn restored(&mut self, number: u64) -> Result<Seeded, ListenError> {
        if !self.has_replay {
            return Err(ListenError::Stop(
                "this listener has no `replay`: nothing is applied on its standby, so \
                 nobody needs to know what was restored"
                    .to_owned(),
            ));
        }
        let mut standby = connected(&self.settings)?;
        let text = standby.get(APPLIED, APPLIED_BYTES_MAX)?.unwrap_or_default();
        let applied = Applied::read(&text).ok();
        let Some((Some(checkpoint), waits)) =
            applied.map(|it| (it.restore.clone(), it.place().sequence))
        else {
            return Err(ListenError::Stop(format!(
                "no checkpoint waits on the standby {} to be restored: `tripline backup \
                 seed` without --restored brings one",
                standby.name
            )));
        };
        if waits != number {
            return Err(ListenError::Stop(format!(
                "{checkpoint} is waiting on the standby {} to be restored, and not \
                 checkpoint {number}: restore that one into an empty database, and then \
                 say --restored {waits}",
                standby.name
            )));
        }
        standby.put(APPLIED, &Applied::at(Place::start_of(0, number)).text())?;
        Ok(Seeded {
            checkpoint: number,
            begin: vec!["replay".to_owned()],
            next: vec![format!(
                "`tripline run CONFIG` applies the journals behind {checkpoint}, from \
                 journal {number} on"
            )],
        })
    }

    fn verify(
        &mut self,
        verifying: &Verifying<'_>,
        tell: &mut Tell<'_>,
        differs: &mut dyn FnMut(&Difference),
    ) -> Result<Vec<Compared>, ListenError> {
        verify::verify(self, verifying, tell, differs)
    }
}

/// A connection that stands.
fn connected(settings: &Settings) -> Result<Standby, ListenError> {
    let mut standby = Standby::begin(settings)?;
    // It gives up by itself.
    while !standby.connect(Instant::now() + WAIT)? {}
    Ok(standby)
}

/// So long is waited between two looks at anything else.
const WAIT: Duration = Duration::from_millis(500);

//! The connection to the standby's files, made anew where it broke.

use crate::hot_backup::standby::Standby;
use crate::ssh::{Failure, Settings};
use std::time::{Duration, Instant};
use tripline_api::ListenError;

/// How long a call may wait for a connection.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Link {
    pub(super) settings: Settings,
    standby: Option<Standby>,
}

impl Link {
    pub(super) const fn new(settings: Settings) -> Self {
        Self { settings, standby: None }
    }

    /// The standby; `None` while it is being connected to.
    ///
    /// # Errors
    ///
    /// [`ListenError::Lost`] or [`ListenError::Stop`], as for all here.
    pub(super) fn standby(&mut self) -> Result<Option<&mut Standby>, ListenError> {
        let until = Instant::now() + PATIENCE;
        let mut standby = match self.standby.take() {
            Some(standby) => standby,
            None => Standby::begin(&self.settings).map_err(lost)?,
        };
        let stands = standby.connect(until).map_err(lost)?;
        let standby = self.standby.insert(standby);
        Ok(stands.then_some(standby))
    }

    /// Asks the standby something; `None` while it is being connected to. What
    /// fails ends the connection.
    pub(super) fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut Standby) -> Result<T, Failure>,
    ) -> Result<Option<T>, ListenError> {
        let Some(standby) = self.standby()? else { return Ok(None) };
        match ask(standby) {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) => {
                self.standby = None;
                Err(lost(failure))
            }
        }
    }

    /// Lets the server know that we are there. Where it is gone, it is called again
    /// when there is something to say.
    pub(super) fn stay(&mut self) {
        if let Some(standby) = &mut self.standby
            && standby.sftp.turn(Instant::now()).is_err()
        {
            self.standby = None;
        }
    }
}

/// What was not applied comes again.
pub(super) fn lost(failure: Failure) -> ListenError {
    match ListenError::from(failure) {
        ListenError::Retry(why) => ListenError::Lost(why),
        error => error,
    }
}

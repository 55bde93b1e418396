//! What the engine has to say while it runs.

use std::path::Path;
use std::time::Duration;
use tripline_api::{Gap, ListenerId, SourceId};

/// Takes the engine's events: the program prints them, a test counts them.
pub trait Events: Send + Sync {
    /// Something happened. Called from any thread; must not block.
    fn event(&self, event: &Event<'_>);
}

/// Something a person may want to know.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Continuity could not be proved; the listener goes on or stops.
    Gap {
        /// To whom it was announced.
        listener: &'a ListenerId,
        /// What was lost.
        gap: &'a Gap,
        /// The listener stops here.
        stops: bool,
    },
    /// A listener stopped and needs a person; the others go on.
    ListenerStopped {
        /// Which.
        listener: &'a ListenerId,
        /// Why, and what to do.
        why: &'a str,
    },
    /// Entries were set aside: their receiver will never take them.
    SetAside {
        /// By which listener.
        listener: &'a ListenerId,
        /// The id of the first of them.
        id: &'a str,
        /// How many.
        entries: u64,
        /// Why.
        why: &'a str,
    },
    /// A listener or its source failed and is tried again.
    ListenerRetries {
        /// Which.
        listener: &'a ListenerId,
        /// Why.
        why: &'a str,
        /// After which pause.
        after: Duration,
    },
    /// What failed works again.
    ListenerRecovered {
        /// Which.
        listener: &'a ListenerId,
    },
    /// A source expects something that is not there yet.
    Waiting {
        /// The listener that waits.
        listener: &'a ListenerId,
        /// For which source.
        source: &'a SourceId,
        /// For what.
        waiting_for: &'a str,
    },
    /// What a source waited for is there.
    Arrived {
        /// The listener that waited.
        listener: &'a ListenerId,
        /// For which source.
        source: &'a SourceId,
    },
    /// A listener has not delivered what is in the oldest file that is kept: what
    /// deletes old files deletes that one next. Once a file.
    AboutToBeLost {
        /// The listener that is behind.
        listener: &'a ListenerId,
        /// On which source.
        source: &'a SourceId,
        /// The file.
        path: &'a Path,
        /// How many bytes the listener has not delivered, in this file and in
        /// those behind it.
        bytes: u64,
    },
    /// Progress was not saved; delivery goes on and saving is tried again.
    NotSaved {
        /// Why.
        why: &'a str,
        /// After which pause.
        after: Duration,
    },
    /// Progress is saved again.
    SavedAgain,
    /// A source has something to say.
    Notice {
        /// The listener whose reader says it.
        listener: &'a ListenerId,
        /// Which source.
        source: &'a SourceId,
        /// In words.
        text: &'a str,
    },
    /// Changes are seen by polling only.
    PollingOnly {
        /// Why, and what to do.
        why: &'a str,
    },
    /// File-system events were lost, so everything is looked at; once a burst.
    Overflow {
        /// What happened, and what to do.
        why: &'a str,
    },
    /// The engine stopped before a listener had made durable what it was given:
    /// that comes again at the next start.
    NotFlushed {
        /// Which.
        listener: &'a ListenerId,
    },
}

//! The engine inside a program of one's own: no configuration file, no command.
//!
//! ```text
//! cargo run --example embed -- DIRECTORY STATE
//! ```
//!
//! reads `DIRECTORY/journal` and the journals rotated to
//! `DIRECTORY/checkpoints`, says who submitted how often, and remembers in the
//! directory `STATE` how far it came: the next run counts only what is new.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tripline_api::{
    Args, BuildContext, Built, Entry, ListenError, Listener, ListenerId, OnGap,
    SourceFactory as _, View,
};
use tripline_run::{Engine, Event, Events, LaneSetup, Options, Setup};
use tripline_store::{SqliteStore, StateLock};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(directory), Some(state), None) = (args.next(), args.next(), args.next())
    else {
        return Err("usage: embed DIRECTORY STATE".into());
    };
    let state = Path::new(&state);

    // A source, as a configuration would have it; paths start at `directory`. One of
    // log files is made by `tripline_follow::log::FACTORY`.
    let source = tripline_follow::journal::FACTORY.build(
        &Args::new(r#"(path: "journal", rotated: ["checkpoints"])"#),
        &BuildContext {
            name: "p4",
            directory: Path::new(&directory),
            state: Path::new("state"),
        },
    )?;

    // A listener. The engine takes it away, so the counts are shared with it.
    let counts = Counts::default();
    let listener = LaneSetup {
        id: ListenerId::new("submits").ok_or("not a name")?,
        built: Built {
            on_gap: OnGap::Stop,
            ..Built::new(
                Box::new(Submits(Arc::clone(&counts))),
                vec!["p4".to_owned()],
                Duration::from_secs(5),
            )
        },
    };

    // A second program on the same state would move the cursor under the first.
    let _lock = StateLock::take(state)?;
    let mut engine = Engine::start(Setup {
        sources: vec![source],
        listeners: vec![listener],
        store: Box::new(SqliteStore::open(state)?),
        options: Options { until_idle: true, ..Options::default() },
        events: Arc::new(Complaints),
    })?;
    while !engine.wait(Duration::from_secs(1)) {}
    let (outcome, store) = engine.stop();
    if let Some((listener, why)) = outcome.stopped.first() {
        return Err(format!("{listener} stopped: {why}").into());
    }
    if let Some(why) = outcome.unsaved {
        return Err(format!("the place was not saved: {why}").into());
    }

    for (user, count) in counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{user}: {count}");
    }
    for progress in store.ok_or("the store is gone")?.progress()? {
        if let Some(cursor) = progress.cursor {
            println!("read up to {} of {}", cursor.place, progress.key.source);
        }
    }
    Ok(())
}

/// How many changes each user submitted.
type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

/// Counts submits, and with them later edits of a submitted change, which put
/// its row once more. The counts are in memory and gone when the process dies: a
/// listener that has to keep them writes them down in `flush`.
struct Submits(Counts);

impl Listener for Submits {
    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        submitter(entry).is_some()
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for user in entries.entries().filter_map(|entry| submitter(&entry)) {
            *counts.entry(user).or_default() += 1;
        }
        Ok(())
    }
}

/// Who submitted a change, if the entry is the row of a submitted one: its
/// status has the lowest bit set.
fn submitter(entry: &Entry<'_>) -> Option<String> {
    let record = entry.record().filter(|record| record.op().is_put())?;
    if record.table() != Some("db.change") {
        return None;
    }
    let column = |wanted| {
        let mut columns = record.columns();
        columns.find(|(name, _)| name.known() == Some(wanted)).map(|(_, value)| value)
    };
    let is_submitted = column("status")?.number()? & 1 == 1;
    let user = String::from_utf8_lossy(&column("user")?.text()).into_owned();
    is_submitted.then_some(user)
}

/// Tells what the engine has to say; a larger program would log it.
struct Complaints;

impl Events for Complaints {
    fn event(&self, event: &Event<'_>) {
        eprintln!("{event:?}");
    }
}

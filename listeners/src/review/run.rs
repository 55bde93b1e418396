//! The listener: hands records to the state, keeps what it decides, and has
//! mails sent.

use super::mail::{Mail, Style};
use super::notice::{Choice, Notice};
use super::post::Post;
use super::queue::{Manner, Queue, outcome};
use super::seed::Seed;
use super::state::{State, Submit};
use super::store::{Reached, Store};
use super::tables::ROWS_MAX;
use crate::mail::transport::Outcome;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Culprit, Cursor, Entry, Flushed, Gap, GapKind, Key, Letter, ListenError,
    Listener, ListenerId, Place, Rejected, SourceId, View,
};

/// What the configuration says.
pub(super) struct Settings {
    pub(super) id: ListenerId,
    /// Where the database is.
    pub(super) directory: PathBuf,
    pub(super) checkpoint: Option<PathBuf>,
    pub(super) style: Style,
    pub(super) choice: Choice,
    /// When more mails wait, no more entries are taken: the journal waits too.
    pub(super) waiting_max: usize,
    /// How long a recipient may be put off while others get theirs.
    pub(super) give_up: Duration,
}

impl Settings {
    /// How many mails may wait.
    pub(super) const WAITING_MAX: usize = 10_000;
}

/// The listener.
pub(super) struct Review {
    settings: Settings,
    post: Box<dyn Post>,
    /// `None` before `begin`, and after the database failed: then what is in
    /// memory is not trusted.
    running: Option<Running>,
    /// Where the first entry was that came before there were any tables.
    first: Option<Place>,
    /// What was delivered again because a person asked.
    delivered: BTreeSet<String>,
}

/// What is in memory, and the database.
struct Running {
    source: SourceId,
    store: Store,
    state: State,
    reached: Reached,
    /// Decided since the last save.
    fresh: Vec<Notice>,
    /// In the database, and to be sent.
    queue: Queue,
    /// The checkpoint that is read before anything else.
    seed: Option<Seed>,
    /// There is something in the tables, or nothing to read them from.
    is_seeded: bool,
    /// A checkpoint of this journal is to be read, if there is one.
    wants_seed: Option<u64>,
}

/// No call takes much longer than this.
const PATIENCE: Duration = Duration::from_millis(1500);
/// A server's first journal has no checkpoint before it.
const FIRST_NUMBER: u64 = 1;

impl Listener for Review {
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.post.prepare()?;
        // What is in memory is whole, also when the lane begins again.
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::load(&self.settings, begin.source)?,
        };
        let running = self.running.insert(running);
        let place = begin.cursor.map(|cursor| cursor.place);
        if begin.set_by_hand
            && let Some(place) = place
            && running.reached.by_hand != Some(place)
        {
            running.is_moved_to(place);
            running.is_seeded = self.settings.checkpoint.is_none();
        }
        running.queue.drop_filed(&mut running.store, place)?;
        let first = self.first.take().or(place);
        if running.reached.cursor.is_none() {
            return running.begin_anew(&self.settings, first);
        }
        Ok(running.reached.cursor.clone())
    }

    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        entry.log.is_none() && State::matters(entry.bytes)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + PATIENCE;
        let Some(running) = &mut self.running else {
            return Err(ListenError::Lost("the tables are to be loaded again".into()));
        };
        running.read_seed(
            &self.settings,
            entries.batch().start,
            &mut self.first,
            until,
        )?;
        if running.queue.len() + running.fresh.len() >= self.settings.waiting_max {
            self.save()?;
            self.send(until, true)?;
            let waiting = self.waiting();
            if waiting >= self.settings.waiting_max {
                return Err(ListenError::Retry(format!(
                    "{waiting} mails wait to be sent"
                )));
            }
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        running.take(entries, &self.settings.choice)
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.save()?;
        if let Some(running) = &mut self.running {
            running.queue.mark();
        }
        Ok(if self.is_settled()? { Flushed::All } else { Flushed::Soon })
    }

    /// What was decided since the flush goes out too: who is put off must not
    /// keep mail from others.
    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        if self.running.as_ref().is_some_and(|running| !running.fresh.is_empty()) {
            self.save()?;
        }
        self.is_settled()
    }

    /// Who is put off is not waited for.
    fn arrives_soon(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.queue.is_sending())
    }

    fn letters(&mut self) -> Vec<Letter> {
        let Some(running) = &mut self.running else { return Vec::new() };
        let (source, listener) = (running.source.clone(), self.settings.id.clone());
        running.queue.letters(&Key { source, listener, log: None })
    }

    fn deliver(&mut self, made: &[u8]) -> Result<(), ListenError> {
        let notices: Vec<Notice> = serde_json::from_slice(made).map_err(|error| {
            ListenError::Stop(format!("this is no mail of a Review: {error}"))
        })?;
        let (mut refused, mut later) = (Vec::new(), Vec::new());
        for notice in &notices {
            for to in &notice.recipients {
                let mail = Mail::new(notice, to, &self.settings.style);
                if self.delivered.contains(&mail.id) {
                    continue;
                }
                match self.post.send(&mail).and_then(outcome) {
                    Ok(Outcome::Delivered) => _ = self.delivered.insert(mail.id),
                    Ok(Outcome::Refused(why)) => {
                        refused.push(format!("{}: {why}", to.address));
                    }
                    Ok(Outcome::Later(why)) => {
                        later.push(format!("{}: {why}", to.address));
                    }
                    Err(ListenError::Rejected(it)) => {
                        refused.push(format!("{}: {}", to.address, it.why));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if !refused.is_empty() {
            let why = refused.join("; ");
            return Err(ListenError::Rejected(Rejected { what: Culprit::All, why }));
        }
        if later.is_empty() { Ok(()) } else { Err(ListenError::Retry(later.join("; "))) }
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        if let Some(running) = &mut self.running {
            running.pass(gap, self.settings.checkpoint.is_some());
        }
        Ok(())
    }

    /// Mails that waited at the start are sent also when nothing comes.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        match self.send(Instant::now() + PATIENCE, false) {
            // Entries may come meanwhile.
            Err(ListenError::Retry(_)) => Ok(()),
            other => other,
        }
    }
}

impl Review {
    pub(super) const fn new(settings: Settings, post: Box<dyn Post>) -> Self {
        let delivered = BTreeSet::new();
        Self { settings, post, running: None, first: None, delivered }
    }

    /// How many mails are to be sent.
    fn waiting(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.queue.len())
    }

    /// Makes durable what was taken. After a failure all of it is loaded anew.
    fn save(&mut self) -> Result<(), ListenError> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.save()?;
        self.running = Some(running);
        Ok(())
    }

    /// Sends what waits, until a time; also waits until then for answers, if
    /// wanted.
    fn send(&mut self, until: Instant, waits: bool) -> Result<(), ListenError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Settings { style, give_up, .. } = &self.settings;
        let manner = Manner { style, give_up: *give_up, until, waits };
        running.queue.work(&mut running.store, &mut *self.post, &manner)
    }

    /// Goes on sending. Returns whether something became of all mails that the
    /// last flush is about.
    fn is_settled(&mut self) -> Result<bool, ListenError> {
        self.send(Instant::now() + PATIENCE, false)?;
        let Some(running) = &mut self.running else { return Ok(true) };
        if !running.queue.is_flushed() {
            return Ok(false);
        }
        if running.reached.by_hand.is_some() && running.reached.cursor.is_some() {
            // The engine settles something now, and forgets it too.
            running.reached.by_hand = None;
            self.save()?;
        }
        Ok(true)
    }
}

impl Running {
    fn load(settings: &Settings, source: &SourceId) -> Result<Self, ListenError> {
        let store = Store::open(&settings.directory)?;
        let (state, reached) = store.load()?;
        let queue = Queue::load(&store)?;
        Ok(Self {
            source: source.clone(),
            store,
            state,
            is_seeded: reached.cursor.is_some() || settings.checkpoint.is_none(),
            reached,
            fresh: Vec::new(),
            queue,
            seed: None,
            wants_seed: None,
        })
    }

    /// A person moved the cursor: what comes again is wanted again.
    fn is_moved_to(&mut self, place: Place) {
        self.state.abandon();
        self.state.tables.forget_changes();
        self.reached = Reached { by_hand: Some(place), ..Reached::default() };
    }

    /// Nothing was read yet. With a checkpoint it begins where that ends, which
    /// is the start of a journal, and is quiet up to where it is to begin.
    fn begin_anew(
        &mut self,
        settings: &Settings,
        place: Option<Place>,
    ) -> Result<Option<Cursor>, ListenError> {
        let (Some(checkpoint), Some(place)) = (&settings.checkpoint, place) else {
            return Ok(None);
        };
        let Some((path, number)) = Seed::find(checkpoint, place.sequence)? else {
            if place.sequence <= FIRST_NUMBER {
                self.is_seeded = true;
                return Ok(None);
            }
            return Err(ListenError::Stop(format!(
                "no checkpoint of number {} is in {}: put it there, or name another or \
                 none",
                place.sequence,
                checkpoint.display()
            )));
        };
        let start = Place::start_of(place.era, number);
        self.seed = Some(Seed::open(&path, number)?);
        if start == place {
            return Ok(None);
        }
        self.reached.quiet_until = Some(place);
        Ok(Some(Cursor::unproved(start)))
    }

    /// Reads on in the checkpoint, where one is to be read first.
    fn read_seed(
        &mut self,
        settings: &Settings,
        start: Place,
        first: &mut Option<Place>,
        until: Instant,
    ) -> Result<(), ListenError> {
        if !self.is_seeded && self.seed.is_none() {
            // Only now it is known where the source begins.
            *first = Some(start);
            return Err(ListenError::Lost("the checkpoint is to be read first".into()));
        }
        if let Some(sequence) = self.wants_seed.take()
            && let Some(checkpoint) = &settings.checkpoint
            && let Ok(Some((path, number))) = Seed::find(checkpoint, sequence)
            && number == sequence
        {
            self.seed = Some(Seed::open(&path, number)?);
        }
        let Some(seed) = &mut self.seed else { return Ok(()) };
        let Some(tables) = seed.read(until)? else {
            return Err(ListenError::Retry(seed.progress()));
        };
        self.state.tables = tables;
        self.seed = None;
        self.is_seeded = true;
        self.is_in_bounds()
    }

    fn take(&mut self, entries: &View<'_>, choice: &Choice) -> Result<(), ListenError> {
        let end = entries.batch().end;
        let reached = self.reached.cursor.as_ref().map(|cursor| cursor.place);
        let is_behind = |place: Place| reached.is_some_and(|reached| place < reached);
        // What comes again is in the tables: all of the batch, or the start of it.
        let fresh: Vec<Entry<'_>> =
            entries.entries().filter(|entry| !is_behind(entry.place)).collect();
        for entry in fresh {
            let Some(record) = entry.record() else { continue };
            let ends_in_crlf = entry.bytes.ends_with(b"\r\n");
            for submit in self.state.see(&record, ends_in_crlf) {
                self.decide(&submit, &entry, choice);
            }
        }
        if !is_behind(end.place) {
            self.reached.cursor = Some(end.clone());
        }
        self.is_in_bounds()
    }

    fn decide(&mut self, submit: &Submit, entry: &Entry<'_>, choice: &Choice) {
        if self.reached.quiet_until.is_some_and(|until| entry.place < until) {
            return;
        }
        self.reached.quiet_until = None;
        let notice = Notice::of(submit, entry.id(), &self.state.tables, choice);
        self.fresh.extend(notice);
    }

    fn is_in_bounds(&self) -> Result<(), ListenError> {
        if self.state.tables.is_too_large() {
            return Err(ListenError::Stop(format!(
                "there are more than {ROWS_MAX} users, members of groups and review \
                 lines, which is more than this listener keeps: is it the journal of a \
                 Perforce server?"
            )));
        }
        Ok(())
    }

    /// What comes next is behind a gap: nothing that was open before is ended by
    /// it, and its changes may have the numbers of others.
    fn pass(&mut self, gap: &Gap, has_checkpoint: bool) {
        self.state.abandon();
        if gap.kind == GapKind::Restored {
            self.state.tables.forget_changes();
        }
        self.wants_seed =
            (has_checkpoint && gap.to.offset == 0).then_some(gap.to.sequence);
        let proof = gap.proof.clone();
        self.reached.cursor = Some(Cursor { place: gap.to, proof, next: None });
    }

    fn save(&mut self) -> Result<(), ListenError> {
        if self.reached.cursor.is_none() {
            return Ok(());
        }
        self.store.save(&mut self.state, &self.fresh, &self.reached)?;
        if !self.fresh.is_empty() {
            self.fresh.clear();
            self.queue.load_more(&self.store)?;
        }
        Ok(())
    }
}

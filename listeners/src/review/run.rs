//! The listener: hands records to the state, keeps what it decides, and hands
//! mails to the post.

use super::mail::{Mail, Style};
use super::notice::{Choice, Notice};
use super::post::Post;
use super::seed::Seed;
use super::state::{State, Submit};
use super::store::{Reached, Store, Waiting};
use super::tables::ROWS_MAX;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{
    Begin, Content, Culprit, Cursor, Entry, Flushed, Gap, GapKind, Key, Letter,
    ListenError, Listener, ListenerId, Place, Rejected, SourceId, View,
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
    waiting: VecDeque<Waiting>,
    /// In the database, and refused for good.
    refused: Vec<Waiting>,
    /// The refused ones that were not handed out as letters yet begin here.
    letters_from: usize,
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
        running.drop_filed(place)?;
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
        if running.waiting.len() + running.fresh.len() >= self.settings.waiting_max {
            self.save()?;
            self.send(until)?;
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
        self.send(Instant::now() + PATIENCE)?;
        Ok(if self.waiting() == 0 { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        self.send(Instant::now() + PATIENCE)?;
        Ok(self.waiting() == 0)
    }

    fn letters(&mut self) -> Vec<Letter> {
        self.running.as_mut().map_or_else(Vec::new, |it| it.letters(&self.settings.id))
    }

    fn deliver(&mut self, made: &[u8]) -> Result<(), ListenError> {
        let notices: Vec<Notice> = serde_json::from_slice(made).map_err(|error| {
            ListenError::Stop(format!("this is no mail of a Review: {error}"))
        })?;
        let mut refused = Vec::new();
        for notice in &notices {
            for to in &notice.recipients {
                let mail = Mail::new(notice, to, &self.settings.style);
                match self.post.post(&mail) {
                    Ok(()) => {}
                    Err(ListenError::Rejected(it)) => {
                        refused.push(format!("{}: {}", to.address, it.why));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let why = refused.join("; ");
        Err(ListenError::Rejected(Rejected { what: Culprit::All, why }))
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        if let Some(running) = &mut self.running {
            running.pass(gap, self.settings.checkpoint.is_some());
        }
        Ok(())
    }

    /// Mails that waited at the start are sent also when nothing comes.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        match self.send(Instant::now() + PATIENCE) {
            // Entries may come meanwhile.
            Err(ListenError::Retry(_)) => Ok(()),
            other => other,
        }
    }
}

impl Review {
    pub(super) const fn new(settings: Settings, post: Box<dyn Post>) -> Self {
        Self { settings, post, running: None, first: None }
    }

    /// How many mails are to be sent.
    fn waiting(&self) -> usize {
        self.running.as_ref().map_or(0, |running| running.waiting.len())
    }

    /// Makes durable what was taken. After a failure all of it is loaded anew.
    fn save(&mut self) -> Result<(), ListenError> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.save()?;
        self.running = Some(running);
        Ok(())
    }

    /// Sends what waits, until a time.
    fn send(&mut self, until: Instant) -> Result<(), ListenError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        while Instant::now() < until
            && let Some(next) = running.waiting.front_mut()
        {
            let mail = Mail::new(&next.notice, &next.to, &self.settings.style);
            next.attempts = next.attempts.saturating_add(1);
            match self.post.post(&mail) {
                Ok(()) => running.store.is_done(next)?,
                Err(ListenError::Rejected(it)) => {
                    next.refused = Some(it.why);
                    running.store.was_tried(next)?;
                    running.refused.push(next.clone());
                }
                Err(error) => {
                    running.store.was_tried(next)?;
                    return Err(error);
                }
            }
            running.waiting.pop_front();
        }
        Ok(())
    }
}

impl Running {
    fn load(settings: &Settings, source: &SourceId) -> Result<Self, ListenError> {
        let store = Store::open(&settings.directory)?;
        let (state, reached) = store.load()?;
        let mut running = Self {
            source: source.clone(),
            store,
            state,
            is_seeded: reached.cursor.is_some() || settings.checkpoint.is_none(),
            reached,
            fresh: Vec::new(),
            waiting: VecDeque::new(),
            refused: Vec::new(),
            letters_from: 0,
            seed: None,
            wants_seed: None,
        };
        running.load_mails()?;
        Ok(running)
    }

    fn load_mails(&mut self) -> Result<(), ListenError> {
        let (refused, waiting) =
            self.store.mails()?.into_iter().partition(|mail| mail.refused.is_some());
        self.refused = refused;
        self.waiting = Vec::into(waiting);
        Ok(())
    }

    /// A person moved the cursor: what comes again is wanted again.
    fn is_moved_to(&mut self, place: Place) {
        self.state.abandon();
        self.state.tables.forget_changes();
        self.reached = Reached { by_hand: Some(place), ..Reached::default() };
    }

    /// What was refused before the place that the engine remembers is among its
    /// letters.
    fn drop_filed(&mut self, settled: Option<Place>) -> Result<(), ListenError> {
        let Some(settled) = settled else { return Ok(()) };
        let is_filed =
            |mail: &Waiting| place_of(&mail.notice).is_some_and(|place| place < settled);
        for mail in self.refused.iter().filter(|mail| is_filed(mail)) {
            self.store.is_done(mail)?;
        }
        self.refused.retain(|mail| !is_filed(mail));
        self.letters_from = 0;
        Ok(())
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
        if self.waiting.is_empty() && self.fresh.is_empty() {
            // The engine settles something now, and forgets it too.
            self.reached.by_hand = None;
        }
        self.store.save(&mut self.state, &self.fresh, &self.reached)?;
        if !self.fresh.is_empty() {
            self.fresh.clear();
            self.load_mails()?;
        }
        Ok(())
    }

    /// What was refused, as letters: one for each entry, whatever it was in, as
    /// the engine keeps one for each.
    fn letters(&mut self, listener: &ListenerId) -> Vec<Letter> {
        let mut of_entry: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
        for mail in &self.refused[self.letters_from..] {
            of_entry.entry(&mail.notice.entry).or_default().push(mail);
        }
        let key =
            Key { source: self.source.clone(), listener: listener.clone(), log: None };
        let letters = of_entry.into_values().map(|mails| letter(key.clone(), &mails));
        let letters = letters.collect();
        self.letters_from = self.refused.len();
        letters
    }
}

fn letter(key: Key, mails: &[&Waiting]) -> Letter {
    let mut notices: Vec<Notice> = Vec::new();
    for mail in mails {
        let is_it = |notice: &&mut Notice| notice.change == mail.notice.change;
        match notices.iter_mut().find(is_it) {
            Some(notice) => notice.recipients.push(mail.to.clone()),
            None => notices.push(Notice {
                recipients: vec![mail.to.clone()],
                ..Notice::clone(&Arc::clone(&mail.notice))
            }),
        }
    }
    let why = |mail: &&Waiting| {
        format!("{}: {}", mail.to.address, mail.refused.as_deref().unwrap_or_default())
    };
    let why: Vec<String> = mails.iter().map(why).collect();
    let place = mails.first().and_then(|mail| place_of(&mail.notice));
    Letter {
        key,
        place: place.unwrap_or_default(),
        entries: 1,
        content: Content::Made(serde_json::to_vec(&notices).unwrap_or_default()),
        why: why.join("; "),
        attempts: mails.iter().map(|mail| mail.attempts).max().unwrap_or(1),
    }
}

/// Where the entry of a notice is.
fn place_of(notice: &Notice) -> Option<Place> {
    let (_, id) = notice.entry.split_once('/')?;
    Place::from_id(id)
}

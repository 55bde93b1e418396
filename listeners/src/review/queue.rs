//! The mails that wait: sends them, one after the other, and remembers what
//! became of them.

use super::mail::{Mail, Style};
use super::notice::Notice;
use super::post::Post;
use super::store::{Store, Waiting};
use crate::mail::outbox::now;
use crate::mail::transport::{Outcome, Report};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_api::{Content, Key, Letter, ListenError, Place};

/// The mails of the database, in memory.
pub(super) struct Queue {
    /// To be sent, oldest first.
    waiting: VecDeque<Waiting>,
    /// Refused for good, and perhaps not known elsewhere; and whether it was
    /// handed out as a letter.
    refused: Vec<(Waiting, bool)>,
    /// Accepted, but the database could not be told: they must not be sent again.
    accepted: Vec<Waiting>,
    /// The one that the post has.
    sending: Option<(i64, i64)>,
    /// The number of the last notice that was loaded.
    last: i64,
    /// The last notice that the last flush is about.
    mark: i64,
    /// When the server last did something for good.
    last_answer: Option<Instant>,
}

/// How mails are sent.
pub(super) struct Manner<'a> {
    pub(super) style: &'a Style,
    /// How long a recipient may be put off while others get theirs.
    pub(super) give_up: Duration,
    /// Nothing is begun after that.
    pub(super) until: Instant,
    /// Waits until then for answers too.
    pub(super) waits: bool,
}

/// Who was put off is tried again after this long, and each time after twice as
/// long ...
const PUT_OFF_MIN: Duration = Duration::from_secs(1);
/// ... but not longer.
const PUT_OFF_MAX: Duration = Duration::from_secs(300);

impl Queue {
    pub(super) fn load(store: &Store) -> Result<Self, ListenError> {
        let mut queue = Self {
            waiting: VecDeque::new(),
            refused: Vec::new(),
            accepted: Vec::new(),
            sending: None,
            last: 0,
            mark: 0,
            last_answer: None,
        };
        queue.load_more(store)?;
        Ok(queue)
    }

    /// Takes in what was saved since the last call.
    pub(super) fn load_more(&mut self, store: &Store) -> Result<(), ListenError> {
        for mail in store.mails_after(self.last)? {
            self.last = mail.notice_number;
            if mail.refused.is_some() {
                self.refused.push((mail, false));
            } else {
                self.waiting.push_back(mail);
            }
        }
        Ok(())
    }

    /// How many are to be sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the post has one just now.
    pub(super) const fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// What is in the queue now is what a flush is about.
    pub(super) const fn mark(&mut self) {
        self.mark = self.last;
    }

    /// Whether something became of every mail that the last flush is about.
    pub(super) fn is_flushed(&self) -> bool {
        let is_behind = |mail: &Waiting| mail.notice_number > self.mark;
        self.accepted.is_empty() && self.waiting.front().is_none_or(is_behind)
    }

    /// Goes on sending.
    ///
    /// # Errors
    ///
    /// [`ListenError::Retry`] when the server is in trouble, or puts off somebody
    /// for the first time, and [`ListenError::Stop`] when a person must mend
    /// something.
    pub(super) fn work(
        &mut self,
        store: &mut Store,
        post: &mut dyn Post,
        manner: &Manner<'_>,
    ) -> Result<(), ListenError> {
        loop {
            while let Some(mail) = self.accepted.last() {
                store.is_done(mail)?;
                self.accepted.pop();
            }
            let left = manner.until.saturating_duration_since(Instant::now());
            if let Some(key) = self.sending {
                let patience = if manner.waits { left } else { Duration::ZERO };
                let Some(report) = post.report(patience) else { return Ok(()) };
                self.sending = None;
                self.heard(key, report, store, manner)?;
            } else if left.is_zero() || !self.start(store, post, manner)? {
                return Ok(());
            }
        }
    }

    /// Hands over the next mail whose time has come. Returns whether there was
    /// one.
    fn start(
        &mut self,
        store: &Store,
        post: &mut dyn Post,
        manner: &Manner<'_>,
    ) -> Result<bool, ListenError> {
        let time = Instant::now();
        let is_ready = |mail: &Waiting| mail.not_before.is_none_or(|it| it <= time);
        let Some(at) = self.waiting.iter().position(is_ready) else {
            return Ok(false);
        };
        let next = &self.waiting[at];
        match post.start(&Mail::new(&next.notice, &next.to, manner.style)) {
            Ok(()) => self.sending = Some(next.key()),
            Err(ListenError::Rejected(it)) => self.refuse(at, it.why, store)?,
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn heard(
        &mut self,
        key: (i64, i64),
        report: Report,
        store: &Store,
        manner: &Manner<'_>,
    ) -> Result<(), ListenError> {
        let Some(at) = self.waiting.iter().position(|mail| mail.key() == key) else {
            return Ok(());
        };
        let mail = &mut self.waiting[at];
        mail.attempts = mail.attempts.saturating_add(1);
        match outcome(report) {
            Ok(Outcome::Delivered) => {
                self.last_answer = Some(Instant::now());
                self.accepted.extend(self.waiting.remove(at));
                Ok(())
            }
            Ok(Outcome::Refused(why)) => {
                self.last_answer = Some(Instant::now());
                self.refuse(at, why, store)
            }
            Ok(Outcome::Later(why)) => self.put_off(at, why, store, manner.give_up),
            Err(error) => {
                store.was_tried(mail)?;
                Err(error)
            }
        }
    }

    fn refuse(
        &mut self,
        at: usize,
        why: String,
        store: &Store,
    ) -> Result<(), ListenError> {
        let mail = &mut self.waiting[at];
        mail.refused = Some(why);
        store.was_tried(mail)?;
        self.refused.extend(self.waiting.remove(at).map(|mail| (mail, false)));
        Ok(())
    }

    /// Somebody is to be tried again. The others get theirs meanwhile.
    fn put_off(
        &mut self,
        at: usize,
        why: String,
        store: &Store,
        give_up: Duration,
    ) -> Result<(), ListenError> {
        // Where nobody gets anything the server is in trouble, and that will pass:
        // then the time does not begin to run.
        let others_get_theirs =
            self.last_answer.is_some_and(|it| it.elapsed() <= give_up);
        let mail = &mut self.waiting[at];
        if let Some(since) = mail.put_off
            && now().saturating_sub(since) >= give_up.as_millis() as u64
        {
            return self.refuse(at, format!("put off for {give_up:?}: {why}"), store);
        }
        if mail.put_off.is_none() && others_get_theirs {
            mail.put_off = Some(now());
        }
        let is_first = !std::mem::replace(&mut mail.was_put_off, true);
        let doublings = mail.attempts.saturating_sub(1).min(16);
        let pause = PUT_OFF_MIN.saturating_mul(1 << doublings).min(PUT_OFF_MAX);
        mail.not_before = Some(Instant::now() + pause);
        store.was_tried(mail)?;
        if is_first {
            let to = &mail.to.address;
            return Err(ListenError::Retry(format!(
                "the mail server puts off {to}: {why}"
            )));
        }
        Ok(())
    }

    /// What was refused before the place that the engine remembers is among its
    /// letters.
    pub(super) fn drop_filed(
        &mut self,
        store: &mut Store,
        settled: Option<Place>,
    ) -> Result<(), ListenError> {
        let Some(settled) = settled else { return Ok(()) };
        let is_filed =
            |mail: &Waiting| place_of(&mail.notice).is_some_and(|place| place < settled);
        for (mail, _) in self.refused.iter().filter(|(mail, _)| is_filed(mail)) {
            store.is_done(mail)?;
        }
        self.refused.retain(|(mail, _)| !is_filed(mail));
        self.refused.iter_mut().for_each(|(_, was_handed_out)| *was_handed_out = false);
        Ok(())
    }

    /// What was refused, as letters: one for each entry, whatever it was in, as
    /// the engine keeps one for each. Nothing of an entry of which somebody still
    /// waits.
    pub(super) fn letters(&mut self, key: &Key) -> Vec<Letter> {
        let mut of_entry: BTreeMap<&str, Vec<&Waiting>> = BTreeMap::new();
        for (mail, was_handed_out) in &mut self.refused {
            let is_it = |other: &Waiting| other.notice.entry == mail.notice.entry;
            if !*was_handed_out && !self.waiting.iter().any(is_it) {
                *was_handed_out = true;
                of_entry.entry(&mail.notice.entry).or_default().push(mail);
            }
        }
        let letters = of_entry.into_values().map(|mails| letter(key.clone(), &mails));
        letters.collect()
    }
}

/// What became of a mail to one address, or why it is not known.
pub(super) fn outcome(report: Report) -> Result<Outcome, ListenError> {
    match report {
        Report::Answered(answers) => answers
            .into_iter()
            .next()
            .map(|(_, outcome)| outcome)
            .ok_or_else(|| ListenError::Retry("the mail server said nothing".into())),
        Report::Failed(why) => Err(ListenError::Retry(why)),
        Report::Stop(why) => Err(ListenError::Stop(why)),
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
        attempts: mails.iter().map(|mail| mail.attempts).max().unwrap_or(1).max(1),
    }
}

/// Where the entry of a notice is.
fn place_of(notice: &Notice) -> Option<Place> {
    let (_, id) = notice.entry.split_once('/')?;
    Place::from_id(id)
}

//! The mail that is being sent, on the disk before anything of it goes out.
//!
//! | file         | is                                                         |
//! |--------------|------------------------------------------------------------|
//! | `outbox`     | the mail under way, if any, and what the listener remembers |
//! | `outbox.tmp` | the same, being written; of no use after a crash           |
//!
//! A mail is written down, then sent, then written down as sent. Whoever dies
//! before the second step sends it when he is back, as it was written down:
//! should the server have taken it just then, it gets the same mail once more,
//! with the same Message-ID.

mod file;

use super::mailer::Mailer;
use super::message::Sealed;
use super::transport::{Outcome, Report, Transport};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tripline_api::{
    Content, Culprit, Gap, Key, Letter, ListenError, ListenerId, Place, Rejected,
    SourceId, View,
};

/// Sends one mail at a time and remembers, through every crash, what has become
/// of it, together with a note of the listener's (`N`).
///
/// It never waits: a listener calls [`work`](Self::work) until it says that
/// nothing is under way.
#[derive(Debug)]
pub(crate) struct Outbox<N> {
    directory: PathBuf,
    mailer: Mailer,
    /// How long a recipient may be put off while others get the mail.
    give_up: Duration,
    is_open: bool,
    kept: Kept<N>,
    /// What is kept is not yet what is in the file.
    is_unsaved: bool,
    /// No attempt before.
    not_before: Option<Instant>,
    /// To be set aside, and not handed over yet.
    letters: Vec<Letter>,
}

/// What is in the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept<N> {
    note: N,
    under_way: Option<UnderWay>,
    /// When the last mail went out, in milliseconds since 1970.
    sent: Option<u64>,
    /// What was set aside of the last mails. It is only in the store when what
    /// it was made of was settled.
    refused: Vec<Refused>,
}

/// A mail that some do not have yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    mail: Sealed,
    origin: Origin,
    attempts: u32,
    /// Since when some are put off while others have got it, in milliseconds
    /// since 1970.
    put_off: Option<u64>,
    /// Who refused it, and why.
    refused: Vec<(String, String)>,
}

/// A mail that some refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    mail: Sealed,
    origin: Origin,
    attempts: u32,
    why: String,
}

/// What a mail was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    listener: String,
    source: String,
    /// The path of a log, as bytes.
    log: Option<Vec<u8>>,
    era: u64,
    sequence: u64,
    offset: u64,
    line: u64,
    entries: u64,
}

/// Attempts are at least so far apart. The lane pauses too, and longer each
/// time.
const ATTEMPTS_APART: Duration = Duration::from_secs(1);
/// So many mails that were refused are remembered until what they were made of
/// is certainly settled ...
const REFUSED_MAX: usize = 16;
/// ... and so many bytes of them, beside the last.
const REFUSED_BYTES_MAX: usize = 4 * 1024 * 1024;

impl<N> Outbox<N>
where
    N: Clone + Default + Serialize + DeserializeOwned,
{
    /// An outbox with its file in this directory, which need not be there.
    /// Nothing is read before [`open`](Self::open).
    pub(crate) fn new(state: &Path, transport: Transport, give_up: Duration) -> Self {
        Self {
            directory: state.to_owned(),
            mailer: Mailer::new(transport),
            give_up,
            is_open: false,
            kept: Kept {
                note: N::default(),
                under_way: None,
                sent: None,
                refused: Vec::new(),
            },
            is_unsaved: false,
            not_before: None,
            letters: Vec::new(),
        }
    }

    /// Reads what there is from an earlier run, and what is needed to send.
    ///
    /// # Errors
    ///
    /// [`ListenError::Retry`] when the file cannot be read now, and
    /// [`ListenError::Stop`] when it is damaged, or a password or certificate
    /// cannot be used.
    pub(crate) fn open(&mut self) -> Result<(), ListenError> {
        if self.is_open {
            return Ok(());
        }
        self.mailer.transport().prepare()?;
        if let Some(kept) = file::read(&self.directory)? {
            self.kept = kept;
        }
        self.is_open = true;
        Ok(())
    }

    /// What the listener remembers, the mail under way included.
    pub(crate) const fn note(&self) -> &N {
        &self.kept.note
    }

    /// Whether no mail is under way.
    pub(crate) const fn is_free(&self) -> bool {
        self.kept.under_way.is_none()
    }

    /// Whether a mail is on its way just now, and not put off.
    pub(crate) const fn is_sending(&self) -> bool {
        self.mailer.is_sending()
    }

    /// How long ago the last mail went out; `None` when none ever did.
    pub(crate) fn since_last(&self) -> Option<Duration> {
        let sent = self.kept.sent?;
        // Where the clock was set back nobody knows.
        Some(Duration::from_millis(now().saturating_sub(sent)))
    }

    /// Takes a mail. When it returns, mail and note are on the disk; nothing was
    /// sent before. To be called only while [`is_free`](Self::is_free).
    ///
    /// # Errors
    ///
    /// [`ListenError::Retry`] when it cannot be written down; then it was not
    /// taken.
    pub(crate) fn post(
        &mut self,
        mail: Sealed,
        origin: Origin,
        note: N,
    ) -> Result<(), ListenError> {
        let before = self.kept.note.clone();
        self.kept.note = note;
        self.kept.under_way = Some(UnderWay {
            mail,
            origin,
            attempts: 0,
            put_off: None,
            refused: Vec::new(),
        });
        if let Err(error) = self.save() {
            self.kept.under_way = None;
            self.kept.note = before;
            // It may have reached the disk all the same.
            self.is_unsaved = true;
            return Err(error);
        }
        self.not_before = None;
        Ok(())
    }

    /// Goes on with what is under way, without waiting. Returns whether
    /// everything that was posted has become of something, and that is on the
    /// disk.
    ///
    /// # Errors
    ///
    /// [`ListenError::Retry`] when some do not have it yet and may later;
    /// [`ListenError::Stop`] when a person must mend something.
    pub(crate) fn work(&mut self) -> Result<bool, ListenError> {
        if self.is_unsaved {
            self.save()?;
        }
        let Some(under_way) = &mut self.kept.under_way else { return Ok(true) };
        if !self.mailer.is_sending() {
            if self.not_before.is_some_and(|time| Instant::now() < time) {
                return Ok(false);
            }
            self.not_before = Some(Instant::now() + ATTEMPTS_APART);
            let started = self.mailer.start(under_way.mail.clone());
            return started.map(|()| false).map_err(ListenError::Retry);
        }
        let Some(report) = self.mailer.report() else { return Ok(false) };
        self.not_before = Some(Instant::now() + ATTEMPTS_APART);
        under_way.attempts = under_way.attempts.saturating_add(1);
        match report {
            Report::Failed(why) => Err(ListenError::Retry(why)),
            Report::Stop(why) => Err(ListenError::Stop(why)),
            Report::Answered(answers) => self.answered(answers),
        }
    }

    fn answered(&mut self, answers: Vec<(String, Outcome)>) -> Result<bool, ListenError> {
        let Some(under_way) = &mut self.kept.under_way else { return Ok(true) };
        let why = under_way.heard(answers, self.give_up);
        if under_way.mail.to.is_empty() {
            self.finished();
        }
        self.save()?;
        match why {
            Some(why) if !self.is_free() => Err(ListenError::Retry(why)),
            _ => Ok(true),
        }
    }

    /// Everybody has it or refused it.
    fn finished(&mut self) {
        let Some(under_way) = self.kept.under_way.take() else { return };
        self.kept.sent = Some(now());
        let Some(refused) = under_way.into_refused() else { return };
        self.letters.extend(refused.letter());
        self.kept.refused.push(refused);
        while self.kept.refused.len() > 1
            && (self.kept.refused.len() > REFUSED_MAX
                || self.kept.refused.iter().map(Refused::bytes).sum::<usize>()
                    > REFUSED_BYTES_MAX)
        {
            self.kept.refused.remove(0);
        }
    }

    /// What was refused since the last call, for
    /// [`Listener::letters`](tripline_api::Listener::letters).
    pub(crate) fn letters(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.letters)
    }

    /// These entries come, perhaps again. If a mail that was refused begins with
    /// one of them, that one was not settled, and so the letter is not in the
    /// store: it is handed over again.
    pub(crate) fn came_again(&mut self, entries: &View<'_>) {
        if self.kept.refused.is_empty() {
            return;
        }
        for entry in entries.entries() {
            self.came(entry.source, entry.place);
        }
    }

    /// As [`came_again`](Self::came_again), for a gap.
    pub(crate) fn gap_came_again(&mut self, gap: &Gap) {
        self.came(&gap.source, gap.to);
    }

    fn came(&mut self, source: &SourceId, place: Place) {
        let found = self.kept.refused.iter().filter(|refused| {
            refused.origin.source == source.as_str() && refused.origin.place() == place
        });
        for letter in found.filter_map(Refused::letter) {
            let is_known =
                |other: &Letter| (&other.key, other.place) == (&letter.key, letter.place);
            if !self.letters.iter().any(is_known) {
                self.letters.push(letter);
            }
        }
    }

    /// A person wants what was mailed once more: replaces the note and drops a
    /// mail under way, as what it was made of comes again.
    ///
    /// # Errors
    ///
    /// As for [`post`](Self::post).
    pub(crate) fn forget(&mut self, note: N) -> Result<(), ListenError> {
        self.mailer.stop();
        self.kept.note = note;
        self.kept.under_way = None;
        self.kept.refused.clear();
        self.save()
    }

    /// Sends once more what was set aside, and waits for what becomes of it.
    ///
    /// # Errors
    ///
    /// [`ListenError::Rejected`] when it is refused again,
    /// [`ListenError::Retry`] when not all have it yet, and
    /// [`ListenError::Stop`] when it is no such mail or cannot be sent at all.
    pub(crate) fn deliver(&self, made: &[u8]) -> Result<(), ListenError> {
        let mail = Sealed::from_made(made).map_err(ListenError::Stop)?;
        let answers = match self.mailer.send_now(&mail) {
            Report::Answered(answers) => answers,
            Report::Failed(why) => return Err(ListenError::Retry(why)),
            Report::Stop(why) => return Err(ListenError::Stop(why)),
        };
        let list = |what: fn(&Outcome) -> Option<&String>| {
            let said = answers
                .iter()
                .filter_map(|(to, outcome)| Some(format!("{to}: {}", what(outcome)?)));
            said.collect::<Vec<_>>().join("; ")
        };
        let refused =
            list(|it| if let Outcome::Refused(why) = it { Some(why) } else { None });
        let later =
            list(|it| if let Outcome::Later(why) = it { Some(why) } else { None });
        if !refused.is_empty() {
            return Err(ListenError::Rejected(Rejected {
                what: Culprit::All,
                why: refused,
            }));
        }
        if later.is_empty() { Ok(()) } else { Err(ListenError::Retry(later)) }
    }

    fn save(&mut self) -> Result<(), ListenError> {
        self.is_unsaved = true;
        file::write(&self.directory, &self.kept)?;
        self.is_unsaved = false;
        Ok(())
    }
}

impl UnderWay {
    /// Notes who has it. Returns why some are put off.
    fn heard(
        &mut self,
        answers: Vec<(String, Outcome)>,
        give_up: Duration,
    ) -> Option<String> {
        let mut later = Vec::new();
        let mut have_it = self.put_off.is_some() || !self.refused.is_empty();
        for (to, outcome) in answers {
            match outcome {
                Outcome::Later(why) => later.push((to, why)),
                Outcome::Delivered => {
                    self.mail.to.retain(|other| *other != to);
                    have_it = true;
                }
                Outcome::Refused(why) => {
                    self.mail.to.retain(|other| *other != to);
                    self.refused.push((to, why));
                    have_it = true;
                }
            }
        }
        if later.is_empty() {
            return None;
        }
        // Where nobody gets it the server is in trouble, and that will pass. One
        // that is put off alone must not keep the next mails from all others.
        let since = self.put_off.unwrap_or_else(now);
        self.put_off = have_it.then_some(since);
        if have_it && now().saturating_sub(since) >= give_up.as_millis() as u64 {
            for (to, why) in later {
                self.mail.to.retain(|other| *other != to);
                self.refused.push((to, format!("put off for {give_up:?}: {why}")));
            }
            return None;
        }
        let said: Vec<String> =
            later.iter().map(|(to, why)| format!("{to}: {why}")).collect();
        Some(format!("the mail server puts off {}", said.join("; ")))
    }

    /// What is to be set aside of it.
    fn into_refused(self) -> Option<Refused> {
        if self.refused.is_empty() {
            return None;
        }
        let said: Vec<String> =
            self.refused.iter().map(|(to, why)| format!("{to}: {why}")).collect();
        let to = self.refused.into_iter().map(|(to, _)| to).collect();
        Some(Refused {
            mail: Sealed { to, ..self.mail },
            origin: self.origin,
            attempts: self.attempts.max(1),
            why: said.join("; "),
        })
    }
}

impl Refused {
    /// The letter; `None` when names that were written down are none.
    fn letter(&self) -> Option<Letter> {
        Some(Letter {
            key: self.origin.key()?,
            place: self.origin.place(),
            entries: self.origin.entries,
            content: Content::Made(self.mail.to_made()),
            why: self.why.clone(),
            attempts: self.attempts,
        })
    }

    fn bytes(&self) -> usize {
        self.mail.content.len()
    }
}

impl Origin {
    /// A mail of so many entries, the first of which is at this place.
    pub(crate) fn new(key: &Key, place: Place, entries: u64) -> Self {
        let Place { era, sequence, offset, line } = place;
        Self {
            listener: key.listener.as_str().to_owned(),
            source: key.source.as_str().to_owned(),
            log: key.log.as_ref().map(|log| log.as_os_str().as_bytes().to_vec()),
            era,
            sequence,
            offset,
            line,
            entries: entries.max(1),
        }
    }

    const fn place(&self) -> Place {
        let Self { era, sequence, offset, line, .. } = *self;
        Place { era, sequence, offset, line }
    }

    fn key(&self) -> Option<Key> {
        let path = |bytes: &Vec<u8>| -> Arc<Path> {
            Arc::from(PathBuf::from(OsString::from_vec(bytes.clone())))
        };
        Some(Key {
            listener: ListenerId::new(&self.listener)?,
            source: SourceId::new(&self.source)?,
            log: self.log.as_ref().map(path),
        })
    }
}

/// In milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

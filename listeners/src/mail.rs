//! `Mail`: entries by mail, many in one.
//!
//! What comes together goes together, in a digest; an entry is settled when a
//! mail server has taken the mail it is in. `mail/digest.rs` collects,
//! `mail/template.rs` words it, `mail/message.rs` makes a message,
//! `mail/outbox.rs` sends it and remembers, and `mail/covers.rs` is what it
//! remembers: up to where everything was mailed. `mail/smtp.rs` and
//! `mail/sendmail.rs` are the two ways out.

pub(crate) mod address;
mod covers;
mod digest;
mod doc;
pub(crate) mod mailer;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod receiver;
mod secret;
mod sendmail;
pub(crate) mod single;
mod smtp;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod transport;

use crate::arguments;
use crate::filter::Filter;
use address::Address;
use covers::Covers;
use digest::{Digest, Showing};
use message::{Attachment, Kind, Message, message_id};
use outbox::{Origin, Outbox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;
use template::Template;
use transport::Via;
use tripline_api::{
    Args, ArgsError, Argument, Begin, BuildContext, Built, Cursor, Entry, Flushed,
    FriendlyDuration, Gap, Letter, ListenError, Listener, ListenerFactory, ListenerId,
    OnGap, Secrets, SourceId, View,
};

/// Makes [`Mail`]s.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Mail"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Mail(from: ["auth"], matching: "Failed password|Accepted publickey for root",
    to: ["Night shift <ops@example.com>"], sender: "tripline@example.com",
    via: Smtp(server: "smtp://localhost"), digest: (after: "10s", every: "1m", show: 20))"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        transport::check_recipients(&arguments.to)?;
        let filter = Filter::new(arguments.tables, arguments.ops)?
            .matching(arguments.matching.as_deref())?;
        let only_journals = filter.is_only_for_journals();
        let rhythm = Rhythm::new(arguments.digest)?;
        let give_up = transport::give_up(arguments.give_up)?;
        let trial = template::trial();
        let subject = arguments.subject.as_deref().unwrap_or(SUBJECT);
        let body = arguments.body.as_deref().unwrap_or(BODY);
        let transport = arguments.via.transport(context)?;
        let secrets = transport.secrets();
        let id = ListenerId::new(context.name)
            .ok_or_else(|| ArgsError::new("the listener's name cannot be one"))?;
        let listener = Box::new(Mail {
            id,
            host: text::one_line(&transport::host_name(), 100),
            filter,
            subject: Template::new("subject", subject, &trial)?,
            body: Template::new("body", body, &trial)?,
            sender: arguments.sender,
            to: arguments.to,
            attach: arguments.attach,
            secrets: arguments.secrets.unwrap_or_default(),
            rhythm,
            outbox: Outbox::new(context.state, transport, give_up),
            is_open: false,
            open: Digest::default(),
            posted: 0,
            mark: None,
            wanted_again: BTreeSet::new(),
        });
        let quiet = arguments::quiet(arguments.quiet)?;
        Ok(Built {
            only_journals,
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            secrets,
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

const SUBJECT: &str = "{{ listener }} on {{ host }}: {{ count }} \
    {{ \"entry\" if count == 1 else \"entries\" }}{% if gaps %}, with a GAP{% endif %}";

const BODY: &str = "{% for entry in entries %}{{ entry.summary }}\n{% endfor %}\
    {% if suppressed %}... and {{ suppressed }} more.\n{% endif %}\n-- \n\
    {{ count }} {{ \"entry\" if count == 1 else \"entries\" }} of {{ sources | join(\", \") }}, \
    from {{ first }} to {{ last }}.\n\
    From the listener {{ listener }} of tripline on {{ host }}.\n";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    to: Vec<Address>,
    sender: Address,
    via: Via,
    matching: Option<String>,
    tables: Option<Vec<String>>,
    ops: Option<Vec<String>>,
    digest: Option<DigestArguments>,
    subject: Option<String>,
    body: Option<String>,
    attach: Option<Attach>,
    secrets: Option<Secrets>,
    give_up: Option<FriendlyDuration>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestArguments {
    after: Option<FriendlyDuration>,
    or_entries: Option<u64>,
    every: Option<FriendlyDuration>,
    show: Option<usize>,
}

/// What goes with a mail.
#[derive(Clone, Copy, Debug, Deserialize)]
enum Attach {
    /// The entries that are shown, as JSON lines.
    Json,
}

/// When a digest is closed, and how much it shows.
#[derive(Clone, Copy, Debug)]
struct Rhythm {
    after: Duration,
    or_entries: u64,
    every: Duration,
    show: usize,
}

impl Rhythm {
    const AFTER: Duration = Duration::from_secs(10);
    const EVERY: Duration = Duration::from_secs(60);
    const PERIOD_MAX: Duration = Duration::from_secs(24 * 3600);
    const SHOW: usize = 20;
    const SHOW_MAX: usize = 1000;

    fn new(written: Option<DigestArguments>) -> Result<Self, ArgsError> {
        let written = written.unwrap_or_default();
        let period = |name, written: Option<FriendlyDuration>, default| {
            let period = written.map_or(default, |written| written.0);
            if period <= Self::PERIOD_MAX {
                Ok(period)
            } else {
                Err(ArgsError::new(format!("`{name}` in `digest` must be at most a day")))
            }
        };
        let show = written.show.unwrap_or(Self::SHOW);
        if !(1..=Self::SHOW_MAX).contains(&show) {
            return Err(ArgsError::new(format!(
                "`show` in `digest` must be 1 to {}",
                Self::SHOW_MAX
            )));
        }
        if written.or_entries == Some(0) {
            return Err(ArgsError::new(
                "`or_entries` in `digest` must be at least 1, or be left out",
            ));
        }
        Ok(Self {
            after: period("after", written.after, Self::AFTER)?,
            or_entries: written.or_entries.unwrap_or(u64::MAX),
            every: period("every", written.every, Self::EVERY)?,
            show,
        })
    }
}

/// The listener.
///
/// There are two digests at most: one that was posted and is on its way, and
/// the open one. They are numbered; everything that was listened to is in a mail
/// that was taken, in the posted one, or in the open one.
struct Mail {
    id: ListenerId,
    host: String,
    filter: Filter,
    subject: Template,
    body: Template,
    sender: Address,
    to: Vec<Address>,
    attach: Option<Attach>,
    secrets: Secrets,
    rhythm: Rhythm,
    outbox: Outbox<Note>,
    is_open: bool,
    open: Digest,
    /// The number of the last digest that was posted, since the start.
    posted: u64,
    /// The number of the digest that has what was listened to before the last
    /// flush.
    mark: Option<u64>,
    /// Sources of which what comes again is wanted again, and that is known.
    wanted_again: BTreeSet<SourceId>,
}

/// What is remembered with each mail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Note {
    /// How many mails there were.
    mails: u64,
    /// How often a person wanted again what was mailed.
    again: u64,
    covers: Covers,
}

impl Listener for Mail {
    /// What was collected and not posted comes again; what was posted is
    /// remembered.
    fn begin(&mut self, begin: &Begin<'_>) -> Result<Option<Cursor>, ListenError> {
        self.outbox.open()?;
        if !self.is_open {
            self.is_open = true;
            self.posted = u64::from(!self.outbox.is_free());
        }
        self.open = Digest::default();
        self.mark = None;
        if begin.set_by_hand && !self.wanted_again.contains(begin.source) {
            let mut note = self.outbox.note().clone();
            note.covers.forget(begin.source);
            note.again += 1;
            self.outbox.forget(note)?;
            self.wanted_again.insert(begin.source.clone());
        }
        Ok(None)
    }

    /// A line that is not finished comes again.
    fn is_handled(&self, entry: &Entry<'_>) -> bool {
        !entry.log.is_some_and(|log| log.is_preview) && self.filter.wants(entry)
    }

    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        self.outbox.came_again(entries);
        let showing = self.showing();
        let mailed = &self.outbox.note().covers;
        self.open.add(&self.id, entries, mailed, showing);
        Ok(())
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.mark = Some(self.posted + u64::from(!self.open.is_empty()));
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        self.go_on()?;
        let taken = self.posted - u64::from(!self.outbox.is_free());
        Ok(self.mark.is_none_or(|mark| mark <= taken))
    }

    /// An open digest waits for more, and not for the server.
    fn arrives_soon(&self) -> bool {
        self.outbox.is_sending()
    }

    fn letters(&mut self) -> Vec<Letter> {
        self.outbox.letters()
    }

    fn deliver(&mut self, made: &[u8]) -> Result<(), ListenError> {
        self.outbox.deliver(made)
    }

    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        self.outbox.gap_came_again(gap);
        let showing = self.showing();
        let mailed = &self.outbox.note().covers;
        self.open.add_gap(&self.id, gap, mailed, showing);
        Ok(())
    }

    /// A mail that was under way when the daemon died goes out, whether or not
    /// there is anything new.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        match self.go_on() {
            // The next call tries again.
            Err(ListenError::Retry(_)) => Ok(()),
            result => result,
        }
    }
}

impl Mail {
    const fn showing(&self) -> Showing {
        Showing { show: self.rhythm.show, secrets: self.secrets }
    }

    /// Sends what is under way, and closes the open digest when it is time.
    /// Waits for nothing.
    fn go_on(&mut self) -> Result<(), ListenError> {
        if self.outbox.work()? && self.is_due() {
            self.close()?;
            self.outbox.work()?;
        }
        Ok(())
    }

    fn is_due(&self) -> bool {
        let Some(since) = self.open.since() else { return false };
        let is_ripe = since.elapsed() >= self.rhythm.after
            || self.open.count() >= self.rhythm.or_entries;
        let every = self.rhythm.every;
        is_ripe && self.outbox.since_last().is_none_or(|since| since >= every)
    }

    /// Makes a mail of the open digest.
    fn close(&mut self) -> Result<(), ListenError> {
        let Some((key, place)) = self.open.first() else { return Ok(()) };
        let mut note = self.outbox.note().clone();
        note.mails += 1;
        note.covers.join(self.open.covers().clone(), note.mails);
        let origin = Origin::new(key, place, self.open.count());
        let mail = self.message(note.again).seal().map_err(ListenError::Stop)?;
        self.outbox.post(mail, origin, note)?;
        self.open = Digest::default();
        self.posted += 1;
        Ok(())
    }

    fn message(&self, again: u64) -> Message {
        let context = self.open.context(&self.id, &self.host);
        let mut mistakes = Vec::new();
        let mut word = |template: &Template, plain: &'static str| {
            template.render(&context).unwrap_or_else(|mistake| {
                mistakes.push(mistake);
                template::plain(plain, &context)
            })
        };
        let subject = word(&self.subject, SUBJECT);
        let mut text = word(&self.body, BODY);
        for mistake in mistakes {
            text += &format!("\nThis mail is not worded as it should be: {mistake}.\n");
        }
        let (count, again) = (self.open.count().to_string(), again.to_string());
        let (first, last) = self.open.ids();
        let id =
            message_id(&[&self.host, self.id.as_str(), &again, &first, &last, &count]);
        let attach = |Attach::Json| Attachment {
            name: "entries.jsonl".to_owned(),
            kind: Kind::Json,
            bytes: self.open.json_lines(Message::ATTACHED_BYTES_MAX),
        };
        Message {
            sender: self.sender.clone(),
            to: self.to.clone(),
            subject,
            text,
            attachments: self.attach.map(attach).into_iter().collect(),
            headers: vec![
                ("X-Tripline-Listener", self.id.as_str().to_owned()),
                ("X-Tripline-Entries", count),
            ],
            id,
            date: i64::try_from(outbox::now() / 1000).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Who takes the mails.

use super::mail::Mail;
use crate::mail::address::Address;
use crate::mail::mailer::Mailer;
use crate::mail::message::{Message, Sealed, message_id};
use crate::mail::outbox::now;
use crate::mail::transport::{Report, Transport, host_name};
use std::time::Duration;
use tripline_api::{Culprit, ListenError, ListenerId, Rejected};

/// Takes one mail at a time. What was handed over before, and was perhaps
/// accepted, comes again with the same id.
pub(super) trait Post: Send {
    /// Reads what is needed to send, so that a mistake shows at the start.
    ///
    /// # Errors
    ///
    /// [`ListenError::Stop`], saying what is wrong.
    fn prepare(&self) -> Result<(), ListenError>;

    /// Begins to send a mail. What was under way is broken off.
    ///
    /// # Errors
    ///
    /// [`ListenError::Rejected`] when it can never be sent, and
    /// [`ListenError::Retry`] when it cannot be begun now.
    fn start(&mut self, mail: &Mail) -> Result<(), ListenError>;

    /// What became of the mail, once; waits for that so long at most.
    fn report(&mut self, patience: Duration) -> Option<Report>;

    /// Sends a mail and waits for what becomes of it, for a person who asked.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    fn send(&self, mail: &Mail) -> Result<Report, ListenError>;
}

/// The mailer.
pub(super) struct ByMailer {
    listener: ListenerId,
    host: String,
    sender: Address,
    mailer: Mailer,
}

impl ByMailer {
    pub(super) fn new(listener: ListenerId, sender: Address, way: Transport) -> Self {
        Self { listener, host: host_name(), sender, mailer: Mailer::new(way) }
    }

    fn seal(&self, mail: &Mail) -> Result<Sealed, ListenError> {
        let rejected = |why| ListenError::Rejected(Rejected { what: Culprit::All, why });
        let to = Address::new(Some(&mail.to.name), &mail.to.address).map_err(rejected)?;
        // Another listener's mails are others, also to the same people.
        let id = message_id(&[&self.host, self.listener.as_str(), &mail.id]);
        let message = Message {
            sender: self.sender.clone(),
            to: vec![to],
            subject: mail.subject.clone(),
            text: mail.text.clone(),
            attachments: Vec::new(),
            headers: vec![
                ("X-Tripline-Listener", self.listener.as_str().to_owned()),
                ("X-Perforce-Change", mail.change.to_string()),
                ("X-Perforce-User", mail.user.clone()),
                ("X-Perforce-Client", mail.client.clone()),
            ],
            id,
            date: i64::try_from(now() / 1000).unwrap_or_default(),
        };
        message.seal().map_err(rejected)
    }
}

impl Post for ByMailer {
    fn prepare(&self) -> Result<(), ListenError> {
        self.mailer.transport().prepare()
    }

    fn start(&mut self, mail: &Mail) -> Result<(), ListenError> {
        let sealed = self.seal(mail)?;
        self.mailer.start(sealed).map_err(ListenError::Retry)
    }

    fn report(&mut self, patience: Duration) -> Option<Report> {
        self.mailer.report_within(patience)
    }

    fn send(&self, mail: &Mail) -> Result<Report, ListenError> {
        Ok(self.mailer.send_now(&self.seal(mail)?))
    }
}

//! One mail that somebody waits for.

use super::address::{Address, is_host};
use super::message::{Message, message_id};
use super::outbox;
use super::smtp::Cancel;
use super::text;
use super::transport::{ADVICE, Outcome, Report, Transport, Via, host_name};
use std::collections::BTreeSet;
use tripline_api::{Args, ArgsError, BuildContext};

/// A way to send mails: the argument `via` of the listener `Mail`.
#[derive(Clone, Debug)]
pub struct Mails {
    transport: Transport,
}

/// A mail to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// What its Message-ID is made of, with this host and the sender's domain: for the
    /// same parts it is the same, so that a mail that comes again is recognised.
    pub id: &'a [&'a str],
    /// An address; `tripline@` and this host if none.
    pub sender: Option<&'a str>,
    /// Addresses: one at least, 100 at most. All of them see all of them.
    pub to: &'a [String],
    /// Those of them that do not get it, as mailboxes: they have it, or never will.
    pub but: &'a BTreeSet<String>,
    /// Anything; made to be one line, and cut to 200 characters.
    pub subject: &'a str,
    /// Anything, of which 1 MiB is kept; characters that are not seen are shown by their
    /// number.
    pub text: &'a str,
    /// Names of letters, digits and `-`; values as the subject.
    pub headers: &'a [(&'static str, &'a str)],
}

/// What became of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailAnswer {
    /// What was said of each recipient.
    Answered {
        /// Mailboxes for which the next in line has taken it.
        delivered: Vec<String>,
        /// Mailboxes for which it may be taken later, and what was said.
        put_off: Vec<(String, String)>,
        /// Mailboxes for which it will never be taken, and what was said.
        refused: Vec<(String, String)>,
    },
    /// Nobody has it as far as is known: it may work later.
    Later(String),
    /// Nobody has it, and a person must mend something first.
    Wrong(String),
}

/// Breaks off the mail that another thread sends.
#[derive(Clone, Debug, Default)]
pub struct CancelMail(Cancel);

impl CancelMail {
    /// Nobody waits for it any more. It may have been taken all the same. A name that the
    /// system is just looking up is not broken off.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Mails {
    /// Reads `via` as it is written, `Smtp(server: "smtp://localhost")`; without it is
    /// `Sendmail()`. Looks at no file and connects to nobody.
    ///
    /// # Errors
    ///
    /// When it is not understood or not possible.
    pub fn new(via: Option<&str>, context: &BuildContext<'_>) -> Result<Self, ArgsError> {
        let via: Via = Args::new(via.unwrap_or("Sendmail()")).parse()?;
        Ok(Self { transport: via.transport(context)? })
    }

    /// Looks whether all is there that it needs: the program, or the files with the
    /// password and the certificates.
    ///
    /// # Errors
    ///
    /// What is not, in words.
    pub fn prepare(&self) -> Result<(), String> {
        self.transport.prepare().map_err(|error| error.to_string())
    }

    /// Sends a mail and waits for what becomes of it: for each step as long as `via` says.
    ///
    /// # Errors
    ///
    /// When it can be no mail, however often it is tried: an address is none, or there
    /// are too many.
    pub fn send(
        &self,
        mail: &Mail<'_>,
        cancel: &CancelMail,
    ) -> Result<MailAnswer, String> {
        let mut sealed = message(mail)?.seal()?;
        sealed.to.retain(|mailbox| !mail.but.contains(mailbox));
        if sealed.to.is_empty() {
            return Ok(answered(Vec::new()));
        }
        let (report, goodbye) = self.transport.send(&sealed, &cancel.0);
        drop(goodbye);
        Ok(match report {
            Report::Answered(answers) => answered(answers),
            Report::Failed(why) => MailAnswer::Later(why),
            Report::Stop(why) => {
                let why = why.strip_suffix(ADVICE).unwrap_or(&why);
                MailAnswer::Wrong(why.to_owned())
            }
        })
    }
}

fn message(mail: &Mail<'_>) -> Result<Message, String> {
    let host = host_name();
    let sender = match mail.sender {
        Some(sender) => Address::parse(sender)?,
        None if is_host(&host) => Address::new(None, &format!("tripline@{host}"))?,
        None => Address::new(None, "tripline@localhost")?,
    };
    let to = mail.to.iter().map(|it| Address::parse(it)).collect::<Result<_, _>>()?;
    let headers = mail.headers.iter();
    Ok(Message {
        sender,
        to,
        subject: mail.subject.to_owned(),
        text: mail.text.to_owned(),
        attachments: Vec::new(),
        headers: headers.map(|(name, value)| (*name, (*value).to_owned())).collect(),
        id: message_id(&[&[host.as_str()], mail.id].concat()),
        date: i64::try_from(outbox::now() / 1000).unwrap_or_default(),
    })
}

fn answered(answers: Vec<(String, Outcome)>) -> MailAnswer {
    let (mut delivered, mut put_off, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    // A server's words are shown to people.
    let shown = |why: &str| text::one_line(why, SHOWN_CHARS_MAX);
    for (mailbox, outcome) in answers {
        match outcome {
            Outcome::Delivered => delivered.push(mailbox),
            Outcome::Later(why) => put_off.push((mailbox, shown(&why))),
            Outcome::Refused(why) => refused.push((mailbox, shown(&why))),
        }
    }
    MailAnswer::Answered { delivered, put_off, refused }
}

const SHOWN_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::receiver::{Answer, MailReceiver, Rule, Script};

    fn send(server: &MailReceiver, to: &[&str], but: &[&str]) -> MailAnswer {
        let via =
            format!("Smtp(server: \"smtp://{}\", timeout: \"10s\")", server.address());
        let context =
            BuildContext { name: "x", directory: "/".as_ref(), state: "/".as_ref() };
        let mails = Mails::new(Some(&via), &context).unwrap();
        let to: Vec<String> = to.iter().map(|&it| it.to_owned()).collect();
        let mail = Mail {
            id: &["a/0/1/rule", "mail-1"],
            sender: Some("Trip <tripline@example.com>"),
            to: &to,
            but: &but.iter().map(|&it| it.to_owned()).collect(),
            subject: "it\r\nBcc: mallory@example.net\r\n\r\nbroke",
            text: "one\r\n.\r\nMAIL FROM:<x@example.net>\r\n.two\n\0\x1b[2J",
            headers: &[("X-Tripline-Rule", "a\r\nX-Other: b")],
        };
        mails.send(&mail, &CancelMail::default()).unwrap()
    }

    #[test]
    fn each_recipient_has_an_answer_and_an_injection_is_text() {
        let rule = |at, said| Rule { at, answer: Answer::Say(said), times: 9 };
        let rules = vec![
            rule("RCPT TO:<never", "550 no such user"),
            rule("RCPT TO:<later", "450 try again"),
        ];
        let server = MailReceiver::with(Script { rules, ..Script::default() }).unwrap();
        let to = ["Ann <ann@example.com>", "never@example.com", "later@example.com"];
        let answer = send(&server, &to, &[]);
        let pair = |name: &str, said: &str| vec![(name.to_owned(), said.to_owned())];
        let wanted = MailAnswer::Answered {
            delivered: vec!["ann@example.com".to_owned()],
            put_off: pair("later@example.com", "450 try again"),
            refused: pair("never@example.com", "550 no such user"),
        };
        assert_eq!(answer, wanted);
        server.set(Vec::new());
        send(&server, &to, &["ann@example.com", "never@example.com"]);
        let mails = server.take_mails().unwrap();
        let [first, second] = &mails[..] else { panic!("{mails:?}") };
        assert_eq!(first.to, ["ann@example.com"]);
        assert_eq!(second.to, ["later@example.com"]);
        assert_eq!(first.header("Message-ID"), second.header("Message-ID"));
        assert_eq!(first.header("Bcc"), None);
        assert_eq!(first.header("X-Other"), None);
        assert_eq!(first.header("X-Tripline-Rule").as_deref(), Some("a X-Other: b"));
        assert!(first.text().contains("MAIL FROM:<x@example.net>"), "{}", first.text());
        assert!(!first.text().contains(['\0', '\x1b']), "{:?}", first.text());
    }

    #[test]
    fn a_mail_to_nobody_is_none() {
        let context =
            BuildContext { name: "x", directory: "/".as_ref(), state: "/".as_ref() };
        let mails = Mails::new(None, &context).unwrap();
        for to in [&[][..], &["ops@example.com\r\nRCPT TO:x@y"], &["-oQ/tmp@x"]] {
            let to: Vec<String> = to.iter().map(|&it| it.to_owned()).collect();
            let mail = Mail {
                id: &[],
                sender: None,
                to: &to,
                but: &BTreeSet::new(),
                subject: "",
                text: "",
                headers: &[],
            };
            assert!(mails.send(&mail, &CancelMail::default()).is_err(), "{to:?}");
        }
        assert!(Mails::new(Some("Smtp(server: 7)"), &context).is_err());
    }
}

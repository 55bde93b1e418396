//! With a real mail server on loopback, built as the engine builds it.

use super::*;
use crate::mail::receiver::{Answer as Says, MailReceiver, Rule};
use tripline_api::Content;

const JOURNAL: &str = "@pv@ 3 @db.user@ @ann@ @ann@@x.org@ @@ 1 2 @Ann L\u{e9}e@ @@ 0 @@ 0 \n\
    @pv@ 3 @db.user@ @bob@ @bob@@x.org@ @@ 1 2 @Bob \r\nBcc: all@@x.org@ @@ 0 @@ 0 \n\
    @pv@ 1 @db.review@ @ann@ 0 0 @//...@ 0 \n\
    @pv@ 1 @db.review@ @bob@ 0 0 @//...@ 0 \n@ex@ 1 1\n\
    @pv@ 0 @db.desc@ 5 @caf\u{e9}\n.\nMAIL FROM:<x@@x.org>\n@ \n@ex@ 2 1\n\
    @rv@ 1 @db.change@ 5 5 @ws@ @cy@ 1 1 @short@ @@ \n\
    @pv@ 0 @db.revcx@ 5 @//d/a@ 1 0 \n@ex@ 2 1\n";

struct Site {
    directory: tempfile::TempDir,
    receiver: MailReceiver,
    feed: Feed,
    settled: Option<Cursor>,
    letters: Vec<Letter>,
}

impl Site {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            receiver: MailReceiver::start().unwrap(),
            feed: Feed::new("p4").journal(7, JOURNAL.as_bytes()),
            settled: None,
            letters: Vec::new(),
        }
    }

    fn build(&self, more: &str) -> Box<dyn Listener> {
        let text = format!(
            "(from: [\"p4\"], sender: \"Perforce <p4@x.org>\", zone: \"UTC\",
                via: Smtp(server: \"smtp://{}\", timeout: \"5s\"{more}))",
            self.receiver.address()
        );
        let directory = self.directory.path();
        let state = directory.join("state");
        let context = BuildContext { name: "told", directory, state: &state };
        Factory.build(&Args::new(&text), &context).unwrap().listener
    }

    /// One life of the listener.
    fn live(&mut self, listener: &mut dyn Listener) -> Result<(), ListenError> {
        listener.begin(&self.feed.begin(self.settled.as_ref()))?;
        let from = self.settled.as_ref().map(|cursor| cursor.place);
        let batches = self.feed.batches(from, usize::MAX);
        for batch in &batches {
            batch.deliver(listener)?;
        }
        let mut is_flushed = listener.flush()? == Flushed::All;
        while !is_flushed {
            std::thread::yield_now();
            is_flushed = listener.is_flushed()?;
        }
        self.letters.extend(listener.letters());
        self.settled = batches.last().map(|batch| batch.end().clone());
        Ok(())
    }

    fn is_answered(&self, at: &'static str, says: &'static str) {
        let (answer, times) = (Says::Say(says), 1);
        self.receiver.set(vec![Rule { at, answer, times }]);
    }
}

#[test]
fn each_reviewer_gets_a_mail_of_their_own() {
    let mut site = Site::new();
    let mut listener = site.build("");
    site.live(&mut *listener).unwrap();
    let mails = site.receiver.take_mails().unwrap();
    let to: Vec<_> = mails.iter().map(|mail| (&*mail.from, mail.to.join(","))).collect();
    assert_eq!(
        to,
        [("p4@x.org", "ann@x.org".to_owned()), ("p4@x.org", "bob@x.org".to_owned())]
    );
    for mail in &mails {
        for (name, value) in [
            ("X-Tripline-Listener", "told"),
            ("X-Perforce-Change", "5"),
            ("X-Perforce-User", "cy"),
            ("X-Perforce-Client", "ws"),
            ("Auto-Submitted", "auto-generated"),
        ] {
            assert_eq!(mail.header(name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(mail.header("Bcc"), None);
        let text = mail.text();
        let description = "    caf\u{e9}\n    .\n    MAIL FROM:<x@x.org>\n";
        assert!(text.contains(description), "{text}");
        assert!(text.contains("    //d/a#1 add\n"), "{text}");
    }
    assert!(!mails[0].content().contains("bob@x.org"), "nobody learns of others");
    assert_ne!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
}

#[test]
fn a_lost_answer_costs_a_mail_with_the_same_message_id() {
    let mut site = Site::new();
    let (at, answer) = (".", Says::TakeAndClose);
    site.receiver.set(vec![Rule { at, answer, times: 1 }]);
    let mut listener = site.build("");
    let error = site.live(&mut *listener).unwrap_err();
    assert!(matches!(error, ListenError::Retry(_)), "{error}");
    drop(listener);
    let mut listener = site.build("");
    site.live(&mut *listener).unwrap();
    let mails = site.receiver.take_mails().unwrap();
    let to: Vec<&str> = mails.iter().map(|mail| &*mail.to[0]).collect();
    assert_eq!(to, ["ann@x.org", "ann@x.org", "bob@x.org"]);
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    assert_eq!(mails[0].text(), mails[1].text());
}

#[test]
fn a_refused_recipient_is_a_letter_that_can_be_delivered() {
    let mut site = Site::new();
    site.is_answered("RCPT TO:<ann", "550 5.1.1 no such user");
    let mut listener = site.build("");
    site.live(&mut *listener).unwrap();
    let mails = site.receiver.take_mails().unwrap();
    assert_eq!((mails.len(), &*mails[0].to[0]), (1, "bob@x.org"));
    assert_eq!(site.letters.len(), 1);
    assert!(site.letters[0].why.contains("ann@x.org: 550 5.1.1"), "{:?}", site.letters);
    let Content::Made(made) = &site.letters[0].content else { panic!() };
    site.build("").deliver(made).unwrap();
    let mails = site.receiver.take_mails().unwrap();
    assert_eq!((mails.len(), &*mails[0].to[0]), (1, "ann@x.org"));
}

#[test]
fn what_a_person_must_mend_stops_and_loses_nothing() {
    let mut site = Site::new();
    let mut listener = site.build(", starttls: Required");
    let error = site.live(&mut *listener).unwrap_err();
    assert!(
        matches!(&error, ListenError::Stop(why) if why.contains("STARTTLS")),
        "{error}"
    );
    drop(listener);
    // A file that is not there shows before anything is read.
    let mut listener = site.build(", user: \"p4\", password_file: \"none\"");
    let error = listener.begin(&site.feed.begin(None)).unwrap_err();
    assert!(matches!(&error, ListenError::Stop(why) if why.contains("none")), "{error}");
    drop(listener);
    let mut listener = site.build("");
    site.live(&mut *listener).unwrap();
    assert_eq!(site.receiver.take_mails().unwrap().len(), 2);
}

#[test]
fn a_server_that_says_nothing_does_not_hold_the_lane() {
    let site = Site::new();
    let (at, answer) = ("GREETING", Says::Stall);
    site.receiver.set(vec![Rule { at, answer, times: 1 }]);
    let mut listener = site.build("");
    listener.begin(&site.feed.begin(None)).unwrap();
    let began = std::time::Instant::now();
    for batch in &site.feed.batches(None, usize::MAX) {
        batch.deliver(&mut *listener).unwrap();
    }
    assert_eq!(listener.flush().unwrap(), Flushed::Soon);
    assert!(!listener.is_flushed().unwrap());
    assert!(listener.arrives_soon());
    drop(listener);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

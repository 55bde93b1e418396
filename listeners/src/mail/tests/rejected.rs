//! Recipients that are refused, and what needs a person.

use super::*;

/// The mails of each recipient, by the numbers of their entries.
fn by_recipient(mails: &[Received]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for mail in mails {
        let count = counted(std::slice::from_ref(mail));
        for to in &mail.to {
            *counts.entry(to.clone()).or_default() += count;
        }
    }
    counts
}

#[test]
fn one_that_is_refused_is_set_aside_and_the_other_gets_it() {
    let site = Site::new();
    site.receiver.set(vec![says("RCPT TO:<b@", "550 5.1.1 no such user", 1)]);
    let mut lane = site.lane();
    lane.run_through(&lines(10));
    lane.run_through(&lines(15));
    let counts = by_recipient(&site.mails());
    assert_eq!((counts["a@example.com"], counts["b@example.com"]), (15, 5));
    assert_eq!(lane.letters.len(), 1);
    let letter = &lane.letters[0];
    assert_eq!(letter.why, "b@example.com: 550 5.1.1 no such user");
    assert_eq!((letter.entries, letter.attempts, letter.place.offset), (10, 1, 0));
    assert_eq!(letter.key.log.as_deref(), Some(Path::new("/var/log/a.log")));
    let Content::Made(made) = &letter.content else { panic!("{letter:?}") };
    // Once more, as a person asks for it, by another process.
    site.receiver.set(vec![says("RCPT TO:<b@", "550 still not", 1)]);
    let error = site.build().deliver(made).unwrap_err();
    assert!(matches!(&error, ListenError::Rejected(it) if it.why.contains("still not")));
    site.receiver.set(vec![says("RCPT TO:<b@", "450 later", 1)]);
    assert!(matches!(site.build().deliver(made), Err(ListenError::Retry(_))));
    site.build().deliver(made).unwrap();
    let mails = site.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!((mails[0].to.len(), counted(&mails)), (1, 10));
    assert!(matches!(site.build().deliver(b"{}"), Err(ListenError::Stop(_))));
}

#[test]
fn a_mail_that_all_refuse_is_set_aside_once() {
    for at in ["RCPT", "DATA", "."] {
        let site = Site::new();
        site.receiver.set(vec![says(at, "554 no", 2)]);
        let mut lane = site.lane();
        lane.run_through(&lines(10));
        let connections = site.receiver.heard().len();
        assert_eq!(connections, 1, "{at}: it was not tried again");
        assert_eq!(lane.letters.len(), 1, "{at}");
        let Content::Made(made) = &lane.letters[0].content else { panic!() };
        let sealed = message::Sealed::from_made(made).unwrap();
        assert_eq!(sealed.to, ["a@example.com", "b@example.com"]);
        assert!(site.mails().is_empty());
        site.receiver.set(Vec::new());
        lane.run_through(&lines(12));
        assert_eq!(counted(&site.mails()), 2, "the next go out");
    }
}

/// The letter is only in the store when the first entry is settled: if that
/// comes again, so does the letter.
#[test]
fn a_letter_that_was_not_kept_is_handed_over_again() {
    let site = Site::new();
    site.receiver.set(vec![says("RCPT TO:<b@", "550 no such user", 1)]);
    let feed = lines(10);
    let mut lane = site.lane();
    lane.run_through(&feed);
    let letters = lane.letters.clone();
    let settled = lane.settled.clone();
    // Nothing of it reached the store.
    let mut lane = site.lane();
    lane.run_through(&feed);
    assert_eq!(lane.letters, letters);
    // All of it did.
    let mut lane = site.lane();
    lane.settled = settled;
    lane.run_through(&lines(12));
    assert!(lane.letters.is_empty());
    let mails = site.receiver.take_mails().unwrap();
    assert_eq!((mails.len(), counted(&mails)), (2, 12));
}

#[test]
fn one_that_is_put_off_gets_it_later_and_nobody_twice() {
    let site = Site::new();
    site.receiver.set(vec![says("RCPT TO:<b@", "450 mailbox busy", 2)]);
    let mut lane = site.lane();
    let came = lane.run(&lines(10), 1);
    assert!(
        matches!(&came, Came::PutOff(why) if why.contains("b@example.com: 450 mailbox busy")),
        "{came:?}"
    );
    // Through a restart as well.
    let mut lane = site.lane();
    lane.run_through(&lines(10));
    let mails = site.receiver.take_mails().unwrap();
    let to: Vec<&str> = mails.iter().map(|mail| mail.to[0].as_str()).collect();
    assert_eq!(to, ["a@example.com", "b@example.com"]);
    assert_eq!(mails[0].wire, mails[1].wire, "the same mail");
    assert!(lane.letters.is_empty());
}

#[test]
fn one_that_is_put_off_for_too_long_is_set_aside() {
    let site = Site::new().change("sender:", "give_up: \"1s\", sender:");
    site.receiver.set(vec![says("RCPT TO:<b@", "452 mailbox full", 1000)]);
    let mut lane = site.lane();
    lane.run_through(&lines(10));
    assert_eq!(lane.letters.len(), 1);
    let why = &lane.letters[0].why;
    assert!(why.contains("b@example.com: put off for 1s: 452 mailbox full"), "{why}");
    assert_eq!(by_recipient(&site.mails()).get("b@example.com"), None);
    // A server that takes from nobody is waited for instead.
    let site = Site::new().change("sender:", "give_up: \"1s\", sender:");
    site.receiver.set(vec![says("RCPT", "451 in trouble", 8)]);
    let mut lane = site.lane();
    lane.run_through(&lines(10));
    assert!(lane.letters.is_empty());
    assert_eq!(by_recipient(&site.mails()).len(), 2);
}

#[test]
fn what_concerns_every_mail_stops() {
    for (at, answer) in [("MAIL", "553 not from you"), ("RCPT", "530 log in first")] {
        let site = Site::new();
        site.receiver.set(vec![says(at, answer, 1)]);
        let mut lane = site.lane();
        let came = lane.run(&lines(10), 3);
        assert!(matches!(&came, Came::Stopped(why) if why.contains(answer)), "{came:?}");
        assert!(lane.letters.is_empty() && lane.settled.is_empty());
        // Put right, it goes on.
        let mut lane = site.lane();
        lane.run_through(&lines(10));
        assert_eq!(counted(&site.mails()), 10);
    }
}

#[test]
fn a_password_that_is_missing_shows_at_the_start() {
    let fields = "user: \"ann\", password_file: \"password\"";
    let site = Site::new().change("timeout: \"5s\"", fields);
    let feed = lines(1);
    let begin = Begin { source: feed.source(), cursor: None, set_by_hand: false };
    let error = site.build().begin(&begin).unwrap_err();
    assert!(
        matches!(&error, ListenError::Stop(why) if why.contains("password")),
        "{error}"
    );
}

//! Crashes, restarts, servers that come and go: nothing is missing, and nothing
//! is mailed twice but as the same mail.

use super::*;

/// So many entries in total, of two logs.
fn two_logs(count: usize) -> Feed {
    let text = |name: &str| -> Vec<u8> {
        let lines = (0..count / 2).map(|number| format!("{name} {number}\n"));
        lines.collect::<String>().into_bytes()
    };
    Feed::new("logs").log("/a", &text("a")).log("/b", &text("b"))
}

fn assert_all_once(site: &Site, feed: &Feed, context: &str) {
    let mails = site.mails();
    let mut found = mailed(&mails);
    let mut wanted = ids(feed);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "{context}");
    assert_eq!(counted(&mails), wanted.len() as u64, "{context}");
}

/// The listener is dropped, as by a kill, at any of its steps; what it had told
/// the engine by then is all that the next one begins with.
#[test]
fn killed_at_any_step_it_goes_on() {
    let feed = two_logs(40);
    for kill_after in 0..60 {
        let site = Site::new();
        let mut settled = Settled::new();
        let mut steps = 0;
        let mut lane = site.lane();
        lane.begin(&feed, false);
        let mut pending = Settled::new();
        let mut in_flight: Option<Settled> = None;
        'work: for batch in feed.unsettled(&settled, 50) {
            batch.deliver(&mut *lane.listener).unwrap();
            pending.insert(batch.log().cloned(), batch.end().clone());
            for _ in 0..3 {
                steps += 1;
                if steps > kill_after {
                    break 'work;
                }
                if in_flight.is_none() {
                    let flushed = lane.listener.flush().unwrap();
                    let took_off = std::mem::take(&mut pending);
                    match flushed {
                        Flushed::All => settled.extend(took_off),
                        Flushed::Soon => in_flight = Some(took_off),
                    }
                } else if lane.listener.is_flushed().unwrap() {
                    settled.extend(in_flight.take().unwrap_or_default());
                }
            }
        }
        drop(lane);
        let mut lane = site.lane();
        lane.settled = settled;
        lane.run_through(&feed);
        assert_all_once(&site, &feed, &format!("killed after {kill_after}"));
    }
}

#[test]
fn a_mail_that_was_settled_nowhere_is_not_sent_again() {
    let site = Site::new();
    let feed = two_logs(10);
    for _ in 0..5 {
        // Each time as if the store had never heard of it.
        site.lane().run_through(&feed);
    }
    let mails = site.receiver.take_mails().unwrap();
    assert_eq!(mails.len(), 1);
    assert_eq!(counted(&mails), 10);
    let more = two_logs(14);
    site.lane().run_through(&more);
    assert_eq!(counted(&site.mails()), 4);
}

#[test]
fn a_mail_in_doubt_comes_again_as_the_same() {
    let site = Site::new();
    let feed = two_logs(10);
    site.receiver.set(vec![Rule { at: ".", answer: Answer::TakeAndClose, times: 1 }]);
    let mut lane = site.lane();
    lane.begin(&feed, false);
    assert!(matches!(lane.once(&feed), Err(ListenError::Retry(_))));
    // More has come when it is tried again.
    let feed = two_logs(16);
    let mut lane = site.lane();
    lane.run_through(&feed);
    let mails = site.receiver.take_mails().unwrap();
    assert_eq!(mails.len(), 3);
    assert_eq!(mails[0], mails[1], "the same, byte by byte");
    assert_ne!(mails[1].header("Message-ID"), mails[2].header("Message-ID"));
    assert_eq!((counted(&mails[1..]), mailed(&mails[1..]).len()), (16, 16));
}

#[test]
fn a_server_that_comes_back_later_gets_everything() {
    for (at, answer) in [
        ("GREETING", "421 busy"),
        ("MAIL", "450 busy"),
        ("RCPT", "451 busy"),
        ("DATA", "452 no room"),
        (".", "451 greylisted"),
    ] {
        let site = Site::new();
        let feed = two_logs(20);
        site.receiver.set(vec![says(at, answer, 4)]);
        let mut lane = site.lane();
        let came = lane.run(&feed, 1);
        assert!(matches!(&came, Came::PutOff(why) if why.contains(answer)), "{came:?}");
        assert!(lane.settled.is_empty());
        lane.run_through(&feed);
        assert_all_once(&site, &feed, answer);
        assert!(lane.letters.is_empty());
    }
}

/// The time between two mails is kept through restarts too.
#[test]
fn a_restart_does_not_hurry() {
    let digest = r#"digest: (after: "0s", every: "1h", show: 1000)"#;
    let site =
        Site::new().change(r#"digest: (after: "0s", every: "0s", show: 1000)"#, digest);
    site.lane().run_through(&two_logs(10));
    for _ in 0..3 {
        let mut lane = site.lane();
        lane.begin(&two_logs(20), false);
        lane.listen(&two_logs(20));
        assert_eq!(lane.listener.flush().unwrap(), Flushed::Soon);
        assert!(!lane.listener.is_flushed().unwrap());
    }
    assert_eq!(counted(&site.mails()), 10);
}

#[test]
fn what_a_person_wants_again_is_mailed_again() {
    let site = Site::new();
    let feed = two_logs(10);
    let mut lane = site.lane();
    lane.run_through(&feed);
    let first = site.mails();
    let mut lane = site.lane();
    lane.begin(&feed, true);
    // The lane begins again for another reason: that is not a new wish.
    lane.once(&feed).unwrap();
    lane.begin(&feed, true);
    lane.settled.clear();
    lane.once(&feed).unwrap();
    let second = site.receiver.take_mails().unwrap();
    assert_eq!((second.len(), counted(&second)), (1, 10));
    assert_eq!(mailed(&first), mailed(&second));
    assert_ne!(first[0].header("Message-ID"), second[0].header("Message-ID"));
}

#[test]
fn a_mail_under_way_goes_out_without_anything_new() {
    let site = Site::new();
    let feed = two_logs(10);
    site.receiver.set(vec![says(".", "451 later", 1)]);
    let mut lane = site.lane();
    assert!(matches!(lane.run(&feed, 1), Came::PutOff(_)));
    let mut lane = site.lane();
    // The log is gone, and nothing comes again.
    lane.begin(&feed, false);
    let since = Instant::now();
    while site.receiver.heard().len() < 2 || !lane.listener.is_flushed().unwrap() {
        assert!(since.elapsed() < Duration::from_secs(60));
        lane.listener.no_data(false).unwrap();
        std::thread::yield_now();
        lane.listener.flush().unwrap();
    }
    assert_eq!(counted(&site.mails()), 10);
}

#[test]
fn what_cannot_be_written_down_is_not_sent() {
    let site = Site::new();
    let feed = two_logs(10);
    // A file where its directory should be.
    std::fs::write(site.directory.path().join("state"), "x").unwrap();
    let mut lane = site.lane();
    let begin = Begin { source: feed.source(), cursor: None, set_by_hand: false };
    let begun = lane.listener.begin(&begin);
    let failed = begun.map(|_| ()).and_then(|()| lane.once(&feed));
    assert!(matches!(failed, Err(ListenError::Retry(_))), "{failed:?}");
    assert!(site.mails().is_empty());
    std::fs::remove_file(site.directory.path().join("state")).unwrap();
    lane.run_through(&feed);
    assert_all_once(&site, &feed, "after");
}

#[test]
fn a_damaged_outbox_needs_a_person() {
    let site = Site::new();
    site.lane().run_through(&two_logs(10));
    let file = site.directory.path().join("state/outbox");
    std::fs::write(&file, "nonsense").unwrap();
    let feed = two_logs(10);
    let begin = Begin { source: feed.source(), cursor: None, set_by_hand: false };
    let error = site.build().begin(&begin).unwrap_err();
    let ListenError::Stop(why) = error else { panic!("{error:?}") };
    assert!(why.contains("outbox is damaged") && why.contains("Move it away"), "{why}");
}

//! Restarts, kills, and posts that do not answer.

use super::*;
use tripline_api::{Content, Gap, GapKind, Key, Place};

const PEOPLE: &str = "@pv@ 3 @db.user@ @ann@ @ann@@x.org@ @@ 1 2 @Ann@ @@ 0 @@ 0 \n\
    @pv@ 3 @db.user@ @bob@ @bob@@x.org@ @@ 1 2 @Bob@ @@ 0 @@ 0 \n\
    @pv@ 1 @db.review@ @ann@ 0 0 @//...@ 0 \n\
    @pv@ 1 @db.review@ @bob@ 0 0 @//...@ 0 \n@ex@ 1 1\n";

fn submit(number: u32) -> String {
    format!(
        "@pv@ 0 @db.desc@ {number} @number {number}@ \n@ex@ 2 1\n\
         @rv@ 1 @db.change@ {number} {number} @ws@ @cy@ 1 1 @short@ @@ \n\
         @pv@ 0 @db.revcx@ {number} @//d/a@ 1 0 \n@ex@ 2 1\n"
    )
}

fn feed(numbers: std::ops::RangeInclusive<u32>) -> Feed {
    let submits: String = numbers.map(submit).collect();
    Feed::new("p4").journal(7, (PEOPLE.to_owned() + &submits).as_bytes())
}

struct Play {
    directory: tempfile::TempDir,
    desk: Desk,
    lane: Lane,
}

impl Play {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, desk: Desk::default(), lane: Lane::default() }
    }

    fn start(&self) -> Review {
        Review::new(settings(self.directory.path()), Box::new(self.desk.clone()))
    }

    fn start_with(&self, checkpoint: &Path) -> Review {
        let mut settings = settings(self.directory.path());
        settings.checkpoint = Some(checkpoint.to_owned());
        Review::new(settings, Box::new(self.desk.clone()))
    }

    /// To whom and of which change mails were taken.
    fn told(&self) -> Vec<String> {
        let told = |mail: &Mail| {
            let (user, _) = mail.to.address.split_once('@').unwrap();
            let change = mail.subject.split(' ').nth(1).unwrap();
            format!("{user} {change}")
        };
        self.desk.taken().iter().map(told).collect()
    }

    fn checkpoint(&self, name: &str, number: u64, rows: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let text = format!(
            "@nx@ 0 1 @40@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
             @pv@ 1 @db.counters@ @journal@ @{number}@ \n{rows}\
             @nx@ 1 1 @40@ 0 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 1 1\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// A person who killed it behind what was sent, and before that was remembered.
#[test]
fn an_answer_that_is_lost_costs_one_mail_with_the_same_id() {
    let mut play = Play::new();
    play.desk.answer([Answer::Accept, Answer::Lose]);
    let feed = feed(1..=2);
    let mut review = play.start();
    let error = play.lane.run_all(&mut review, &feed).unwrap_err();
    assert!(matches!(error, ListenError::Retry(_)), "{error}");
    let settled = play.lane.settled.as_ref().unwrap();
    assert_eq!(settled.place.offset, 0, "nothing passes before it is sent");
    drop(review);
    play.lane.run_all(&mut play.start(), &feed).unwrap();
    assert_eq!(play.told(), ["ann 1", "bob 1", "bob 1", "ann 2", "bob 2"]);
    let mails = play.desk.taken();
    assert_eq!(mails[1], mails[2]);
}

#[test]
fn what_waits_survives_and_goes_out_in_order() {
    let mut play = Play::new();
    let feed = feed(1..=3);
    for _ in 0..4 {
        play.desk.answer([Answer::Later]);
        // Now and then by the same listener, as a lane does it, too.
        let mut review = play.start();
        assert!(play.lane.run(&mut review, &feed, 100, 1, usize::MAX).is_err());
        play.desk.answer([Answer::Accept, Answer::Later]);
        assert!(play.lane.run(&mut review, &feed, 100, 1, usize::MAX).is_err());
    }
    play.lane.run(&mut play.start(), &feed, 100, 1, usize::MAX).unwrap();
    let told = ["ann 1", "bob 1", "ann 2", "bob 2", "ann 3", "bob 3"];
    assert_eq!(play.told(), told);
}

#[test]
fn mails_that_wait_at_the_start_need_no_entry() {
    let mut play = Play::new();
    play.desk.answer([Answer::Later]);
    assert!(play.lane.run_all(&mut play.start(), &feed(1..=1)).is_err());
    // The engine's state is lost, but not the listener's.
    let mut review = play.start();
    let feed = feed(1..=1);
    let held = review.begin(&feed.begin(None)).unwrap();
    assert_eq!(held.as_ref(), feed.batches(None, usize::MAX).last().map(OwnedBatch::end));
    play.desk.answer([Answer::Later]);
    review.no_data(false).unwrap();
    assert_eq!(play.told(), [""; 0]);
    review.no_data(false).unwrap();
    assert_eq!(play.told(), ["ann 1", "bob 1"]);
}

#[test]
fn what_is_refused_is_a_letter_and_can_be_delivered() {
    let mut play = Play::new();
    play.desk.answer([Answer::Accept, Answer::Refuse, Answer::Refuse, Answer::Refuse]);
    let feed = feed(1..=3);
    let mut review = play.start();
    play.lane.run_all(&mut review, &feed).unwrap();
    assert_eq!(play.told(), ["ann 1", "ann 3", "bob 3"]);
    let letters = play.lane.letters.clone();
    assert_eq!(letters.len(), 2);
    let offset = |at: usize| letters[at].place.offset;
    assert!(offset(0) < offset(1) && letters[0].place.sequence == 7);
    assert_eq!(letters[0].why, "bob@x.org: 550 no such user");
    assert!(
        letters[1].why.contains("ann@x.org: 550") && letters[1].why.contains("; bob")
    );
    let key = Key {
        source: feed.source().clone(),
        listener: ListenerId::new("review").unwrap(),
        log: None,
    };
    assert!(
        letters.iter().all(|it| it.key == key && it.attempts == 1 && it.entries == 1)
    );
    assert_eq!(review.letters(), [], "each once");
    // Killed before the engine had them: they are there again.
    let mut review = play.start();
    review.begin(&feed.begin(None)).unwrap();
    assert_eq!(review.letters(), letters);
    // The engine has them.
    let mut review = play.start();
    review.begin(&feed.begin(play.lane.settled.as_ref())).unwrap();
    assert_eq!(review.letters(), []);
    let mut review = play.start();
    review.begin(&feed.begin(None)).unwrap();
    assert_eq!(review.letters(), []);
    let Content::Made(made) = &letters[1].content else { panic!() };
    let mut other = play.start();
    play.desk.answer([Answer::Accept, Answer::Refuse]);
    assert!(matches!(other.deliver(made), Err(ListenError::Rejected(_))));
    play.desk.answer([Answer::Later]);
    assert!(matches!(other.deliver(made), Err(ListenError::Retry(_))));
    other.deliver(made).unwrap();
    assert_eq!(play.told()[3..], ["ann 2", "bob 2"], "nobody twice");
    assert!(matches!(other.deliver(b"garbage"), Err(ListenError::Stop(_))));
}

#[test]
fn who_is_put_off_keeps_nobody_waiting_and_is_set_aside_in_the_end() {
    let mut play = Play::new();
    play.desk.answer([Answer::Accept, Answer::PutOff]);
    let mut settings = settings(play.directory.path());
    settings.give_up = Duration::from_secs(1);
    let mut review = Review::new(settings, Box::new(play.desk.clone()));
    let feed = feed(1..=2);
    let batches = feed.batches(None, 1);
    let first = self::feed(1..=1).batches(None, 1).len();
    let error = play.lane.run(&mut review, &feed, 1, first, first).unwrap_err();
    assert_eq!(error.to_string(), "the mail server puts off bob@x.org: 450 mailbox busy");
    // The lane begins again, and a flush waits for bob.
    for batch in &batches[..first] {
        batch.deliver(&mut review).unwrap();
    }
    assert_eq!(review.flush().unwrap(), Flushed::Soon);
    assert!(!review.arrives_soon(), "a stop does not wait for bob");
    assert_eq!(review.letters(), []);
    for batch in &batches[first..] {
        batch.deliver(&mut review).unwrap();
    }
    assert!(!review.is_flushed().unwrap());
    assert_eq!(play.told(), ["ann 1", "ann 2", "bob 2"], "the others have theirs");
    play.desk.answer([Answer::PutOff]);
    while !review.is_flushed().unwrap() {}
    let letters = review.letters();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].why, "bob@x.org: put off for 1s: 450 mailbox busy");
    assert_eq!(letters[0].attempts, 2);
    assert_eq!(review.flush().unwrap(), Flushed::All);
    assert_eq!(play.told().len(), 3);
}

#[test]
fn a_cursor_moved_back_by_hand_brings_mails_again() {
    let mut play = Play::new();
    let feed = feed(1..=2);
    play.lane.run(&mut play.start(), &feed, 100, 1, usize::MAX).unwrap();
    let all = ["ann 1", "bob 1", "ann 2", "bob 2"];
    assert_eq!(play.told(), all);
    // To the middle: who reviews is known from before.
    let middle = Place { offset: PEOPLE.len() as u64, ..Place::start_of(0, 7) };
    play.lane.settled = Some(Cursor::unproved(Place { line: 5, ..middle }));
    play.lane.set_by_hand = true;
    // A post that is busy meanwhile does not make it begin again from there.
    play.desk.answer([Answer::Accept, Answer::Later]);
    let mut review = play.start();
    assert!(play.lane.run_all(&mut review, &feed).is_err());
    assert!(play.lane.set_by_hand);
    drop(review);
    play.lane.run(&mut play.start(), &feed, 100, 1, usize::MAX).unwrap();
    assert_eq!(play.told()[4..], all);
    play.lane.run(&mut play.start(), &feed, 100, 1, usize::MAX).unwrap();
    assert_eq!(play.told().len(), 8);
}

#[test]
fn a_checkpoint_is_read_before_the_middle_of_its_journal() {
    let mut play = Play::new();
    let people: String = PEOPLE.replace("@ex@ 1 1\n", "");
    let folder = play.directory.path().join("checkpoints");
    std::fs::create_dir(&folder).unwrap();
    play.checkpoint("checkpoints/p4_1.ckp.7", 7, &people);
    play.checkpoint("checkpoints/p4_1.ckp.8", 8, "");
    std::fs::write(folder.join("p4_1.ckp.7.md5"), "MD5").unwrap();
    let submits =
        submit(1) + &submit(2) + "@dv@ 1 @db.review@ @bob@ 0 0 @@ 0 \n@ex@ 3 1\n";
    let feed = Feed::new("p4").journal(7, (submits.clone() + &submit(3)).as_bytes());
    // The engine begins behind the second submit and some more.
    let begin = Place { offset: submits.len() as u64, ..Place::start_of(0, 7) };
    let begin = Place { line: submits.matches('\n').count() as u64, ..begin };
    play.lane.settled = Some(Cursor::unproved(begin));
    // Killed at any time.
    for batches_max in [0, 1, 4, usize::MAX] {
        let mut review = play.start_with(&folder);
        play.lane.run(&mut review, &feed, 1, 1, batches_max).unwrap();
        if batches_max != usize::MAX {
            play.lane.settled = Some(Cursor::unproved(begin));
        }
    }
    assert_eq!(play.told(), ["ann 3"], "the first two were before, and bob left");
}

#[test]
fn a_checkpoint_that_does_not_fit_stops() {
    let mut play = Play::new();
    let journal = submit(1);
    let mut stopped = |checkpoint: &Path, sequence| {
        let feed = Feed::new("p4").journal(sequence, journal.as_bytes());
        play.lane = Lane::default();
        let mut review = play.start_with(checkpoint);
        match play.lane.run_all(&mut review, &feed) {
            Err(ListenError::Stop(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let other = Play::new();
    let younger = other.checkpoint("checkpoint.9", 9, "");
    assert!(stopped(&younger, 7).contains("goes on with journal 9"));
    let wrong = other.checkpoint("checkpoint.7", 8, "");
    assert!(stopped(wrong.parent().unwrap(), 7).contains("not 7 as its name does"));
    assert!(stopped(directory.path(), 7).contains("no checkpoint of number 7"));
    assert!(stopped(&directory.path().join("none"), 7).contains("it is not there"));
    let cut = directory.path().join("cut");
    let text = std::fs::read_to_string(&younger).unwrap();
    for end in ["@nx@ 1", "@ex@ 1", "x@ 1 1\n"] {
        std::fs::write(&cut, &text[..text.find(end).unwrap()]).unwrap();
        assert!(stopped(&cut, 9).contains("it was cut"), "{end}");
    }
    std::fs::write(&cut, submit(1)).unwrap();
    assert!(stopped(&cut, 9).contains("is no checkpoint"));
    // A server's first journal has none.
    let feed = Feed::new("p4").journal(1, journal.as_bytes());
    let mut play = Play::new();
    let mut review = play.start_with(directory.path());
    play.lane.run_all(&mut review, &feed).unwrap();
}

#[test]
fn behind_a_gap_nothing_open_is_ended_and_the_checkpoint_is_read_again() {
    let mut play = Play::new();
    let folder = tempfile::tempdir().unwrap();
    let first = play.checkpoint("7", 7, "");
    std::fs::rename(first, folder.path().join("checkpoint.7")).unwrap();
    let open = "@rv@ 1 @db.change@ 5 5 @ws@ @cy@ 1 1 @never@ @@ \n\
        @pv@ 0 @db.revcx@ 5 @//d/a@ 1 0 \n";
    let before = PEOPLE.to_owned() + open;
    let behind = "@ex@ 9 1\n".to_owned() + &submit(6);
    let feed =
        Feed::new("p4").journal(7, before.as_bytes()).journal(9, behind.as_bytes());
    let batches = feed.batches(None, usize::MAX);
    let mut gap = feed.gap(None, batches[0].end().place, Place::start_of(0, 9));
    gap.kind = GapKind::Missing;
    let mut with = |nine: bool| -> Vec<String> {
        let mut review = play.start_with(folder.path());
        play.lane = Lane::default();
        if nine {
            let people: String = PEOPLE.lines().filter(|it| !it.contains("ann")).fold(
                String::new(),
                |rows, line| {
                    if line.contains("@ex@") { rows } else { rows + line + "\n" }
                },
            );
            let path = play.checkpoint("9", 9, &people);
            std::fs::rename(path, folder.path().join("checkpoint.9")).unwrap();
        }
        let first = Feed::new("p4").journal(7, before.as_bytes());
        play.lane.run_all(&mut review, &first).unwrap();
        review.gap(&gap).unwrap();
        assert_eq!(review.flush().unwrap(), Flushed::All);
        again(|| batches[1].deliver(&mut review)).unwrap();
        assert_eq!(review.flush().unwrap(), Flushed::All);
        let told = play.told();
        play.desk = Desk::default();
        drop(review);
        std::fs::remove_dir_all(play.directory.path().join("state")).unwrap();
        told
    };
    assert_eq!(with(false), ["ann 6", "bob 6"]);
    assert_eq!(with(true), ["bob 6"], "the tables are those of the checkpoint");
}

#[test]
fn a_server_that_was_restored_uses_numbers_again() {
    let mut play = Play::new();
    let mut review = play.start();
    let first = feed(1..=1);
    play.lane.run_all(&mut review, &first).unwrap();
    let settled = play.lane.settled.clone().unwrap();
    let again = Feed::new("p4").journal_of_era(1, 7, submit(1).as_bytes());
    let gap = Gap {
        kind: GapKind::Restored,
        ..again.gap(None, settled.place, Place::start_of(1, 7))
    };
    review.gap(&gap).unwrap();
    again.batches(None, usize::MAX)[0].deliver(&mut review).unwrap();
    review.flush().unwrap();
    assert_eq!(play.told(), ["ann 1", "bob 1", "ann 1", "bob 1"]);
    let mails = play.desk.taken();
    assert_ne!(mails[0].id, mails[2].id, "another change");
    // It goes on behind the gap, wherever it was killed.
    let mut review = play.start();
    let held = review.begin(&again.begin(None)).unwrap().unwrap();
    assert_eq!(held.place.era, 1);
}

#[test]
fn a_transaction_open_over_a_restart_is_whole() {
    let mut play = Play::new();
    let journal = PEOPLE.to_owned()
        + "@pv@ 0 @db.desc@ 5 @why@ \n\
           @rv@ 1 @db.change@ 5 5 @ws@ @cy@ 1 1 @short@ @@ \n\
           @pv@ 0 @db.revcx@ 5 @//d/a@ 1 0 \n@mx@ 4 1\n\
           @dv@ 1 @db.review@ @bob@ 0 0 @@ 0 \n@ex@ 5 1\n\
           @pv@ 0 @db.revcx@ 5 @//d/b@ 1 2 \n@ex@ 4 1\n";
    let feed = Feed::new("p4").journal(7, journal.as_bytes());
    let batches = feed.batches(None, 1).len();
    for _ in 0..batches {
        // A restart behind every entry, of which each was flushed.
        play.lane.run(&mut play.start(), &feed, 1, 1, 1).unwrap();
    }
    assert_eq!(play.told(), ["ann 5", "bob 5"]);
    let text = &play.desk.taken()[0].text;
    assert!(text.contains("    why\n") && text.contains("Files (2)"), "{text}");
    assert!(text.contains("    //d/a#1 add\n    //d/b#1 delete\n"), "{text}");
}

#[test]
fn a_damaged_database_stops_with_words() {
    let mut play = Play::new();
    let feed = feed(1..=1);
    play.lane.run_all(&mut play.start(), &feed).unwrap();
    let file = play.directory.path().join("state/review.db");
    for name in ["review.db-wal", "review.db-shm"] {
        _ = std::fs::remove_file(file.with_file_name(name));
    }
    std::fs::write(&file, vec![b'x'; 8192]).unwrap();
    let error = play.start().begin(&feed.begin(None)).unwrap_err();
    let ListenError::Stop(why) = error else { panic!("{error}") };
    assert!(why.contains("move it away to begin anew"), "{why}");
    let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn when_too_many_mails_wait_the_journal_waits() {
    let play = Play::new();
    let mut settings = settings(play.directory.path());
    settings.waiting_max = 2;
    let mut review = Review::new(settings, Box::new(play.desk.clone()));
    let feed = feed(1..=3);
    let batches = feed.batches(None, 1);
    review.begin(&feed.begin(None)).unwrap();
    play.desk.answer([Answer::Later, Answer::Later]);
    let mut retries = 0;
    for batch in &batches {
        while let Err(error) = batch.deliver(&mut review) {
            assert!(matches!(error, ListenError::Retry(_)), "{error}");
            retries += 1;
        }
    }
    assert_eq!(retries, 2);
    let before = play.told();
    assert!(before.len() >= 4, "{before:?}");
    review.flush().unwrap();
    assert_eq!(play.told(), ["ann 1", "bob 1", "ann 2", "bob 2", "ann 3", "bob 3"]);
}

//! Reviewers are told of changes by a real mail server, through kills and
//! restarts.

use crate::mail::postfix::Postfix;
use crate::site::wait_until;
use crate::util::Dir;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// So often it is killed.
const ROUNDS: u32 = 12;

const CONFIG: &str = r#"(
    state: "state",
    sources: { "p4": Journal(path: "p4/journal") },
    listeners: {
        "review": Review(
            from: ["p4"],
            sender: "Perforce <p4@example.com>",
            via: Smtp(server: "SERVER", timeout: "20s"),
            checkpoint: "checkpoint.7",
            own_changes: false,
            zone: "UTC",
        ),
    },
)
"#;

const CHECKPOINT: &str = "@nx@ 0 90 @40@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
    @pv@ 1 @db.counters@ @journal@ @7@ \n\
    @pv@ 7 @db.user@ @ann@ @ann@@example.com@ @@ 1 2 @Ann@ @@ 0 @@ 0 0 0 0 0 0 \n\
    @pv@ 7 @db.user@ @bob@ @ops@@example.com@ @@ 1 2 @Bob@ @@ 0 @@ 0 0 0 0 0 0 \n\
    @pv@ 1 @db.review@ @ann@ 0 0 @//depot/...@ 0 \n\
    @pv@ 1 @db.review@ @bob@ 0 0 @//depot/.../b@ 0 \n\
    @ex@ 5 90\n@nx@ 1 90 @40@ 0 0 0 0 0 @@ @@ @@ @@ \n@ex@ 5 90\n";

/// A change by a user, of whom nobody hears of their own.
fn submit(number: u32) -> String {
    let author = if number.is_multiple_of(3) { "ann" } else { "cy" };
    format!(
        "@pv@ 0 @db.desc@ {number} @number {number}\n@ \n\
         @pv@ 3 @db.change@ {number} {number} @ws@ @{author}@ 91 0 @n@ @@ @@ @@ \n@ex@ 2 91\n\
         @rv@ 3 @db.change@ {number} {number} @ws@ @{author}@ 91 1 @n@ @@ @@ @@ \n\
         @pv@ 0 @db.revcx@ {number} @//depot/a@ 1 0 \n@mx@ 2 91\n\
         @pv@ 0 @db.revcx@ {number} @//depot/x/b@ 2 1 \n@ex@ 2 91\n"
    )
}

/// Who has mail of which change, and how many came twice, with the same id.
fn mails(postfix: &Postfix) -> (Vec<(String, String)>, usize) {
    let mut told = Vec::new();
    let mut twice = 0;
    for mailbox in ["ann", "ops"] {
        for (mail, times) in postfix.distinct("review", mailbox) {
            assert!(mail.body.contains("    //depot/x/b#2 edit\n"), "{mail:?}");
            assert!(mail.header("To").contains(&format!("<{mailbox}@example.com>")));
            let subject = mail.header("Subject").to_owned();
            assert!(
                subject.starts_with(&format!(
                    "change {} ",
                    mail.header("X-Perforce-Change")
                ))
            );
            told.push((mailbox.to_owned(), subject));
            twice += times - 1;
        }
    }
    told.sort();
    (told, twice)
}

#[test]
fn every_mail_once_whenever_it_is_killed() {
    let postfix = Postfix::start();
    let dir = Dir::new();
    let config = dir.write("tripline.ron", CONFIG.replace("SERVER", &postfix.server()));
    dir.write("checkpoint.7", CHECKPOINT);
    let head = "@nx@ 2 91 @40@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
        @vv@ 1 @db.counters@ @journal@ @7@ \n@ex@ 1 91\n";
    let journal = dir.write("p4/journal", head);
    let mut journal = OpenOptions::new().append(true).open(journal).unwrap();
    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        for number in round * 5 + 1..=round * 5 + 5 {
            journal.write_all(submit(number).as_bytes()).unwrap();
            let (author, readers): (_, &[&str]) = match number.is_multiple_of(3) {
                true => ("ann", &["ops"]),
                false => ("cy", &["ann", "ops"]),
            };
            let subject = format!("change {number} by {author}: number {number}");
            expected.extend(readers.iter().map(|to| ((*to).to_owned(), subject.clone())));
        }
        let enough = mails(&postfix).0.len() + round as usize % 5;
        let mut daemon =
            dir.command(["run".as_ref(), config.as_os_str()]).spawn().unwrap();
        let is_there = wait_until(PATIENCE, || mails(&postfix).0.len() >= enough);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert!(is_there, "round {round}: {:?}", mails(&postfix));
    }
    expected.sort();
    let until_idle = || {
        dir.run(["run".as_ref(), config.as_os_str(), "--until-idle".as_ref()]).exits(0);
    };
    until_idle();
    let (told, twice) = mails(&postfix);
    assert_eq!(told, expected);
    // One whose acceptance it was killed over comes again.
    assert!(twice <= ROUNDS as usize, "{twice} came twice");
    // Another start has nothing to say.
    until_idle();
    assert_eq!(mails(&postfix), (told, twice));
}

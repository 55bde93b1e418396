//! Reviewers are told of changes, through kills and restarts.

use crate::site::wait_until;
use crate::util::Dir;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = r#"(
    state: "state",
    sources: { "p4": Journal(path: "p4/journal") },
    listeners: {
        "review": Review(
            from: ["p4"],
            to: "mails.jsonl",
            checkpoint: "checkpoint.7",
            own_changes: false,
            zone: "UTC",
        ),
    },
)
"#;

const CHECKPOINT: &str = "@nx@ 0 90 @40@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
    @pv@ 1 @db.counters@ @journal@ @7@ \n\
    @pv@ 7 @db.user@ @ann@ @ann@@x.org@ @@ 1 2 @Ann@ @@ 0 @@ 0 0 0 0 0 0 \n\
    @pv@ 7 @db.user@ @bob@ @bob@@x.org@ @@ 1 2 @Bob@ @@ 0 @@ 0 0 0 0 0 0 \n\
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

fn mails(dir: &Dir) -> Vec<(String, String)> {
    let text = std::fs::read(dir.path().join("mails.jsonl")).unwrap_or_default();
    let text = String::from_utf8(text).unwrap();
    let mail = |line: &str| {
        let mail: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| mail[name].as_str().unwrap().to_owned();
        assert!(field("text").contains("    //depot/x/b#2 edit\n"), "{line}");
        (field("to"), field("subject"))
    };
    // The last line may be on its way.
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(mail).collect()
}

#[test]
fn every_mail_once_whenever_it_is_killed() {
    let dir = Dir::new();
    let config = dir.write("tripline.ron", CONFIG);
    dir.write("checkpoint.7", CHECKPOINT);
    let head = "@nx@ 2 91 @40@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
        @vv@ 1 @db.counters@ @journal@ @7@ \n@ex@ 1 91\n";
    let journal = dir.write("p4/journal", head);
    let mut journal = OpenOptions::new().append(true).open(journal).unwrap();
    let mut expected = Vec::new();
    for round in 0..12 {
        for number in round * 5 + 1..=round * 5 + 5 {
            journal.write_all(submit(number).as_bytes()).unwrap();
            let (author, readers): (_, &[&str]) = match number.is_multiple_of(3) {
                true => ("ann", &["bob@x.org"]),
                false => ("cy", &["ann@x.org", "bob@x.org"]),
            };
            let subject = format!("change {number} by {author}: number {number}");
            expected.extend(readers.iter().map(|to| ((*to).to_owned(), subject.clone())));
        }
        let enough = mails(&dir).len() + round as usize % 5;
        let mut daemon =
            dir.command(["run".as_ref(), config.as_os_str()]).spawn().unwrap();
        let is_there = wait_until(PATIENCE, || mails(&dir).len() >= enough);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        assert!(is_there, "round {round}: {:?}", mails(&dir));
    }
    dir.run(["run".as_ref(), config.as_os_str(), "--until-idle".as_ref()]).exits(0);
    assert_eq!(mails(&dir), expected);
    // Another start has nothing to say.
    dir.run(["run".as_ref(), config.as_os_str(), "--until-idle".as_ref()]).exits(0);
    assert_eq!(mails(&dir), expected);
}

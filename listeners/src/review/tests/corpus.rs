//! The journals of a real server, against the model of `model.rs`, which reads
//! columns by their position.

use super::model::{Model, Op, told};
use super::*;
use flate2::read::MultiGzDecoder;
use p4journal::{Record, Splitter};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;

/// The corpus, or `None` after saying that it is not there.
fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("TRIPLINE_CORPUS").map_or(beside, PathBuf::from);
    let path = path.join("p4d-a");
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: no corpus at {}", path.display());
    None
}

fn read(model: &mut Model, bytes: &[u8], is_checkpoint: bool) {
    let mut splitter = Splitter::new();
    for (bytes, _) in splitter.pieces(bytes) {
        let record = Record::parse(bytes).unwrap();
        match (record.op().name(), record.marker()) {
            ("ex", Some(marker)) => model.end(marker.pid),
            ("mx", Some(marker)) => model.pause(marker.pid),
            ("nx", _) if record.fields().next().unwrap().raw() == b"7" => model.restart(),
            _ => {
                let Some(op) = op(&record) else { continue };
                match (&op, is_checkpoint) {
                    (Op::Change { number, key, status, .. }, true) if status & 1 == 1 => {
                        model.know_submitted(*number, *key);
                    }
                    (_, true) => model.apply(&op),
                    _ => model.see(op),
                }
            }
        }
    }
}

fn op(record: &Record<'_>) -> Option<Op> {
    let is_put = record.op().is_put();
    let fields: Vec<_> = record.fields().collect();
    let text = |at: usize| String::from_utf8_lossy(&fields[at].text()).into_owned();
    let number = |at: usize| fields[at].number().unwrap_or(0);
    Some(match record.table()? {
        "db.user" => Op::User {
            is_put,
            name: text(0),
            email: text(1),
            level: if fields.len() > 10 { number(10) } else { 0 },
        },
        "db.group" => {
            Op::Member { is_put, user: text(0), group: text(1), role: number(2) }
        }
        "db.review" => Op::Line {
            is_put,
            user: text(0),
            seq: number(1),
            flag: number(2),
            pattern: text(3),
        },
        "db.desc" => Op::Description { is_put, key: number(0), text: text(1) },
        "db.change" if is_put => Op::Change {
            number: number(0),
            key: number(1),
            user: text(3),
            status: number(5),
            short: text(6),
        },
        "db.revcx" if is_put => {
            Op::File { change: number(0), path: text(1), reviewers: BTreeSet::new() }
        }
        _ => return None,
    })
}

fn checkpoint(folder: &Path, number: u64) -> Vec<u8> {
    let file = fs::File::open(folder.join(format!("checkpoint.{number}.gz"))).unwrap();
    let mut bytes = Vec::new();
    MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The changes of a checkpoint that are submitted.
fn submitted(bytes: &[u8]) -> BTreeSet<i64> {
    let mut splitter = Splitter::new();
    let pieces = splitter.pieces(bytes);
    let changes = pieces.filter_map(|(bytes, _)| {
        let record = Record::parse(bytes).ok()?;
        let numbers: Vec<_> = record.fields().map(|field| field.number()).collect();
        let is_it = record.table() == Some("db.change") && numbers[5] == Some(1);
        is_it.then(|| numbers[0].unwrap())
    });
    changes.collect()
}

/// The journals from this one on, and the live one.
fn journals(folder: &Path, from: u64) -> Vec<(u64, Vec<u8>)> {
    let rotated = (from..=15).map(|number| (number, format!("journal.{number}")));
    let all = rotated.chain([(16, "journal".to_owned())]);
    all.map(|(number, name)| (number, fs::read(folder.join(name)).unwrap())).collect()
}

#[test]
fn every_submitted_change_is_told_to_those_who_review_it() {
    let Some(folder) = corpus() else { return };
    let first = checkpoint(&folder, 1);
    let mut model = Model::new(true);
    read(&mut model, &first, true);
    let mut feed = Feed::new("p4");
    for (number, bytes) in journals(&folder, 1) {
        read(&mut model, &bytes, false);
        feed = feed.journal(number, &bytes);
    }
    for bytes_max in [usize::MAX, 3000] {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(directory.path());
        settings.checkpoint = Some(folder.clone());
        let desk = Desk::default();
        let mut review = Review::new(settings, Box::new(desk.clone()));
        let mut lane = Lane::default();
        lane.run(&mut review, &feed, bytes_max, 10, usize::MAX).unwrap();
        let mails = desk.taken();
        if bytes_max == usize::MAX {
            for mail in &mails {
                println!("{:<20} {}", mail.to.address, mail.subject);
            }
        }
        assert_eq!(told(&mails), model.told);
    }
    // The model sees every submit there was, by what the checkpoints hold.
    let before = submitted(&first);
    let mut all: BTreeSet<i64> = submitted(&checkpoint(&folder, 16));
    all.retain(|number| !before.contains(number));
    assert_eq!(model.submits.iter().copied().collect::<BTreeSet<_>>(), all);
    assert_eq!((model.submits.len(), model.told.len()), (all.len(), MAILS));
}

/// A fact about the corpus: the author of a change reviews it, or somebody else.
const MAILS: usize = 9;

#[test]
fn it_begins_anywhere_with_the_checkpoint_of_that_journal() {
    let Some(folder) = corpus() else { return };
    for from in 2..=16 {
        let mut model = Model::new(true);
        read(&mut model, &checkpoint(&folder, from), true);
        let mut feed = Feed::new("p4");
        for (number, bytes) in journals(&folder, from) {
            read(&mut model, &bytes, false);
            feed = feed.journal(number, &bytes);
        }
        let directory = tempfile::tempdir().unwrap();
        let mut settings = settings(directory.path());
        settings.checkpoint = Some(folder.join(format!("checkpoint.{from}.gz")));
        let desk = Desk::default();
        let mut review = Review::new(settings, Box::new(desk.clone()));
        Lane::default().run_all(&mut review, &feed).unwrap();
        assert_eq!(told(&desk.taken()), model.told, "from {from}");
    }
}

//! Journals and the mails that come of them: a file in `tests/review` each.

use super::*;
use serde::Deserialize;

/// A file. Journals have a `\n` less at the start: they begin behind a line end.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What it shows.
    shows: String,
    #[serde(default = "yes")]
    own_changes: bool,
    #[serde(default)]
    users: BTreeMap<String, String>,
    #[serde(default)]
    exclude: Vec<String>,
    link: Option<String>,
    checkpoint: Option<String>,
    /// The number of the journal, 7 unless given.
    number: Option<u64>,
    journal: String,
    /// The journal has CR LF.
    #[serde(default)]
    windows: bool,
    mails: Vec<Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Addresses, in order.
    to: Vec<String>,
    subject: String,
    /// The whole text.
    text: Option<String>,
    /// What is in the text.
    #[serde(default)]
    says: Vec<String>,
    /// What is not.
    #[serde(default)]
    not: Vec<String>,
}

const fn yes() -> bool {
    true
}

#[test]
fn every_file_comes_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/review");
    let mut files: Vec<PathBuf> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Case = ron::Options::default()
            .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
            .from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        // In one go, and cut into entries with a flush behind each.
        for bytes_max in [usize::MAX, 1] {
            compare(&format!("{name}: {}", case.shows), &case, &play(&case, bytes_max));
        }
    }
}

fn play(case: &Case, bytes_max: usize) -> Vec<Mail> {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.choice = Choice {
        own_changes: case.own_changes,
        users: case.users.clone(),
        exclude: case.exclude.clone(),
    };
    settings.style.link = case.link.as_deref().map(|link| Link::new(link).unwrap());
    if let Some(checkpoint) = &case.checkpoint {
        let path = directory.path().join("checkpoint.7");
        std::fs::write(&path, checkpoint.trim_start_matches('\n')).unwrap();
        settings.checkpoint = Some(path);
    }
    let mut journal = case.journal.trim_start_matches('\n').to_owned();
    if case.windows {
        journal = journal.replace('\n', "\r\n");
    }
    let feed = Feed::new("p4").journal(case.number.unwrap_or(7), journal.as_bytes());
    let desk = Desk::default();
    let mut review = Review::new(settings, Box::new(desk.clone()));
    Lane::default().run(&mut review, &feed, bytes_max, 1, usize::MAX).unwrap();
    desk.taken()
}

fn compare(name: &str, case: &Case, mails: &[Mail]) {
    let expected: Vec<(&str, &str)> = case
        .mails
        .iter()
        .flat_map(|mail| mail.to.iter().map(|to| (to.as_str(), mail.subject.as_str())))
        .collect();
    let found: Vec<(&str, &str)> = mails
        .iter()
        .map(|mail| (mail.to.address.as_str(), mail.subject.as_str()))
        .collect();
    assert_eq!(found, expected, "{name}");
    let per_mail = case.mails.iter().flat_map(|mail| mail.to.iter().map(move |_| mail));
    for (mail, expected) in mails.iter().zip(per_mail) {
        if let Some(text) = &expected.text {
            assert_eq!(mail.text, text.trim_start_matches('\n'), "{name}");
        }
        for says in &expected.says {
            assert!(mail.text.contains(says), "{name}: no {says:?} in\n{}", mail.text);
        }
        for not in &expected.not {
            assert!(!mail.text.contains(not), "{name}: {not:?} in\n{}", mail.text);
        }
    }
}

//! A standby in the hands of a person: seeded, compared, with its versioned files.

mod archives;
mod depot;
mod seed;
mod verify;

use crate::site::{Journal, Site, in_words, small_journals};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// `tripline backup`, with words behind the configuration.
fn backup(site: &Site, what: &str, words: &[&str]) -> Output {
    command(site, what, words).output().unwrap()
}

fn command(site: &Site, what: &str, words: &[&str]) -> Command {
    let mut command = site.command(&["backup", what]);
    command.args(words);
    command
}

/// Exits with this code; what it said.
#[track_caller]
fn exits(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", in_words(output));
    in_words(output)
}

/// The text of a checkpoint with these rows.
fn checkpoint_text(number: u64, rows: &str) -> String {
    format!(
        "@nx@ 0 1700000000 @58@ 1 0 0 0 0 @/p4@ @journal@ @@ @@ @@ \n\
         @pv@ 1 @db.counters@ @journal@ @{number}@ \n{rows}\
         @nx@ 1 1700000000 @58@ 1 0 0 0 0 @@ @@ @@ @@ @@ \n@ex@ 7 1700000000\n"
    )
}

/// Writes a checkpoint where a server leaves it.
fn checkpoint(site: &Site, number: u64, rows: &str) -> PathBuf {
    let path = site.root().join(format!("p4root/checkpoints/checkpoint.{number}"));
    fs::write(&path, checkpoint_text(number, rows)).unwrap();
    path
}

/// The journals from one number on: the server has no older ones any more.
fn journals_from(first: u64, last: u64) -> Vec<Journal> {
    small_journals(last).into_iter().filter(|it| it.number >= first).collect()
}

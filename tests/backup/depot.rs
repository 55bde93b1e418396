//! Versioned files as a server keeps them, and the rows that name them.

use crate::site::{Journal, Site, small_journals};
use crate::util::gzip;
use md5::{Digest as _, Md5};
use std::fs;
use std::path::PathBuf;

/// The archives of a server.
pub(super) struct Depot {
    pub(super) root: PathBuf,
}

impl Depot {
    pub(super) fn new(site: &Site) -> Self {
        Self { root: site.root().join("p4root") }
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // As a server does it: another file in its place.
        let beside = path.with_extension("new");
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, path).unwrap();
    }

    /// An RCS file with these revisions, the newest first.
    pub(super) fn rcs(&self, name: &str, revisions: &[(&str, &str)]) {
        self.write(&format!("{name},v"), rcs(revisions));
    }

    pub(super) fn gzip(&self, name: &str, revision: &str, content: &str) {
        self.write(&format!("{name},d/{revision}.gz"), gzip(content.as_bytes()));
    }

    pub(super) fn full(&self, name: &str, revision: &str, content: &str) {
        self.write(&format!("{name},d/{revision}"), content);
    }
}

fn rcs(revisions: &[(&str, &str)]) -> String {
    let mut text = format!("head     {};\naccess   ;\nsymbols  ;\n", revisions[0].0);
    text += "locks    ;comment  @@;\n\n\n";
    for (index, (name, _)) in revisions.iter().enumerate() {
        let next = revisions.get(index + 1).map_or("", |it| it.0);
        text += &format!(
            "{name}\ndate     2011.06.24.16.23.54;  author p4;  state Exp;\n\
             branches ;\nnext     {next};\n\n"
        );
    }
    text += "\ndesc\n@@\n\n";
    let lines = |text: &str| text.split_inclusive('\n').count();
    for (index, (name, content)) in revisions.iter().enumerate() {
        let content = content.replace('@', "@@");
        let stored = match index {
            0 => content,
            _ => {
                let before = lines(revisions[index - 1].1);
                format!("d1 {before}\na{before} {}\n{content}", lines(&content))
            }
        };
        text += &format!("\n{name}\nlog\n@@\ntext\n@{stored}@\n\n");
    }
    text
}

pub(super) const TEXT: u32 = 0;
pub(super) const FULL: u32 = 0x10001;
pub(super) const GZIP: u32 = 0x10003;

/// A row of db.rev, and the end of its transaction.
pub(super) fn row(
    file: &str,
    lbr: &str,
    revision: &str,
    kind: u32,
    content: &str,
) -> String {
    let digest: String =
        Md5::digest(content).iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "@pv@ 9 @db.rev@ @{file}@ 1 {kind} 0 5 1700000000 1700000000 {digest} {} 0 0 \
         @{lbr}@ @{revision}@ {kind} \n",
        content.len()
    )
}

pub(super) fn committed(rows: &str) -> String {
    format!("{rows}@ex@ 30 1700000500\n")
}

/// One journal that holds these records.
pub(super) fn journal(records: &str) -> Vec<Journal> {
    let mut journals = small_journals(1);
    journals[0].bytes.extend(records.bytes());
    journals
}

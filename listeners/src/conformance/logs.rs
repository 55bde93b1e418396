//! What a listener owes the engine when it follows logs.

use super::{Suite, show};
use crate::testing::Feed;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use tripline_api::{OnGap, Place, Settled};

impl Suite<'_> {
    /// As with journals, unless the listener takes nothing else.
    pub(super) fn takes_logs(&self) {
        if self.build(&self.directory("what")).only_journals {
            return;
        }
        for (name, feed) in feeds() {
            self.survives_a_crash_anywhere(name, &feed);
        }
        self.shows_unfinished_lines(false);
        self.shows_unfinished_lines(true);
        self.takes_a_gap_of_a_log();
    }

    /// What is shown before it is whole comes again when it is, also when there
    /// was a crash in between.
    fn shows_unfinished_lines(&self, crashes: bool) {
        let before = Feed::new("p4").log("/a", b"one\ntw").log("/b", b"th");
        let after = Feed::new("p4").log("/a", b"one\ntwo\nfour\n").log("/b", b"three\n");
        let wanted = self.undisturbed(&format!("whole-{crashes}"), &after);
        let directory = self.directory(&format!("unfinished-{crashes}"));
        let mut settled = Settled::new();
        let mut listener = self.build(&directory).listener;
        self.run(&mut *listener, &before, &mut settled, 1, usize::MAX);
        for preview in before.previews() {
            self.must(preview.deliver(&mut *listener), "listen to an unfinished line");
        }
        if crashes {
            drop(listener);
            listener = self.build(&directory).listener;
            self.begin(&mut *listener, &after, &settled);
        }
        for batch in after.unsettled(&settled, usize::MAX) {
            self.must(batch.deliver(&mut *listener), "listen");
        }
        self.settle(&mut *listener);
        let found = self.output(&directory);
        let missing = wanted.iter().find(|piece| !found.contains(piece));
        assert!(
            missing.is_none(),
            "{}: what was shown unfinished took something away:\n{}\n{}",
            self.kind.name,
            show(&wanted),
            show(&found)
        );
    }

    fn takes_a_gap_of_a_log(&self) {
        let directory = self.directory("gap-of-a-log");
        let built = self.build(&directory);
        if built.on_gap == OnGap::Stop {
            return;
        }
        let mut listener = built.listener;
        let (path, bytes) = (Path::new("/a"), b"one\n");
        let feed =
            Feed::new("p4").log(path, bytes).log("/b", b"other\n").log(path, bytes);
        let batches = feed.unsettled(&Settled::new(), usize::MAX);
        self.begin(&mut *listener, &feed, &Settled::new());
        let (from, to) = (batches[0].end().place, batches[2].view().start);
        let gap = feed.gap(Some(path), from, to);
        self.must(batches[0].deliver(&mut *listener), "listen");
        self.must(batches[1].deliver(&mut *listener), "listen to another log");
        self.must(listener.gap(&gap), "gap");
        self.must(batches[2].deliver(&mut *listener), "listen behind a gap");
        self.settle(&mut *listener);
        assert_eq!(to, Place::start_of(Place::era_of_log(path), 1));
        assert!(!self.output(&directory).is_empty(), "{}: nothing", self.kind.name);
    }
}

/// Logs to feed listeners with.
fn feeds() -> Vec<(&'static str, Feed)> {
    let name = OsStr::from_bytes(b"/var/log/\xff \"\n\x1b[2J.log");
    vec![
        (
            "logs",
            Feed::new("p4")
                .log("/var/log/a.log", b"a1\na2\n\na4 is longer than the others are\n")
                .log("/var/log/b.log", b"b1\r\nb2\nb3\n")
                .log("/var/log/a.log", b"a5\na6\n")
                .log("/var/log/c.log", &[b'x'; 3000]),
        ),
        (
            "hostile-logs",
            Feed::new("p4")
                .log(name, b"nul \0 caf\xe9 \xff\xfe\n\"},{\"id\":\"p4/0/0\"\n\r\r\n")
                .log(
                    "/var/log/j",
                    b"@pv@ 0 @db.user@ @quote\n\x1b]0;title\x07 \x1b[2J\n",
                ),
        ),
    ]
}

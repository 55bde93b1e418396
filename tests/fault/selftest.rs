//! The shim and the power cut, tested with a small program that does to files
//! what it is told.

use super::{Fault, Model, Shim, When, compile, operations, power_loss};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn operations_are_counted() {
    let bench = Bench::new();
    let count = |words: &str| {
        let output = bench.run(words, Fault::count);
        assert!(output.status.success(), "{output:?}");
        operations(&output.stderr).unwrap()
    };
    assert_eq!(count("write a 1 append a 2"), 3, "make, write, write");
    assert_eq!(count("scatter a 34 sync a sync ."), 3);
    assert_eq!(count("mkdir d link a d/a move a d/b remove d/a remove d/b rmdir d"), 6);
    assert_eq!(count("write a 1 crowd a 8"), 82);
    let other = bench.run("write a 1", |_| Fault::count(Path::new("/elsewhere")));
    assert_eq!(operations(&other.stderr), Some(0));
}

#[test]
fn a_process_dies_where_it_should() {
    let words = "write a 1 append a 2 move a b";
    let trees = |when| -> Vec<Tree> {
        (1..=4)
            .map(|at| {
                let bench = Bench::new();
                let output = bench.run(words, |root| Fault::kill(root, at, when));
                assert_eq!(output.status.signal(), Some(9), "{output:?}");
                bench.tree()
            })
            .collect()
    };
    let all = [
        tree(&[]),
        tree(&[("a", "")]),
        tree(&[("a", "1")]),
        tree(&[("a", "12")]),
        tree(&[("b", "12")]),
    ];
    assert_eq!(trees(When::Before), all[..4]);
    assert_eq!(trees(When::After), all[1..]);
}

#[test]
fn reading_fails_until_it_should_not() {
    let folder = tempfile::tempdir().unwrap();
    let [file, other, well] = ["file", "other", "well"].map(|n| folder.path().join(n));
    fs::write(&file, "one").unwrap();
    fs::write(&other, "two").unwrap();
    let read = |path: &Path| {
        let fault = Fault::fail_reads(&file, EIO).unless(&well);
        let mut command = Command::new("cat");
        Shim::build().command(command.arg(path), &fault).output().unwrap()
    };
    assert!(!read(&file).status.success());
    assert_eq!(read(&other).stdout, b"two");
    fs::write(&well, "").unwrap();
    assert_eq!(read(&file).stdout, b"one");
}

#[test]
fn a_crowd_stops_with_the_one_that_dies() {
    for at in [2, 17, 41, 81] {
        let bench = Bench::new();
        let output =
            bench.run("write a x crowd a 8", |root| Fault::kill(root, at, When::Before));
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
        let lines = bench.tree()[Path::new("a")].matches("line").count() as u64;
        // The first two operations are the making of the file and its `x`.
        assert!(lines <= at.saturating_sub(3), "{lines} lines before operation {at}");
    }
}

#[test]
fn one_operation_fails_or_all_do() {
    let bench = Bench::new();
    let run = |at, lasts| {
        let output = bench.run("write a 1 sync a", |root| {
            Fault::fail(root, at, if lasts { EIO } else { ENOSPC }, lasts)
        });
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(run(1, false), "write: No space left on device\n");
    assert_eq!(run(2, false), "write: No space left on device\n");
    assert_eq!(run(3, false), "sync: No space left on device\n");
    assert_eq!(run(4, false), "");
    assert_eq!(run(1, true), "write: Input/output error\n");
    let output =
        bench.run("write a 1 crowd a 4", |root| Fault::fail(root, 13, EIO, true));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(bench.tree()[Path::new("a")], format!("1{}", "line\n".repeat(10)));
    bench.run("write a 1 crowd a 1", |root| Fault::fail(root, 5, EIO, false));
    assert_eq!(bench.tree()[Path::new("a")], format!("1{}", "line\n".repeat(9)));
}

#[test]
fn what_fails_can_be_chosen_by_name_and_come_to_an_end() {
    let bench = Bench::new();
    let output = bench.run("write a 1 write b 2 sync b", |root| {
        Fault::fail(root, 1, EIO, true).only("sync").traced()
    });
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("sync: Input/output error\n"), "{said}");
    let failed = |line: &str| line.starts_with("FF 1 FAILS fsync ");
    assert_eq!(said.lines().filter(|line| failed(line)).count(), 1, "{said}");
    let is_well = bench.root().parent().unwrap().join("well");
    let run = || {
        bench.run("write a 1", |root| Fault::fail(root, 1, EIO, true).unless(&is_well))
    };
    assert!(!run().status.success());
    std::fs::write(&is_well, "").unwrap();
    assert!(run().status.success());
}

#[test]
fn a_write_falls_short() {
    let bench = Bench::new();
    let output = bench.run("write a 12345", |root| Fault::short(root, 2, 3, false));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(bench.tree(), tree(&[("a", "123")]));
    bench.run("scatter a abcd", |root| Fault::short(root, 1, 2, false));
    assert_eq!(bench.tree(), tree(&[("a", "123ab")]));
    let output = bench.run("append a 678", |root| Fault::short(root, 1, 0, true));
    assert_eq!(output.status.signal(), Some(9), "{output:?}");
    assert_eq!(bench.tree(), tree(&[("a", "123ab")]));
}

#[test]
fn power_takes_what_was_not_synced() {
    let cases: &[(&str, Tree, Tree)] = &[
        // What the program does; what is left in model A; and in model B.
        ("write a 123", tree(&[]), tree(&[("a", "\0\0\0")])),
        ("write a 123 sync a", tree(&[]), tree(&[("a", "123")])),
        ("write a 123 sync .", tree(&[("a", "")]), tree(&[("a", "\0\0\0")])),
        (
            "write a 123 sync a sync . append a 45",
            tree(&[("a", "123")]),
            tree(&[("a", "123")]),
        ),
        ("write a 1 sync a sync . write a 2", tree(&[("a", "1")]), tree(&[("a", "1")])),
        ("write a 1 sync a sync . remove a", tree(&[("a", "1")]), tree(&[])),
        // The classic: replaced by a file that was not synced.
        (
            "write a 1 sync a sync . write new 22 move new a",
            tree(&[("a", "1")]),
            tree(&[("a", "\0\0")]),
        ),
        (
            "write a 1 sync a sync . write new 22 sync new move new a",
            tree(&[("a", "1")]),
            tree(&[("a", "22")]),
        ),
        (
            "write a 1 sync a sync . write new 22 sync new move new a sync .",
            tree(&[("a", "22")]),
            tree(&[("a", "22")]),
        ),
    ];
    for (words, in_a, in_b) in cases {
        for (model, expected) in [(Model::A, in_a), (Model::B, in_b)] {
            let bench = Bench::new();
            bench.run_with_shadow(words);
            bench.cut(model);
            assert_eq!(bench.tree(), *expected, "{words}: {model:?}");
            let left = fs::read_dir(bench.shadow()).unwrap().count();
            assert_eq!(left, 0, "the shadow is empty after the power cut");
        }
    }
}

/// A file system that gives the number of a removed file to a new one must not
/// make the shadow of the one into that of the other. Enough files are used
/// that it does so with some of them.
#[test]
fn numbers_do_not_come_back() {
    let each = |words: &str| -> String {
        (0..30).map(|number| words.replace('#', &number.to_string())).collect()
    };
    let old: Vec<String> = (0..30).map(|number| format!("old{number}")).collect();
    let olds: Tree = old.iter().map(|name| (name.into(), "1".into())).collect();
    for goes in ["remove old# ", "write next# 2 move next# old# "] {
        let bench = Bench::new();
        let made = each("write old# 1 sync old# ");
        let new = each("write new# x write newer# y ");
        let words = format!("{made}sync . {}{new}", each(goes));
        bench.run_with_shadow(words.trim_end());
        bench.cut(Model::A);
        assert_eq!(bench.tree(), olds, "{goes}");
    }

    let bench = Bench::new();
    bench.run_with_shadow(each("write old# 1 sync old# ").trim_end());
    for name in old {
        fs::remove_file(bench.root().join(name)).unwrap();
    }
    bench.run_with_shadow(each("write new# x ").trim_end());
    bench.cut(Model::B);
    assert!(bench.tree().values().all(|text| text == "\0"), "{:?}", bench.tree());
}

#[test]
fn power_takes_directories_each_by_itself() {
    let cases: &[(&str, Tree)] = &[
        ("mkdir d write d/a 1 sync d/a", tree(&[])),
        ("mkdir d sync . write d/a 1 sync d/a", tree(&[("d/", "")])),
        ("mkdir d write d/a 1 sync d/a sync d", tree(&[])),
        (
            "mkdir d write d/a 1 sync d/a sync d sync . write d/b 2",
            tree(&[("d/", ""), ("d/a", "1")]),
        ),
        (
            "mkdir d mkdir e sync . write d/a 1 sync d/a sync d move d/a e/a sync e",
            tree(&[("d/", ""), ("d/a", "1"), ("e/", ""), ("e/a", "1")]),
        ),
        ("mkdir d sync . rmdir d", tree(&[("d/", "")])),
        ("mkdir d sync . rmdir d sync .", tree(&[])),
    ];
    for (words, expected) in cases {
        let bench = Bench::new();
        bench.run_with_shadow(words);
        bench.cut(Model::A);
        assert_eq!(bench.tree(), *expected, "{words}");
    }
}

#[test]
fn what_was_there_before_is_durable() {
    for model in [Model::A, Model::B] {
        let bench = Bench::new();
        fs::create_dir(bench.root().join("d")).unwrap();
        for name in ["a", "d/b", "c"] {
            fs::write(bench.root().join(name), "before").unwrap();
        }
        bench.run_with_shadow("write a after append d/b more");
        bench.cut(model);
        let before = [("a", "before"), ("c", "before"), ("d/", ""), ("d/b", "before")];
        assert_eq!(bench.tree(), tree(&before), "{model:?}");
        for words in ["remove a move c e", "move c d/c", "move d/b b", "link a d/a"] {
            bench.run_with_shadow(words);
            bench.cut(Model::A);
            assert_eq!(bench.tree(), tree(&before), "{words}");
        }
    }
}

#[test]
fn what_others_write_stays() {
    for model in [Model::A, Model::B] {
        let bench = Bench::new();
        let root = bench.root();
        fs::write(root.join("journal"), "1").unwrap();
        bench.run_with_shadow("mkdir made write mine 1 sync mine sync .");
        fs::rename(root.join("journal"), root.join("journal.1")).unwrap();
        fs::write(root.join("journal"), "22").unwrap();
        fs::create_dir(root.join("theirs")).unwrap();
        fs::write(root.join("theirs/x"), "x").unwrap();
        fs::write(root.join("made/y"), "y").unwrap();
        bench.run_with_shadow("append mine 2");
        bench.cut(model);
        let expected = tree(&[
            ("journal", "22"),
            ("journal.1", "1"),
            ("made/", ""),
            ("made/y", "y"),
            ("mine", "1"),
            ("theirs/", ""),
            ("theirs/x", "x"),
        ]);
        assert_eq!(bench.tree(), expected, "{model:?}");
    }
}

#[test]
fn a_shadow_lasts_over_several_runs() {
    let bench = Bench::new();
    bench.run_with_shadow("write a 1 sync a sync .");
    bench.run_with_shadow("append a 2 sync a");
    bench.run_with_shadow("append a 3 move a b");
    bench.cut(Model::A);
    assert_eq!(bench.tree(), tree(&[("a", "12")]));
    let mode = fs::metadata(bench.root().join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "permissions move with the file");
    bench.run_with_shadow("append a 4");
    bench.cut(Model::A);
    assert_eq!(bench.tree(), tree(&[("a", "12")]), "what is left is durable");
}

#[test]
fn an_fsync_that_fails_makes_nothing_durable() {
    let bench = Bench::new();
    let output = bench.run("write a 1 sync a", |root| {
        Fault::fail(root, 3, EIO, false).shadow(&bench.shadow())
    });
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    bench.cut(Model::B);
    assert_eq!(bench.tree(), tree(&[("a", "\0")]));
}

/// Text by path; directories have a slash behind.
type Tree = BTreeMap<PathBuf, String>;

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| (path.into(), (*text).into())).collect()
}

/// A directory for the program to work in, and one for the shadow.
struct Bench {
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(scratch.path().join("root")).unwrap();
        fs::create_dir(scratch.path().join("shadow")).unwrap();
        Self { scratch }
    }

    fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    fn shadow(&self) -> PathBuf {
        self.scratch.path().join("shadow")
    }

    /// Runs the program in the directory, with the words as its arguments.
    fn run(&self, words: &str, fault: impl FnOnce(&Path) -> Fault) -> Output {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program =
            PROGRAM.get_or_init(|| compile("fault-program", &["program.c"], &[]));
        let mut command = Command::new(program);
        command.args(words.split(' ')).current_dir(self.root());
        Shim::build().command(&mut command, &fault(&self.root())).output().unwrap()
    }

    fn run_with_shadow(&self, words: &str) {
        let output = self.run(words, |root| Fault::count(root).shadow(&self.shadow()));
        assert!(output.status.success(), "{words}: {output:?}");
    }

    fn cut(&self, model: Model) {
        power_loss(&self.root(), &self.shadow(), model);
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(&self.root(), Path::new(""), &mut tree);
        tree
    }
}

fn collect(directory: &Path, relative: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = relative.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &path, tree);
            tree.insert(path.join(""), String::new());
        } else {
            tree.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
    }
}

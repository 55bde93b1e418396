//! The command line itself.

use crate::util::Dir;

#[test]
fn help_of_every_command_has_an_example() {
    let dir = Dir::new();
    let commands: &[&[&str]] = &[
        &["run"],
        &["check"],
        &["where"],
        &["journal", "count"],
        &["journal", "cat"],
        &["journal", "apply"],
        &["journal", "verify"],
        &["journal", "diff"],
        &["fields"],
        &["init"],
        &["man"],
        &["completions"],
    ];
    for command in commands {
        let ran = dir.run(command.iter().copied().chain(["--help"])).exits(0).quietly();
        assert!(ran.stdout().contains("Examples:\n  "), "{command:?}: {ran}");
    }
    let ran = dir.run(["--help"]).exits(0).quietly();
    assert!(ran.stdout().contains("Exit codes:"), "{ran}");
    assert!(dir.run(["--version"]).exits(0).stdout().starts_with("tripline 0."));
}

#[test]
fn wrong_usage_exits_with_2() {
    let dir = Dir::new();
    dir.run(["nosuch"]).exits(2).complains(["nosuch", "--help"]);
    dir.run(["check"]).exits(2).complains(["<PATH>"]);
    dir.run(["where", "x.ron", "--set", "listener", "source"]).exits(2);
    dir.run(["where", "x.ron", "--yes"]).exits(2).complains(["--set"]);
    dir.run(["journal", "cat", "x", "--since", "soon"]).exits(2).complains(["12:3456"]);
}

#[test]
fn the_manual_and_the_completions_are_written() {
    let dir = Dir::new();
    let ran = dir.run(["man"]).exits(0).quietly();
    assert!(ran.stdout().starts_with(".ie") || ran.stdout().contains(".TH"), "{ran}");
    assert!(ran.stdout().contains("Exit codes"), "{ran}");
    dir.run(["man", "--to", "man/man1"]).exits(0).quietly();
    let page = String::from_utf8(dir.read("man/man1/tripline-journal-cat.1")).unwrap();
    assert!(page.contains("since"), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = dir.run(["completions", shell]).exits(0).quietly();
        assert!(ran.stdout().contains("until-idle"), "{shell}");
        dir.run(["completions", shell, "--to", "completions"]).exits(0).quietly();
    }
    assert!(!dir.read("completions/_tripline").is_empty());
}

#[test]
fn fields_of_a_table() {
    let dir = Dir::new();
    let ran = dir.run(["fields", "db.user", "7"]).exits(0).quietly();
    assert!(ran.stdout().starts_with("db.user version 7, since "), "{ran}");
    let line = |name: &str| {
        let found = ran
            .stdout()
            .lines()
            .find(|line| line.split_whitespace().nth(1) == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in\n{ran}"))
    };
    assert!(line("user").contains("key 1"), "{ran}");
    assert!(line("email").contains("since 2006.2"), "{ran}");
    dir.run(["fields", "db.chnage"]).exits(2).complains(["did you mean `db.change`?"]);
    dir.run(["fields", "change"]).exits(2).complains(["did you mean `db.change`?"]);
    dir.run(["fields", "db.user", "99"]).exits(2).complains(["has no version 99"]);
}

#[test]
fn what_init_writes_passes_the_check() {
    let dir = Dir::new();
    dir.write("p4/root/journal", "");
    dir.write("p4/checkpoints/journal.3.gz", "");
    dir.write("conf/readme", "");
    let mut command = dir.command(["init"]);
    command.current_dir(dir.path().join("conf"));
    command
        .env("P4ROOT", dir.path().join("p4/root"))
        .env("P4PORT", "ssl:p4:1666\n:\x1b[2J");
    let ran = crate::util::Ran(command.output().unwrap()).exits(0);
    let ran = ran.complains(["wrote `tripline.ron`", "p4/root/journal"]);
    let text = String::from_utf8(dir.read("conf/tripline.ron")).unwrap();
    assert!(text.contains("p4/checkpoints\"]"), "{text}\n{ran}");
    assert!(!text.contains('\x1b'), "{text:?}");
    dir.run(["check", "--strict", "conf/tripline.ron"]).exits(0).quietly();
    // Nor is there a mistake in what is commented out.
    let all = text.replace("// \"", "\"");
    for word in ["\n        \"logs\": Log(", "\": Mirror(", "\": Forward("] {
        assert!(all.contains(word), "{word}: {all}");
    }
    dir.write("conf/all.ron", all);
    dir.run(["check", "conf/all.ron"]).exits(0).quietly();
    // It is not written over.
    dir.run(["init", "--to", "conf/tripline.ron"]).exits(2).complains(["exists", "--to"]);
    assert_eq!(dir.read("conf/tripline.ron"), text.as_bytes());
    // Nothing found is no reason for a file that does not work.
    dir.run(["init", "--to", "a \"b\"\\.ron"]).exits(0).complains(["correct the path"]);
    dir.run(["check", "--strict", "a \"b\"\\.ron"]).exits(0).quietly();
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = Dir::new();
    let journal = "@pv@ 0 @db.desc@ 1 @text@ \n@ex@ 1 2\n".repeat(100_000);
    dir.write("journal", journal);
    let commands: &[&[&str]] =
        &[&["journal", "cat", "journal"], &["journal", "cat", "--raw", "journal"]];
    for command in commands {
        let mut child = dir
            .command(command.iter().copied())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = crate::util::Ran(child.wait_with_output().unwrap());
        ran.exits(0).quietly();
    }
}

#[test]
fn a_closed_pipe_changes_no_answer() {
    let dir = Dir::new();
    let row = |value| format!("@pv@ 1 @db.counters@ @change@ @{value}@ \n");
    dir.write("a", row(1));
    dir.write("b", row(2));
    dir.write("journal.1", "@ex@ 1 2\n");
    dir.write("holed", "\0\n@ex@ 1 2\n");
    dir.write("bad.ron", "(");
    let commands: &[(&[&str], i32)] = &[
        (&["journal", "diff", "a", "a"], 0),
        (&["journal", "diff", "a", "b", "--explain"], 1),
        (&["journal", "verify", "a", "journal.1", "b"], 1),
        (&["journal", "count", "journal.1"], 0),
        (&["journal", "count", "holed", "journal.1"], 1),
        (&["journal", "count", "nosuch"], 2),
        (&["journal", "cat", "nosuch"], 2),
        (&["journal", "apply", "--to", "out", "a", "nosuch"], 2),
        (&["check", "bad.ron"], 1),
        (&["check", "--format", "json", "bad.ron"], 1),
        (&["check", "nosuch.ron"], 2),
    ];
    for (command, code) in commands {
        for is_stdout_closed in [true, false] {
            let mut child = dir
                .command(command.iter().copied())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            match is_stdout_closed {
                true => drop(child.stdout.take()),
                false => drop(child.stderr.take()),
            }
            let ran = crate::util::Ran(child.wait_with_output().unwrap());
            let exited = ran.0.status.code();
            assert_eq!(exited, Some(*code), "{command:?}, {is_stdout_closed}: {ran}");
        }
    }
}

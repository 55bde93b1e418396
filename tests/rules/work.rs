//! Actions in the daemon.

use super::place::{Place, lines};
use std::fs;

const BRUTE: &str = r#"
    (name: "brute", on: Lines(source: "app", program: "sshd"),
     match: r"^Failed \S+ for (?P<user>\S+) from %{IP:ip}", by: ["ip"],
     when: Count(of: 3, within: "60s"), limit: (times: 1, per: "10m"),
     do: [
        Exec(id: "block", run: ["/usr/bin/tee", "-a", "HERE/blocked"], stdin: "{{ ip }} {{ count }}\n", timeout: "20s"),
        Touch(id: "mark", needs: ["block"], dir: "HERE", file: "blocked-{{ ip }}"),
     ]),
    (name: "breaks", on: Lines(source: "app"), match: r"break (?P<what>\w+)",
     do: [
        Exec(id: "try", run: ["/bin/false"], timeout: "20s", retry: (times: 1, backoff: "10ms", max: "10ms")),
        Touch(id: "second", needs: ["try"], dir: "HERE", file: "never"),
     ],
     on_failure: [Touch(dir: "HERE", file: "failed-{{ task.action }}-{{ what }}-{{ task.exit }}")]),
    (name: "watches", on: Task(status: [GaveUp]),
     do: [Touch(dir: "HERE", file: "gave-up-{{ task.rule }}-{{ task.skipped | join('-') }}")]),
"#;

#[test]
fn what_fires_is_done() {
    let place = Place::new("", BRUTE);
    let failed =
        "Nov 20 21:14:03 www sshd[9]: Failed password for bob from 192.0.2.7 port 5\n";
    place.append(&failed.repeat(5));
    place.append("Nov 20 21:14:03 www app[9]: break it\n");
    let ran = place.until_idle().exits(0);
    ran.complains([
        "rules: try of rule breaks failed",
        "2 attempts",
        "/bin/false ended with code 1",
    ]);
    assert_eq!(place.dir.read("blocked"), b"192.0.2.7 3\n");
    for name in ["blocked-192.0.2.7", "failed-try-it-1", "gave-up-breaks-second"] {
        assert!(place.file(name).exists(), "{name}: {:?}", place.ends());
    }
    assert!(!place.file("never").exists());
    let mut ends = place.ends();
    ends.sort();
    let wanted = [
        "breaks.touch-1 succeeded",
        "breaks.try gave_up",
        "brute.block succeeded",
        "brute.mark succeeded",
        "watches.touch-1 succeeded",
    ];
    assert_eq!(ends, wanted);
    let row = &place.places()[0];
    assert_eq!((&row["listener"], &row["bytes_behind"]), (&"rules".into(), &0.into()));
    // Nothing of it happens again.
    let again = place.until_idle().exits(0);
    assert!(again.stderr().is_empty() || !again.stderr().contains("failed"), "{again}");
    assert_eq!(place.tasks().len(), 5);
}

/// A line becomes text in whatever is done with it, and nothing else.
#[test]
fn hostile_lines_stay_text() {
    let rule = r#"(name: "r", on: Lines(source: "app"), match: r"say (?P<what>.*)$",
        do: [
            Exec(id: "argv", run: ["/usr/bin/tee", "HERE/{{ what | length }}"], stdin: "{{ what }}", timeout: "20s"),
            Touch(id: "file", dir: "HERE/flags", file: "{{ what }}"),
        ])"#;
    let place = Place::new("", rule);
    fs::create_dir(place.file("flags")).unwrap();
    let hostile =
        ["`touch /tmp/x`; $(id) && {{ what }}", "../escaped", "--help", "a\u{1b}[31mb"];
    for what in hostile {
        place.append(&format!("Nov 20 21:14:03 www app[9]: say {what}\n"));
    }
    place.until_idle().exits(0);
    for what in hostile {
        let read = place.dir.read(&what.chars().count().to_string());
        assert_eq!(String::from_utf8(read).unwrap(), what);
    }
    assert!(!place.file("escaped").exists());
    let made: Vec<_> = fs::read_dir(place.file("flags")).unwrap().flatten().collect();
    assert_eq!(made.len(), 1, "only `--help` is a name: {made:?}");
    let failed = place.ends().iter().filter(|it| it.contains("file failed")).count();
    assert_eq!(failed, 3, "{:?}", place.ends());
}

#[test]
fn a_journal_fires_by_transaction() {
    let rule = r#"(name: "submit", on: Journal(source: "p4", table: "db.change"),
        if: "submit and submit.files is p4path('//depot/main/...')",
        do: [Exec(run: ["/usr/bin/tee", "-a", "HERE/submits"],
             stdin: "{{ submit.change }} {{ submit.user }} {{ submit.files | length }}\n", timeout: "20s")])"#;
    let place = Place::new("", rule);
    place.dir.write(
        "tripline.ron",
        r#"(state: "state", sources: {"p4": Journal(path: "p4/journal")}, listeners: {},
            rules: ["rules.d/*.ron"])"#,
    );
    let change = |number: u32, status: u32| {
        format!(
            "@rv@ 5 @db.change@ {number} {number} @ws@ @ann@ 1767614400 {status} @x@ @//depot/main/*@ @@ @@ 0 0 \n"
        )
    };
    let rev = |path: &str, number: u32| {
        format!(
            "@pv@ 9 @db.rev@ @{path}@ 1 0 1 {number} 1767614400 1 00 12 0 0 @{path}@ @1.7@ 0 \n"
        )
    };
    let mut journal = change(1, 0) + "@ex@ 1 1767614400\n";
    journal += &(change(1, 1) + &rev("//depot/main/a", 1) + &rev("//depot/main/b", 1));
    journal += "@ex@ 1 1767614401\n";
    journal += &(change(2, 1) + &rev("//depot/other/a", 2) + "@ex@ 1 1767614402\n");
    // The last one is still open.
    journal += &(change(3, 1) + &rev("//depot/main/c", 3));
    place.dir.write("p4/journal", &journal);
    place.until_idle().exits(0);
    assert_eq!(place.dir.read("submits"), b"1 ann 2\n");
    place.dir.write("p4/journal", journal + "@ex@ 1 1767614403\n");
    place.until_idle().exits(0);
    assert_eq!(place.dir.read("submits"), b"1 ann 2\n3 ann 1\n");
}

/// More fires than can be done at the same time, and than may wait.
#[test]
fn much_at_a_time_is_done_bit_by_bit() {
    let rule = r#"(name: "each", on: Lines(source: "app"), match: r"job (?P<n>\d+) done",
        overlap: Parallel(8), do: [Touch(dir: "HERE/done", file: "{{ n }}")])"#;
    let place = Place::new("", rule);
    fs::create_dir(place.file("done")).unwrap();
    place.append(&lines(0..3000));
    place.until_idle().exits(0);
    assert_eq!(fs::read_dir(place.file("done")).unwrap().count(), 3000);
    assert_eq!(place.tasks().len(), 3000);
}

use super::*;
use crate::example_sets;
use proptest::prelude::*;

fn pattern(line: &str) -> String {
    let file = sketch(line.as_bytes(), None, &Known::default()).unwrap();
    let found = file.lines().find_map(|it| it.trim().strip_prefix("match: "));
    found.unwrap_or_default().trim_end_matches(',').to_owned()
}

#[test]
fn what_varies_becomes_a_pattern() {
    for (line, wanted) in [
        (
            "Nov 20 21:00:00 www sshd[99]: Failed password for bob from 10.1.2.3 port 5 ssh2",
            r#"r"^Failed password for %{USER:user} from %{IP:ip} port %{PORT:port} ssh2""#,
        ),
        (
            "Nov 20 21:00:00 www sshd[99]: Invalid user ann from 2001:db8::1",
            r#""^Invalid user %{USER:user} from %{IP:ip}""#,
        ),
        (
            "Nov 20 21:00:00 db kernel: Out of memory: Killed process 4711 (mysqld) total-vm:12kB",
            r#"r"^Out of memory: Killed process %{INT:process} \(mysqld\) total-vm:12kB""#,
        ),
        (
            "2026-11-20T21:00:00Z ERROR cannot open /srv/www/index.html: 13",
            r#""^%{ISOTIME} ERROR cannot open %{PATH:path}: %{INT}""#,
        ),
        (
            "mail to ann@example.com took 1.5 of 250 units, id 123e4567-e89b-12d3-a456-426614174000",
            r#""^mail to %{EMAIL:address} took %{FLOAT:took} of %{INT} units, id %{UUID}""#,
        ),
        (
            "GET \"/a b\" status=503 from host",
            r#""^GET %{QUOTED} status=%{INT:status} from host""#,
        ),
        ("100% [full] (a|b) $x ^ + *", r#"r"^%{INT}% \[full\] \(a\|b\) \$x \^ \+ \*""#),
    ] {
        assert_eq!(pattern(line), wanted.replace("r\"^Failed", "\"^Failed"), "{line}");
    }
}

#[test]
fn a_record_becomes_a_rule_for_its_table() {
    let file =
        |record: &str| sketch(record.as_bytes(), Some("p4"), &Known::default()).unwrap();
    let change = "@rv@ 9 @db.change@ 1234 1234 @ws@ @ann@ 1700000000 1 @Fix\nthe \"crash\" {{ i }}@ \n";
    let made = file(change);
    for wanted in [
        r#"on: Journal(source: "p4", table: "db.change", op: Replace)"#,
        r#"subject: "db.change replace: user {{ db.change.user }}""#,
    ] {
        assert!(made.contains(wanted), "{made}");
    }
    assert!(
        file("@dv@ 0 @db.counters@ @x@ ").contains("table: \"db.counters\", op: Delete")
    );
    // What writes no row, or into no table that is known, is a line like others.
    assert!(file("@dv@ 0 @db.nosuch@ @x@ ").contains("Lines("));
    assert!(file("@ex@ 1 1700000000").contains("Lines("));
    for record in
        [change, "@pv@ 0 @db.x@ ", "@pv@ 6 @db.protect@ 1 0 @a@@b@ @*@ 1 1 @//x\\@ "]
    {
        holds(record.as_bytes());
    }
}

#[test]
fn what_is_nothing_is_said_to_be() {
    for line in ["", " ", "\n", "\r\n"] {
        let error = sketch(line.as_bytes(), None, &Known::default()).unwrap_err();
        assert!(error.to_string().contains("empty"), "{line:?}");
    }
}

#[test]
fn of_several_lines_there_is_no_rule() {
    for (lines, wanted) in [
        ("one\ntwo", "2 lines"),
        ("one\r\ntwo\r\nthree\n", "3 lines"),
        ("@pv@ 0 @db.x@ \n@pv@ 0 @db.x@ \n", "2 lines"),
        (
            "@pv@ 6 @db.protect@ 1 0 @a@ @*@ 1 1 @//x@ \n@dv@ 0 @db.counters@ @x@ ",
            "2 lines",
        ),
    ] {
        let error = sketch(lines.as_bytes(), None, &Known::default()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{lines:?}: {error}");
    }
    // The transaction around one row is no other.
    let row = "@pv@ 6 @db.protect@ 1 0 @a@ @*@ 1 1 @//x@ \n@ex@ 1 1700000000\n";
    assert!(
        sketch(row.as_bytes(), None, &Known::default()).unwrap().contains("Journal(")
    );
    assert!(sketch(b"one\r\n", None, &Known::default()).is_ok());
}

fn holds(line: &[u8]) {
    let is_no_line = |line: &[u8]| {
        let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
        line.trim().is_empty() || line.contains('\n')
    };
    match sketch(line, Some("auth"), &Known::default()) {
        Ok(file) => {
            assert!(is_sound(&file, &Known::default()), "{file}");
            assert!(!file.contains(steers), "{file:?}");
        }
        Err(error) => assert!(is_no_line(line), "{error}: {line:?}"),
    }
}

#[test]
fn lines_of_the_examples_become_rules() {
    let mut count = 0;
    for set in example_sets::sets() {
        for text in example_sets::texts(&set) {
            text.lines().for_each(|line| holds(line.as_bytes()));
            count += 1;
        }
    }
    assert!(count > 10);
}

#[test]
fn hostile_lines_become_rules() {
    for line in [
        "%{IP} %{NOSUCH:x} {{ i }} {{ event.nosuch }} {% raw %}",
        "\"quoted\\\" \"# r#\"x\"# \\",
        "@pv@ 0 @db.x@ @a@ ",
        "<13>Nov 20 21:00:00 h a+b(c)[1]: (?P<x>y) [[:alpha:]] \\d{3}",
        "Nov 20 21:00:00 h p[1]: ",
        "Nov 20 21:00:00 h p[1]: \u{202e}\u{1b}[2J\u{7} end",
        "\u{0} nul and \u{fffd}",
        "count=5 first=6 if=7 event=8 range=9 self=10 user=",
        "// /** comment */ (a: 1)",
        "99999999999999999999999999 1.2.3.4.5 ::: 0x",
        ".*",
        "^",
        "-",
    ] {
        holds(line.as_bytes());
    }
    holds(&[b'x'; 100_000]);
    holds(&"1.2.3.4 ".repeat(10_000).into_bytes());
    holds(&[b'a', 0xff, 0xfe, b' ', 0xc3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_become_rules(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        holds(&line);
    }

    #[test]
    fn any_words_become_rules(
        words in proptest::collection::vec(
            prop_oneof![
                Just("user"), Just("for"), Just("from"), Just("port"), Just("10.0.0.1"),
                Just("ann"), Just("=17"), Just("{{"), Just("}}"), Just("%{IP:ip}"),
                Just("\\"), Just("\""), Just("#"), Just("/a/b"), Just("//d/m/x#3"),
                Just("Nov 20 21:00:00 h sshd[1]:"), Just("é"), Just("deadbeef01"),
            ],
            0..12,
        ),
        joint in prop_oneof![Just(" "), Just(""), Just("=")],
    ) {
        holds(words.join(joint).as_bytes());
    }
}

use super::*;
use proptest::prelude::*;

fn numbered(number: u64) -> Age {
    Age::Numbered(Reverse(number))
}

fn dated(parts: &[u64]) -> Age {
    Age::Dated(parts.to_vec())
}

#[track_caller]
fn expect(base: &str, name: &str, age: &Age) {
    let rotation = rotation_of(base.as_bytes(), name.as_bytes());
    let is_compressed = COMPRESSED.iter().any(|end| name.as_bytes().ends_with(end));
    let name_of = |end: &&[u8]| name.as_bytes().strip_suffix(*end);
    let body = COMPRESSED.iter().find_map(name_of).unwrap_or(name.as_bytes());
    let is_appended = body.last().is_some_and(u8::is_ascii_digit)
        || PREVIOUS.iter().any(|end| body.ends_with(end));
    let expected =
        Rotation { age: age.clone(), is_compressed, keeps_extension: !is_appended };
    assert_eq!(rotation, Some(expected), "{name:?} of {base:?}");
}

#[test]
fn numbers_of_real_rotations() {
    for (base, name, number) in [
        // logrotate, newsyslog, Docker, supervisor, lighttpd, Python
        ("app.log", "app.log.1", 1),
        ("app.log", "app.log.2.gz", 2),
        ("app.log", "app.log.10.zst", 10),
        ("app.log", "app.log.3.xz", 3),
        ("messages", "messages.0.bz2", 0),
        ("syslog", "syslog.7.gz", 7),
        ("3f9a-json.log", "3f9a-json.log.1", 1),
        ("app.log", "app.log-1", 1),
        ("app.log", "app.log_1", 1),
        ("app.log", "app.log.01", 1),
        ("app.log", "app.log.001", 1),
        ("app.log", "app.log.00000001", 1),
        ("app.log", "app.log.99999999", 99_999_999),
        ("app.log", "app.log.18446744073709551615", u64::MAX),
        ("app.log", "app.log.000000000000000000000000000001", 1),
        // extension .log, log4j with a fixed window
        ("app.log", "app.1.log", 1),
        ("app.log", "app.1.log.gz", 1),
        ("my.app.log", "my.app.12.log", 12),
        ("app-1.log", "app-1.2.log", 2),
        ("app.json", "app.3.json.zst", 3),
        // addextension .log
        ("mylog", "mylog.1.log", 1),
        ("mylog", "mylog.1.log.gz", 1),
        // A second kind of rotation on top of the first.
        ("app-2026-11-20.log", "app-2026-11-20.log.1", 1),
        ("app.log.1", "app.log.1.2", 2),
        (".hidden", ".hidden.4", 4),
        ("with\nfeed", "with\nfeed.4", 4),
    ] {
        expect(base, name, &numbered(number));
    }
}

#[test]
fn dates_of_real_rotations() {
    let day = [2026, 11, 20];
    let second = [2026, 11, 20, 13, 0, 0];
    for (base, name, parts) in [
        // logrotate: dateext, with hourly, and with a format of one's own
        ("app.log", "app.log-20261120", &day[..]),
        ("app.log", "app.log-20261120.gz", &day),
        ("app.log", "app.log-2026112013", &second[..4]),
        ("app.log", "app.log-20261120-1763672400", &[2026, 11, 20, 1_763_672_400]),
        ("app.log", "app.log-1763672400", &[1_763_672_400]),
        ("app.log", "app.log-202611", &day[..2]),
        ("app.log", "app.log-2026-47", &[2026, 47]),
        ("app.log", "app.log_2026-325.xz", &[2026, 325]),
        ("app.log", "app-20261120.log", &day),
        ("app.log", "app-20261120.log.gz", &day),
        ("app.log", "app_20261120.log", &day),
        ("app.log", "app-1763672400.log", &[1_763_672_400]),
        ("mylog", "mylog-20261120.log", &day),
        // log4j, logback, Tomcat
        ("app.log", "app.log.2026-11-20", &day),
        ("app.log", "app.log.2026-11", &day[..2]),
        ("app.log", "app.log.2026-11-20-13", &second[..4]),
        ("app.log", "app.log.2026-11-20-13:00", &second[..5]),
        ("app.log", "app.2026-11-20.0.log.gz", &[2026, 11, 20, 0]),
        ("app.log", "app-2026-11-20-1.log.gz", &[2026, 11, 20, 1]),
        ("catalina.log", "catalina.2026-11-20.log", &day),
        ("access_log.txt", "access_log.2026-11-20.txt", &day),
        // Apache's rotatelogs, cronolog
        ("access_log", "access_log.1763672400", &[1_763_672_400]),
        ("access_log", "access_log.20261120", &day),
        ("access.log", "access.2026.11.20.log", &day),
        // Python's TimedRotatingFileHandler
        ("app.log", "app.log.2026-11-20_13-00-00", &second),
        ("app.log", "app.log.2026-11-20_13", &second[..4]),
        // Lumberjack, Kubernetes, serilog, journald-like time stamps
        ("app.log", "app-2026-11-20T13-00-00.000.log", &[2026, 11, 20, 13, 0, 0, 0]),
        ("0.log", "0.log.20261120-130000.gz", &[2026, 11, 20, 130_000]),
        ("log.txt", "log-20261120_001.txt", &[2026, 11, 20, 1]),
        ("app.log", "app.log.20261120130000", &second),
        ("app.log", "app.log.20261120130000123456", &[2026, 11, 20, 13, 0, 0, 123_456]),
        ("app.log", "app.log.1763672400123", &[1_763_672_400_123]),
        // The second file of a day.
        ("app.log", "app.log-20261120.1", &[2026, 11, 20, 1]),
    ] {
        expect(base, name, &dated(parts));
    }
    for name in ["app.log.old", "app.log.bak", "app.log.prev", "app.log.old.gz"] {
        expect("app.log", name, &Age::Previous);
    }
}

#[test]
fn other_names_are_no_rotations() {
    for (base, name) in [
        ("app.log", "app.log"),
        ("app.log", "app.log.swp"),
        ("app.log", ".app.log.swp"),
        ("app.log", "app.log~"),
        ("app.log", "app.log.gz"),
        ("app.log", "app.log.tmp"),
        ("app.log", "app.log.1.tmp"),
        ("app.log", "app.log.1.gz.tmp"),
        ("app.log", "app.log.1.gz.gz"),
        ("app.log", "app.log.1.Z"),
        ("app.log", "app.log.1.md5"),
        ("app.log", "app.log2"),
        ("app.log", "app.logs"),
        ("app.log", "app.logs.1"),
        ("app.log", "app.log."),
        ("app.log", "app.log.."),
        ("app.log", "app.log..1"),
        ("app.log", "app.log.1."),
        ("app.log", "app.log.-1"),
        ("app.log", "app.log.+1"),
        ("app.log", "app.log. 1"),
        ("app.log", "app.log.1\n"),
        ("app.log", "app.log\n.1"),
        ("app.log", "app.log.1.2"),
        ("app.log", "app.log.x1"),
        ("app.log", "app.log.18446744073709551616"),
        ("app.log", "app.log.1.log"),
        ("app.log", "my-app.log.1"),
        ("app.log", "app.error.log"),
        ("app.log", "app.1.txt"),
        // Usually other logs.
        ("app.log", "app-1.log"),
        ("app.log", "app_2.log"),
        ("app.log", "app-2026.log"),
        ("app.log", "app-2026-11.log"),
        ("app.log", "app-12345678.log"),
        ("app.log", "app-99999999999.log"),
        ("app.log", "app1.log"),
        ("app", "app-1.log"),
        ("app", "app.1.json"),
        ("app", "app.log"),
        // glog names its files at their birth, behind a fixed link.
        ("prog.INFO", "prog.host.user.log.INFO.20261120-130000.4711"),
        ("prog.log", "prog.host.user.log.INFO.20261120-130000.4711"),
        ("", ".1"),
        ("", "1"),
        ("app.gz", "app.1.gz"),
    ] {
        let rotation = rotation_of(base.as_bytes(), name.as_bytes());
        assert_eq!(rotation, None, "{name:?} of {base:?}");
    }
    let name = b"\xff\xfe.log.1";
    assert_eq!(rotation_of(b"\xff\xfe.log", name).map(|it| it.age), Some(numbered(1)));
    assert_eq!(rotation_of(b"\xff.log", name), None);
}

#[test]
fn the_oldest_comes_first() {
    for (base, names) in [
        ("app.log", &["app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log.0"][..]),
        (
            "app.log",
            &[
                "app.log-20251231.gz",
                "app.log-20261119",
                "app.log-20261120",
                "app.log-20261120.1",
                "app.log-20261120.2",
                "app.log-20261120.10",
                "app.log-20261121",
            ],
        ),
        ("app.log", &["app.log-2026112009", "app.log-2026112010"]),
        ("app.log", &["app.2026-11-20.9.log.gz", "app.2026-11-20.10.log.gz"]),
        ("access_log", &["access_log.1763668800", "access_log.1763672400"]),
        // Of different kinds: any order, but always the same.
        ("app.log", &["app.log-20261120", "app.log.3", "app.log.old"]),
    ] {
        let ages: Vec<_> = names
            .iter()
            .filter_map(|name| rotation_of(base.as_bytes(), name.as_bytes()))
            .map(|rotation| rotation.age)
            .collect();
        assert_eq!(ages.len(), names.len());
        assert!(ages.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}

#[test]
fn every_log_a_name_may_belong_to() {
    for (name, bases) in [
        ("app.log", &[][..]),
        ("app.log.1.gz", &["app.log"]),
        ("app.1.log", &["app", "app.log"]),
        ("app-20261120.log", &["app", "app.log"]),
        ("app.log-20261120.1", &["app.log", "app.log-20261120"]),
        (
            "app.2026-11-20.0.log",
            &["app", "app.2026-11-20", "app.2026-11-20.log", "app.log"],
        ),
        ("app.log.old", &["app.log"]),
        ("7.1", &["7"]),
    ] {
        let found = bases_of(name.as_bytes());
        let found: Vec<_> = found.iter().map(|it| String::from_utf8_lossy(it)).collect();
        assert_eq!(found, bases, "{name}");
    }
}

#[test]
fn holes_are_between_two_that_are_there() {
    let of = |numbers: &[u64]| {
        holes(&numbers.iter().map(|&number| numbered(number)).collect::<Vec<_>>())
    };
    assert_eq!(of(&[]), []);
    assert_eq!(of(&[7]), []);
    assert_eq!(of(&[3, 2, 1]), []);
    assert_eq!(of(&[9, 5, 4, 1]), [(6, 8), (2, 3)]);
    assert_eq!(of(&[2, 2, 0]), [(1, 1)]);
    assert_eq!(of(&[1, 9]), [], "not oldest first");
    assert_eq!(of(&[u64::MAX, 0]), [(1, u64::MAX - 1)]);
    let mixed = [dated(&[2026, 11, 20]), numbered(4), numbered(2), Age::Previous];
    assert_eq!(holes(&mixed), [(3, 3)]);
}

/// Names put together from what names of logs are made of.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        "[a-z]{1,3}",
        "[-._:T]",
        "\\.(log|txt|gz|zst|old|1|02|tmp|json)",
        "[-._]20(26|01)(-?)(11|1|30)(-?)(20|05|40)?",
        "[-._]1763672400(123)?",
        "[-._][0-9]{1,21}",
    ];
    let word = prop_oneof![
        9 => word.prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(word, 0..7).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn both_ways_agree(name in names(), other in names(), cut in 0_usize..40) {
        let bases = bases_of(&name);
        for base in &bases {
            prop_assert!(rotation_of(base, &name).is_some());
            prop_assert!(!base.is_empty() && *base != name);
        }
        // Other bases: parts of the name, with and without its extension.
        let start = &name[..cut.min(name.len())];
        let dot = name.iter().rposition(|&byte| byte == b'.').unwrap_or(0);
        for base in [other, start.to_vec(), [start, &name[dot..]].concat()] {
            let is_some = rotation_of(&base, &name).is_some();
            prop_assert_eq!(is_some, bases.contains(&base), "{:?}", base);
        }
    }
}

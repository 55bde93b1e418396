//! Archives of several parts, files that are not what their names say, and
//! damage.

use super::tools::{Logs, TOOLS};
use crate::logs::ground::{Ground, on_each};
use crate::logs::lines::Writer;
use std::fs;

/// An archive was made in several parts, as by a program that appends to it or
/// by one with many threads, with what the formats allow between and behind
/// them. All of it comes, behind what was read before.
#[test]
fn archives_have_many_parts() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        logs.write(200);
        ground.catch_up();
        logs.write(200);
        logs.rename();
        for tool in TOOLS {
            let plain = fs::read(logs.plain(tool)).unwrap();
            let mut packed = Vec::new();
            // Seven parts, which end within lines; one has nothing in it.
            for part in plain.chunks(plain.len() / 6).chain([&b""[..]]) {
                packed.extend(tool.compressed(part));
                match tool.name {
                    "zstd" => packed.extend(b"\x5a\x2a\x4d\x18\x05\0\0\0index"),
                    "xz" => packed.extend([0; 8]),
                    _ => {}
                }
            }
            if tool.name == "gzip" {
                packed.extend([0; 500]);
            }
            fs::write(logs.packed(tool), packed).unwrap();
            fs::remove_file(logs.plain(tool)).unwrap();
        }
        logs.reopen();
        logs.write(10);
        ground.catch_up();
        logs.assert_whole();
    });
}

/// The first bytes of a file say how it is compressed, whatever its name says.
#[test]
fn names_lie() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut logs = Logs::new(ground);
        let mut plain = Writer::new(8, &ground.log("plain.log"));
        let mut empty = Writer::new(9, &ground.log("empty.log"));
        logs.write(100);
        plain.write(100);
        ground.catch_up();
        logs.write(100);
        plain.write(100);
        logs.rename();
        // Each has the name of the next one's.
        for (tool, other) in TOOLS.iter().zip(TOOLS.iter().cycle().skip(1)) {
            let packed = tool.compressed(&fs::read(logs.plain(*tool)).unwrap());
            let name = format!("{}.log.1.{}", tool.name, other.suffix);
            fs::write(ground.log(&name), packed).unwrap();
            fs::remove_file(logs.plain(*tool)).unwrap();
        }
        // A text, and nothing.
        fs::rename(ground.log("plain.log"), ground.log("plain.log.1.gz")).unwrap();
        fs::write(ground.log("empty.log.1.gz"), b"").unwrap();
        logs.reopen();
        plain.reopen(&ground.log("plain.log"));
        for writer in logs.writers.iter_mut().chain([&mut plain, &mut empty]) {
            writer.write(10);
        }
        ground.catch_up();
        let mut all = logs.all();
        all.extend([&plain, &empty]);
        ground.assert_printed(&all);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
        assert_eq!(ground.said(), "", "{ground}: there is nothing to say");
    });
}

/// A file that was compressed twice is decompressed once: whoever wants the
/// lines has to undo the other. Nothing breaks, and the log goes on.
#[test]
fn compressed_twice() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        for tool in TOOLS {
            let twice = tool.compressed(&tool.compressed(b"a line\n"));
            let log = ground.log(&format!("{}.log.1.{}", tool.name, tool.suffix));
            fs::write(log, twice).unwrap();
        }
        let mut logs = Logs::new(ground);
        logs.write(10);
        ground.catch_up();
        let printed = ground.printed();
        let is_whole =
            |printed: &str| logs.writers.iter().any(|it| printed.starts_with(&it.last()));
        let texts: Vec<_> = printed.iter().filter_map(|it| it.utf8()).collect();
        assert_eq!(texts.iter().filter(|text| is_whole(text)).count(), TOOLS.len());
        assert!(!texts.iter().any(|text| text == "a line"), "{ground}");
        assert_eq!(ground.gaps().len(), 0, "{ground}");
    });
}

/// A bit flips in the middle of an archive. What stands before it comes, in
/// order; then a gap says which log is damaged; then comes the next file. Other
/// logs lose nothing.
fn a_flipped_bit(ground: &Ground, was_begun: bool) {
    ground.configure(r#"paths: ["logs/*.log"]"#, None);
    let mut logs = Logs::new(ground);
    let mut other = Writer::new(9, &ground.log("other.log"));
    logs.write(100);
    other.write(100);
    if was_begun {
        ground.catch_up();
    }
    logs.write(10_000);
    logs.rename();
    logs.compress();
    for tool in TOOLS {
        let mut packed = fs::read(logs.packed(tool)).unwrap();
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        fs::write(logs.packed(tool), packed).unwrap();
    }
    logs.reopen();
    logs.write(10);
    other.write(100);
    ground.catch_up();
    ground.catch_up();
    let printed = ground.printed();
    for (tool, (writer, name)) in TOOLS.iter().zip(logs.writers.iter().zip(0_u64..)) {
        let context = format!("{ground}: {}", tool.name);
        let log = logs.live(*tool);
        let of_log: Vec<_> = printed.iter().filter(|it| it.path() == log).collect();
        let gaps: Vec<_> = (0..of_log.len()).filter(|at| of_log[*at].is_gap()).collect();
        let [gap] = gaps[..] else { panic!("{context}: {} gaps", gaps.len()) };
        assert_eq!(of_log[gap].kind(), "damaged", "{context}");
        let is = |at: usize, number: u64| {
            let text = of_log[at].utf8();
            text.is_some_and(|it| it.starts_with(&format!("w={name} n={number} ")))
        };
        let before = (0..gap).take_while(|at| is(*at, *at as u64)).count();
        assert!(before > 2500, "{context}: {before} of 10100 lines before the damage");
        assert_eq!(of_log.len() - gap, 11, "{context}: the next file");
        assert!((0..10).all(|n| is(gap + 1 + n, 10_100 + n as u64)), "{context}");
        assert_eq!(writer.written(), 10_110);
        let said = ground.said();
        let words =
            format!("{} is damaged at compressed offset", logs.packed(*tool).display());
        assert!(said.contains(&words), "{context}: no {words:?} in {said}");
    }
    let others = printed.iter().filter(|it| it.path() == ground.log("other.log"));
    assert_eq!(others.count(), 200, "{ground}");
}

#[test]
fn a_bit_flips_in_an_archive_that_is_read_from_its_start() {
    on_each(|ground| a_flipped_bit(ground, false));
}

#[test]
fn a_bit_flips_in_an_archive_that_was_begun_as_a_plain_file() {
    on_each(|ground| a_flipped_bit(ground, true));
}

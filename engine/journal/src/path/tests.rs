use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, path: &str) -> bool {
    PathPattern::new(pattern.as_bytes(), Case::Sensitive)
        .unwrap()
        .matches(path.as_bytes())
}

#[test]
fn wildcards_are_those_of_the_server() {
    for (pattern, path, expected) in [
        ("//...", "//depot/a", true),
        ("//depot/...", "//depot/", true),
        ("//depot/...", "//depot", false),
        ("//depot/a", "//depot/a", true),
        ("//depot/a", "//depot/a/b", false),
        ("//depot/a", "//depot/A", false),
        ("//depot/*", "//depot/a", true),
        ("//depot/*", "//depot/", true),
        ("//depot/*", "//depot/a/b", false),
        ("//depot/*/b", "//depot/a/b", true),
        ("//depot/%%1/b", "//depot/a/b", true),
        ("//depot/%%1.%%2", "//depot/a.b.c", true),
        ("//depot/%%1", "//depot/a/b", false),
        // Not positional.
        ("//depot/%%a", "//depot/%%a", true),
        ("//depot/%1", "//depot/%1", true),
        ("//depot/%1", "//depot/x", false),
        // From the left: `...` and `.c`.
        ("//depot/....c", "//depot/a/b.c", true),
        ("//depot/....c", "//depot/a/bc", false),
        ("//depot/a..b", "//depot/a..b", true),
        ("//depot/.../old/*.c", "//depot/x/old/y/old/z.c", true),
        ("//depot/.../old/*.c", "//depot/x/old/y/z.c", false),
        ("//depot/a*b*c", "//depot/abbc", true),
        ("//depot/a*b*c", "//depot/acb", false),
        ("...", "", true),
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("*...", "a/b", true),
        ("...*", "a/b", true),
        ("**", "a/b", false),
        // A space, and bytes that Perforce writes in hexadecimal.
        ("//depot/a b/%40.txt", "//depot/a b/%40.txt", true),
    ] {
        assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
    }
}

#[test]
fn case_folds_where_the_server_folds_it() {
    let pattern = PathPattern::new(b"//Depot/*/SRC/...X", Case::Insensitive).unwrap();
    assert!(pattern.matches(b"//depot/Main/src/a/b/x"));
    assert_eq!(pattern.head(), b"//depot/");
    assert_eq!(&*Case::Insensitive.fold(b"Ann\xc9"), b"ann\xc9");
    assert_eq!(&*Case::Sensitive.fold(b"Ann"), b"Ann");
}

#[test]
fn a_pattern_has_a_longest_length() {
    let longest = vec![b'*'; PathPattern::BYTES_MAX];
    assert!(PathPattern::new(&longest, Case::Sensitive).unwrap().matches(b"abc"));
    assert!(PathPattern::new(&[longest, vec![b'a']].concat(), Case::Sensitive).is_none());
}

/// What makes a matcher that tries again take for ever.
#[test]
fn hostile_patterns_take_no_time() {
    let pattern = "*a".repeat(PathPattern::BYTES_MAX / 2);
    assert!(!matches(&pattern, &("a".repeat(20_000) + "b")));
    let pattern = "...a*a".repeat(500) + "b";
    assert!(!matches(&pattern, &"a/".repeat(20_000)));
}

#[test]
fn the_last_line_that_matches_decides() {
    let view =
        |lines: &[&str]| PathView::read(lines.iter().copied(), Case::Sensitive).unwrap();
    let both = view(&["//a/...", "-//a/x/...", "+//a/x/y", "&//b/*"]);
    for (path, expected) in [
        ("//a/1", true),
        ("//a/x/1", false),
        ("//a/x/y", true),
        ("//b/1", true),
        ("//b/1/2", false),
        ("//c/1", false),
    ] {
        assert_eq!(both.maps(path.as_bytes()), expected, "{path}");
    }
    assert!(!view(&["-//a/...", ""]).maps(b"//a/1"));
    assert!(!view(&["//a/...", "-//..."]).maps(b"//a/1"));
    assert!(!PathView::new().maps(b"//a/1"));
}

#[test]
fn lines_are_read_as_people_write_them() {
    let flags = |line| written_line(line);
    assert_eq!(flags("//a/... //ws/..."), Some((MapFlag::Include, "//a/...")));
    assert_eq!(flags("\"-//a b/...\" x"), Some((MapFlag::Exclude, "//a b/...")));
    assert_eq!(flags("-\"//a b/...\""), Some((MapFlag::Exclude, "//a b/...")));
    assert_eq!(flags("+//a"), Some((MapFlag::Overlay, "//a")));
    assert_eq!((flags("-"), flags("\"//a"), flags("\"\"")), (None, None, None));
    assert_eq!(PathView::read(["//a", " ", "-"], Case::Sensitive), Err(2));
    for number in -1..9 {
        assert_eq!(MapFlag::of(number).number(), number);
        assert_eq!(MapFlag::of(number).includes(), number != 1);
    }
}

/// The rules as they are written down: every way is tried.
fn by_the_rules(pattern: &[u8], path: &[u8]) -> bool {
    match Token::first_of(pattern) {
        None => path.is_empty(),
        Some((Token::Literal(byte), rest)) => {
            path.first() == Some(&byte) && by_the_rules(rest, &path[1..])
        }
        Some((wild, rest)) => (0..=path.len()).any(|len| {
            let fits = wild == Token::Any || !path[..len].contains(&b'/');
            fits && by_the_rules(rest, &path[len..])
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn patterns_match_by_the_rules(
        pattern in "(\\.\\.\\.|\\*|%%1|[ab/.%]){0,8}",
        path in "[ab/.%]{0,8}",
    ) {
        let found = matches(&pattern, &path);
        prop_assert_eq!(found, by_the_rules(pattern.as_bytes(), path.as_bytes()));
    }

    #[test]
    fn long_patterns_match_what_they_are_made_of(
        parts in proptest::collection::vec(("[abc]{1,40}", 0..3_usize, "[abc/]{0,9}"), 1..8),
    ) {
        let (mut pattern, mut path) = (String::new(), String::new());
        for (literal, wild, filling) in parts {
            pattern += &literal;
            pattern += ["*", "%%3", "..."][wild];
            path += &literal;
            path += &if wild == 2 { filling } else { filling.replace('/', "") };
        }
        prop_assert!(matches(&pattern, &path));
        prop_assert!(!matches(&(pattern + "d"), &path));
    }

    #[test]
    fn any_bytes_are_a_pattern(pattern: Vec<u8>, path: Vec<u8>) {
        let pattern = PathPattern::new(&pattern, Case::Insensitive).unwrap();
        if pattern.matches(&path) {
            prop_assert!(path.to_ascii_lowercase().starts_with(pattern.head()));
        }
    }
}

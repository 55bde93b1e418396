//! Whatever a file holds, it is read to its end, soon, and without a panic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use tripline_diagnose::Style;
use tripline_rules::{Known, SourceFile, load};

/// A good deal more than it takes on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);

/// Loads it and words all that is wrong.
fn survives(text: &str) {
    let start = Instant::now();
    let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
    for message in loaded.diagnostics.iter().take(20) {
        assert!(message.span.start <= message.span.end, "{message:?}");
        assert!(message.span.end <= text.len(), "{message:?}");
        assert!(message.help.is_some() && !message.code.is_empty(), "{message:?}");
        _ = message.render(Style::Plain);
        _ = message.json();
    }
    let is_wrong = loaded.set.is_none();
    assert_eq!(is_wrong, loaded.diagnostics.iter().any(|it| it.code.starts_with('E')));
    assert!(start.elapsed() < TIME_MAX, "{:?}", start.elapsed());
}

static EXAMPLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = ["examples/cookbook", "examples/rules", "tests/golden/rules"];
    let entries = folders.iter().flat_map(|it| fs::read_dir(root.join(it)).unwrap());
    let paths = entries.map(|it| it.unwrap().path());
    let rules = paths.filter(|path| path.extension().is_some_and(|it| it == "ron"));
    let mut paths: Vec<_> = rules.collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
});

const PIECES: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "r\"",
    "r#\"",
    "\"#",
    "rules",
    "name",
    "on",
    "match",
    "if",
    "do",
    "when",
    "tests",
    "Lines",
    "Mail",
    "Exec",
    "Count",
    "Any",
    "Absent",
    "{{",
    "}}",
    "{%",
    "%}",
    "%{",
    "IP",
    "x",
    "1",
    "-",
    "\\",
    "'",
    "ä",
    "\u{202e}",
    "\n",
    " ",
    "/*",
    "//",
    "(?P<",
    ">",
    "*",
    "|",
    "999999999999999999999",
    "is",
    "for",
    "in",
    "(?!",
    "\\u{",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_survived(text in ".{0,300}") {
        survives(&text);
    }

    #[test]
    fn any_pieces_are_survived(pieces in prop::collection::vec(0..PIECES.len(), 0..120)) {
        let text: Vec<&str> = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        survives(&text.join(""));
        survives(&format!("(rules: [(name: \"a\", on: Lines(), {})])", text.join("")));
    }

    #[test]
    fn any_damage_is_survived(
        example in 0_usize..1000,
        at in 0.0..1.0_f64,
        cut in 0_usize..40,
        piece in 0..PIECES.len(),
    ) {
        let text = &EXAMPLES[example % EXAMPLES.len()];
        let mut start = (text.len() as f64 * at) as usize;
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = (start + cut).min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        survives(&format!("{}{}{}", &text[..start], PIECES[piece], &text[end.max(start)..]));
    }
}

#[test]
fn what_is_deep_or_long_is_survived() {
    let inside = |expression: &str| {
        format!(
            "(rules: [(name: \"a\", on: Lines(), if: r#\"{expression}\"#, \
             do: [Clear(flag: \"x\")])])"
        )
    };
    survives(&inside(&"(".repeat(2000)));
    survives(&inside(&"not ".repeat(900)));
    survives(&inside(&format!("a{}", ".a".repeat(2000))));
    survives(&inside(&format!("a{}", "|a".repeat(2000))));
    survives(&inside(&format!("a{}", "[0]".repeat(1300))));
    survives(&inside(&format!("1{}", "+1".repeat(2000))));
    survives(&inside(&"-".repeat(4000)));
    let deep = format!("{}{}", "{% if a %}".repeat(5000), "{% endif %}".repeat(5000));
    survives(&inside(&"x".repeat(100_000)).replace("if: r#", "match: r#"));
    survives(&inside("x").replace("flag: \"x\"", &format!("flag: \"{deep}\"")));
    for pattern in [
        "(".repeat(5000),
        "a{1000}{1000}".to_owned(),
        "(?i)".repeat(1000),
        "a|".repeat(4000),
    ] {
        survives(&inside(&pattern).replace("if: r#", "match: r#"));
    }
    survives(&"(".repeat(100_000));
    survives(&"[(".repeat(50_000));
    survives(&"\"\\u{".repeat(1000));
}

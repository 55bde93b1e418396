//! What RON and the factories say, taken apart.

/// What RON said. Its errors have lost their type on the way through a
/// factory, so they are told apart by their words; tests pin them.
pub(super) enum Said<'a> {
    UnknownField { name: &'a str, known: Vec<&'a str> },
    UnknownVariant { name: &'a str, known: Vec<&'a str> },
    MissingField { name: &'a str },
    DuplicateField { name: &'a str },
    WrongType { wanted: &'static Wanted },
    Other,
}

/// A type, in words.
pub(super) struct Wanted {
    /// How RON's sentence begins.
    said: &'static str,
    /// In our words, behind "must be".
    pub(super) what: &'static str,
    /// How it looks.
    pub(super) example: &'static str,
}

/// Whether it is too large or negative can be seen in the file only.
pub(super) const OUT_OF_BOUNDS: &str =
    "a whole number that is not so large, nor negative";

const WANTED: &[Wanted] = &[
    Wanted { said: "Expected string", what: "a text in quotes", example: "\"...\"" },
    Wanted { said: "Expected opening `[`", what: "a list", example: "[...]" },
    Wanted {
        said: "Expected opening `{`",
        what: "names and values in braces",
        example: "{...}",
    },
    Wanted {
        said: "Expected opening `(`",
        what: "a block in parentheses",
        example: "(...)",
    },
    Wanted {
        said: "Expected only opening `(`",
        what: "a block in parentheses",
        example: "(...)",
    },
    Wanted { said: "Expected integer", what: "a whole number", example: "1" },
    Wanted { said: "Integer is out of bounds", what: OUT_OF_BOUNDS, example: "1" },
    Wanted { said: "Expected float", what: "a number", example: "1.5" },
    Wanted { said: "Expected boolean", what: "`true` or `false`", example: "true" },
    Wanted {
        said: "Expected identifier",
        what: "a name without quotes",
        example: "Name",
    },
];

impl<'a> Said<'a> {
    pub(super) fn read(message: &'a str) -> Self {
        let mut quoted = message.split('`').skip(1).step_by(2);
        let (head, tail) = message.split_once(", ").unwrap_or((message, ""));
        let known = || tail.split('`').skip(1).step_by(2).collect();
        if let Some(wanted) = WANTED.iter().find(|it| message.starts_with(it.said)) {
            return Self::WrongType { wanted };
        }
        let Some(name) = quoted.next() else { return Self::Other };
        let name = name.strip_prefix("r#").unwrap_or(name);
        if head.starts_with("Unexpected field named") {
            Self::UnknownField { name, known: known() }
        } else if head.starts_with("Unexpected variant named")
            || head.starts_with("Unexpected enum variant named")
        {
            Self::UnknownVariant { name, known: known() }
        } else if head.starts_with("Unexpected missing field named") {
            Self::MissingField { name }
        } else if head.starts_with("Unexpected duplicate field named") {
            Self::DuplicateField { name }
        } else {
            Self::Other
        }
    }
}

/// A sentence as the second half of another one.
pub(super) fn lowercase(sentence: &str) -> String {
    let mut characters = sentence.chars();
    match (characters.next(), characters.clone().next()) {
        // `RON` and other names stay as they are.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => sentence.to_owned(),
    }
}

/// Factories say what is wrong, then a colon and how to repair it. A colon in
/// quotes is none.
pub(super) fn message_and_help(sentence: &str) -> (&str, Option<&str>) {
    let (mut in_ticks, mut in_quotes) = (false, false);
    for (at, character) in sentence.char_indices() {
        match character {
            '`' => in_ticks = !in_ticks,
            '"' => in_quotes = !in_quotes,
            ':' if !in_ticks && !in_quotes && sentence[at..].starts_with(": ") => {
                return (&sentence[..at], Some(&sentence[at + 2..]));
            }
            _ => {}
        }
    }
    (sentence, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use tripline_api::Args;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is wrong with it matters")]
    struct Example {
        one: Option<u8>,
        two: Kind,
    }

    #[derive(Deserialize)]
    enum Kind {
        Fast,
    }

    /// RON's own words for a mistake.
    fn said(text: &str) -> String {
        Args::new(text).parse::<Example>().map(|_| ()).unwrap_err().message
    }

    #[test]
    fn the_words_of_ron_are_still_the_same() {
        let words = said("(tow: Fast)");
        let Said::UnknownField { name: "tow", known } = Said::read(&words) else {
            panic!("{words}")
        };
        assert_eq!(known, ["one", "two"]);
        let words = said("(two: Fasst)");
        let Said::UnknownVariant { name: "Fasst", known } = Said::read(&words) else {
            panic!("{words}")
        };
        assert_eq!(known, ["Fast"]);
        let words = said("()");
        assert!(
            matches!(Said::read(&words), Said::MissingField { name: "two" }),
            "{words}"
        );
        let words = said("(two: Fast, two: Fast)");
        assert!(
            matches!(Said::read(&words), Said::DuplicateField { name: "two" }),
            "{words}"
        );
        for wrong in
            ["(one: \"1\", two: Fast)", "(one: 300, two: Fast)", "(two: \"Fast\")"]
        {
            let words = said(wrong);
            assert!(matches!(Said::read(&words), Said::WrongType { .. }), "{words}");
        }
    }

    #[test]
    fn a_sentence_has_two_halves() {
        let split = message_and_help("`a: b` is \"c: d\" here: write e: f");
        assert_eq!(split, ("`a: b` is \"c: d\" here", Some("write e: f")));
        assert_eq!(message_and_help("one half"), ("one half", None));
    }
}

//! What people read of an argument: the reference is made of these.
//!
//! The arguments of a kind of source or listener are read by a struct, and described by a
//! slice of [`Argument`]s beside it. [`Argument::differences`] compares the two, so that
//! one that is added to the one cannot be forgotten in the other.

use crate::{Args, ArgsError};
use std::fmt::Write as _;
use std::time::Duration;

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What its value must be.
    pub wants: Wants,
    /// What holds where it is not written.
    pub unless_given: UnlessGiven,
    /// A value, as it is written.
    pub example: &'static str,
    /// What it is for, in sentences.
    pub doc: &'static str,
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub enum Wants {
    /// A text in quotes.
    Text,
    /// A list of texts.
    Texts,
    /// The path of a file or directory, in quotes; a relative one starts at the
    /// configuration.
    Path,
    /// A list of paths.
    Paths,
    /// `true` or `false`.
    Flag,
    /// A whole number, the smallest and the largest.
    Number(u64, u64),
    /// A number of bytes, the smallest and the largest.
    Bytes(u64, u64),
    /// A duration in quotes, the shortest and the longest.
    Duration(Duration, Duration),
    /// Names and texts in braces.
    Named,
    /// One of these.
    OneOf(&'static [Form]),
    /// A block in parentheses, with these arguments.
    Block(&'static [Argument]),
    /// Names and such blocks in braces.
    Blocks(&'static [Argument]),
    /// Something that is described elsewhere: said in these words, which go on after "is".
    Other(&'static str),
}

/// A word that a value can be, with what stands in parentheses behind it.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The word.
    pub word: &'static str,
    /// What stands in the parentheses.
    pub has: Has,
    /// What it means: a part of a sentence for a word that stands alone, else sentences.
    /// May be empty where the word says it.
    pub doc: &'static str,
}

/// What stands in the parentheses behind a word.
#[derive(Clone, Copy, Debug)]
pub enum Has {
    /// There are none.
    Nothing,
    /// One value, such as this one.
    Value(&'static str),
    /// These arguments.
    Arguments(&'static [Argument]),
}

/// What holds where an argument is not written.
#[derive(Clone, Copy, Debug)]
pub enum UnlessGiven {
    /// It must be written.
    Needed,
    /// Nothing, or what its description says.
    Nothing,
    /// This value, as it would be written.
    Value(&'static str),
    /// This number.
    Number(u64),
    /// This time.
    Duration(Duration),
}

impl Form {
    /// A word that stands alone.
    pub const fn word(word: &'static str, doc: &'static str) -> Self {
        Self { word, has: Has::Nothing, doc }
    }

    /// A word with arguments in parentheses.
    pub const fn with(
        word: &'static str,
        arguments: &'static [Argument],
        doc: &'static str,
    ) -> Self {
        Self { word, has: Has::Arguments(arguments), doc }
    }

    /// A word with one value in parentheses, such as this one.
    pub const fn of(word: &'static str, value: &'static str, doc: &'static str) -> Self {
        Self { word, has: Has::Value(value), doc }
    }
}

impl Argument {
    /// Which sources a listener follows.
    pub const FROM: Self = Self::needed(
        "from",
        Wants::Texts,
        r#"["p4"]"#,
        "The names of the sources that it follows.",
    );
    /// What happens at a gap; the default is the listener's.
    pub const ON_GAP: Self = Self::optional(
        "on_gap",
        Wants::OneOf(&[
            Form::word("Stop", "it ends there, and says what is missing"),
            Form::word("Notify", "the gap is passed on like an entry, and it goes on"),
        ]),
        "Stop",
        "What happens where it cannot be proved that nothing is missing.",
    );
    /// Whether hashes of passwords and tickets are hidden.
    pub const SECRETS: Self = Self::optional(
        "secrets",
        Wants::OneOf(&[
            Form::word("Redact", "\"[redacted]\" stands in their place"),
            Form::word("Keep", "they are passed on"),
        ]),
        "Keep",
        "What becomes of the hashes of passwords and tickets in journals.",
    )
    .or("Redact");

    /// After how long without entries a listener is told so.
    pub const QUIET: Self = Self::optional(
        "quiet",
        Wants::Duration(Duration::from_millis(10), Duration::from_secs(366 * 24 * 3600)),
        r#""1m""#,
        "After so long without an entry the listener looks after what it keeps open, such \
         as its connection.",
    )
    .or_duration(Duration::from_secs(5));

    /// One that must be written.
    pub const fn needed(
        name: &'static str,
        wants: Wants,
        example: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, wants, unless_given: UnlessGiven::Needed, example, doc }
    }

    /// One that need not be written. What holds then is said by the methods behind it, or
    /// by its description.
    pub const fn optional(
        name: &'static str,
        wants: Wants,
        example: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, wants, unless_given: UnlessGiven::Nothing, example, doc }
    }

    /// Unless given it is this, as it would be written.
    pub const fn or(self, value: &'static str) -> Self {
        Self { unless_given: UnlessGiven::Value(value), ..self }
    }

    /// Unless given it is this number.
    pub const fn or_number(self, number: u64) -> Self {
        Self { unless_given: UnlessGiven::Number(number), ..self }
    }

    /// Unless given it is this time.
    pub const fn or_duration(self, duration: Duration) -> Self {
        Self { unless_given: UnlessGiven::Duration(duration), ..self }
    }

    /// The same with other words for it.
    pub const fn with_doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// What these descriptions and the parser do not agree on, a sentence each: names,
    /// words, what is needed, and examples that cannot be read. `build` gives what is
    /// wrong with a text, if something is.
    pub fn differences(
        arguments: &[Self],
        build: &dyn Fn(&Args<'_>) -> Option<ArgsError>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let parser = Parser { build, before: String::new(), after: String::new() };
        parser.compare(arguments, &mut found);
        found
    }
}

/// What reads the arguments, and where in them one looks.
struct Parser<'a> {
    build: &'a dyn Fn(&Args<'_>) -> Option<ArgsError>,
    /// What stands around the block that is looked at.
    before: String,
    after: String,
}

/// Nothing is called so.
const NO_NAME: &str = "no_such_name";

impl Parser<'_> {
    /// What is wrong with a block, as far as the parser says it and not the factory: that
    /// has its own reasons, such as arguments that do not go together.
    fn said(&self, block: &str) -> Option<String> {
        let text = format!("{}{block}{}", self.before, self.after);
        let error = (self.build)(&Args::new(&text))?;
        error.at.is_some().then_some(error.message)
    }

    fn inside(&self, before: &str, after: &str) -> Self {
        Self {
            build: self.build,
            before: format!("{}{before}", self.before),
            after: format!("{after}{}", self.after),
        }
    }

    fn compare(&self, arguments: &[Argument], found: &mut Vec<String>) {
        let here = format!("{}(..){}", self.before, self.after);
        let said = self.said(&format!("({NO_NAME}: 1)")).unwrap_or_default();
        let names: Vec<&str> = arguments.iter().map(|it| it.name).collect();
        disagree(&here, "arguments", &said, &names, found);
        for argument in arguments {
            self.compare_value(argument, found);
        }
        self.compare_needed(&here, arguments, found);
    }

    fn compare_value(&self, argument: &Argument, found: &mut Vec<String>) {
        let name = argument.name;
        let mut values = vec![argument.example];
        if let UnlessGiven::Value(value) = argument.unless_given {
            values.push(value);
        }
        for value in values {
            let said = self.said(&format!("({name}: {value})"));
            let said = said.filter(|said| !is_missing(said));
            if let Some(said) = said {
                found.push(format!("`{name}: {value}` cannot be read: {said}"));
            }
        }
        match argument.wants {
            Wants::Block(arguments) => {
                self.inside(&format!("({name}: "), ")").compare(arguments, found);
            }
            Wants::Blocks(arguments) => {
                self.inside(&format!("({name}: {{\"x\": "), "})")
                    .compare(arguments, found);
            }
            Wants::OneOf(forms) => {
                let said = self.said(&format!("({name}: NoSuchWord)"));
                let words: Vec<&str> = forms.iter().map(|it| it.word).collect();
                let said = said.unwrap_or_default();
                disagree(&format!("`{name}`"), "words", &said, &words, found);
                for form in forms {
                    if let Has::Arguments(arguments) = form.has {
                        let before = format!("({name}: {}", form.word);
                        self.inside(&before, ")").compare(arguments, found);
                    }
                }
            }
            _ => {}
        }
    }

    /// With all that is needed nothing is missing, and without one of it that is.
    fn compare_needed(
        &self,
        here: &str,
        arguments: &[Argument],
        found: &mut Vec<String>,
    ) {
        let is_needed = |it: &&Argument| matches!(it.unless_given, UnlessGiven::Needed);
        let without = |name: &str| {
            let mut block = String::from("(");
            for it in arguments.iter().filter(is_needed).filter(|it| it.name != name) {
                // Writing into a String cannot fail.
                _ = write!(block, "{}: {}, ", it.name, it.example);
            }
            self.said(&(block + ")"))
        };
        // What is missing further out is not this block's.
        let is_of_this = |said: &str, name: &str| {
            is_missing(said) && said.split('`').nth(1) == Some(name)
        };
        if let Some(said) = without("")
            && let Some(name) = said.split('`').nth(1)
            && is_missing(&said)
            && arguments.iter().any(|it| it.name == name)
        {
            found.push(format!("{here}: `{name}` is needed, and described otherwise"));
        }
        for it in arguments.iter().filter(is_needed) {
            if !without(it.name).is_some_and(|said| is_of_this(&said, it.name)) {
                found.push(format!("{here}: `{}` is described as needed", it.name));
            }
        }
    }
}

fn is_missing(said: &str) -> bool {
    said.starts_with("Unexpected missing field")
}

/// Compares names with those that RON lists behind the one it does not know.
fn disagree(
    here: &str,
    what: &str,
    said: &str,
    described: &[&str],
    found: &mut Vec<String>,
) {
    let (head, tail) = said.split_once(", ").unwrap_or((said, ""));
    if !head.contains(NO_NAME) && !head.contains("NoSuchWord") {
        found.push(format!("{here}: an unknown name is not refused as such: {said}"));
        return;
    }
    let known = tail.split('`').skip(1).step_by(2);
    let known: Vec<&str> =
        known.map(|name| name.strip_prefix("r#").unwrap_or(name)).collect();
    if known != described {
        found.push(format!("{here}: {what} are {known:?}, and described {described:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FriendlyDuration;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only how it is read matters")]
    struct Example {
        to: String,
        wait: Option<FriendlyDuration>,
        way: Option<Way>,
        more: Option<More>,
        peers: Option<BTreeMap<String, More>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only how it is read matters")]
    enum Way {
        Short,
        Long { miles: u32 },
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only how it is read matters")]
    struct More {
        one: u32,
    }

    const MAX: Duration = Duration::from_secs(9);
    const MORE: &[Argument] =
        &[Argument::needed("one", Wants::Number(1, 9), "1", "One.")];
    const MILES: Argument = Argument::needed("miles", Wants::Number(1, 9), "1", "Miles.");
    const ARGUMENTS: &[Argument] = &[
        Argument::needed("to", Wants::Text, r#""x""#, "To."),
        Argument::optional(
            "wait",
            Wants::Duration(Duration::ZERO, MAX),
            r#""1s""#,
            "Wait.",
        )
        .or_duration(MAX),
        Argument::optional(
            "way",
            Wants::OneOf(&[
                Form::word("Short", "short"),
                Form::with("Long", &[MILES], "Long."),
            ]),
            "Short",
            "Way.",
        )
        .or("Short"),
        Argument::optional("more", Wants::Block(MORE), "(one: 1)", "More."),
        Argument::optional("peers", Wants::Blocks(MORE), "{\"a\": (one: 1)}", "Peers."),
    ];

    fn differences(arguments: &[Argument]) -> Vec<String> {
        Argument::differences(arguments, &|args| args.parse::<Example>().err())
    }

    #[test]
    fn what_agrees_has_no_differences() {
        assert_eq!(differences(ARGUMENTS), [""; 0]);
    }

    #[test]
    fn what_is_forgotten_is_found() {
        let without = |index: usize| {
            let mut arguments = ARGUMENTS.to_vec();
            arguments.remove(index);
            differences(&arguments).join("\n")
        };
        assert!(without(0).contains(r#"["to", "wait""#), "{}", without(0));
        assert!(without(4).contains("peers"), "{}", without(4));
        let other = |index: usize, argument: Argument| {
            let mut arguments = ARGUMENTS.to_vec();
            arguments[index] = argument;
            differences(&arguments).join("\n")
        };
        let said = other(0, Argument::optional("to", Wants::Text, r#""x""#, "To."));
        assert!(said.contains("`to` is needed"), "{said}");
        let said = other(1, Argument::needed("wait", Wants::Text, r#""1s""#, "Wait."));
        assert!(said.contains("described as needed"), "{said}");
        let said = other(1, Argument::optional("wait", Wants::Text, "1", "Wait."));
        assert!(said.contains("`wait: 1` cannot be read"), "{said}");
        const SHORT: Wants = Wants::OneOf(&[Form::word("Short", "short")]);
        let said = other(2, Argument::optional("way", SHORT, "Short", "Way."));
        assert!(said.contains(r#"["Short", "Long"]"#), "{said}");
        let said = other(3, Argument::optional("more", Wants::Block(&[]), "()", "More."));
        assert!(said.contains(r#"["one"]"#), "{said}");
    }
}

//! A list of arguments as text for the remote shell.
//!
//! SSH carries one text, which the account's shell on the other side takes
//! apart again. This is the only place where such a text is made.

use super::failure::{Failure, Kind};
use std::borrow::Cow;

/// No command is longer.
pub(super) const COMMAND_BYTES_MAX: usize = 32 * 1024;

/// The text that a POSIX shell, and csh and fish too, takes apart into exactly
/// these arguments.
///
/// # Errors
///
/// When there is none, one is empty where the program stands, or holds a
/// character that not all shells leave alone even in quotes.
pub(crate) fn command(argv: &[String]) -> Result<String, Failure> {
    let refuse = |why: String| Err(Failure::new(Kind::Setup, why));
    match argv.first() {
        Some(program) if !program.is_empty() => {}
        _ => return refuse("the remote command is empty: name a program".to_owned()),
    }
    if let Some(odd) = argv.iter().find(|it| it.contains(|c: char| c.is_control())) {
        return refuse(format!(
            "the argument {odd:?} of the remote command has a control character: put \
             it into a script on the remote host"
        ));
    }
    let words: Vec<Cow<'_, str>> = argv.iter().map(|word| quote(word)).collect();
    let command = words.join(" ");
    if command.len() > COMMAND_BYTES_MAX {
        return refuse(format!(
            "the remote command has {} bytes, and {COMMAND_BYTES_MAX} is the most: put \
             it into a script on the remote host",
            command.len()
        ));
    }
    Ok(command)
}

/// One argument. Within single quotes a POSIX shell leaves everything alone but
/// the single quote; fish also reads `\`, csh also reads `!`: these stand
/// outside, behind a backslash.
fn quote(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return Cow::Borrowed(word);
    }
    let mut quoted = String::from("'");
    for c in word.chars() {
        match c {
            '\'' | '\\' | '!' => {
                quoted.push_str("'\\");
                quoted.push(c);
                quoted.push('\'');
            }
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    Cow::Owned(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn a_shell_takes_it_apart_again() {
        let cases: &[&[&str]] = &[
            &["p4d", "-r", "/p4/1/offline", "-f", "-jr", "-"],
            &["a b", "", "'", "''", "\\", "\\'", "!", "!!", "$HOME", "`id`", "$(id)"],
            &["*", "?", "~", "#x", "a;b", "a&b", "a|b", "<x>", "{a,b}", "[a]", "\"q\""],
            &["-n", "--", "=x", "x=1", "é\u{1f600}", "% %%", "^x^y"],
        ];
        for words in cases {
            let mut all = vec!["printf", "%s\\n"];
            all.extend_from_slice(words);
            let text = command(&argv(&all)).unwrap();
            let output = Command::new("sh").args(["-c", &text]).output().unwrap();
            let mut expected = words.join("\n");
            expected.push('\n');
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{text}");
        }
    }

    #[test]
    fn plain_words_stay_plain() {
        let text = command(&argv(&["p4d", "-r", "/p4/1", "-jr", "-"])).unwrap();
        assert_eq!(text, "p4d -r /p4/1 -jr -");
    }

    #[test]
    fn what_no_shell_leaves_alone_is_refused() {
        for bad in [&[][..], &[""], &["x", "a\nb"], &["x", "\0"], &["x", "\u{85}"]] {
            let failure = command(&argv(bad)).unwrap_err();
            assert_eq!(failure.kind(), Kind::Setup, "{failure}");
        }
        let failure = command(&argv(&["x", &"y".repeat(40_000)])).unwrap_err();
        assert!(failure.to_string().contains("32768 is the most"), "{failure}");
    }
}

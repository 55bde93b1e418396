//! What a program says, line by line.

/// An answer to an entry; reasons are escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it for good.
    Ok,
    /// Not now.
    Defer(String),
    /// It will never have it.
    Err(String),
}

/// Lines that come in pieces.
#[derive(Debug, Default)]
pub(super) struct Answers {
    bytes: Vec<u8>,
    from: usize,
}

/// A line that is longer is no answer.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// So much of a reason, or of what is no answer, is shown.
const SHOWN_BYTES_MAX: usize = 500;

impl Answers {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.from);
        self.from = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next answer, when all of its line is there.
    ///
    /// # Errors
    ///
    /// What was said, escaped, when it is no answer.
    pub(super) fn next(&mut self) -> Result<Option<Answer>, String> {
        let rest = &self.bytes[self.from..];
        let Some(length) = memchr::memchr(b'\n', rest) else {
            let is_too_long = rest.len() > LINE_BYTES_MAX;
            return if is_too_long { Err(shown(rest)) } else { Ok(None) };
        };
        let line = &rest[..length];
        self.from += length + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LINE_BYTES_MAX {
            Err(shown(line))
        } else if line == b"OK" {
            Ok(Some(Answer::Ok))
        } else if let Some(why) = reason(line, b"DEFER") {
            Ok(Some(Answer::Defer(why)))
        } else if let Some(why) = reason(line, b"ERR") {
            Ok(Some(Answer::Err(why)))
        } else {
            Err(shown(line))
        }
    }
}

/// What stands behind this word, when it is the first: `ERR why`, `ERR: why`.
fn reason(line: &[u8], word: &[u8]) -> Option<String> {
    let rest = line.strip_prefix(word)?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let is_word = matches!(rest.first(), None | Some(b' ' | b'\t'));
    is_word.then(|| shown(rest.trim_ascii()))
}

fn shown(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]);
    let cut = if bytes.len() > SHOWN_BYTES_MAX { " [truncated]" } else { "" };
    format!("{}{cut}", shown.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]]) -> Result<Vec<Answer>, String> {
        let mut answers = Answers::default();
        let mut found = Vec::new();
        for piece in pieces {
            answers.push(piece);
            while let Some(answer) = answers.next()? {
                found.push(answer);
            }
        }
        Ok(found)
    }

    #[test]
    fn answers_come_in_pieces() {
        let defer = |why: &str| Answer::Defer(why.to_owned());
        let err = |why: &str| Answer::Err(why.to_owned());
        let text = b"OK\nDEFER\nDEFER disk full\r\nERR: bad \x1b[2J \"x\"\nOK\r\nERR\nO";
        let wanted = vec![
            Answer::Ok,
            defer(""),
            defer("disk full"),
            err("bad \\u{1b}[2J \\\"x\\\""),
            Answer::Ok,
            err(""),
        ];
        assert_eq!(all(&[text]), Ok(wanted.clone()));
        let pieces: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(all(&pieces), Ok(wanted));
    }

    #[test]
    fn what_is_no_answer_is_shown() {
        for bad in ["\n", "ok\n", "OK \n", "OKAY\n", "ERROR\n", "DEFERRED x\n", " OK\n"] {
            let said = all(&[bad.as_bytes()]).unwrap_err();
            assert_eq!(said, bad.trim_end_matches('\n'));
        }
        assert!(all(&[&[b'x'; 9000]]).unwrap_err().ends_with(" [truncated]"));
        assert!(all(&[b"ERR ", &[b'x'; 9000], b"\n"]).is_err());
        assert_eq!(all(&[&[b'x'; 8000]]), Ok(vec![]), "not yet");
    }
}

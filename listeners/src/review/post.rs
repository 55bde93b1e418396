//! Who takes the mails.

use super::mail::Mail;
use crate::print::output::Output;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use tripline_api::ListenError;

/// Takes mails, one after the other. No call takes much longer than two
/// seconds.
pub(super) trait Post: Send {
    /// Hands a mail over. When it is accepted, somebody else is responsible for
    /// it, also if the power fails the moment after. What was handed over
    /// before, and was perhaps accepted, comes again with the same id.
    ///
    /// # Errors
    ///
    /// [`ListenError::Rejected`] when nobody will ever take this mail, whatever it
    /// says of which. After any other the mail comes again later.
    fn post(&mut self, mail: &Mail) -> Result<(), ListenError>;
}

/// Writes mails into a file instead of sending them, a JSON object a line.
///
/// The file's last line tells which mail was written last, so that one that
/// comes again because nobody remembered it is not written twice.
pub(super) struct ToFile {
    path: PathBuf,
    /// Opened when it is first needed; the id of its last line.
    output: Option<(Output, String)>,
}

impl ToFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, output: None }
    }

    fn open(&self) -> Result<(Output, String), ListenError> {
        let output = Output::file(&self.path)?;
        let last = last_id(&self.path).map_err(|error| {
            ListenError::io(format_args!("cannot read {}", self.path.display()), &error)
        })?;
        Ok((output, last))
    }
}

impl Post for ToFile {
    fn post(&mut self, mail: &Mail) -> Result<(), ListenError> {
        let opened = match self.output.take().filter(|(output, _)| output.is_in_place()) {
            Some(opened) => opened,
            None => self.open()?,
        };
        let (output, last) = self.output.insert(opened);
        if *last == mail.id {
            return output.sync();
        }
        // The id comes first: by that the file is known again as ours.
        let id = json!(mail.id);
        let fields = [
            ("to", json!(mail.to.address)),
            ("name", json!(mail.to.name)),
            ("subject", json!(mail.subject)),
            ("text", json!(mail.text)),
        ];
        let fields: String =
            fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        output.append(format!("{{\"id\":{id}{fields}}}\n").as_bytes())?;
        output.sync()?;
        last.clone_from(&mail.id);
        Ok(())
    }
}

/// More than the longest line.
const TAIL_BYTES: u64 = 4 << 20;

/// The id in the last line; empty when there is none.
fn last_id(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let tail = tail.strip_suffix(b"\n").unwrap_or(&tail);
    let start = memchr::memrchr(b'\n', tail).map_or(0, |at| at + 1);
    let line: Option<serde_json::Value> = serde_json::from_slice(&tail[start..]).ok();
    let id = line.as_ref().and_then(|line| line.get("id")?.as_str());
    Ok(id.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::notice::Recipient;

    fn mail(id: &str, text: &str) -> Mail {
        let to = Recipient { address: "ann@x.org".into(), name: "Ann \"A\"".into() };
        Mail { id: id.into(), to, subject: "s".into(), text: text.into() }
    }

    #[test]
    fn a_file_has_each_mail_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mails");
        let mut post = ToFile::new(path.clone());
        for id in ["a", "a", "b"] {
            post.post(&mail(id, "two\nlines\u{2028}")).unwrap();
        }
        drop(post);
        let mut post = ToFile::new(path.clone());
        post.post(&mail("b", "")).unwrap();
        // Somebody takes the mails away.
        std::fs::rename(&path, directory.path().join("taken")).unwrap();
        post.post(&mail("b", "")).unwrap();
        post.post(&mail("c", "")).unwrap();
        let lines = |name: &str| -> Vec<serde_json::Value> {
            let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let taken = lines("taken");
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[1]["id"], "b");
        assert_eq!(taken[0]["text"], "two\nlines\u{2028}");
        assert_eq!(
            (&taken[0]["to"], &taken[0]["name"]),
            (&"ann@x.org".into(), &"Ann \"A\"".into())
        );
        assert_eq!(lines("mails").len(), 2);
    }
}

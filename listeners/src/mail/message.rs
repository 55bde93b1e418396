//! A message, and what it looks like on its way.

use super::address::{Address, is_mailbox};
use super::text;
use base64::Engine as _;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address as AddressHeader;
use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::date::Date;
use mail_builder::headers::text::Text;
use mail_builder::mime::{BodyPart, MimePart};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A mail that is to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Who sends it.
    pub(crate) sender: Address,
    /// Who gets it: at least one, at most [`Message::RECIPIENTS_MAX`]. All of
    /// them see all of them.
    pub(crate) to: Vec<Address>,
    /// Anything; made to be one line, and cut to
    /// [`Message::SUBJECT_CHARS_MAX`].
    pub(crate) subject: String,
    /// Anything; characters that are not seen are shown by their number.
    pub(crate) text: String,
    /// Files that go with it.
    pub(crate) attachments: Vec<Attachment>,
    /// More headers: names of letters, digits and `-`; values as the subject.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What stands before the `@` of the Message-ID: see [`message_id`].
    pub(crate) id: String,
    /// When it was made, in seconds since 1970.
    pub(crate) date: i64,
}

/// A file that goes with a message, byte by byte.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// Its name: one line, shown to people.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: Kind,
    /// Its content.
    pub(crate) bytes: Vec<u8>,
}

/// What an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text in UTF-8.
    #[cfg_attr(not(test), expect(dead_code, reason = "`Mail` attaches JSON only"))]
    Text,
    /// JSON, or lines of it.
    Json,
}

impl Message {
    /// How many recipients a message may have.
    pub(crate) const RECIPIENTS_MAX: usize = 100;
    /// How many characters of a subject, or of another header, are kept.
    pub(crate) const SUBJECT_CHARS_MAX: usize = 200;
    /// How many bytes of text are kept.
    pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;
    /// How many bytes all attachments together may have.
    pub(crate) const ATTACHED_BYTES_MAX: usize = 4 * 1024 * 1024;

    /// The message as it goes over the wire.
    ///
    /// # Errors
    ///
    /// When it has no recipient, too many, or too much is attached.
    pub(crate) fn seal(self) -> Result<Sealed, String> {
        let mut to: Vec<String> = Vec::new();
        for address in &self.to {
            if !to.iter().any(|known| known == address.mailbox()) {
                to.push(address.mailbox().to_owned());
            }
        }
        if to.is_empty() || to.len() > Self::RECIPIENTS_MAX {
            return Err(format!(
                "a mail goes to at least one and at most {} addresses, not to {}",
                Self::RECIPIENTS_MAX,
                to.len()
            ));
        }
        let attached: usize = self.attachments.iter().map(|it| it.bytes.len()).sum();
        if attached > Self::ATTACHED_BYTES_MAX {
            return Err(format!(
                "{attached} bytes are attached to a mail: at most {} may be",
                Self::ATTACHED_BYTES_MAX
            ));
        }
        let from = self.sender.mailbox().to_owned();
        let id = format!("{}@{}", self.id, self.sender.domain());
        let mut bytes = Vec::new();
        self.builder(id.clone()).serialize(&mut bytes);
        let content = String::from_utf8(bytes)
            .map_err(|_| format!("the mail {id} came out as no text"))?;
        Sealed { id, from, to, content }.checked()
    }

    fn builder(self, id: String) -> MessageBuilder<'static> {
        let header = |address: &Address| {
            let name = address.name().map(str::to_owned);
            AddressHeader::new_address(name, address.mailbox().to_owned())
        };
        let to = self.to.iter().map(header).collect();
        let mut builder = MessageBuilder::new()
            .date(Date::new(self.date))
            .from(header(&self.sender))
            .to(AddressHeader::new_list(to))
            .subject(text::one_line(&self.subject, Self::SUBJECT_CHARS_MAX))
            .message_id(id)
            // Nobody's holiday notice shall answer it.
            .header("Auto-Submitted", Text::new("auto-generated"));
        for (name, value) in self.headers {
            let value = text::one_line(&value, Self::SUBJECT_CHARS_MAX);
            builder = builder.header(name, Text::new(value));
        }
        let lines = text::lines(&self.text, Self::TEXT_BYTES_MAX);
        let text = MimePart::new("text/plain", BodyPart::Text(lines.into()));
        if self.attachments.is_empty() {
            return builder.body(text);
        }
        let parts = std::iter::once(text).chain(self.attachments.into_iter().map(attach));
        // Encoded text has no line that begins with `--=`.
        let kind = ContentType::new("multipart/mixed")
            .attribute("boundary", format!("=_{}", self.id));
        builder.body(MimePart::new(kind, BodyPart::Multipart(parts.collect())))
    }
}

/// Always in base64: it must arrive as it is, line ends too.
fn attach(attachment: Attachment) -> MimePart<'static> {
    let kind = match attachment.kind {
        Kind::Text => ContentType::new("text/plain").attribute("charset", "utf-8"),
        Kind::Json => ContentType::new("application/json"),
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(&attachment.bytes);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 38 + 2);
    for at in (0..encoded.len()).step_by(BASE64_LINE) {
        lines.push_str(&encoded[at..encoded.len().min(at + BASE64_LINE)]);
        lines.push_str("\r\n");
    }
    let name = text::one_line(&attachment.name, Message::SUBJECT_CHARS_MAX);
    MimePart::new(kind, BodyPart::Binary(lines.into_bytes().into()))
        .attachment(name.replace(['/', '\\', '"'], "_"))
        .transfer_encoding("base64")
}

/// As long as RFC 2045 allows.
const BASE64_LINE: usize = 76;

/// What stands before the `@` of a Message-ID: the same for the same parts, and
/// for no others.
pub(crate) fn message_id(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..20].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message as it goes over the wire, and to whom it goes.
///
/// As JSON it is what a listener remembers before it sends it, and what is set
/// aside when a recipient refuses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// The Message-ID, without angle brackets.
    pub(crate) id: String,
    /// The sender's mailbox.
    pub(crate) from: String,
    /// The mailboxes that do not have it yet.
    pub(crate) to: Vec<String>,
    /// Headers and body: ASCII, in lines that CR LF ends. Dots are not doubled.
    pub(crate) content: String,
}

impl Sealed {
    /// Reads what [`Sealed::to_made`] wrote.
    ///
    /// # Errors
    ///
    /// When it is something else, or nothing that may go over a wire.
    pub(crate) fn from_made(made: &[u8]) -> Result<Self, String> {
        let sealed: Self = serde_json::from_slice(made)
            .map_err(|error| format!("this is no mail that was set aside: {error}"))?;
        sealed.checked()
    }

    /// The mail as bytes to keep.
    pub(crate) fn to_made(&self) -> Vec<u8> {
        // Strings always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Whatever built it, and wherever it was kept: nothing but this gets out.
    fn checked(self) -> Result<Self, String> {
        let addresses = std::iter::once(&self.from).chain(&self.to);
        if let Some(bad) = addresses.into_iter().find(|address| !is_mailbox(address)) {
            let bad = text::one_line(bad, 80);
            return Err(format!("a mail has the address \"{bad}\", which is none"));
        }
        if !is_fit_for_wire(self.content.as_bytes()) {
            return Err(format!(
                "the mail {} is not fit to be sent: it has characters or lines that mail \
                 cannot have",
                text::one_line(&self.id, 80)
            ));
        }
        Ok(self)
    }
}

/// Whether this is ASCII without NUL, in lines of at most
/// [`WIRE_LINE_BYTES_MAX`] bytes that CR LF ends, and neither CR nor LF stands
/// alone.
fn is_fit_for_wire(bytes: &[u8]) -> bool {
    let mut length = 0;
    let mut before = b'\n';
    for &byte in bytes {
        let fits = match byte {
            0 | 0x80.. => false,
            b'\n' => before == b'\r',
            _ => before != b'\r',
        };
        length = if byte == b'\n' { 0 } else { length + 1 };
        if !fits || length > WIRE_LINE_BYTES_MAX {
            return false;
        }
        before = byte;
    }
    before == b'\n'
}

/// The longest line, in bytes with the CR: RFC 5321 allows 998 and CR LF.
const WIRE_LINE_BYTES_MAX: usize = 999;

#[cfg(test)]
mod tests;

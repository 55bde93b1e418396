//! Addresses of people.

use super::text;
use serde::Deserialize;
use std::fmt;

/// A mailbox, perhaps with the name of a person: `Ann Lee <ann@example.com>`.
///
/// What stands in a mailbox goes over the wire as it is, so only what needs no
/// quoting anywhere is taken. A name may hold anything; it is encoded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Address {
    name: Option<String>,
    mailbox: String,
}

impl Address {
    /// The longest mailbox, in bytes.
    pub(crate) const BYTES_MAX: usize = 254;
    /// So many characters of a name are kept.
    const NAME_CHARS_MAX: usize = 100;
    /// The longest part before the `@`, in bytes.
    const LOCAL_BYTES_MAX: usize = 64;

    /// Reads `ann@example.com` or `Ann Lee <ann@example.com>`.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        match written.trim().strip_suffix('>').and_then(|it| it.rsplit_once('<')) {
            Some((name, mailbox)) => {
                let name = name.trim().trim_matches('"').trim();
                Self::new(Some(name), mailbox)
            }
            None => Self::new(None, written.trim()),
        }
    }

    /// A person's name, which may be anything, and a mailbox.
    ///
    /// # Errors
    ///
    /// As for [`Address::parse`].
    pub(crate) fn new(name: Option<&str>, mailbox: &str) -> Result<Self, String> {
        if !is_mailbox(mailbox) {
            let shown = text::one_line(mailbox, 80);
            // Which domain a mail server would add is for nobody to guess.
            if is_mailbox(&format!("{mailbox}@localhost")) {
                return Err(format!(
                    "\"{shown}\" is no mail address without a domain: write \
                     \"{shown}@localhost\" for a user of this machine, or \
                     \"{shown}@example.com\""
                ));
            }
            return Err(format!(
                "\"{shown}\" is no mail address: write it like \"ops@example.com\" or \
                 \"Ann Lee <ann@example.com>\""
            ));
        }
        let name = name.map(|name| text::one_line(name, Self::NAME_CHARS_MAX));
        let name = name.filter(|name| !name.is_empty());
        Ok(Self { name, mailbox: mailbox.to_owned() })
    }

    /// `ann@example.com`: ASCII without white space, quotes and brackets.
    pub(crate) fn mailbox(&self) -> &str {
        &self.mailbox
    }

    /// What stands behind the `@`.
    pub(crate) fn domain(&self) -> &str {
        self.mailbox.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The name of the person; one line, and to be encoded.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        Self::parse(&written)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.mailbox),
            None => f.write_str(&self.mailbox),
        }
    }
}

/// Whether this is a mailbox that needs no quoting: the dot-atom of RFC 5322
/// at a name as DNS has them. One that begins as an option of a program, a pipe
/// or a file does not count.
pub(super) fn is_mailbox(mailbox: &str) -> bool {
    let Some((local, domain)) = mailbox.rsplit_once('@') else { return false };
    mailbox.len() <= Address::BYTES_MAX
        && local.len() <= Address::LOCAL_BYTES_MAX
        && !local.starts_with(['-', '|', '/'])
        && local.split('.').all(|part| !part.is_empty() && part.bytes().all(is_atom))
        && is_host(domain)
}

/// Whether this is a name as DNS has them; one label is enough.
pub(super) fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read() {
        for (written, name, mailbox) in [
            ("ops@example.com", None, "ops@example.com"),
            (" ops@example.com ", None, "ops@example.com"),
            ("root@localhost", None, "root@localhost"),
            ("Ann Lee <ann@example.com>", Some("Ann Lee"), "ann@example.com"),
            ("\"Lee, Ann\" <a.b+c@x-y.example>", Some("Lee, Ann"), "a.b+c@x-y.example"),
            ("<ann@example.com>", None, "ann@example.com"),
            ("Ann <x> <ann@example.com>", Some("Ann <x>"), "ann@example.com"),
            ("Jos\u{e9}\r\nBcc: x <j@e.com>", Some("Jos\u{e9} Bcc: x"), "j@e.com"),
        ] {
            let address = Address::parse(written).unwrap();
            assert_eq!((address.name(), address.mailbox()), (name, mailbox), "{written}");
        }
        assert_eq!(Address::parse("a@b.example").unwrap().domain(), "b.example");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("{}@example.com", "x".repeat(65));
        for bad in [
            "",
            "ops",
            "@example.com",
            "ops@",
            "a@b@",
            "a b@example.com",
            "a@exa mple.com",
            "a@example.com\r\nRCPT TO:x@example.com",
            "a\r\n@example.com",
            "a\0@example.com",
            "\"a b\"@example.com",
            "a@[127.0.0.1]",
            "a@-example.com",
            "a@example..com",
            ".a@example.com",
            "a..b@example.com",
            "-oQ/tmp@example.com",
            "|prog@example.com",
            "/etc/passwd@example.com",
            "\u{e9}@example.com",
            "a@\u{e9}.com",
            "<a@example.com",
            "Ann <a@example.com> x",
            "a@example.com>",
            &long,
        ] {
            let error = Address::parse(bad).unwrap_err();
            assert!(error.contains("is no mail address"), "{bad:?}: {error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}

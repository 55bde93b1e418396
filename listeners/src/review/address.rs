//! Which addresses mail can be sent to.

use crate::mail::address::Address;

/// The address, if mail can be sent to it from anywhere: `ann@example.com`.
///
/// What the mailer takes, with a dot in the domain and no `_`, which is in names
/// of workspaces and in none of the internet. Servers give users who do not
/// write an address one made of their name and their client's, which is none.
pub(super) fn deliverable(address: &[u8]) -> Option<String> {
    let address = std::str::from_utf8(address.trim_ascii()).ok()?;
    let checked = Address::new(None, address).ok()?;
    let domain = checked.domain();
    (domain.contains('.') && !domain.contains('_')).then(|| address.to_owned())
}

/// Whether it is an address at all: a person wrote it into the configuration
/// and may mean a machine nearby.
pub(super) fn is_written(address: &str) -> bool {
    Address::new(None, address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for fine in ["ann@example.com", " a.b+c@x-y.org\n", "o'neil@a.b.c", "1@1.de"] {
            assert_eq!(deliverable(fine.as_bytes()).as_deref(), Some(fine.trim()));
        }
        for bad in [
            "",
            "ann",
            "@",
            "ann@",
            "@example.com",
            "ann@ws",
            "ann@admin_space.org",
            "ann@x.org, bob@x.org",
            "Ann <ann@x.org>",
            "a@b@x.org",
            "ann@x..org",
            "ann@-x.org",
            ".ann@x.org",
            "a b@x.org",
            "\"a\"@x.org",
            "ann@x.org\r\nBcc: all@x.org",
            "ann@x.org\0",
            "änn@x.org",
            "ann@[127.0.0.1]",
            "-oQ/tmp@x.org",
            "|sh@x.org",
        ] {
            assert_eq!(deliverable(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(deliverable(b"ann\xff@x.org"), None);
        assert_eq!(deliverable(format!("{}@x.org", "a".repeat(65)).as_bytes()), None);
        assert!(is_written("ann@localhost"));
        assert!(!is_written("ann@local host"));
    }
}

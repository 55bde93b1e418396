//! Which addresses mail can be sent to.

/// The address, if mail can be sent to it from anywhere: `ann@example.com`.
///
/// Letters, digits and the usual signs; no quotes, no comments, no letters
/// beyond ASCII, and a domain with a dot in it. Servers give users who do not
/// write an address one made of their name and their client's, which is none.
pub(super) fn deliverable(address: &[u8]) -> Option<String> {
    let address = written(std::str::from_utf8(address.trim_ascii()).ok()?)?;
    let (_, domain) = address.split_once('@')?;
    domain.contains('.').then(|| address.to_owned())
}

/// The address, if it is one at all: a person wrote it into the configuration
/// and may mean a machine nearby.
pub(super) fn written(address: &str) -> Option<&str> {
    let (local, domain) = address.split_once('@')?;
    let is_local = |part: &str| !part.is_empty() && part.bytes().all(is_in_local);
    let fine = address.len() <= ADDRESS_BYTES_MAX
        && local.len() <= LOCAL_BYTES_MAX
        && local.split('.').all(is_local)
        && domain.split('.').all(is_label);
    fine.then_some(address)
}

const ADDRESS_BYTES_MAX: usize = 254;
const LOCAL_BYTES_MAX: usize = 64;
const LABEL_BYTES_MAX: usize = 63;

const fn is_in_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'/'
                | b'='
                | b'?'
                | b'^'
                | b'_'
                | b'`'
                | b'{'
                | b'|'
                | b'}'
                | b'~'
        )
}

fn is_label(label: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && label.bytes().all(fine)
        && !label.starts_with('-')
        && !label.ends_with('-')
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
        ] {
            assert_eq!(deliverable(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(deliverable(b"ann\xff@x.org"), None);
        assert_eq!(deliverable(format!("{}@x.org", "a".repeat(65)).as_bytes()), None);
        assert_eq!(written("ann@localhost"), Some("ann@localhost"));
        assert_eq!(written("ann@local host"), None);
    }
}

//! What a file's name may say about a journal's number. Only ever a hint: the
//! number inside decides.

/// What the name of a file next to a journal suggests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// It is the configured name itself.
    Live,
    /// It is called as rotated journals are called.
    Rotated(u64),
    /// It ends in a number, as a journal rotated to a prefix of the admin's
    /// own choice does, and as many other files do.
    Perhaps(u64),
}

impl Hint {
    /// The number in the name.
    pub(crate) const fn number(self) -> Option<u64> {
        match self {
            Self::Live => None,
            Self::Rotated(number) | Self::Perhaps(number) => Some(number),
        }
    }
}

/// Reads the name of a file in a journal's folders; `None` when it cannot be
/// one of its journals. `live` is the name of the configured path, or `None`
/// in a folder that does not hold it.
pub(crate) fn hint(name: &str, live: Option<&str>) -> Option<Hint> {
    if live == Some(name) {
        return Some(Hint::Live);
    }
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("checkpoint")
        || lower.contains(".ckp.")
        || lower.ends_with(".md5")
    {
        return None;
    }
    // PREFIX.N.jnl
    if let Some(rest) = name.strip_suffix(".jnl") {
        let (_, number) = rest.rsplit_once('.').unwrap_or(("", rest));
        return digits(number).map(Hint::Rotated);
    }
    let (stem, number) = name.rsplit_once('.')?;
    let number = digits(number)?;
    // journal.N, jnl.N, PREFIX.jnl.N, PREFIX.journal.N, LIVE.N
    let last = stem.rsplit('.').next().unwrap_or(stem);
    let rotated = last == "journal" || last == "jnl" || live == Some(stem);
    Some(if rotated { Hint::Rotated(number) } else { Hint::Perhaps(number) })
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hint() {
        use Hint::{Live, Perhaps, Rotated};
        for (name, expected) in [
            ("journal", Some(Live)),
            ("journal.7", Some(Rotated(7))),
            ("journal.10.gz", Some(Rotated(10))),
            ("p4_1.jnl.41", Some(Rotated(41))),
            ("p4_1.jnl.41.gz", Some(Rotated(41))),
            ("p4_1.41.jnl", Some(Rotated(41))),
            ("41.jnl.gz", Some(Rotated(41))),
            ("nightly.41", Some(Perhaps(41))),
            ("log.3", Some(Perhaps(3))),
            ("journal.10.gz.tmp", None),
            ("journal.10.tmp", None),
            ("journal.gz", None),
            ("checkpoint.7", None),
            ("checkpoint.7.gz", None),
            ("p4_1.ckp.7.gz", None),
            ("checkpoint.7.md5", None),
            ("journal.", None),
            ("journal.-1", None),
            ("journal.99999999999999999999999", None),
            ("license", None),
        ] {
            assert_eq!(hint(name, Some("journal")), expected, "{name}");
        }
        assert_eq!(hint("journal", None), None, "only where it was configured");
        assert_eq!(hint("live.log.4", Some("live.log")), Some(Rotated(4)));
    }
}

//! A link to a change, as the configuration has it.

use std::fmt::Write as _;

/// A URL with the placeholders `{change}`, `{user}` and `{client}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Change,
    User,
    Client,
}

/// The longest link as it is written, in bytes.
const BYTES_MAX: usize = 2000;

impl Link {
    /// Reads it from the configuration.
    pub(super) fn new(written: &str) -> Result<Self, String> {
        let host = ["https://", "http://"].iter().find_map(|it| written.strip_prefix(it));
        if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', '{'])) {
            return Err(
                "`link` must begin with \"https://\" or \"http://\" and a host".into()
            );
        }
        let is_plain =
            |char: char| char.is_ascii_graphic() && !"<>\"\\^`|".contains(char);
        if written.len() > BYTES_MAX || !written.chars().all(is_plain) {
            return Err(format!(
                "`link` must be a URL of at most {BYTES_MAX} plain characters: write others as %XX"
            ));
        }
        let mut parts = Vec::new();
        let mut rest = written;
        while let Some(at) = rest.find(['{', '}']) {
            let (text, from) = rest.split_at(at);
            parts.push(Part::Text(text.to_owned()));
            let (part, after) = [
                ("{change}", Part::Change),
                ("{user}", Part::User),
                ("{client}", Part::Client),
            ]
            .into_iter()
            .find_map(|(word, part)| Some((part, from.strip_prefix(word)?)))
            .ok_or_else(|| {
                format!(
                    "`link` has a brace that begins no placeholder, at {from:?}: there are \
                     {{change}}, {{user}} and {{client}}"
                )
            })?;
            parts.push(part);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The link to a change. Names are escaped byte by byte, so that they stay
    /// within their place in the URL.
    pub(super) fn to(&self, change: i64, user: &str, client: &str) -> String {
        let mut link = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => link.push_str(text),
                Part::Change => _ = write!(link, "{change}"),
                Part::User => escape(user, &mut link),
                Part::Client => escape(client, &mut link),
            }
        }
        link
    }
}

fn escape(text: &str, link: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            link.push(char::from(byte));
        } else {
            _ = write!(link, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let link =
            Link::new("https://s.example.com/{change}?by={user}&{client}#x").unwrap();
        assert_eq!(
            link.to(7, "ann&x=1/../é\n", "a b"),
            "https://s.example.com/7?by=ann%26x%3D1%2F..%2F%C3%A9%0A&a%20b#x"
        );
        assert_eq!(Link::new("http://h").unwrap().to(1, "", ""), "http://h");
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for (bad, why) in [
            ("javascript:alert({change})", "must begin"),
            ("https://", "must begin"),
            ("https://{user}.example.com/", "must begin"),
            ("https://h/{chnage}", "no placeholder"),
            ("https://h/}", "no placeholder"),
            ("https://h/{change", "no placeholder"),
            ("https://h/a b", "plain"),
            ("https://h/\r\nX: 1", "plain"),
            ("https://h/é", "plain"),
        ] {
            let error = Link::new(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
        assert!(Link::new(&format!("https://h/{}", "x".repeat(2000))).is_err());
    }
}

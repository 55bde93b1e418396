//! Looks at the names in expressions and templates, before there is an event.
//!
//! The parser is minijinja's, and so is its tree, with a place for every node. Walking it
//! finds every unknown name in every branch, which no trial run could.

mod member;
mod walk;

use crate::roots::Roots;
use minijinja::machinery::{parse, parse_expr};
use std::ops::Range;
use walk::Walk;

/// Something that is wrong with a text, at these bytes of it.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) at: Range<usize>,
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) help: String,
}

/// The longest template, in bytes.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 64 * 1024;
/// The longest expression, in bytes.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 4096;

/// Whether there is something to fill in.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// What is wrong with an expression.
pub(crate) fn check_expression(text: &str, roots: &Roots) -> Vec<Finding> {
    if let Some(finding) = too_long(text, EXPRESSION_BYTES_MAX) {
        return vec![finding];
    }
    match parse_expr(text) {
        Ok(tree) => {
            let mut walk = Walk::new(text, roots);
            walk.expression(&tree);
            walk.findings
        }
        Err(error) => vec![syntax("E034", text, &error)],
    }
}

/// What is wrong with a template.
pub(crate) fn check_template(text: &str, roots: &Roots) -> Vec<Finding> {
    if let Some(finding) = too_long(text, TEMPLATE_BYTES_MAX) {
        return vec![finding];
    }
    if !is_template(text) {
        return Vec::new();
    }
    if let Some(at) = long_tag(text) {
        return vec![Finding {
            code: "E033",
            at,
            message: format!("this tag is longer than {EXPRESSION_BYTES_MAX} bytes"),
            label: String::new(),
            help: "let a program do it: hand the event to an `Exec`".to_owned(),
        }];
    }
    match parse(text, "template", Default::default()) {
        Ok(tree) => {
            let mut walk = Walk::new(text, roots);
            walk.statement(&tree);
            walk.findings
        }
        Err(error) => vec![syntax("E033", text, &error)],
    }
}

/// A tag that is longer than an expression may be.
fn long_tag(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(at) = text[from..].find(['{', '%']) {
        let start = from + at;
        let rest = &text[start..];
        let end = match (rest.starts_with("{{"), rest.starts_with("{%")) {
            (false, false) => {
                from = start + 1;
                continue;
            }
            (true, _) => rest.find("}}"),
            (_, true) => rest.find("%}"),
        };
        let len = end.map_or(rest.len(), |end| end + 2);
        if len > EXPRESSION_BYTES_MAX {
            return Some(start..start + 2);
        }
        from = start + len;
    }
    None
}

fn too_long(text: &str, max: usize) -> Option<Finding> {
    (text.len() > max).then(|| Finding {
        code: "E033",
        at: 0..text.len(),
        message: format!("this is longer than {max} bytes"),
        label: String::new(),
        help: "put what is long into a file, and its work into a program".to_owned(),
    })
}

/// An error of minijinja's parser in a user's words.
fn syntax(code: &'static str, text: &str, error: &minijinja::Error) -> Finding {
    let range = error.range().unwrap_or(0..text.len());
    let at = range.start.min(text.len())..range.end.min(text.len());
    if code == "E034"
        && let Some(at) = single_equals(text)
    {
        return Finding {
            code,
            at,
            message: "`=` sets nothing here".to_owned(),
            label: "use == to compare".to_owned(),
            help: "write `==`".to_owned(),
        };
    }
    let detail = error.detail().unwrap_or("it cannot be read").to_owned();
    let noun = if code == "E034" { "expression" } else { "template" };
    let known = HELPS.iter().find(|(words, ..)| detail.contains(words));
    let (what, help) =
        known.map_or((detail.as_str(), HELP), |(_, what, help)| (*what, *help));
    Finding {
        code,
        at,
        message: format!("this {noun} has a mistake: {what}"),
        label: String::new(),
        help: help.to_owned(),
    }
}

/// What helps where nothing better is known.
const HELP: &str = "values are written {{ value }}, parts that depend on one {% if value %}..{% endif %}";

/// What the parser says, what that means, and what helps.
const HELPS: &[(&str, &str, &str)] = &[
    (
        "end of variable block",
        "its value does not end here",
        "write `}}` where the value ends",
    ),
    ("end of block", "its tag does not end here", "write `%}` where the tag ends"),
    (
        "unexpected end of input",
        "it ends too early",
        "something is not finished: look for a bracket, a quote or an {% endif %}",
    ),
    (
        "unexpected input after expression",
        "something stands behind its end",
        "join what stands there by `and`, `or`, `==` or `|`",
    ),
    (
        "unknown statement",
        "there is no such tag",
        "tags are `if`, `for`, `set` and `with`",
    ),
];

/// A `=` that stands alone, outside of quotes.
fn single_equals(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut quote = None;
    for (at, &byte) in bytes.iter().enumerate() {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'\'' | b'"') => quote = Some(byte),
            None if byte == b'=' => {
                let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
                let after = bytes.get(at + 1).copied().unwrap_or(b' ');
                if !matches!(before, b'=' | b'!' | b'<' | b'>') && after != b'=' {
                    return Some(at..at + 1);
                }
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Type;
    use crate::compiled::{Capture, Trigger};
    use std::collections::BTreeMap;

    fn roots() -> Roots {
        let journal =
            Trigger::Journal { sources: Vec::new(), tables: Vec::new(), ops: Vec::new() };
        let mut roots = Roots::of(&[journal], &BTreeMap::new(), &BTreeMap::new());
        roots.capture(&[
            Capture { name: "ip".into(), kind: Type::Text },
            Capture { name: "pct".into(), kind: Type::Int },
        ]);
        let events = Type::list(roots.as_record("an event"));
        roots.add("events", events);
        roots
    }

    #[test]
    fn sound_expressions_are_sound() {
        for text in [
            "ip is cidr('10.0.0.0/8')",
            "pct >= 90 and ip != '::1'",
            "ip | int >= 3",
            "submit and submit.files is p4path('//depot/main/...')",
            "submit.files | length > 3",
            "db.change.status == 'submitted'",
            "db.rev.rows[0].depotFile == '//a' and db.rev.rows | length > 1",
            "flag('night') or not flag('day')",
            "event.text[:3] == 'abc'",
        ] {
            let found = check_expression(text, &roots());
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }

    #[test]
    fn mistakes_in_expressions_have_their_place() {
        for (text, code, at, label) in [
            ("ipaddr == '1'", "E030", "ipaddr", "did you mean `ip`?"),
            ("nothing == '1'", "E030", "nothing", ""),
            ("pctt > 3", "E030", "pctt", "did you mean `pct`?"),
            ("db.change.usr == 'x'", "E032", "usr", "did you mean `user`?"),
            ("db.chnge.user == 'x'", "E032", "chnge", "did you mean `change`?"),
            ("ip >= 90", "E036", "ip >= 90", ""),
            (
                "db.change.status == 'submited'",
                "E037",
                "'submited'",
                "did you mean `submitted`?",
            ),
            ("ip is cdir('10.0.0.0/8')", "E035", "cdir", "did you mean `cidr`?"),
            ("ip is cidr('10.0.0.0/64')", "E038", "'10.0.0.0/64'", ""),
            ("ip | lenght > 3", "E035", "lenght", "did you mean `length`?"),
            ("flog('x')", "E035", "flog", "did you mean `flag`?"),
            ("ip = 'x'", "E034", "=", "use == to compare"),
            ("ip == ", "E034", "==", ""),
            ("ip.lower() == 'x'", "E035", "lower", ""),
        ] {
            let found = check_expression(text, &roots());
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let found = &found[0];
            assert_eq!((found.code, found.label.as_str()), (code, label), "{text}");
            assert_eq!(&text[found.at.clone()], at, "{text}: {found:?}");
            assert!(!found.help.is_empty());
        }
    }

    #[test]
    fn templates_are_walked_everywhere() {
        for text in [
            "no value",
            "{% for e in events %}{{ e.event.text }}{{ loop.index }} {{ e.ip }}{% endfor %}",
            "{% if submit %}{{ submit.change }}{% else %}-{% endif %}",
            "{% for f in submit.files[:50] %}{{ f.path }}#{{ f.rev }}{% endfor %}",
            "{% set n = events | length %}{{ n }}",
            "{{ event.time | date('%Y') }}",
        ] {
            let found = check_template(text, &roots());
            assert!(found.is_empty(), "{text}: {found:?}");
        }
        for (text, at) in [
            ("{% if false %}{{ nothing }}{% endif %}", "nothing"),
            ("{% for e in events %}{{ e.event.txt }}{% endfor %}", "txt"),
            ("{% for f in submit.files %}{{ f.pth }}{% endfor %}", "pth"),
            ("{% for e in events %}{% endfor %}{{ e }}", "e"),
            ("{% include 'x' %}", "{% include 'x' %}"),
        ] {
            let found = check_template(text, &roots());
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(
                text[found[0].at.clone()].contains(at.trim_matches(['{', '%', '}', ' ']))
            );
        }
        assert_eq!(check_template("{{ ip }", &roots())[0].code, "E033");
    }
}

//! Reads a pattern of paths: braces first, as a shell does, then names between
//! slashes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::DEPTH_MAX;

/// The longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 4096;

/// The most paths that the braces of one pattern may stand for.
const ALTERNATIVES_MAX: usize = 1000;

/// What stands between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This name.
    Literal(Vec<u8>),
    /// A name that this glob matches; it holds no slash and no braces that
    /// mean something.
    Glob(String),
    /// Any number of directories.
    Tree,
}

impl Part {
    /// Whether a name with a leading dot may match: only if the dot is written.
    pub(super) fn takes_hidden(&self) -> bool {
        match self {
            Self::Literal(_) => true,
            Self::Glob(glob) => glob.starts_with('.') || glob.starts_with("\\."),
            Self::Tree => false,
        }
    }
}

/// Reads a pattern that starts at the root or, if it is relative, at `directory`:
/// one list of parts, from the root on, for each choice among braces.
///
/// # Errors
///
/// What is wrong with the pattern and how to write it, in a user's words.
pub(super) fn read(directory: &Path, pattern: &str) -> Result<Vec<Vec<Part>>, String> {
    if pattern.is_empty() {
        return Err("it is empty".into());
    }
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("it is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    if pattern.contains('\0') {
        return Err("no path holds a zero byte".into());
    }
    expand(pattern)?.iter().map(|path| parts(directory, path)).collect()
}

/// Reads a pattern of file names.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_name(pattern: &str) -> Result<Vec<Part>, String> {
    let alternatives = read(Path::new("/"), pattern)?;
    // One part each, but for `**`, which ends with a `*`.
    Ok(alternatives.into_iter().filter_map(|mut parts| parts.pop()).collect())
}

/// The path, if all its parts are literal.
pub(super) fn literal(parts: &[Part]) -> Option<PathBuf> {
    let mut path = Vec::new();
    for part in parts {
        let Part::Literal(name) = part else { return None };
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(OsString::from_vec(path).into())
}

/// The path up to the first part that is not literal.
pub(super) fn lead(parts: &[Part]) -> PathBuf {
    let is_literal = |part: &Part| matches!(part, Part::Literal(_));
    let end = parts.iter().position(|part| !is_literal(part)).unwrap_or(parts.len());
    literal(&parts[..end]).filter(|_| end > 0).unwrap_or_else(|| PathBuf::from("/"))
}

/// All choices among the braces, in the order written.
fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut open = vec![pattern.to_owned()];
    let mut done = Vec::new();
    while let Some(text) = open.pop() {
        match choices(&text)? {
            Some(choices) => open.extend(choices.into_iter().rev()),
            None => done.push(text),
        }
        if open.len() + done.len() > ALTERNATIVES_MAX {
            return Err(format!(
                "its braces stand for more than {ALTERNATIVES_MAX} paths"
            ));
        }
    }
    Ok(done)
}

/// The text once for each choice in its first braces; `None` without braces.
fn choices(text: &str) -> Result<Option<Vec<String>>, String> {
    let bytes = text.as_bytes();
    let (mut start, mut depth, mut cuts) = (0, 0_usize, Vec::new());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'[' => at = class_end(bytes, at)?,
            b'{' => {
                if depth == 0 {
                    start = at;
                    cuts.push(at);
                }
                depth += 1;
            }
            b',' if depth == 1 => cuts.push(at),
            b'}' if depth == 0 => return Err(unpaired("}", "{")),
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    cuts.push(at);
                    break;
                }
            }
            _ => {}
        }
        at += 1;
    }
    match (cuts.is_empty(), depth) {
        (true, _) => return Ok(None),
        (_, 0) => {}
        _ => return Err(unpaired("{", "}")),
    }
    // All cuts are at ASCII characters, so between whole ones.
    let (before, after) = (&text[..start], &text[at + 1..]);
    let between = |cut: &[usize]| &text[cut[0] + 1..cut[1]];
    if let [only] = cuts.windows(2).map(between).collect::<Vec<_>>()[..]
        && (only.is_empty() || only.contains(".."))
    {
        return Err("braces hold a list of choices, as in `{a,b}`; write `\\{` for the \
                    character itself"
            .into());
    }
    let choice = |cut: &[usize]| [before, between(cut), after].concat();
    Ok(Some(cuts.windows(2).map(choice).collect()))
}

/// Where the class that begins at `start` has its `]`.
fn class_end(bytes: &[u8], start: usize) -> Result<usize, String> {
    let negated = matches!(bytes.get(start + 1), Some(b'!' | b'^'));
    let first = start + 1 + usize::from(negated);
    // A `]` in the first place is a member.
    let rest = bytes.get(first + 1..).unwrap_or_default();
    let end = rest.iter().position(|&byte| matches!(byte, b']' | b'/'));
    let end = end.map(|at| first + 1 + at).filter(|&at| bytes[at] == b']');
    let end = end.ok_or_else(|| unpaired("[", "]"))?;
    let members = &bytes[first..end];
    if members.starts_with(b"[:") || members.contains(&b'\\') || !members.is_ascii() {
        return Err("brackets hold plain characters and ranges, as in `[a-z0-9_]`: no \
                    `[:classes:]`, no `\\` and nothing outside ASCII"
            .into());
    }
    Ok(end)
}

fn unpaired(one: &str, other: &str) -> String {
    format!("a `{one}` without its `{other}`; write `\\{one}` for the character itself")
}

fn parts(directory: &Path, path: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    if !path.starts_with('/') {
        for name in super::names(directory) {
            parts.push(Part::Literal(name.to_vec()));
        }
    }
    for name in path.split('/') {
        match name {
            "" | "." => {}
            "**" if parts.last() == Some(&Part::Tree) => {}
            "**" => parts.push(Part::Tree),
            name => parts.push(part(name)?),
        }
    }
    if matches!(path.rsplit('/').next(), None | Some("" | "." | "..")) {
        return Err("it names a directory; add `/*` for the files in it, or `/**` for \
                    those below it too"
            .into());
    }
    if parts.last() == Some(&Part::Tree) {
        parts.push(Part::Glob("*".into()));
    }
    // A file may be in a directory at the greatest depth.
    if parts.len() > DEPTH_MAX + 1 {
        return Err(format!("it is deeper than {DEPTH_MAX} directories"));
    }
    Ok(parts)
}

fn part(name: &str) -> Result<Part, String> {
    let bytes = name.as_bytes();
    let (mut literal, mut is_literal) = (Vec::with_capacity(bytes.len()), true);
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => {
                at += 1;
                let escaped = bytes.get(at).ok_or("a name in it ends with a `\\`")?;
                literal.push(*escaped);
            }
            b'*' | b'?' => is_literal = false,
            b'[' => {
                let end = class_end(bytes, at)?;
                match bytes[at + 1..end] {
                    [one] => literal.push(one),
                    _ => is_literal = false,
                }
                at = end;
            }
            byte => literal.push(byte),
        }
        at += 1;
    }
    Ok(if is_literal { Part::Literal(literal) } else { Part::Glob(name.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(pattern: &str) -> Vec<String> {
        let alternatives = read(Path::new("/base/{x}"), pattern).unwrap();
        let show = |parts: &Vec<Part>| {
            let names = parts.iter().map(|part| match part {
                Part::Literal(name) => String::from_utf8_lossy(name).into_owned(),
                Part::Glob(glob) => format!("<{glob}>"),
                Part::Tree => "<**>".into(),
            });
            names.collect::<Vec<_>>().join("/")
        };
        alternatives.iter().map(show).collect()
    }

    #[test]
    fn patterns_are_lists_of_names() {
        for (pattern, expected) in [
            ("/var/log/app.log", &["var/log/app.log"][..]),
            ("app.log", &["base/{x}/app.log"]),
            ("./a//b/./c", &["base/{x}/a/b/c"]),
            ("../a", &["base/{x}/../a"]),
            ("/a/*.log", &["a/<*.log>"]),
            ("/a/**", &["a/<**>/<*>"]),
            ("/a/**/**/b", &["a/<**>/b"]),
            ("/a/**.log", &["a/<**.log>"]),
            ("/{a,b}.log", &["a.log", "b.log"]),
            ("{/a,b/c}/d", &["a/d", "base/{x}/b/c/d"]),
            (
                "/{a,b{1,2},}x/{y,z}",
                &["ax/y", "ax/z", "b1x/y", "b1x/z", "b2x/y", "b2x/z", "x/y", "x/z"],
            ),
            ("/{a}", &["a"]),
            ("/a,b", &["a,b"]),
            ("/[*]", &["*"]),
            (r"/\*\?\[\]\{\}\\ [[][]][{][}][?]", &[r"*?[]{}\ []{}?"]),
            ("/[!a]", &["<[!a]>"]),
            ("/[^]]x", &["<[^]]x>"]),
            ("/[]a]x", &["<[]a]x>"]),
            ("/{[,],\\,}", &[",", ","]),
            ("/é\u{301} #~$'\"", &["é\u{301} #~$'\""]),
        ] {
            assert_eq!(show(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (pattern, part_of_problem) in [
            ("", "empty"),
            ("/a\0", "zero byte"),
            ("/a[b", "`[` without its `]`"),
            ("/a[b/c]", "`[` without its `]`"),
            ("/a[]", "`[` without its `]`"),
            ("/a[!]", "`[` without its `]`"),
            ("/a{b", "`{` without its `}`"),
            ("/a{b,{c}", "`{` without its `}`"),
            ("/ab}", "`}` without its `{`"),
            ("/a{}", "list of choices"),
            ("/a{1..9}", "list of choices"),
            ("/[[:digit:]]", "plain characters"),
            ("/[\\]]", "plain characters"),
            ("/[é]", "plain characters"),
            ("/a\\", "ends with a `\\`"),
            ("/a\\/b", "ends with a `\\`"),
            ("/", "names a directory"),
            ("/var/log/", "names a directory"),
            ("/var/log/.", "names a directory"),
            ("..", "names a directory"),
            (&"{a,b}".repeat(10), "more than 1000 paths"),
            (&"a".repeat(4097), "longer than 4096"),
            (&"/a".repeat(66), "deeper than 64"),
        ] {
            let problem = read(Path::new("/base"), pattern).unwrap_err();
            assert!(problem.contains(part_of_problem), "{pattern}: {problem}");
        }
    }

    #[test]
    fn a_dot_is_written_for_hidden_names() {
        for (pattern, expected) in [
            ("/.*", true),
            ("/\\.*", true),
            ("/*", false),
            ("/[.]*", false),
            ("/?x", false),
        ] {
            let parts = read(Path::new("/"), pattern).unwrap().remove(0);
            assert_eq!(parts[0].takes_hidden(), expected, "{pattern}");
        }
    }
}

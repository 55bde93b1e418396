//! Which versioned file a row names, and what should be in it.

use p4journal::Record;

/// A revision in the archives, as a row names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The file below the root, without a slash at its front: `depot/a/b.c,v`.
    pub(crate) path: Vec<u8>,
    pub(crate) form: Form,
    pub(crate) revision: Revision,
}

/// How it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    /// All revisions in one RCS file.
    Rcs,
    /// A file for each.
    Full,
    /// The same, compressed.
    Gzip,
}

/// What is known of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revision {
    /// Its name in the archive, such as `1.12`.
    pub(crate) name: Vec<u8>,
    /// The MD5 of its content.
    pub(crate) digest: Option<[u8; 16]>,
    /// How long its content is, in bytes.
    pub(crate) size: Option<u64>,
    /// Keywords may have been written out before it was digested.
    pub(crate) has_keywords: bool,
}

/// The tables whose rows name versioned files. The others of the same form are
/// indexes of these, or of what is not committed.
pub(crate) const TABLES: [&str; 8] = [
    "db.rev",
    "db.revbx",
    "db.revsh",
    "db.revsx",
    "db.revtx",
    "db.revux",
    "db.storage",
    "db.storagesh",
];

/// No name in an archive is longer, in bytes.
const NAME_BYTES_MAX: usize = 255;
const PATH_BYTES_MAX: usize = 3500;
/// Of a file's type: how the server keeps it.
const STORAGE: i64 = 0x0f;
const KEYWORDS: i64 = 0x20 | 0x2000_0000;
/// Actions that leave no content in the archive: delete, purge, move/delete and
/// archive.
const WITHOUT_CONTENT: [i64; 4] = [2, 6, 7, 9];

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A versioned file.
    File(Wanted),
    /// No file: a deleted revision, or one kept elsewhere.
    Nothing,
    /// Something that cannot be a file below the root.
    Odd(String),
}

impl Wanted {
    /// What a row of one of [`TABLES`] names; of other records nothing.
    pub(crate) fn of(record: &Record<'_>) -> Named {
        Row::of(record).named()
    }

    /// What a row of one of [`TABLES`] names no more: it is taken away, or says that
    /// its content was purged.
    pub(crate) fn let_go(record: &Record<'_>) -> Option<Self> {
        let mut row = Row::of(record);
        if !record.op().is_delete() && !row.is_without_content() {
            return None;
        }
        row.action = None;
        match row.named() {
            Named::File(wanted) => Some(wanted),
            Named::Nothing | Named::Odd(_) => None,
        }
    }

    /// What an `@dl@` says is gone.
    pub(crate) fn deleted(record: &Record<'_>) -> Named {
        let mut fields = record.fields();
        let mut row = Row {
            file: fields.next().map(|it| it.text().into_owned()),
            revision: fields.next().map(|it| it.text().into_owned()),
            ..Row::default()
        };
        row.kind = fields.next().and_then(|it| it.number());
        row.named()
    }
}

#[derive(Default)]
struct Row {
    file: Option<Vec<u8>>,
    revision: Option<Vec<u8>>,
    kind: Option<i64>,
    action: Option<i64>,
    digest: Option<[u8; 16]>,
    size: Option<i64>,
}

impl Row {
    fn of(record: &Record<'_>) -> Self {
        let mut row = Self::default();
        for (name, value) in record.columns() {
            let number = || value.number();
            match name.known() {
                Some("lbrFile" | "file") => row.file = Some(value.text().into_owned()),
                Some("lbrRev" | "rev") => row.revision = Some(value.text().into_owned()),
                Some("lbrType") => row.kind = number(),
                Some("type") => row.kind = row.kind.or_else(number),
                Some("action") => row.action = number(),
                Some("digest") => row.digest = digest(value.raw()),
                Some("size") => row.size = number(),
                _ => {}
            }
        }
        row
    }

    fn is_without_content(&self) -> bool {
        self.action.is_some_and(|action| WITHOUT_CONTENT.contains(&action))
    }

    fn named(self) -> Named {
        if self.is_without_content() {
            return Named::Nothing;
        }
        let (Some(file), Some(name), Some(kind)) = (self.file, self.revision, self.kind)
        else {
            return Named::Nothing;
        };
        let form = match kind & STORAGE {
            0 => Form::Rcs,
            1 => Form::Full,
            3 => Form::Gzip,
            // In a table of the server, or where a trigger knows.
            _ => return Named::Nothing,
        };
        let Some(file) = below_root(&file) else {
            return Named::Odd(String::from_utf8_lossy(&file).into_owned());
        };
        if !is_name(&name) {
            return Named::Odd(format!(
                "revision {} of {}",
                String::from_utf8_lossy(&name),
                String::from_utf8_lossy(file)
            ));
        }
        let mut path = file.to_vec();
        path.extend_from_slice(if form == Form::Rcs { b",v" } else { b",d/" });
        if form != Form::Rcs {
            path.extend_from_slice(&name);
        }
        if form == Form::Gzip {
            path.extend_from_slice(b".gz");
        }
        let revision = Revision {
            name,
            digest: self.digest,
            size: self.size.and_then(|size| size.try_into().ok()),
            has_keywords: kind & KEYWORDS != 0,
        };
        Named::File(Wanted { path, form, revision })
    }
}

/// A path as the server writes it, `//depot/a/b.c`, below the root. What could
/// lead elsewhere is none: such a row was written by nobody's server.
fn below_root(file: &[u8]) -> Option<&[u8]> {
    let path = file.strip_prefix(b"//")?;
    let is_sound =
        path.len() <= PATH_BYTES_MAX && path.split(|byte| *byte == b'/').all(is_name);
    is_sound.then_some(path)
}

fn is_name(name: &[u8]) -> bool {
    let is_dots = matches!(name, b"" | b"." | b"..");
    !is_dots
        && name.len() <= NAME_BYTES_MAX - ".part".len()
        && !name.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\' | b'\n' | b'\r'))
}

/// 32 hexadecimal digits; all zeros mean that it is not known. (Servers of 2017.1
/// wrote base64.)
fn digest(raw: &[u8]) -> Option<[u8; 16]> {
    use base64::Engine as _;
    let digest: [u8; 16] = match raw.len() {
        32 => {
            let mut digest = [0; 16];
            for (byte, pair) in digest.iter_mut().zip(raw.chunks(2)) {
                let pair = std::str::from_utf8(pair).ok()?;
                *byte = u8::from_str_radix(pair, 16).ok()?;
            }
            digest
        }
        22 => {
            let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
            engine.decode(raw).ok()?.try_into().ok()?
        }
        _ => return None,
    };
    (digest != [0; 16]).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(file: &str, revision: &str, kind: i64, action: i64) -> Named {
        let line = format!(
            "@pv@ 9 @db.rev@ @//d/x@ 1 {kind} {action} 5 1 1 \
             77AF91388A085D448B515C75E261D928 30 0 0 @{file}@ @{revision}@ {kind} \n"
        );
        Wanted::of(&Record::parse(line.as_bytes()).unwrap())
    }

    fn path(named: &Named) -> &str {
        match named {
            Named::File(wanted) => std::str::from_utf8(&wanted.path).unwrap(),
            _ => "-",
        }
    }

    #[test]
    fn rows_name_files() {
        for (kind, expected) in [
            (0, "d/a b/c%40d,v"),
            (0x20000, "d/a b/c%40d,v"),
            (0x10001, "d/a b/c%40d,d/1.7"),
            (0x10003, "d/a b/c%40d,d/1.7.gz"),
            (2, "-"),
        ] {
            assert_eq!(path(&named("//d/a b/c%40d", "1.7", kind, 1)), expected);
        }
        assert_eq!(named("//d/x", "1.7", 0, 2), Named::Nothing, "deleted");
        let Named::File(wanted) = named("//d/x", "1.7", 0x20, 0) else { panic!() };
        assert_eq!(wanted.revision.size, Some(30));
        assert!(wanted.revision.digest.is_some() && wanted.revision.has_keywords);
        let line = b"@pv@ 1 @db.storage@ @//d/x@ @1.3@ 65539 1 \
            77AF91388A085D448B515C75E261D928 30 44 \
            00000000000000000000000000000000 0 \n";
        assert_eq!(path(&Wanted::of(&Record::parse(line).unwrap())), "d/x,d/1.3.gz");
        let line = b"@dl@ @//d/x@ @1.144@ 0 @obliterate@ @//d/x@ \n";
        assert_eq!(path(&Wanted::deleted(&Record::parse(line).unwrap())), "d/x,v");
    }

    #[test]
    fn what_leads_elsewhere_is_no_file() {
        for file in [
            "//d/../../etc/passwd",
            "/etc/passwd",
            "//",
            "//d//x",
            "//d/./x",
            "//../x",
            "d/x",
            "//d/x\n",
            "//d/x\\y",
        ] {
            assert!(matches!(named(file, "1.7", 0, 0), Named::Odd(_)), "{file}");
        }
        for revision in ["..", "1/2", "", "../../x"] {
            assert!(
                matches!(named("//d/x", revision, 1, 0), Named::Odd(_)),
                "{revision}"
            );
        }
    }

    #[test]
    fn digests_in_both_forms() {
        let hex = b"BBB7D4514691A6D24195115517515E27";
        assert!(digest(hex).is_some());
        assert!(digest(b"u2fUUobRlBJpVRFW1F4J0Q").is_some());
        assert_eq!(digest(b"AAAAAAAAAAAAAAAAAAAAAA"), None);
        assert_eq!(digest(b"00000000000000000000000000000000"), None);
        assert_eq!(digest(b"x"), None);
    }

    #[test]
    fn rows_let_go_of_files() {
        let row = |op: &str, action: u8| {
            let line = format!(
                "@{op}@ 9 @db.rev@ @//d/x@ 1 1 {action} 5 1 1 \
                 77AF91388A085D448B515C75E261D928 30 0 0 @//d/x@ @1.7@ 1 \n"
            );
            let wanted = Wanted::let_go(&Record::parse(line.as_bytes()).unwrap());
            wanted.map(|it| String::from_utf8(it.path).unwrap())
        };
        let path = Some("d/x,d/1.7".to_owned());
        assert_eq!(
            (row("dv", 0), row("rv", 6), row("pv", 9)),
            (path.clone(), path.clone(), path)
        );
        assert_eq!(row("rv", 1), None);
    }
}

//! Versioned files that could not be brought: the report on the standby.
//!
//! It is a file of JSON lines, `archives.missing`, there for whoever is about to
//! use the standby; and from it, what is missing is looked for again.

use super::wanted::{Form, Revision, Wanted};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// More is a wrong root rather than a missing file, and they are only counted.
const MISSING_MAX: usize = 100_000;
/// The report is not longer, in bytes.
pub(super) const REPORT_BYTES_MAX: u64 = 256 * 1024 * 1024;
pub(super) const REPORT: &str = "archives.missing";
const MORE: &str = "at least so often one was missing for which this report had no room. These are \
     not looked for again: `tripline backup verify` finds them. Is `root` of `archives` \
     the P4ROOT of the server, and are depots that are elsewhere in `depots`?";

/// What is missing, by file and revision.
#[derive(Debug, Default)]
pub(super) struct Missing {
    list: BTreeMap<(Vec<u8>, Vec<u8>), Lost>,
    /// So often one was found that had no room any more.
    cut: u64,
    /// The report on the standby says something else.
    pub(super) has_changed: bool,
}

#[derive(Clone, Debug)]
struct Lost {
    form: Form,
    revision: Revision,
    why: String,
}

impl Missing {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// How often one was found for which there was no room.
    pub(super) const fn cut(&self) -> u64 {
        self.cut
    }

    /// Notes one; whether it was not known. There may be no room: see [`Self::cut`].
    pub(super) fn add(
        &mut self,
        path: &[u8],
        form: Form,
        revision: &Revision,
        why: &str,
    ) -> bool {
        let key = (path.to_vec(), revision.name.clone());
        if self.list.len() >= MISSING_MAX && !self.list.contains_key(&key) {
            self.cut += 1;
            // The report is long: it is not written again for each.
            self.has_changed |= self.cut.is_power_of_two();
            return false;
        }
        let lost = Lost { form, revision: revision.clone(), why: why.to_owned() };
        let before = self.list.insert(key, lost);
        self.has_changed |= before.as_ref().is_none_or(|before| before.why != why);
        before.is_none()
    }

    /// It is there now, or nobody wants it any more.
    pub(super) fn remove(&mut self, path: &[u8], revision: &[u8]) {
        let key = (path.to_vec(), revision.to_vec());
        self.has_changed |= self.list.remove(&key).is_some();
    }

    /// Why one is missing.
    pub(super) fn why(&self, key: &(Vec<u8>, Vec<u8>)) -> Option<&str> {
        self.list.get(key).map(|lost| lost.why.as_str())
    }

    /// All of them, to be looked for again.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        self.list.iter().map(|((path, _), lost)| Wanted {
            path: path.clone(),
            form: lost.form,
            revision: lost.revision.clone(),
        })
    }

    pub(super) fn to_report(&self) -> Vec<u8> {
        let mut report = Vec::new();
        for ((path, _), lost) in &self.list {
            let line = line(path, lost.form, &lost.revision, &lost.why);
            report.extend(line.to_string().into_bytes());
            report.push(b'\n');
        }
        if self.cut > 0 {
            let last = json!({ "more": self.cut, "why": MORE });
            report.extend(last.to_string().into_bytes());
            report.push(b'\n');
        }
        report
    }

    /// What [`Self::to_report`] wrote; a line that is none is passed over.
    pub(super) fn of_report(report: &[u8]) -> Self {
        let mut missing = Self::default();
        for line in report.split(|byte| *byte == b'\n') {
            if let Some((wanted, why)) = read(line) {
                let Wanted { path, form, revision } = wanted;
                missing.add(&path, form, &revision, &why);
            } else if let Ok(line) = serde_json::from_slice::<Value>(line) {
                // They are not known any better now.
                missing.cut = missing.cut.max(line["more"].as_u64().unwrap_or_default());
            }
        }
        missing.has_changed = false;
        missing
    }
}

/// One missing revision as JSON.
pub(super) fn line(path: &[u8], form: Form, revision: &Revision, why: &str) -> Value {
    json!({
        "file": text(path),
        "revision": text(&revision.name),
        "form": match form { Form::Rcs => "rcs", Form::Full => "full", Form::Gzip => "gzip" },
        "digest": revision.digest.map(|digest| crate::checkpoint::hex(&digest)),
        "size": revision.size,
        "keywords": revision.has_keywords,
        "why": why,
    })
}

/// What [`line`] wrote, and why it is missing.
pub(super) fn read(line: &[u8]) -> Option<(Wanted, String)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let form = match line["form"].as_str()? {
        "rcs" => Form::Rcs,
        "full" => Form::Full,
        "gzip" => Form::Gzip,
        _ => return None,
    };
    let digest = match line["digest"].as_str() {
        None => None,
        Some(digest) => Some(u128::from_str_radix(digest, 16).ok()?.to_be_bytes()),
    };
    let revision = Revision {
        name: bytes(&line["revision"])?,
        digest,
        size: line["size"].as_u64(),
        has_keywords: line["keywords"].as_bool()?,
    };
    let path = bytes(&line["file"])?;
    let is_odd = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
    if path.split(|byte| *byte == b'/').any(is_odd) {
        return None;
    }
    let why = line["why"].as_str().unwrap_or_default().to_owned();
    Some((Wanted { path, form, revision }, why))
}

/// Bytes that are no text become base64.
fn text(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value.as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => STANDARD.decode(value["base64"].as_str()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_cut_and_says_so() {
        let revision = Revision {
            name: b"1.1".to_vec(),
            digest: None,
            size: None,
            has_keywords: false,
        };
        let mut missing = Missing::default();
        let mut add = |number: usize| {
            let path = format!("d/{number},d/1.1").into_bytes();
            missing.add(&path, Form::Full, &revision, "gone")
        };
        assert!((0..MISSING_MAX).all(&mut add));
        assert!(!add(0) && !add(MISSING_MAX) && !add(MISSING_MAX + 1));
        assert_eq!((missing.len(), missing.cut()), (MISSING_MAX, 2));
        let mut again = Missing::of_report(&missing.to_report());
        assert_eq!((again.len(), again.cut()), (MISSING_MAX, 2));
        // There is room again; that it was cut stays known.
        again.remove(b"d/7,d/1.1", b"1.1");
        assert!(again.add(b"d/x,d/1.1", Form::Full, &revision, "gone"));
        let report = String::from_utf8(again.to_report()).unwrap();
        assert!(report.lines().last().unwrap().contains("\"more\":2"));
    }

    #[test]
    fn what_is_reported_reads_back() {
        let mut missing = Missing::default();
        for (path, digest) in [(&b"d/x\xff,v"[..], Some([7; 16])), (b"d/\"y\n", None)] {
            let revision = Revision {
                name: b"1.2".to_vec(),
                digest,
                size: digest.map(|_| 5),
                has_keywords: digest.is_some(),
            };
            assert!(missing.add(path, Form::Gzip, &revision, "it is \"gone\""));
            assert!(!missing.add(path, Form::Gzip, &revision, "it is \"gone\""));
        }
        let report = missing.to_report();
        let again = Missing::of_report(&report);
        assert_eq!(
            again.wanted().collect::<Vec<_>>(),
            missing.wanted().collect::<Vec<_>>()
        );
        assert_eq!(again.to_report(), report);
        assert_eq!(report.iter().filter(|byte| **byte == b'\n').count(), 2);
        let hostile = br#"{"file":"../x","revision":"1","form":"rcs","keywords":false}"#;
        assert_eq!(Missing::of_report(hostile).len(), 0);
    }
}

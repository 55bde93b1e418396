//! What is kept by key, in parts: one for each key, so that what is written after an event
//! is that of its key, and not that of ten thousand others.
//!
//! The name of such a part is `key/["RULE","WHAT",["VALUE",..]]`, as JSON writes that; where
//! this is long, the hash of it, and then the part says whose it is.

use super::keyed::{Key, Keyed, Slot};
use super::snapshot::{Part, SnapshotError, hex};
use super::written;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A [`Keyed`] of anything.
pub(super) trait ByKey {
    /// Adds the parts of its keys.
    fn write(
        &self,
        rule: &str,
        what: &str,
        which: Which,
        parts: &mut Vec<Part>,
    ) -> Result<(), SnapshotError>;

    /// All is written as it is.
    fn is_written(&mut self);

    /// Goes on with what was written, of itself without any key.
    fn read(&mut self, parts: Vec<KeyPart<'_>>) -> Result<(), SnapshotError>;
}

/// Which parts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that there are.
    All,
    /// Those that are others than they were, and those that are to be forgotten.
    Touched,
}

/// The part of a key, of which it is known whose it is.
#[derive(Debug)]
pub(super) struct KeyPart<'p> {
    pub(super) name: &'p str,
    bytes: &'p [u8],
    /// What of the rule keeps it.
    pub(super) what: String,
    key: Key,
}

/// What names begin with.
pub(super) const KEY: &str = "key/";
/// Longer ones are hashed, in bytes.
const NAME_BYTES_MAX: usize = 200;

#[derive(Serialize)]
struct WrittenKey<'a, T> {
    /// The rule, what of it, and the key: where the name does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<(&'a str, &'a str, &'a Key)>,
    used: u64,
    due: Option<i64>,
    bytes: usize,
    value: &'a T,
}

#[derive(Deserialize)]
struct ReadKey<T> {
    #[serde(deserialize_with = "written::count")]
    used: u64,
    #[serde(deserialize_with = "written::maybe_time")]
    due: Option<i64>,
    bytes: usize,
    value: T,
}

#[derive(Deserialize)]
struct ReadOf {
    of: (String, String, Key),
}

impl<T: Serialize + DeserializeOwned> ByKey for Keyed<T> {
    fn write(
        &self,
        rule: &str,
        what: &str,
        which: Which,
        parts: &mut Vec<Part>,
    ) -> Result<(), SnapshotError> {
        let mut write = |key: &Key| {
            let (name, is_hashed) = name_of(rule, what, key)?;
            let write = |slot: &Slot<T>| {
                let of = is_hashed.then_some((rule, what, key));
                let Slot { value, used, due, bytes } = slot;
                let (used, due, bytes) = (*used, *due, *bytes);
                serde_json::to_vec(&WrittenKey { of, used, due, bytes, value })
            };
            let bytes = self.slot(key).map(write).transpose();
            let bytes = bytes.map_err(|error| SnapshotError::of(&name, &error))?;
            parts.push(Part { name, bytes });
            Ok(())
        };
        match which {
            Which::All => self.keys().try_for_each(&mut write),
            Which::Touched => self.touched().try_for_each(&mut write),
        }
    }

    fn is_written(&mut self) {
        Self::is_written(self);
    }

    fn read(&mut self, parts: Vec<KeyPart<'_>>) -> Result<(), SnapshotError> {
        let read = |part: KeyPart<'_>| {
            let read = serde_json::from_slice(part.bytes);
            let ReadKey { used, due, bytes, value } =
                read.map_err(|error| SnapshotError::of(part.name, &error))?;
            Ok((part.key, Slot { value, used, due, bytes }))
        };
        let what = parts.first().map_or("", |part| part.name);
        let wrong = |why: String| SnapshotError::new(format!("{what}: {why}"));
        let rows = parts.into_iter().map(read).collect::<Result<_, _>>()?;
        self.load(rows).map_err(wrong)
    }
}

/// Whose part it is: the rule's name, and the rest.
pub(super) fn of<'p>(
    name: &'p str,
    bytes: &'p [u8],
) -> Result<(String, KeyPart<'p>), SnapshotError> {
    let said = name.strip_prefix(KEY).unwrap_or_default();
    let of = match said.starts_with('[') {
        true => serde_json::from_str(said),
        false => serde_json::from_slice(bytes).map(|it: ReadOf| it.of),
    };
    let (rule, what, key) = of.map_err(|error| SnapshotError::of(name, &error))?;
    // There is one name for each key, so nothing comes twice.
    if name_of(&rule, &what, &key)?.0 != name {
        return Err(SnapshotError::new(format!("{name}: it is of another key")));
    }
    Ok((rule, KeyPart { name, bytes, what, key }))
}

/// What a part is called, and whether that is a hash.
fn name_of(rule: &str, what: &str, key: &Key) -> Result<(String, bool), SnapshotError> {
    let plain = serde_json::to_string(&(rule, what, key))
        .map_err(|error| SnapshotError::of(KEY, &error))?;
    let is_hashed = plain.len() > NAME_BYTES_MAX;
    // A hash does not begin as a list does.
    let said = if is_hashed { hex(&Sha256::digest(plain)) } else { plain };
    Ok((format!("{KEY}{said}"), is_hashed))
}

#[cfg(test)]
mod tests;

//! What the tests of this module share.

use super::event::Seen;
use crate::compiled::RuleSet;
use crate::{Known, SourceFile, load};
use std::sync::Arc;

/// An event at this time.
pub(super) fn seen(time: i64) -> Seen {
    Seen {
        id: format!("x/{time}"),
        source: "x".to_owned(),
        time,
        roots: Arc::default(),
        captures: serde_json::Map::new(),
        depth: 0,
        origin: 0,
    }
}

/// The rules of a file.
pub(crate) fn rules(text: &str) -> Arc<RuleSet> {
    let loaded = load(&[SourceFile::new("test.ron", text)], &Known::default());
    let messages: Vec<_> =
        loaded.diagnostics.iter().map(|it| it.message.clone()).collect();
    Arc::new(loaded.set.unwrap_or_else(|| panic!("{messages:#?}")))
}

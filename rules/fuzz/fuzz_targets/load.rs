//! Whatever a rule file holds: no panic, and every message has a place in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tripline_rules::{Known, SourceFile, load};

fuzz_target!(|text: &str| {
    let loaded = load(&[SourceFile::new("a.ron", text)], &Known::default());
    for message in &loaded.diagnostics {
        assert!(message.span.start <= message.span.end && message.span.end <= text.len());
        assert!(message.help.is_some());
    }
});

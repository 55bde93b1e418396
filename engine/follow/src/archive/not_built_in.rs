//! A format whose decoder was left out of this program.

use super::source::Source;
use super::{ArchiveError, Decoder, End, Format};

/// Refuses a file, in words.
pub(super) struct NotBuiltIn {
    source: Source,
    format: Format,
}

impl NotBuiltIn {
    pub(super) const fn new(source: Source, format: Format) -> Self {
        Self { source, format }
    }
}

impl Decoder for NotBuiltIn {
    fn decode(&mut self, _: &mut [u8]) -> (usize, Option<End>) {
        let readable = Format::ALL.into_iter().filter(|format| format.is_supported());
        let readable: Vec<_> = readable.map(Format::name).collect();
        let why = format!(
            "is compressed with {}, which this program does not read (it reads {}): \
             decompress it, or compress it anew",
            self.format,
            readable.join(", ")
        );
        (0, Some(End::Failed(ArchiveError::Unsupported { why })))
    }

    fn source(&self) -> &Source {
        &self.source
    }

    fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }
}

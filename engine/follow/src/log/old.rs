//! Text that is not followed: an old file, or what somebody typed.

use super::lines::{End, LineRules, Lines};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use tripline_api::{
    Again, Batch, Cursor, Idle, LineTime, LogFile, Reader, SourceError, SourceId, Step,
};

/// Reads some text from its first byte to its end, as a followed log is read.
pub(super) struct OldText {
    source: SourceId,
    path: Arc<Path>,
    input: Box<dyn Read + Send>,
    lines: Lines,
    time: Option<LineTime>,
    /// In seconds since 1970.
    near: i64,
    /// All that was read was handed out.
    wants_more: bool,
    is_over: bool,
    end: Cursor,
}

impl OldText {
    pub(super) fn new(
        source: SourceId,
        path: &Path,
        input: Box<dyn Read + Send>,
        rules: Arc<LineRules>,
        time: Option<LineTime>,
        near: i64,
    ) -> Self {
        Self {
            source,
            path: path.into(),
            input,
            lines: Lines::new(rules),
            time,
            near,
            wants_more: true,
            is_over: false,
            end: Cursor::unproved(Default::default()),
        }
    }

    /// Reads a block; at the end there is none.
    fn read(&mut self) -> Result<(), SourceError> {
        let space = self.lines.space(usize::MAX);
        let count = loop {
            match self.input.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        let wrong =
            |cause| SourceError::io(format!("cannot read {:?}", self.path), cause);
        let count = count.map_err(wrong)?;
        self.lines.filled(count);
        self.is_over = count == 0;
        Ok(())
    }
}

impl Reader for OldText {
    fn next(&mut self) -> Result<Step<'_>, SourceError> {
        if self.wants_more && !self.is_over {
            self.read()?;
            self.wants_more = false;
        }
        let end = if self.is_over { End::Final } else { End::Open };
        let Some(piece) = self.lines.take(end) else {
            self.wants_more = true;
            let again = if self.is_over { Again::Later } else { Again::Now };
            return Ok(Step::Idle(Idle { again, ..Idle::at_end() }));
        };
        self.end = Cursor::unproved(piece.end);
        let time = self.time.as_ref().map(|time| (time, self.near));
        Ok(Step::Batch(Batch {
            source: &self.source,
            log: Some(LogFile {
                path: &self.path,
                cut: piece.cut,
                is_preview: false,
                time,
            }),
            start: piece.start,
            did_rotate: false,
            bytes: piece.bytes,
            spans: piece.spans,
            marks: &[],
            end: &self.end,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_come_once() {
        let text: String =
            (0..100_000).map(|number| format!("line {number}\n")).collect();
        let torn = format!("{text}torn");
        let input = io::Cursor::new(torn.clone().into_bytes());
        let source = SourceId::new("old").unwrap();
        let rules = Arc::new(LineRules::default());
        let mut old =
            OldText::new(source, Path::new("x"), Box::new(input), rules, None, 0);
        let (mut bytes, mut entries) = (Vec::new(), 0);
        loop {
            match old.next().unwrap() {
                Step::Batch(batch) => {
                    assert_eq!(batch.start.offset, bytes.len() as u64);
                    entries += batch.len();
                    bytes.extend_from_slice(batch.bytes);
                }
                Step::Idle(idle) if idle.again == Again::Later => break,
                _ => {}
            }
        }
        assert_eq!((bytes, entries), (torn.into_bytes(), 100_001));
    }
}

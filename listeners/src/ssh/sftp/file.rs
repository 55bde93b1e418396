//! What is known of a file that is open at the server.

use super::answer::{Answer, Slot};
use crate::ssh::failure::Failure;
use std::collections::VecDeque;

/// A file that is open, until it is closed or the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(super) u32);

/// Its handle, and how far the writing came.
pub(super) struct OpenFile {
    pub(super) handle: Vec<u8>,
    /// For messages.
    pub(super) path: String,
    /// Writes and fsyncs in their order, from the first that is under way.
    parts: VecDeque<Part>,
    pub(super) acknowledged: u64,
    pub(super) synced: u64,
    /// The first refusal: what comes behind it does not count.
    pub(super) refused: Option<Failure>,
}

struct Part {
    id: u32,
    is_done: bool,
    what: What,
}

enum What {
    /// A write that ends there.
    Write(u64),
    Sync(Slot),
}

impl OpenFile {
    pub(super) const fn new(handle: Vec<u8>, path: String) -> Self {
        let parts = VecDeque::new();
        Self { handle, path, parts, acknowledged: 0, synced: 0, refused: None }
    }

    pub(super) fn wrote(&mut self, id: u32, end: u64) {
        self.parts.push_back(Part { id, is_done: false, what: What::Write(end) });
    }

    pub(super) fn syncs(&mut self, id: u32, slot: Slot) {
        self.parts.push_back(Part { id, is_done: false, what: What::Sync(slot) });
    }

    /// The server said yes to a write or an fsync. It counts when it has said
    /// so to all before.
    pub(super) fn confirm(&mut self, id: u32) {
        if self.refused.is_some() {
            return;
        }
        if let Some(part) = self.parts.iter_mut().find(|part| part.id == id) {
            part.is_done = true;
        }
        while self.parts.front().is_some_and(|part| part.is_done)
            && let Some(part) = self.parts.pop_front()
        {
            match part.what {
                What::Write(end) => self.acknowledged = end,
                What::Sync(slot) => {
                    self.synced = self.acknowledged;
                    slot.put(Ok(Answer::Done));
                }
            }
        }
    }

    /// The server said no: nothing behind this counts any more.
    pub(super) fn refuse(&mut self, failure: &Failure) {
        let refused = self.refused.get_or_insert_with(|| failure.clone());
        for part in self.parts.drain(..) {
            if let What::Sync(slot) = part.what {
                slot.put(Err(refused.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::Kind;

    #[test]
    fn answers_count_in_the_order_of_the_requests() {
        let mut file = OpenFile::new(Vec::new(), "x".into());
        let slot = Slot::default();
        file.wrote(1, 10);
        file.wrote(2, 20);
        file.syncs(3, slot.clone());
        file.wrote(4, 30);
        file.confirm(3);
        file.confirm(2);
        assert_eq!((file.acknowledged, file.synced), (0, 0));
        assert!(slot.take().is_none(), "an fsync that overtakes is none yet");
        file.confirm(1);
        assert_eq!((file.acknowledged, file.synced), (20, 20));
        assert!(slot.take().unwrap().is_ok());
        file.confirm(4);
        assert_eq!((file.acknowledged, file.synced), (30, 20));
    }

    #[test]
    fn nothing_counts_behind_a_refusal() {
        let mut file = OpenFile::new(Vec::new(), "x".into());
        let slot = Slot::default();
        file.wrote(1, 10);
        file.wrote(2, 20);
        file.syncs(3, slot.clone());
        file.confirm(1);
        file.refuse(&Failure::new(Kind::Broken, "no room"));
        file.confirm(3);
        assert_eq!((file.acknowledged, file.synced), (10, 0));
        assert_eq!(slot.take().unwrap().unwrap_err().to_string(), "no room");
    }
}

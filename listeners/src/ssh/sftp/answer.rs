//! Answers, and the tickets by which they are asked for.

use super::file::FileId;
use super::packet::{Attributes, Space};
use crate::ssh::failure::{Failure, Kind};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// By this the answer to a request is asked for. Dropping it drops the answer,
/// not the request.
#[derive(Debug)]
pub(crate) struct Ticket<T> {
    slot: Slot,
    of: PhantomData<fn() -> T>,
}

/// Where an answer is put.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Result<Answer, Failure>>>>);

/// What was answered with yes.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Done,
    File(FileId),
    Attributes(Attributes),
    Names(Vec<Name>),
    Space(Space),
    /// Bytes of a file, at its end none.
    Data(Vec<u8>),
}

/// An entry of a directory; never `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Without a `/`.
    pub(crate) name: Vec<u8>,
    /// Of the entry itself, also when it is a symbolic link.
    pub(crate) attributes: Attributes,
}

/// What a ticket may be for.
pub(crate) trait FromAnswer: Sized {
    #[doc(hidden)]
    fn take(slot: &Ticket<Self>) -> Option<Result<Self, Failure>>;
}

impl<T> Ticket<T> {
    pub(super) fn new() -> (Self, Slot) {
        let slot = Slot::default();
        (Self { slot: slot.clone(), of: PhantomData }, slot)
    }

    pub(super) fn is_answered(&self) -> bool {
        self.slot.is_answered()
    }

    pub(super) fn into_slot(self) -> Slot {
        self.slot
    }
}

impl<T: FromAnswer> Ticket<T> {
    /// The answer, once.
    pub(super) fn take(&self) -> Option<Result<T, Failure>> {
        T::take(self)
    }
}

impl Slot {
    pub(super) fn put(&self, answer: Result<Answer, Failure>) {
        self.lock(|place| *place = Some(answer));
    }

    pub(super) fn take(&self) -> Option<Result<Answer, Failure>> {
        self.lock(Option::take)
    }

    pub(super) fn is_answered(&self) -> bool {
        self.lock(|answer| answer.is_some())
    }

    /// Whether anybody has the ticket.
    pub(super) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn lock<T>(&self, f: impl FnOnce(&mut Option<Result<Answer, Failure>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

macro_rules! answers {
    ($($kind:ty: $pattern:pat => $value:expr;)*) => {$(
        impl FromAnswer for $kind {
            fn take(ticket: &Ticket<Self>) -> Option<Result<Self, Failure>> {
                Some(ticket.slot.take()?.and_then(|answer| match answer {
                    $pattern => Ok($value),
                    _ => Err(unexpected()),
                }))
            }
        }
    )*};
}

answers! {
    (): Answer::Done => ();
    FileId: Answer::File(file) => file;
    Attributes: Answer::Attributes(attributes) => attributes;
    Vec<Name>: Answer::Names(names) => names;
    Space: Answer::Space(space) => space;
    Vec<u8>: Answer::Data(data) => data;
}

fn unexpected() -> Failure {
    Failure::new(Kind::Garbled, "an answer of another kind than was asked for")
}

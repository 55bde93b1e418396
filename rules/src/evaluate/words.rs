//! The words for what has a name in the language.

use crate::model::{EngineEvent, Op, Status};

const STATUS: &[(Status, &str)] = &[
    (Status::Succeeded, "succeeded"),
    (Status::Failed, "failed"),
    (Status::TimedOut, "timed_out"),
    (Status::GaveUp, "gave_up"),
];

const ENGINE_EVENTS: &[(EngineEvent, &str)] = &[
    (EngineEvent::Started, "started"),
    (EngineEvent::Stopping, "stopping"),
    (EngineEvent::Reloaded, "reloaded"),
    (EngineEvent::ReloadRefused, "reload_refused"),
    (EngineEvent::Gap, "gap"),
    (EngineEvent::ListenerStopped, "listener_stopped"),
    (EngineEvent::AboutToBeLost, "about_to_be_lost"),
    (EngineEvent::SetAside, "set_aside"),
    (EngineEvent::SourceLost, "source_lost"),
    (EngineEvent::SourceBack, "source_back"),
    (EngineEvent::ClockSkew, "clock_skew"),
    (EngineEvent::KeysEvicted, "keys_evicted"),
    (EngineEvent::RuleFailed, "rule_failed"),
];

pub(super) fn of_status(status: Status) -> &'static str {
    word(STATUS, status)
}

pub(super) fn status_of(word: &str) -> Option<Status> {
    STATUS.iter().find(|(_, it)| *it == word).map(|(status, _)| *status)
}

pub(super) fn of_engine_event(event: EngineEvent) -> &'static str {
    word(ENGINE_EVENTS, event)
}

pub(super) fn engine_event_of(word: &str) -> Option<EngineEvent> {
    ENGINE_EVENTS.iter().find(|(_, it)| *it == word).map(|(event, _)| *event)
}

pub(super) const fn of_op(op: Op) -> &'static str {
    match op {
        Op::Put => "put",
        Op::Replace => "replace",
        Op::Delete => "delete",
    }
}

fn word<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(it, _)| *it == value).map_or("", |(_, word)| word)
}

/// A status as its word.
pub(super) mod status {
    use crate::model::Status;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::evaluate) fn serialize<S: Serializer>(
        status: &Status,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::of_status(*status))
    }

    pub(in crate::evaluate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Status, D::Error> {
        let word = String::deserialize(deserializer)?;
        super::status_of(&word).ok_or_else(|| D::Error::custom("this is no status"))
    }
}

/// An event of the engine as its word.
pub(super) mod engine_event {
    use crate::model::EngineEvent;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::evaluate) fn serialize<S: Serializer>(
        event: &EngineEvent,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::of_engine_event(*event))
    }

    pub(in crate::evaluate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<EngineEvent, D::Error> {
        let word = String::deserialize(deserializer)?;
        super::engine_event_of(&word).ok_or_else(|| D::Error::custom("this is no event"))
    }
}

//! Where a lane begins, on each of its sources.

use super::{Lane, Turn};
use crate::events::Event;
use crate::pace::Pace;
use tripline_api::Begin;

impl Lane {
    /// Asks the listener where it is, on each source, and opens the readers.
    pub(super) fn begin(&mut self, pace: &mut Pace) -> Turn {
        for index in 0..self.tracks.len() {
            let held = self.attempt(pace, |lane| {
                let track = &lane.tracks[index];
                lane.listener.begin(&Begin {
                    source: &track.key.source,
                    cursor: track.settled.get(&None),
                    set_by_hand: track.set_by_hand,
                })
            })?;
            if self.tracks[index].open(held) {
                self.say_begins_behind(index);
            }
            if self.tracks[index].has_pending() {
                pace.has_unflushed();
            }
        }
        Ok(())
    }

    /// Whoever expected that what is there counts too should not have to guess. Where
    /// nothing is there nothing is passed over.
    fn say_begins_behind(&self, index: usize) {
        let track = &self.tracks[index];
        let (listener, source) = (&self.id, &track.key.source);
        match track.bytes_there() {
            Some(0) => {}
            bytes => {
                self.events.event(&Event::BeginsBehind { listener, source, bytes });
            }
        }
    }
}

//! Places that large values leave, for the next ones to be received into.
//!
//! What was written last is taken first: it is most likely in a cache still, where the end of an
//! open segment never is. The rules are those of `recycle`. But a value arrives slowly, and its
//! thread cannot stay inside of a segment meanwhile: it counts as arriving there, and whoever
//! empties the segment looks at that once nobody is inside.

use super::SegmentStorageEngine;
use super::access::SegmentAccess;
use super::arriving::{PLACE_MAX, Place, Placed};
use super::draft::FILLER_MAX;
use super::index::Location;
use super::record::{Record, fragment_size};
use super::recycle::{DeadPlace, Held};

/// Places that a thread remembers at most; it forgets the oldest.
const PLACES: usize = 256;

/// A value leaves at most this part of its place unused.
const SLACK_DIVISOR: usize = 8;

/// Places that are tried for one value.
const TRIES: usize = 4;

/// The places that a thread remembers.
#[derive(Default)]
pub(super) struct LeftPlaces {
    /// The oldest first, each with the epoch that has to be over.
    places: Vec<(DeadPlace, u64)>,
    /// Those that the item will leave which is being taken out.
    expected: Vec<DeadPlace>,
}

impl LeftPlaces {
    /// The place that a record will leave; notes those that its fragments will. It stands in the
    /// index and its region is locked: so none of their segments is emptied meanwhile.
    #[inline]
    pub(super) fn place_of(&mut self, engine: &SegmentStorageEngine, at: Location) -> DeadPlace {
        let record = engine.record(at);
        if record.is_fragmented() {
            self.expect(engine, &record);
        }
        engine.place_of(at, &record)
    }

    #[cold]
    #[inline(never)]
    fn expect(&mut self, engine: &SegmentStorageEngine, record: &Record<'_>) {
        let place = |(at, _)| engine.place_of(at, &engine.record(at));
        self.expected.clear();
        self.expected.extend(record.fragments().map(place));
    }

    /// Remembers a place that can be used when an epoch is over.
    pub(super) fn add(&mut self, place: DeadPlace, epoch: u64) {
        if place.size() > FILLER_MAX {
            return;
        }
        if self.places.len() == PLACES {
            self.places.remove(0);
        }
        self.places.push((place, epoch));
    }

    /// The place that was left last of those that nobody looks at and that are `wanted`.
    fn take(&mut self, over: u64, wanted: impl Fn(&DeadPlace) -> bool) -> Option<DeadPlace> {
        let at = self.places.iter().rposition(|(place, epoch)| *epoch < over && wanted(place))?;
        Some(self.places.remove(at).0)
    }
}

impl SegmentAccess {
    /// A place that a large value left, for some of the `missing` bytes of another. The caller
    /// has begun, and holds nothing of the arena.
    pub(super) fn claim_left(&mut self, placed: &mut Placed, missing: usize) -> Option<Place> {
        let engine = self.engine.clone();
        let arena = &engine.arena;
        let len = missing.min(PLACE_MAX);
        let size = arena.rounded(fragment_size(len));
        let queue = placed.class().queue();
        let wanted = |place: &DeadPlace| {
            (size..=size + size / SLACK_DIVISOR).contains(&place.size())
                && arena.queue_of(place.location()) == queue
        };
        let over = engine.epochs.oldest();
        for _ in 0..TRIES {
            let place = self.left.take(over, wanted)?;
            if !engine.seize(&place, queue, &self.writer) {
                continue;
            }
            let inside = Held::new(arena, &self.writer, place);
            if placed.hold(arena.segment_of(place.location())) && inside.prepare(size) {
                return Some(Place::new(arena.offset(place.location()), len));
            }
            self.left.add(place, 0);
            return None;
        }
        None
    }

    /// Takes the fragments of an item that is gone out of use, and remembers their places, which
    /// were expected. The item's record is at `location`, in the thread's epoch.
    #[cold]
    pub(super) fn bury_value(&mut self, location: Location) {
        self.engine.bury_fragments(&self.engine.record(location));
        let epoch = self.engine.epochs.advance();
        while let Some(place) = self.left.expected.pop() {
            self.left.add(place, epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_taken_first_once_its_epoch_is_over() {
        let mut places = LeftPlaces::default();
        let place = |number: usize| DeadPlace::at(number as u32, 8_000 + 4 * number);
        (0..PLACES + 3).for_each(|number| places.add(place(number), number as u64));
        places.add(DeadPlace::at(1, FILLER_MAX + 4), 0);
        let mut take = |over| places.take(over, |place| place.size() % 8 == 0);
        assert_eq!(take(PLACES as u64), Some(place(PLACES - 2)));
        assert_eq!(take(PLACES as u64), Some(place(PLACES - 4)));
        assert_eq!(take(5), Some(place(4)));
        assert_eq!(take(5), None, "the oldest were forgotten, one is not wanted");
    }
}

//! Publishing a change: the record is written first, then made visible under its region's lock if
//! the item is still the one that the decision was made on.

use mcache_base::operation::Refusal;
use mcache_base::{Key, Now};

use super::access::{Class, SegmentAccess};
use super::index::Location;
use super::record::{Blueprint, Draft};
use crate::semantics::Attributes;

/// What stands in the index for a key when a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Whatever is there is overwritten.
    Anything,
    /// This record, or none. The sequence number tells it from another at the same place.
    Exactly(Option<Present>),
}

/// A record that stands in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) location: Location,
    pub(super) sequence: u64,
}

/// A record that is to be published.
pub(super) struct Change<'c> {
    pub(super) key: Key<'c>,
    pub(super) attributes: Attributes,
    /// The cas unique in `attributes` is the client's; otherwise the sequence number is it.
    pub(super) own_cas: bool,
    /// The item keeps the sequence number that it has.
    pub(super) sequence: Option<u64>,
    pub(super) inline: &'c [u8],
    pub(super) more: &'c [&'c [u8]],
    /// The inline bytes are a list of fragments.
    pub(super) fragmented: bool,
    /// The fragments are those of the item that is replaced.
    pub(super) carries: bool,
    pub(super) frequency: u32,
    pub(super) expected: Expected,
}

/// Why a change was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unpublished {
    /// Another item is there than the decision was made on.
    Lost,
    /// No room.
    Refused(Refusal),
}

impl From<Refusal> for Unpublished {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl SegmentAccess {
    /// Publishes a change. The caller made sure that the item fits, see [`Self::ensure`].
    pub(super) fn publish(
        &mut self,
        class: Class,
        change: &Change<'_>,
    ) -> Result<(Location, u64), Unpublished> {
        let engine = &*self.engine;
        let Some(open) = &mut self.open[class.index()] else {
            return Err(Refusal::NoMemory.into());
        };
        let blueprint = change.blueprint(open.base);
        let (key, arena) = (change.key, &engine.arena);
        let size = blueprint.size_at(open.at(), key.bytes.len(), change.inline_len());
        if !open.fits(size) {
            return Err(Unpublished::Lost);
        }
        let mut pieces = [change.inline; 1].to_vec();
        pieces.extend_from_slice(change.more);
        // SAFETY: the open segment's end is this thread's alone, and the record fits.
        let draft =
            unsafe { Draft::write(arena.memory(), open.at(), &blueprint, key.bytes, &pieces) };
        let region = engine.index.lock(key.hash);
        let current = region.find(key.hash, |location| engine.is_key(location, key.bytes));
        let present = current.map(|(_, location)| engine.present(location));
        if change.expected != Expected::Anything && change.expected != Expected::Exactly(present) {
            return Err(Unpublished::Lost);
        }
        let sequence = change.sequence.unwrap_or_else(|| engine.sequence.next());
        draft.complete(sequence, open.base);
        let location = open.advance(arena, size);
        arena.add_live(location, size, change.attributes.expiry);
        match current {
            Some((place, _)) => region.replace(place, location),
            None => {
                if region.insert(key.hash, location, engine).is_err() {
                    engine.retire(location, &engine.record(location));
                    return Err(Refusal::NoMemory.into());
                }
            }
        }
        drop(region);
        self.counters.classes.enter(engine.size_of(&engine.record(location)));
        if let Some(Present { location: old, .. }) = present {
            let record = engine.record(old);
            self.counters.classes.leave(engine.size_of(&record));
            if change.carries { engine.retire(old, &record) } else { engine.bury(old, &record) }
        }
        Ok((location, sequence))
    }

    /// Publishes a change of an item that keeps its value's bytes.
    pub(super) fn rewrite(
        &mut self,
        key: Key<'_>,
        present: Present,
        attributes: Attributes,
        new_sequence: bool,
        now: Now,
    ) -> Result<Location, Unpublished> {
        let Present { location, sequence } = present;
        let record = self.engine.record(location);
        let base = self.engine.arena.base_of(location);
        let cas_is_kept = attributes.cas == record.cas(base);
        let inline = record.inline().to_vec();
        let change = Change {
            key,
            attributes,
            own_cas: if cas_is_kept { record.has_own_cas() } else { !new_sequence },
            sequence: (!new_sequence).then_some(sequence),
            inline: &inline,
            more: &[],
            fragmented: record.is_fragmented(),
            carries: true,
            frequency: record.frequency(),
            expected: Expected::Exactly(Some(present)),
        };
        let class = self.class_of(location, attributes.expiry, now);
        self.ensure(class, change.size_max(), now)?;
        self.publish(class, &change).map(|(location, _)| location)
    }
}

impl<'c> Change<'c> {
    /// A new item with a value that fits its record, whatever is there.
    pub(super) fn fresh(key: Key<'c>, attributes: Attributes, value: &'c [u8]) -> Self {
        Self {
            key,
            attributes,
            own_cas: false,
            sequence: None,
            inline: value,
            more: &[],
            fragmented: false,
            carries: false,
            frequency: 0,
            expected: Expected::Anything,
        }
    }

    fn blueprint(&self, base: u64) -> Blueprint {
        let distance = self.sequence.map(|sequence| sequence.checked_sub(base));
        Blueprint {
            attributes: self.attributes,
            own_cas: self.own_cas,
            full_sequence: distance.is_some_and(|distance| {
                distance.is_none_or(|distance| distance > u64::from(u32::MAX))
            }),
            fragmented: self.fragmented,
            frequency: self.frequency,
        }
    }

    fn inline_len(&self) -> usize {
        self.inline.len() + self.more.iter().map(|piece| piece.len()).sum::<usize>()
    }

    /// Bytes that the record takes at most.
    pub(super) fn size_max(&self) -> usize {
        let blueprint = Blueprint { full_sequence: self.sequence.is_some(), ..self.blueprint(0) };
        blueprint.size_max(self.key.bytes.len(), self.inline_len())
    }
}

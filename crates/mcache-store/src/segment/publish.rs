//! Publishing a change: the record is written first, then made visible under its region's lock if
//! the item is still the one that the decision was made on.

use mcache_base::operation::Refusal;
use mcache_base::{ClassStat, Expiry, Key, Now, Stat, slab_class};

use super::SegmentStorageEngine;
use super::access::{Class, SegmentAccess};
use super::draft::{Blueprint, Draft, Form};
use super::index::{self, Location, Locked};
use super::recycle::{DeadPlace, Held};
use super::room::Room;
use crate::eviction::Standing;
use crate::semantics::Attributes;
use crate::tally::Why;

/// What stands in the index for a key when a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Whatever is there is overwritten: most likely the record that was seen last.
    Anything(Option<Sighting>),
    /// This record, or none, with the expiry that it had.
    Exactly(Option<Present>),
}

/// A key's record that was found in an epoch: until the epoch's end nothing else comes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    pub(super) location: Location,
    pub(super) epoch: u64,
}

/// A record that stands in the index, as it was at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) location: Location,
    /// Tells it from another at the same place, together with the checksum: an item that is only
    /// marked keeps its sequence number, and may come back to a place that it had.
    pub(super) sequence: u64,
    pub(super) checksum: u32,
    /// The one attribute that changes in place.
    pub(super) expiry: Expiry,
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
    pub(super) standing: Standing,
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

/// Whether a sequence number can be written as a distance from its segment's base.
pub(super) fn is_near(sequence: u64, base: u64) -> bool {
    sequence.checked_sub(base).is_some_and(|distance| distance <= u64::from(u32::MAX))
}

impl SegmentAccess {
    /// Publishes a change: in a dead place that fits it, otherwise at the open segment's end.
    ///
    /// The caller holds nothing of the arena, see [`Self::ensure`].
    pub(super) fn publish(
        &mut self,
        class: Class,
        change: &Change<'_>,
        now: Now,
    ) -> Result<(Location, u64), Unpublished> {
        if change.fragmented && change.inline.len() > self.engine.arena.list_max() {
            return Err(Refusal::TooLarge.into());
        }
        let forms = change.forms();
        let mut claimed = self.claim(class, &forms);
        if claimed.is_none()
            && let Err(refusal) = self.ensure(class, forms.size_range().1, now)
        {
            claimed = self.claim_last(change, &forms, now);
            claimed.ok_or(refusal)?;
        }
        let engine = &*self.engine;
        let (key, arena) = (change.key, &engine.arena);
        let mut room = match (claimed, &mut self.open[class.index()]) {
            (Some(place), _) => Room::Dead(Held::new(arena, &self.writer, place)),
            (None, Some(open)) => Room::End(open),
            (None, None) => return Err(Refusal::NoMemory.into()),
        };
        let (at, base) = (room.at(arena), room.base(arena));
        let form = forms.of(|| base);
        let size = form.size_at(at);
        if !room.prepare(size) {
            return Err(Unpublished::Lost);
        }
        // SAFETY: the room is this thread's alone, and the record fits.
        let draft = unsafe { Draft::write(arena.memory(), at, form, key.bytes, change.pieces()) };
        let region = engine.index.lock(key.hash);
        let current = engine.find_again(&region, change, self.member.epoch());
        if let Expected::Exactly(expected) = change.expected
            && expected != current.map(|(_, location)| engine.present(location))
        {
            drop(region);
            if let Room::Dead(held) = room {
                self.dead_places.add(held.place(), &engine.epochs);
            }
            return Err(Unpublished::Lost);
        }
        let replaced = current.map(|(at, old)| (at, self.left.place_of(engine, old)));
        let draw = || self.numbers.next(&engine.sequence, engine.last(&region, current).max(base));
        let sequence = change.sequence.unwrap_or_else(draw);
        if change.sequence.is_none() && !is_near(sequence, base) {
            let at_end = matches!(room, Room::End(_));
            drop((region, room));
            if at_end {
                self.give_up(class); // it was opened too long ago
            }
            return Err(Unpublished::Lost);
        }
        draft.complete(sequence, base);
        let location = room.take(arena, size);
        self.live.add(arena, location, size);
        arena.note_expiry(location, change.attributes.expiry);
        match replaced {
            Some((place, dead)) => {
                region.replace(place, location);
                let old = dead.location();
                engine.retire_counted(old, &engine.record(old), dead.size(), &self.live);
            }
            None => {
                if region.insert(key.hash, location, engine).is_err() {
                    engine.retire(location, &engine.record(location));
                    return Err(Refusal::NoMemory.into());
                }
            }
        }
        drop((region, room));
        self.count_entry(change, location, size, form.inline_len());
        if let Some((_, dead)) = replaced {
            self.take_out(dead, change.carries, now);
        }
        Ok((location, sequence))
    }

    /// A place for a record that found room nowhere else, where nothing may be evicted for it. What
    /// a set replaces goes first if need be: a set that is refused takes it along anyway.
    #[cold]
    fn claim_last(&mut self, change: &Change<'_>, forms: &Forms, now: Now) -> Option<DeadPlace> {
        if self.engine.evict {
            return None;
        }
        let claimed = self.claim_part(forms);
        if claimed.is_some() || !matches!(change.expected, Expected::Anything(_)) {
            return claimed;
        }
        let present = self.look(change.key, now).0?;
        self.remove(change.key, present).ok()?;
        self.claim_part(forms)
    }

    /// Counts a record that was published, of `size` bytes and with `len` of value, if that is
    /// not in fragments, and the room that was made for it.
    #[inline]
    fn count_entry(&mut self, change: &Change<'_>, location: Location, size: usize, len: usize) {
        let engine = &*self.engine;
        let (item_size, beside) = match change.fragmented {
            true => {
                let record = engine.record(location);
                (engine.size_of(&record), engine.bytes_beside(&record))
            }
            false => {
                let flags = change.attributes.flags;
                (slab_class::item_size(change.key.bytes.len(), flags, len), 0)
            }
        };
        self.counters.classes.enter(item_size, engine.arena.rounded(size) + beside);
        if self.direct_reclaims > 0 {
            let n = std::mem::take(&mut self.direct_reclaims);
            let class_stat = ClassStat::direct_reclaims;
            self.counters.both(item_size, Stat::direct_reclaims, class_stat, n);
        }
    }

    /// Counts a record that was replaced and is dead, and finds uses for what it leaves.
    fn take_out(&mut self, dead: DeadPlace, carries: bool, now: Now) {
        let (engine, location) = (&*self.engine, dead.location());
        let record = engine.record(location);
        match engine.death(location, &record, now) {
            Some(why) => self.counters.leave(engine.leaving(&record, Why::Reclaimed(why))),
            None => {
                let bytes = dead.size() + engine.bytes_beside(&record);
                self.counters.classes.leave(engine.size_of(&record), bytes);
            }
        }
        if !record.is_fragmented() {
            self.dead_places.add(dead, &engine.epochs);
        } else if !carries {
            self.bury_value(location);
        }
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
        let Present { location, sequence, .. } = present;
        let record = self.engine.record(location);
        let base = self.engine.arena.base_of(location);
        let cas_is_kept = attributes.cas == record.cas(base);
        let standing = self.engine.standing_of(location, &record);
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
            standing,
            expected: Expected::Exactly(Some(present)),
        };
        let class = Class::of(standing.queue, attributes.expiry, now);
        self.publish(class, &change, now).map(|(location, _)| location)
    }
}

impl SegmentStorageEngine {
    /// The highest sequence number that an item has had which stands at a place of a locked
    /// region, or nowhere.
    #[inline]
    fn last(&self, region: &Locked<'_>, current: Option<(index::Place, Location)>) -> u64 {
        match current {
            Some((_, location)) => self.record(location).sequence(self.arena.base_of(location)),
            None => region.removed(),
        }
    }

    /// Finds what stands in the index for a change's key, whose region is locked. The caller works
    /// in this epoch.
    #[inline]
    fn find_again(
        &self,
        region: &Locked<'_>,
        change: &Change<'_>,
        epoch: u64,
    ) -> Option<(index::Place, Location)> {
        let Key { bytes, hash, hint } = change.key;
        let again = match change.expected {
            Expected::Anything(Some(seen)) if seen.epoch == epoch => region
                .find_at(hint, seen.location)
                .or_else(|| region.find(hash, |location| location == seen.location)),
            _ => None,
        };
        again.or_else(|| region.find(hash, |location| self.is_key(location, bytes)))
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
            standing: Standing::default(),
            expected: Expected::Anything(None),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &'c [u8]> {
        std::iter::once(self.inline).chain(self.more.iter().copied())
    }

    #[inline]
    fn forms(&self) -> Forms {
        let blueprint = Blueprint {
            attributes: self.attributes,
            own_cas: self.own_cas,
            full_sequence: false,
            fragmented: self.fragmented,
            frequency: self.standing.frequency,
            heat: self.standing.heat,
        };
        let inline_len = self.pieces().map(<[u8]>::len).sum();
        let near = blueprint.form(self.key.bytes.len(), inline_len);
        Forms { near, far: self.sequence.map(|sequence| (sequence, near.in_full())) }
    }
}

/// The forms that a change's record can have, by how far its sequence number is from the base of
/// the segment that it comes to.
pub(super) struct Forms {
    near: Form,
    /// Of an item that keeps the sequence number that it has.
    far: Option<(u64, Form)>,
}

impl Forms {
    /// The form in a segment of this base.
    #[inline]
    pub(super) fn of(&self, base: impl FnOnce() -> u64) -> &Form {
        match &self.far {
            Some((sequence, form)) if !is_near(*sequence, base()) => form,
            _ => &self.near,
        }
    }

    /// Bytes that the record takes at least and at most, wherever it is written.
    #[inline]
    pub(super) fn size_range(&self) -> (usize, usize) {
        let (least, most) = self.near.size_range();
        (least, self.far.as_ref().map_or(most, |(_, form)| form.size_max()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcache_base::operation::{Count, Delete, Fetch, Store, Stored};

    use super::*;
    use crate::engine::{Access, EngineOptions, SizeLimit, StorageEngine};
    use crate::eviction;

    const NOW: Now = Now { clock_ms: 1_000, unix: 1_800_000_000 };

    fn engine() -> Arc<SegmentStorageEngine> {
        let policy = eviction::policy("lru").expect("a row");
        let item_size = SizeLimit::Value(0);
        let options = EngineOptions { capacity: 4 << 20, item_size, evict: true, policy };
        Arc::new(SegmentStorageEngine::new(&options).unwrap())
    }

    #[test]
    fn an_open_segment_takes_no_sequence_number_too_far_from_its_base() {
        let engine = engine();
        let mut access = engine.access();
        let key = access.key(b"k");
        for last in [0, 1 << 31, (1 << 32) - 2, 1 << 32, 3 << 32, (1 << 40) + 5] {
            engine.sequence.resume(last);
            let stored = access.store(key, &Store::default(), b"value", NOW);
            let Stored::Stored { cas, .. } = stored else { panic!("{stored:?} after {last}") };
            let hit = access.fetch(key, &Fetch::default(), NOW).expect("was stored");
            assert_eq!(mcache_base::Item::cas(&hit.item), cas, "after {last}");
        }
        access.rest();
        engine.check();
    }

    #[test]
    fn whichever_thread_stores_a_keys_numbers_rise_and_a_flush_takes_none_of_later() {
        let engine = engine();
        let mut threads = [engine.access(), engine.access(), engine.access()];
        let mut last = 0;
        for turn in 0..2_000 {
            let access = &mut threads[turn * turn % 7 % 3];
            let key = access.key(b"k");
            match turn % 11 {
                3 => _ = access.delete(key, &Delete::default(), NOW),
                5 => engine.flush(0, NOW),
                7 => engine.flush_group(b"k", NOW).expect("a group more"),
                _ => {
                    let stored = access.store(key, &Store::default(), b"value", NOW);
                    let Stored::Stored { cas, .. } = stored else { panic!("{stored:?}") };
                    assert!(cas > last, "{cas} after {last}");
                    last = cas;
                    assert!(access.fetch(key, &Fetch::default(), NOW).is_ok(), "at {turn}");
                    let other = access.key(b"other");
                    (0..turn % 40).for_each(|_| {
                        access.store(other, &Store::default(), b"value", NOW);
                    });
                }
            }
            threads.iter_mut().for_each(Access::rest);
        }
        assert!(engine.sequence.last() < 100_000, "few numbers are left out");
        engine.check();
    }

    #[test]
    fn counting_takes_no_touch_back() {
        let engine = engine();
        let mut access = engine.access();
        let key = access.key(b"k");
        access.store(key, &Store { exptime: 9, ..Store::default() }, b"0", NOW);
        let ttls = 10..20_000_i64;
        let counts = ttls.end - ttls.start;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut access = engine.access();
                for _ in 0..counts {
                    access.count(key, &Count { delta: 1, ..Count::default() }, NOW);
                }
                access.rest();
            });
            for ttl in ttls {
                let touch = Fetch { touch: Some(ttl), ..Fetch::default() };
                assert!(access.fetch(key, &touch, NOW).is_ok());
                let hit = access.fetch(key, &Fetch::default(), NOW).expect("was stored");
                assert_eq!(hit.before.expiry, Expiry::from_exptime(ttl, NOW));
            }
            access.rest();
        });
    }
}

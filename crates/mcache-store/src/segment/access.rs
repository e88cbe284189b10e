//! What one thread does in the store.
//!
//! Reads take no lock. A change is prepared outside every lock (its record is written to the
//! thread's own open segment), then published under its region's lock if the item is still the
//! one that the decision was made on; otherwise it is decided again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mcache_base::limits::REQUESTS_AHEAD;
use mcache_base::number::Digits;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, Stored,
};
use mcache_base::{Expiry, ItemView, Key, Now, Stat};

use super::SegmentStorageEngine;
use super::arena::Open;
use super::arriving::Arriving;
use super::epoch::Member;
use super::gate::Writer;
use super::index::Location;
use super::item::{SegmentItem, SegmentPin};
use super::left::LeftPlaces;
use super::live::LiveCounter;
use super::publish::{Change, Expected, Present, Unpublished};
use super::record::Record;
use super::recycle::DeadPlaces;
use crate::engine::Access;
use crate::eviction::QUEUES;
use crate::semantics::{self, Attributes, CountPlan, DeletePlan, Write};
use crate::sequence::Block;
use crate::tally::{EngineCounters, Why};

/// Groups of items with about the same time to live, which lie in segments of their own.
const TTL_CLASSES: usize = 8;

/// One thread's way into the store.
pub struct SegmentAccess {
    pub(super) engine: Arc<SegmentStorageEngine>,
    pub(super) member: Member,
    pub(super) counters: Arc<EngineCounters>,
    pub(super) open: [Option<Open>; QUEUES * TTL_CLASSES],
    pub(super) dead_places: DeadPlaces,
    pub(super) writer: Writer,
    pub(super) live: LiveCounter,
    pub(super) numbers: Block,
    pub(super) left: LeftPlaces,
    /// Times that it made room for what is to be stored next.
    pub(super) direct_reclaims: u64,
}

/// The segments that an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(usize);

impl Class {
    /// For an item of this queue and this time to live.
    pub(super) fn of(queue: usize, expiry: Expiry, now: Now) -> Self {
        let ttl = match expiry.seconds_left(now) {
            None => 0,
            // 4 s, 16 s, 64 s, ... in classes of a factor of 4
            Some(seconds) => (seconds.max(1).ilog2() as usize / 2 + 1).min(TTL_CLASSES - 1),
        };
        Self(queue * TTL_CLASSES + ttl)
    }

    /// The class that has this place.
    pub(super) fn at(index: usize) -> Self {
        Self(index)
    }

    /// Its place among the classes.
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// The places of all classes of its queue.
    pub(super) fn siblings(self) -> std::ops::Range<usize> {
        let first = self.0 / TTL_CLASSES * TTL_CLASSES;
        first..first + TTL_CLASSES
    }

    /// The queue.
    pub(super) fn queue(self) -> usize {
        self.0 / TTL_CLASSES
    }
}

/// A live item as a decision sees it.
pub(super) struct Found<'e> {
    pub(super) present: Present,
    pub(super) record: Record<'e>,
    pub(super) attributes: Attributes,
}

impl SegmentAccess {
    pub(super) fn new(engine: &Arc<SegmentStorageEngine>) -> Self {
        Self {
            engine: engine.clone(),
            member: engine.epochs.join(),
            counters: engine.new_counters(),
            open: [const { None }; QUEUES * TTL_CLASSES],
            writer: engine.writers.join(),
            live: engine.live.join(&engine.arena),
            numbers: engine.sequence.block(),
            dead_places: DeadPlaces::new(engine.capacity.load(Relaxed), &engine.places),
            left: LeftPlaces::default(),
            direct_reclaims: 0,
        }
    }

    /// Begins an operation: nothing of the arena is held from before.
    #[inline(always)] // two loads, mostly
    pub(super) fn begin(&mut self, now: Now) {
        if self.member.begin(&self.engine.epochs) {
            self.give_up_all(); // somebody took what this thread was filling
        }
        if self.engine.flush.is_awaited() {
            self.engine.look_up(now);
        }
    }

    /// As [`Self::begin`], to fetch a key's item and change nothing.
    #[inline(always)] // as above
    fn begin_fetch(&mut self, key: Key<'_>, now: Now) {
        if self.member.begin(&self.engine.epochs) {
            self.give_up_all(); // as above
        }
        if self.engine.flush.is_awaited() {
            self.engine.look_up_for(key, now);
        }
    }

    /// What stands in the index for a key, and the item if it is alive.
    pub(super) fn look(
        &self,
        key: Key<'_>,
        now: Now,
    ) -> (Option<Present>, Result<Found<'_>, Miss>) {
        let Some((location, record)) = self.engine.find(key) else {
            return (None, Err(Miss::Absent));
        };
        if let Some(why) = self.engine.death(location, &record, now) {
            self.drop_dead(key, location, why);
            return (None, Err(why));
        }
        let present = self.engine.present(location);
        let attributes = record.attributes(self.engine.arena.base_of(location), now);
        (Some(present), Ok(Found { present, record, attributes }))
    }

    /// Takes an item out that was found dead.
    #[cold]
    fn drop_dead(&self, key: Key<'_>, location: Location, why: Miss) {
        if self.engine.unlink(key.hash, location) {
            let record = self.engine.record(location);
            self.counters.leave(self.engine.leaving(&record, Why::Found(why)));
        }
    }

    fn item(&self, location: Location) -> SegmentItem<'_> {
        SegmentItem::new(&self.engine, location, self.engine.record(location))
    }

    /// A fetch that changes more than marks.
    #[inline(never)]
    fn fetch_and_change(
        &mut self,
        key: Key<'_>,
        fetch: &Fetch,
        now: Now,
    ) -> Result<Hit<SegmentItem<'_>>, Miss> {
        loop {
            self.begin(now);
            let (present, found) = self.look(key, now);
            let step = match found {
                Ok(found) => {
                    let (after, hit) = semantics::fetch(&found.attributes, fetch, now);
                    let (at, before) = (found.present, found.attributes);
                    self.apply(key, at, &before, &after, now).map(|at| (at, hit))
                }
                Err(miss) => {
                    let Some((write, hit)) = semantics::vivify(fetch, now, || 0) else {
                        return Err(miss);
                    };
                    let own_cas = fetch.new_cas.is_some();
                    self.write_new(key, &write, own_cas, present, b"", now).map(|at| (at, hit))
                }
            };
            match step {
                Ok((location, hit)) => {
                    if !fetch.unseen && !hit.created {
                        self.engine.record(location).note_fetch(now);
                    }
                    return Ok(hit.with(self.item(location)));
                }
                Err(Unpublished::Lost) => {}
                Err(Unpublished::Refused(_)) => return Err(Miss::Absent),
            }
        }
    }

    /// Gives an item the attributes that a fetch left it with.
    fn apply(
        &mut self,
        key: Key<'_>,
        present: Present,
        before: &Attributes,
        after: &Attributes,
        now: Now,
    ) -> Result<Location, Unpublished> {
        let location = present.location;
        if after.token_sent == before.token_sent {
            if after.expiry == before.expiry {
                return Ok(location);
            }
            let engine = &*self.engine;
            let region = engine.index.lock(key.hash);
            if region.find(key.hash, |at| at == location).is_none() {
                return Err(Unpublished::Lost);
            }
            if engine.record(location).set_expiry(after.expiry) {
                engine.arena.note_expiry(location, after.expiry);
                return Ok(location);
            }
        }
        self.rewrite(key, present, *after, false, now)
    }

    /// Publishes an item with a short value where none, or a dead one, stands.
    fn write_new(
        &mut self,
        key: Key<'_>,
        write: &Write,
        own_cas: bool,
        present: Option<Present>,
        value: &[u8],
        now: Now,
    ) -> Result<Location, Unpublished> {
        let seen = present.map(|present| present.location);
        let standing = self.engine.standing(key, seen, value.len(), now);
        let change = Change {
            own_cas,
            standing,
            expected: Expected::Exactly(present),
            ..Change::fresh(key, write.attributes, value)
        };
        let class = Class::of(standing.queue, write.attributes.expiry, now);
        let (location, _) = self.publish(class, &change, now)?;
        self.counters.add(Stat::total_items, 1);
        Ok(location)
    }
}

impl Access for SegmentAccess {
    type Pin = SegmentPin;
    type Item<'a> = SegmentItem<'a>;
    type Reservation = Arriving;

    #[inline(always)] // as `KeyHasher::key`
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.engine.hasher.key(bytes)
    }

    fn rest(&mut self) {
        self.member.rest();
    }

    fn look_ahead<'k>(&self, bytes: impl Iterator<Item = &'k [u8]>, keys: &mut [Key<'k>]) -> usize {
        let engine = &*self.engine;
        let mut buckets = [[0; 2]; REQUESTS_AHEAD];
        let mut count = 0;
        for ((bytes, key), buckets) in bytes.zip(keys.iter_mut()).zip(&mut buckets) {
            // Each bucket is on its way while the next key is hashed.
            *key = self.key(bytes);
            *buckets = engine.index.prefetch(key.hash);
            count += 1;
        }
        for (key, &buckets) in keys[..count].iter_mut().zip(&buckets) {
            if let Some((place, location)) = engine.index.guess(key.hash, buckets) {
                key.hint = place.hint();
                engine.arena.prefetch(location);
            }
        }
        count
    }

    #[inline(always)] // most fetches are plain, which is known where they are made
    fn fetch(
        &mut self,
        key: Key<'_>,
        fetch: &Fetch,
        now: Now,
    ) -> Result<Hit<SegmentItem<'_>>, Miss> {
        if fetch.touch.is_some() || fetch.vivify.is_some() || fetch.recache.is_some() {
            return self.fetch_and_change(key, fetch, now);
        }
        self.begin_fetch(key, now);
        let Some((location, found)) = self.engine.find(key) else {
            return Err(Miss::Absent);
        };
        if fetch.compete && found.is_stale() {
            return self.fetch_and_change(key, fetch, now);
        }
        let record = self.engine.record(location);
        if let Some(why) = self.engine.death(location, &record, now) {
            self.drop_dead(key, location, why);
            return Err(why);
        }
        let before = record.before(now);
        let (stale, token_sent) = (record.is_stale(), record.is_token_sent());
        if !fetch.unseen {
            record.note_fetch(now);
        }
        let item = SegmentItem::new(&self.engine, location, record);
        Ok(Hit { item, before, won: false, stale, token_sent, created: false })
    }

    #[inline]
    fn store(&mut self, key: Key<'_>, store: &Store, value: &[u8], now: Now) -> Stored {
        self.put(key, store, &[value], now)
    }

    fn reserve(
        &mut self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Result<Arriving, Refusal> {
        match self.engine.admits(key, store.flags, len) {
            true => Ok(self.begin_arrival(key, store, len, now)),
            false => Err(Refusal::TooLarge),
        }
    }

    fn place<'v>(&mut self, value: &'v mut Arriving, now: Now) -> &'v mut [u8] {
        self.place_of_next(value, now)
    }

    fn commit(&mut self, key: Key<'_>, store: &Store, value: Arriving, now: Now) -> Stored {
        match value.into_parts() {
            Some((placed, pieces)) => self.put_arrived(key, store, placed, pieces, now),
            None => Stored::Refused(Refusal::NoMemory),
        }
    }

    fn walk(&mut self, cursor: u64, now: Now, visit: &mut dyn FnMut(&ItemView<'_>)) -> Option<u64> {
        self.begin(now);
        self.engine.walk(cursor, now, visit)
    }

    fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted {
        loop {
            self.begin(now);
            let (_, found) = self.look(key, now);
            let Ok(found) = found else { return Deleted::NotFound };
            let present = found.present;
            let (flags, value_len) = (found.attributes.flags, self.engine.value_len(&found.record));
            let plan = semantics::delete(Some(&found.attributes), delete, now, || 0);
            let done = match plan {
                DeletePlan::Refuse(answer) => return answer,
                DeletePlan::Remove => self.remove(key, present),
                DeletePlan::Mark(attributes) => {
                    let draws = delete.new_cas.is_none();
                    self.rewrite(key, present, attributes, draws, now).map(|_| ())
                }
                DeletePlan::Clear(write) => self.clear(key, present, &write, delete, now),
            };
            match done {
                Ok(()) => return Deleted::Deleted { flags, value_len },
                Err(Unpublished::Lost) => {}
                // No room even for less than there was: then none is left.
                Err(Unpublished::Refused(_)) => {
                    if self.remove(key, present).is_ok() {
                        return Deleted::Deleted { flags, value_len };
                    }
                }
            }
        }
    }

    fn count(&mut self, key: Key<'_>, count: &Count, now: Now) -> Counted<SegmentItem<'_>> {
        loop {
            self.begin(now);
            let (present, found) = self.look(key, now);
            let found = found.ok();
            let current = found.as_ref().map(|found| {
                let value = if found.record.is_fragmented() { b"" } else { found.record.inline() };
                (&found.attributes, value)
            });
            let (value, write, hit) = match semantics::count(current, count, now, || 0) {
                CountPlan::NotFound => return Counted::NotFound,
                CountPlan::Exists => return Counted::Exists,
                CountPlan::NotNumeric => return Counted::NotNumeric,
                CountPlan::Write(value, write, hit) => (value, write, hit),
            };
            let digits = Digits::new(value);
            let seen = present.map(|present| present.location);
            let standing = self.engine.standing(key, seen, digits.as_bytes().len(), now);
            let change = Change {
                own_cas: count.new_cas.is_some(),
                standing,
                expected: Expected::Exactly(present),
                ..Change::fresh(key, write.attributes, digits.as_bytes())
            };
            let class = Class::of(standing.queue, write.attributes.expiry, now);
            match self.publish(class, &change, now) {
                Ok((location, _)) => {
                    self.counters.add(Stat::total_items, u64::from(write.fresh));
                    return Counted::Number { value, hit: hit.with(self.item(location)) };
                }
                Err(Unpublished::Lost) => {}
                Err(Unpublished::Refused(refusal)) => return Counted::Refused(refusal),
            }
        }
    }
}

impl SegmentAccess {
    /// Takes an item out of the index if it still is what was seen.
    pub(super) fn remove(&mut self, key: Key<'_>, present: Present) -> Result<(), Unpublished> {
        let engine = &*self.engine;
        let location = present.location;
        let region = engine.index.lock(key.hash);
        let found = region.find(key.hash, |at| at == location && engine.present(at) == present);
        let Some((place, _)) = found else {
            return Err(Unpublished::Lost);
        };
        let record = engine.record(location);
        let dead = self.left.place_of(engine, location);
        region.remove(place, present.sequence);
        engine.retire_counted(location, &record, dead.size(), &self.live);
        drop(region);
        self.counters.classes.leave(engine.size_of(&record), engine.bytes_of(&record));
        match record.is_fragmented() {
            true => self.bury_value(location),
            false => self.dead_places.add(dead, &engine.epochs),
        }
        Ok(())
    }

    /// Leaves an item without its value.
    fn clear(
        &mut self,
        key: Key<'_>,
        present: Present,
        write: &Write,
        delete: &Delete,
        now: Now,
    ) -> Result<(), Unpublished> {
        let record = self.engine.record(present.location);
        let standing = self.engine.standing_of(present.location, &record);
        let draws = delete.invalidate && delete.new_cas.is_none();
        let change = Change {
            own_cas: delete.new_cas.is_some() || (!draws && record.has_own_cas()),
            sequence: (!draws).then_some(present.sequence),
            standing,
            expected: Expected::Exactly(Some(present)),
            ..Change::fresh(key, write.attributes, b"")
        };
        let class = Class::of(standing.queue, write.attributes.expiry, now);
        self.publish(class, &change, now)?;
        self.counters.add(Stat::total_items, 1);
        Ok(())
    }
}

impl Drop for SegmentAccess {
    /// What this thread was filling is full now: others may empty it.
    fn drop(&mut self) {
        self.member.begin(&self.engine.epochs);
        self.give_up_all();
        self.numbers.end(&self.engine.sequence);
        if std::thread::panicking() {
            self.engine.panics.fetch_add(1, Relaxed);
        }
    }
}

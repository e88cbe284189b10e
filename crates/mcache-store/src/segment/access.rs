//! What one thread does in the store.
//!
//! Reads take no lock. A change is prepared outside every lock (its record is written to the
//! thread's own open segment), then published under its region's lock if the item is still the
//! one that the decision was made on; otherwise it is decided again.

use std::sync::Arc;

use mcache_base::number::Digits;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Counters, Expiry, Key, Now, Stat};

use super::SegmentStorageEngine;
use super::arena::Open;
use super::epoch::Member;
use super::fragments::Fragments;
use super::index::Location;
use super::item::{SegmentItem, SegmentPin};
use super::record::{Blueprint, Draft, Record};
use super::staged::Staged;
use crate::engine::Access;
use crate::eviction::QUEUES;
use crate::semantics::{self, Attributes, CountPlan, DeletePlan, StorePlan, Write};

/// Groups of items with about the same time to live, which lie in segments of their own.
const TTL_CLASSES: usize = 8;

/// One thread's way into the store.
pub struct SegmentAccess {
    pub(super) engine: Arc<SegmentStorageEngine>,
    pub(super) member: Member,
    pub(super) counters: Arc<Counters>,
    pub(super) open: [Option<Open>; QUEUES * TTL_CLASSES],
}

/// The segments that an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class(usize);

impl Class {
    /// For an item of this queue and this time to live.
    pub(super) fn of(queue: u32, expiry: Expiry, now: Now) -> Self {
        let ttl = match expiry.seconds_left(now) {
            None => 0,
            // 4 s, 16 s, 64 s, ... in classes of a factor of 4
            Some(seconds) => (seconds.max(1).ilog2() as usize / 2 + 1).min(TTL_CLASSES - 1),
        };
        Self(queue as usize * TTL_CLASSES + ttl)
    }

    /// Its place among the classes.
    pub(super) fn index(self) -> usize {
        self.0
    }

    /// The queue.
    pub(super) fn queue(self) -> u32 {
        (self.0 / TTL_CLASSES) as u32
    }
}

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

/// A live item as a decision sees it.
struct Found<'e> {
    present: Present,
    record: Record<'e>,
    attributes: Attributes,
}

impl SegmentAccess {
    pub(super) fn new(engine: &Arc<SegmentStorageEngine>) -> Self {
        Self {
            engine: engine.clone(),
            member: engine.epochs.join(),
            counters: engine.new_counters(),
            open: [const { None }; QUEUES * TTL_CLASSES],
        }
    }

    /// Begins an operation: nothing of the arena is held from before.
    #[inline]
    fn begin(&mut self, now: Now) {
        self.member.begin(&self.engine.epochs);
        self.engine.flush.ripen(|| self.engine.sequence.last(), now);
    }

    /// What stands in the index for a key, and the item if it is alive.
    fn look(&self, key: Key<'_>, now: Now) -> (Option<Present>, Result<Found<'_>, Miss>) {
        let Some(location) = self.engine.find(key) else {
            return (None, Err(Miss::Absent));
        };
        let record = self.engine.record(location);
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
        let unfetched = !self.engine.record(location).is_fetched();
        if self.engine.unlink(key.hash, location) && why == Miss::Expired && unfetched {
            self.counters.add(Stat::expired_unfetched, 1);
        }
    }

    fn item(&self, location: Location) -> SegmentItem<'_> {
        SegmentItem::new(&self.engine, location, self.engine.record(location))
    }

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
        if let Some(Present { location: old, .. }) = present {
            let record = engine.record(old);
            if change.carries { engine.retire(old, &record) } else { engine.bury(old, &record) }
        }
        Ok((location, sequence))
    }

    /// Publishes a change of an item that keeps its value's bytes.
    fn rewrite(
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

    /// The class of an item that stays in its queue.
    fn class_of(&self, location: Location, expiry: Expiry, now: Now) -> Class {
        let segment = self.engine.arena.segment(self.engine.arena.segment_of(location));
        Class::of(segment.queue.load(std::sync::atomic::Ordering::Relaxed), expiry, now)
    }

    /// A fetch that changes more than marks.
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
        let change = Change {
            own_cas,
            expected: Expected::Exactly(present),
            ..Change::fresh(key, write.attributes, value)
        };
        let class = Class::of(0, write.attributes.expiry, now);
        self.ensure(class, change.size_max(), now)?;
        let (location, _) = self.publish(class, &change)?;
        self.counters.add(Stat::total_items, 1);
        Ok(location)
    }

    fn put(&mut self, key: Key<'_>, store: &Store, pieces: &[&[u8]], now: Now) -> Stored {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if !self.engine.admits(key, store.flags, len) {
            return Stored::Refused(Refusal::TooLarge);
        }
        self.begin(now);
        match store.mode {
            StoreMode::Append | StoreMode::Prepend => self.splice(key, store, pieces, now),
            _ => self.put_whole(key, store, pieces, len, now),
        }
    }

    /// set, add, replace, cas.
    fn put_whole(
        &mut self,
        key: Key<'_>,
        store: &Store,
        pieces: &[&[u8]],
        len: usize,
        now: Now,
    ) -> Stored {
        let is_plain = store.mode == StoreMode::Set && store.compare.is_none();
        if !is_plain && let Err(answer) = self.decide(key, store, now) {
            return answer;
        }
        let class = Class::of(0, Expiry::from_exptime(store.exptime, now), now);
        let fragments = match self.cut(class, key, pieces, len, now) {
            Ok(fragments) => fragments,
            Err(refusal) => return Stored::Refused(refusal),
        };
        loop {
            self.begin(now);
            let (present, write) = match self.decide(key, store, now) {
                Ok(decided) => decided,
                Err(answer) => return answer,
            };
            let fresh = Change::fresh(key, write.attributes, b"");
            let change = Change {
                own_cas: store.new_cas.is_some(),
                inline: fragments.as_ref().map_or(b"", Fragments::list),
                more: if fragments.is_some() { &[] } else { pieces },
                fragmented: fragments.is_some(),
                expected: if is_plain { Expected::Anything } else { Expected::Exactly(present) },
                ..fresh
            };
            let published = self
                .ensure(class, change.size_max(), now)
                .map_err(Unpublished::from)
                .and_then(|()| self.publish(class, &change));
            match published {
                Ok((_, sequence)) => {
                    if let Some(fragments) = fragments {
                        fragments.keep();
                    }
                    self.counters.add(Stat::total_items, 1);
                    let cas = store.new_cas.unwrap_or(sequence);
                    return Stored::Stored { cas, value_len: len };
                }
                Err(Unpublished::Lost) => {}
                Err(Unpublished::Refused(refusal)) => return Stored::Refused(refusal),
            }
        }
    }

    /// What a store would do to what is there now.
    fn decide(
        &self,
        key: Key<'_>,
        store: &Store,
        now: Now,
    ) -> Result<(Option<Present>, Write), Stored> {
        if store.mode == StoreMode::Set && store.compare.is_none() {
            // Nothing that is there matters.
            return match semantics::store(None, store, now, || 0) {
                StorePlan::Write(write) => Ok((None, write)),
                StorePlan::Refuse(answer) | StorePlan::Promote(_, answer) => Err(answer),
            };
        }
        let (present, found) = self.look(key, now);
        let found = found.ok();
        match semantics::store(found.as_ref().map(|f| &f.attributes), store, now, || 0) {
            StorePlan::Refuse(answer) => Err(answer),
            StorePlan::Promote(_, answer) => {
                if let Some(found) = found {
                    found.record.note_access(now);
                }
                Err(answer)
            }
            StorePlan::Write(write) => Ok((present, write)),
        }
    }

    /// append, prepend.
    fn splice(&mut self, key: Key<'_>, store: &Store, pieces: &[&[u8]], now: Now) -> Stored {
        loop {
            self.begin(now);
            let (present, write) = match self.decide(key, store, now) {
                Ok(decided) => decided,
                Err(answer) => return answer,
            };
            let value = self.spliced(present, &write, pieces);
            let published = if self.engine.admits(key, write.attributes.flags, value.len()) {
                self.publish_value(key, &write, store.new_cas.is_some(), present, &value, now)
            } else {
                Err(Refusal::TooLarge.into())
            };
            match published {
                Ok(sequence) => {
                    self.counters.add(Stat::total_items, 1);
                    let cas = store.new_cas.unwrap_or(sequence);
                    return Stored::Stored { cas, value_len: value.len() };
                }
                Err(Unpublished::Lost) => {}
                Err(Unpublished::Refused(refusal)) => {
                    return semantics::splice_refused(&write, refusal);
                }
            }
        }
    }

    /// The value that an append or prepend makes.
    fn spliced(&self, present: Option<Present>, write: &Write, pieces: &[&[u8]]) -> Vec<u8> {
        let runs = present.map_or_else(Vec::new, |present| {
            self.engine.value_runs(&self.engine.record(present.location))
        });
        let (first, second) = match write.splice {
            semantics::Splice::Append => (&runs[..], pieces),
            _ => (pieces, &runs[..]),
        };
        [first.concat(), second.concat()].concat()
    }

    /// Publishes a value of any length in place of what is there.
    fn publish_value(
        &mut self,
        key: Key<'_>,
        write: &Write,
        own_cas: bool,
        present: Option<Present>,
        value: &[u8],
        now: Now,
    ) -> Result<u64, Unpublished> {
        let class = Class::of(0, write.attributes.expiry, now);
        let fragments = self.cut(class, key, &[value], value.len(), now)?;
        let change = Change {
            own_cas,
            fragmented: fragments.is_some(),
            expected: Expected::Exactly(present),
            ..Change::fresh(
                key,
                write.attributes,
                fragments.as_ref().map_or(value, Fragments::list),
            )
        };
        self.ensure(class, change.size_max(), now)?;
        let (_, sequence) = self.publish(class, &change)?;
        if let Some(fragments) = fragments {
            fragments.keep();
        }
        Ok(sequence)
    }

    /// Writes a long value's fragments; `None` for a value that fits its record.
    fn cut(
        &mut self,
        class: Class,
        key: Key<'_>,
        pieces: &[&[u8]],
        len: usize,
        now: Now,
    ) -> Result<Option<Fragments>, Refusal> {
        if len <= self.engine.arena.inline_max() {
            return Ok(None);
        }
        self.write_fragments(class, key.hash, pieces, now).map(Some)
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

impl Access for SegmentAccess {
    type Pin = SegmentPin;
    type Item<'a> = SegmentItem<'a>;
    type Reservation = Staged;

    #[inline]
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.engine.hasher.key(bytes)
    }

    fn rest(&mut self) {
        self.member.rest();
    }

    #[inline]
    fn fetch(
        &mut self,
        key: Key<'_>,
        fetch: &Fetch,
        now: Now,
    ) -> Result<Hit<SegmentItem<'_>>, Miss> {
        if fetch.touch.is_some() || fetch.vivify.is_some() || fetch.recache.is_some() {
            return self.fetch_and_change(key, fetch, now);
        }
        self.begin(now);
        let Some(location) = self.engine.find(key) else {
            return Err(Miss::Absent);
        };
        if fetch.compete && self.engine.record(location).is_stale() {
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
        _now: Now,
    ) -> Result<Staged, Refusal> {
        match self.engine.admits(key, store.flags, len) {
            true => Ok(Staged::new(len)),
            false => Err(Refusal::TooLarge),
        }
    }

    fn commit(&mut self, key: Key<'_>, store: &Store, value: Staged, now: Now) -> Stored {
        self.put(key, store, &value.pieces(), now)
    }

    fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted {
        loop {
            self.begin(now);
            let (_, found) = self.look(key, now);
            let Ok(found) = found else { return Deleted::NotFound };
            let present = found.present;
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
                Ok(()) => return Deleted::Deleted,
                Err(Unpublished::Lost) => {}
                // No room even for less than there was: then none is left.
                Err(Unpublished::Refused(_)) => {
                    if self.remove(key, present).is_ok() {
                        return Deleted::Deleted;
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
            let frequency = found.map_or(0, |found| found.record.frequency());
            let change = Change {
                own_cas: count.new_cas.is_some(),
                frequency,
                expected: Expected::Exactly(present),
                ..Change::fresh(key, write.attributes, digits.as_bytes())
            };
            let class = Class::of(0, write.attributes.expiry, now);
            let published = self
                .ensure(class, change.size_max(), now)
                .map_err(Unpublished::from)
                .and_then(|()| self.publish(class, &change));
            match published {
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
    fn remove(&mut self, key: Key<'_>, present: Present) -> Result<(), Unpublished> {
        let engine = &*self.engine;
        let location = present.location;
        let region = engine.index.lock(key.hash);
        let found = region.find(key.hash, |at| at == location && engine.present(at) == present);
        let Some((place, _)) = found else {
            return Err(Unpublished::Lost);
        };
        region.remove(place);
        drop(region);
        engine.bury(location, &engine.record(location));
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
        let draws = delete.invalidate && delete.new_cas.is_none();
        let change = Change {
            own_cas: delete.new_cas.is_some() || (!draws && record.has_own_cas()),
            sequence: (!draws).then_some(present.sequence),
            expected: Expected::Exactly(Some(present)),
            ..Change::fresh(key, write.attributes, b"")
        };
        let class = Class::of(0, write.attributes.expiry, now);
        self.ensure(class, change.size_max(), now)?;
        self.publish(class, &change)?;
        self.counters.add(Stat::total_items, 1);
        Ok(())
    }
}

impl Drop for SegmentAccess {
    /// What this thread was filling is full now: others may empty it.
    fn drop(&mut self) {
        for (class, open) in self.open.iter_mut().enumerate() {
            if let Some(open) = open.take() {
                self.engine.pool.seal(open.id, Class(class).queue());
            }
        }
    }
}

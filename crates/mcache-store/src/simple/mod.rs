//! The simple engine: one lock over one map. Slow, and so plain that it is obviously right:
//! the model that every other engine is tested against.

mod common;
mod ledger;
mod record;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::limits::WALK_STEP;
use mcache_base::number::Digits;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, Stored,
};
use mcache_base::{ClassStat, Item, ItemView, Key, Now, Stat, slab_class};

use common::Common;
use ledger::Claim;
pub use record::{Arriving, Blob, Held};
use record::{Incoming, Record};

use crate::engine::{Access, EngineOptions, StorageEngine};
use crate::groups::TooManyGroups;
use crate::observer::Observer;
use crate::semantics::{self, CountPlan, DeletePlan, StorePlan, Write};
use crate::tally::{EngineCounters, Why};

/// Bytes that an item takes beside its value and one copy of its key: two allocations and a slot
/// of the map. Resident memory grew by 223 to 338 bytes for each of 400 000 to 1 000 000 items,
/// depending on how full the map was (examples/overhead.rs, glibc's malloc).
const OVERHEAD: usize = 288;

/// One lock over one map.
pub struct SimpleStorageEngine {
    common: Common,
    shelf: Mutex<Shelf>,
}

struct Shelf {
    items: HashMap<Vec<u8>, Record>,
    counters: EngineCounters,
}

/// The engine with its lock held.
struct Open<'e> {
    common: &'e Common,
    shelf: MutexGuard<'e, Shelf>,
    now: Now,
}

impl SimpleStorageEngine {
    /// An empty engine.
    pub fn new(options: &EngineOptions) -> Self {
        let shelf = Shelf { items: HashMap::new(), counters: EngineCounters::default() };
        Self { common: Common::new(options, OVERHEAD), shelf: Mutex::new(shelf) }
    }

    fn open(&self, now: Now) -> Open<'_> {
        let shelf = self.lock();
        self.common.begin(now);
        Open { common: &self.common, shelf, now }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(
        &self,
        key: Key<'_>,
        store: &Store,
        incoming: Incoming<'_>,
        mut open: Open<'_>,
    ) -> Stored {
        if let Err(refusal) = self.common.footprint(key, store.flags, incoming.len()) {
            return Stored::Refused(refusal);
        }
        let current = open.live(key).ok().map(|record| record.attributes);
        match semantics::store(current.as_ref(), store, open.now, || self.next_cas()) {
            StorePlan::Refuse(answer) => answer,
            StorePlan::Promote(attributes, answer) => {
                if let Ok(record) = open.live(key) {
                    record.attributes = attributes;
                    self.common.promote(record);
                }
                answer
            }
            StorePlan::Write(write) => semantics::stored(&write, open.write(key, &write, incoming)),
        }
    }

    fn next_cas(&self) -> u64 {
        self.common.sequences.cas.next()
    }
}

impl StorageEngine for SimpleStorageEngine {
    type Pin = Blob;
    type Access = Arc<Self>;

    fn access(self: &Arc<Self>) -> Arc<Self> {
        self.clone()
    }

    fn flush(&self, delay: i64, now: Now) {
        let open = self.open(now);
        self.common.flush.order(delay, || self.common.sequences.stores.last(), now);
        drop(open);
    }

    fn flush_group(&self, prefix: &[u8], now: Now) -> Result<(), TooManyGroups> {
        let _open = self.open(now);
        self.common.flush.order_group(prefix, || self.common.sequences.stores.last())
    }

    fn maintain(&self, now: Now) {
        let mut open = self.open(now);
        open.shelf.counters.add(Stat::lru_maintainer_juggles, 1);
        open.shelf.counters.add(Stat::lru_crawler_starts, 1);
        let checked = open.shelf.items.len() as u64;
        open.shelf.counters.add(Stat::crawler_items_checked, checked);
        open.drop_dead(Why::WalkedOver);
    }

    fn stat(&self, stat: Stat) -> u64 {
        let shelf = self.lock();
        let slots = shelf.items.capacity() as u64;
        match stat {
            Stat::limit_maxbytes => self.common.ledger.capacity(),
            Stat::bytes => self.common.ledger.used(),
            Stat::curr_items => shelf.items.len() as u64,
            Stat::hash_power_level => u64::from(slots.max(1).ilog2()),
            Stat::hash_bytes => slots * size_of::<(Vec<u8>, Record)>() as u64,
            _ => shelf.counters.general.read(stat),
        }
    }

    fn class_stat(&self, class: usize, stat: ClassStat) -> u64 {
        self.lock().counters.classes.read(class, stat)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.common.observed.set(observer);
    }

    fn reset_stats(&self) {
        self.lock().counters.reset();
    }

    fn set_capacity(&self, capacity: u64, now: Now) -> bool {
        let mut open = self.open(now);
        self.common.ledger.set_capacity(capacity);
        let _ = open.make_room(0, b""); // what is over the limit without evictions stays
        true
    }

    fn check(&self) {
        let shelf = self.lock();
        let mut footprints = self.common.ledger.reserved();
        let (mut number, mut sizes) = (0, 0);
        for (key, record) in &shelf.items {
            assert_eq!(key, record.blob.key(), "an item lies under its own key");
            assert_eq!(record.hold().footprint(), OVERHEAD + key.len() + record.blob.value().len());
            footprints += record.footprint();
            number += 1;
            sizes += record.footprint();
        }
        let sum = |stat| slab_class::ids().map(|id| shelf.counters.classes.read(id, stat)).sum();
        let classes: [u64; 2] = [ClassStat::number, ClassStat::mem_requested].map(sum);
        assert_eq!(classes, [number, sizes], "what the size classes hold");
        assert_eq!(footprints, self.common.ledger.used(), "what is there is what was taken");
        // A limit that was lowered moves neither what may not be evicted nor what is arriving.
        let most = self.common.ledger.capacity().max(self.common.ledger.reserved());
        assert!(!self.common.evict || footprints <= most);
    }
}

impl Access for Arc<SimpleStorageEngine> {
    type Pin = Blob;
    type Item<'a> = Held;
    type Reservation = Arriving;

    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.common.hasher.key(bytes)
    }

    fn fetch(&mut self, key: Key<'_>, fetch: &Fetch, now: Now) -> Result<Hit<Held>, Miss> {
        let mut open = self.open(now);
        match open.live(key) {
            Ok(record) => {
                let (attributes, hit) = semantics::fetch(&record.attributes, fetch, now);
                record.attributes = attributes;
                if !fetch.unseen {
                    record.life.fetches = record.life.fetches.saturating_add(1);
                    self.common.promote(record);
                }
                Ok(hit.with(record.hold()))
            }
            Err(miss) => {
                let vivified = semantics::vivify(fetch, now, || self.next_cas());
                let (write, hit) = vivified.ok_or(miss)?;
                let empty = Incoming::Borrowed(b"");
                open.write(key, &write, empty).map(|item| hit.with(item)).map_err(|_| miss)
            }
        }
    }

    fn store(&mut self, key: Key<'_>, store: &Store, value: &[u8], now: Now) -> Stored {
        self.put(key, store, Incoming::Borrowed(value), self.open(now))
    }

    fn reserve(
        &mut self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Result<Arriving, Refusal> {
        let mut open = self.open(now);
        let footprint = self.common.footprint(key, store.flags, len)?;
        let made = open.make_room(footprint, key.bytes)?;
        open.count_reclaim(made, slab_class::item_size(key.bytes.len(), store.flags, len));
        Ok(Arriving::new(key.bytes, len, Claim::on(&self.common.ledger, footprint)))
    }

    fn place<'v>(&mut self, value: &'v mut Arriving, _now: Now) -> &'v mut [u8] {
        value.place()
    }

    fn commit(&mut self, key: Key<'_>, store: &Store, value: Arriving, now: Now) -> Stored {
        let open = self.open(now);
        // Nobody else can take the room while the lock is held.
        let (incoming, claim) = value.arrived(key.bytes);
        drop(claim);
        self.put(key, store, incoming, open)
    }

    fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted {
        let mut open = self.open(now);
        let current = open.live(key).ok().map(|record| record.attributes);
        let value_len = open.live(key).map_or(0, |record| record.blob.value().len());
        match semantics::delete(current.as_ref(), delete, now, || self.next_cas()) {
            DeletePlan::Refuse(answer) => return answer,
            DeletePlan::Remove => {
                if let Some(record) = open.take(key.bytes) {
                    open.shelf.counters.classes.leave(record.view().size(), record.bytes());
                }
            }
            DeletePlan::Mark(attributes) => {
                if let Ok(record) = open.live(key) {
                    record.attributes = attributes;
                }
            }
            DeletePlan::Clear(write) => {
                // Only flags can make an item without a value too large: then none is left.
                if open.write(key, &write, Incoming::Borrowed(b"")).is_err()
                    && let Some(record) = open.take(key.bytes)
                {
                    open.shelf.counters.classes.leave(record.view().size(), record.bytes());
                }
            }
        }
        Deleted::Deleted { flags: current.map_or(0, |item| item.flags), value_len }
    }

    fn walk(&mut self, cursor: u64, now: Now, visit: &mut dyn FnMut(&ItemView<'_>)) -> Option<u64> {
        let open = self.open(now);
        let mut next = cursor;
        for record in open.shelf.items.values().skip(cursor as usize).take(WALK_STEP) {
            next += 1;
            if self.common.death(record, now).is_none() {
                visit(&record.view());
            }
        }
        (next < open.shelf.items.len() as u64).then_some(next)
    }

    fn count(&mut self, key: Key<'_>, count: &Count, now: Now) -> Counted<Held> {
        let mut open = self.open(now);
        let current = open.live(key).ok().map(|record| (&record.attributes, record.blob.value()));
        match semantics::count(current, count, now, || self.next_cas()) {
            CountPlan::NotFound => Counted::NotFound,
            CountPlan::Exists => Counted::Exists,
            CountPlan::NotNumeric => Counted::NotNumeric,
            CountPlan::Write(value, write, hit) => {
                match open.write(key, &write, Incoming::Number(Digits::new(value))) {
                    Ok(item) => Counted::Number { value, hit: hit.with(item) },
                    Err(refusal) => Counted::Refused(refusal),
                }
            }
        }
    }
}

impl Open<'_> {
    /// The item, if anybody can still have it. Drops it otherwise.
    fn live(&mut self, key: Key<'_>) -> Result<&mut Record, Miss> {
        let record = self.shelf.items.get(key.bytes).ok_or(Miss::Absent)?;
        if let Some(why) = self.common.death(record, self.now) {
            self.drop_item(key.bytes, Why::Found(why));
            return Err(why);
        }
        self.shelf.items.get_mut(key.bytes).ok_or(Miss::Absent)
    }

    fn take(&mut self, key: &[u8]) -> Option<Record> {
        let record = self.shelf.items.remove(key)?;
        self.common.release(&record);
        Some(record)
    }

    fn drop_item(&mut self, key: &[u8], why: Why) {
        if let Some(record) = self.take(key) {
            self.shelf.counters.leave(record.leaving(why));
        }
    }

    fn write(
        &mut self,
        key: Key<'_>,
        write: &Write,
        incoming: Incoming<'_>,
    ) -> Result<Held, Refusal> {
        let current = self.shelf.items.get(key.bytes);
        let value_len = incoming.spliced_len(write.splice, current);
        let present = current.map_or(0, Record::footprint);
        let footprint = self.common.footprint(key, write.attributes.flags, value_len)?;
        let made = self.make_room(footprint.saturating_sub(present), key.bytes)?;
        let size = slab_class::item_size(key.bytes.len(), write.attributes.flags, value_len);
        self.count_reclaim(made, size);
        self.common.ledger.give_back(present.saturating_sub(footprint));

        let current = self.shelf.items.get(key.bytes);
        let record = self.common.record(key, write, incoming, current);
        let item = record.hold();
        self.shelf.counters.classes.enter(record.view().size(), record.bytes());
        if let Some(replaced) = self.shelf.items.insert(key.bytes.to_vec(), record) {
            self.shelf.counters.classes.leave(replaced.view().size(), replaced.bytes());
        }
        self.shelf.counters.add(Stat::total_items, u64::from(write.fresh));
        Ok(item)
    }

    /// Counts a store of an item of `size` bytes that had to make room.
    fn count_reclaim(&self, made: bool, size: usize) {
        let (stat, class_stat) = (Stat::direct_reclaims, ClassStat::direct_reclaims);
        self.shelf.counters.both(size, stat, class_stat, u64::from(made));
    }

    /// Takes `bytes` of the capacity: other items than `key`'s have to leave if need be.
    /// Returns whether any had to.
    fn make_room(&mut self, bytes: u64, key: &[u8]) -> Result<bool, Refusal> {
        if self.common.ledger.try_take(bytes) {
            return Ok(false);
        }
        self.drop_dead(Why::Reclaimed);
        while !self.common.ledger.try_take(bytes) {
            let others = self.shelf.items.iter().filter(|(other, _)| *other != key);
            let lowest = others.min_by_key(|(_, record)| record.rank);
            let Some((victim, record)) = lowest.filter(|_| self.common.evict) else {
                return Err(Refusal::NoMemory);
            };
            self.common.policy.evicted(record.rank);
            self.common.observed.evicted(|| record.as_evicted(self.now));
            let active = record.was_active(self.now);
            let victim = victim.clone();
            self.drop_item(&victim, Why::Evicted { active });
        }
        Ok(true)
    }

    /// Takes all items out that nobody can have any more.
    fn drop_dead(&mut self, why: fn(Miss) -> Why) {
        let (common, now) = (self.common, self.now);
        let Shelf { items, counters } = &mut *self.shelf;
        items.retain(|_, record| {
            let death = common.death(record, now);
            if let Some(miss) = death {
                common.release(record);
                counters.leave(record.leaving(why(miss)));
            }
            death.is_none()
        });
    }
}

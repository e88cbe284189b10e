//! The striped engine: the items shared out to stripes by their hash, each behind a lock.
//!
//! At most one lock is held at a time, and never while room is made: a write that finds too
//! little room lets go of its stripe, makes room and tries again. Each stripe publishes its lowest
//! rank, so the item that leaves is the lowest of all and not just of a stripe.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::number::Digits;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, Stored,
};
use mcache_base::{Key, Now, Stat};

use crate::common::{Common, count_dead, count_walked_over};
use crate::engine::{Access, EngineOptions, StorageEngine};
use crate::eviction::RANK_MAX;
use crate::groups::TooManyGroups;
use crate::ledger::{Claim, Credit};
use crate::observer::Observer;
use crate::record::{Arriving, Blob, Held, Incoming, Record};
use crate::semantics::{self, CountPlan, DeletePlan, StorePlan, Write};
use crate::stripe::Stripe;

/// Stripes: a power of two, many times the workers that may want one at once.
const STRIPES: usize = 128;

/// Bytes that an item takes beside its key and value: two allocations, a slot of the table and a
/// place in the order. Resident memory grew by 212 to 235 bytes for each of 230 000 to 1 000 000
/// items beside keys of 20 and values of 1 to 1000 bytes (examples/overhead.rs, glibc's malloc).
const OVERHEAD: usize = 232;

/// Items to look at in one round of maintenance; the stripe in hand is finished.
const MAINTAIN_ITEMS_MAX: usize = 100_000;

/// Items shared out to stripes.
pub struct StripedStorageEngine {
    common: Common,
    stripes: Box<[Mutex<Stripe>]>,
    /// The lowest rank of each stripe, written under its lock.
    lowest: Box<[AtomicU64]>,
    /// The stripe that a walk over the items comes to next.
    walk: AtomicUsize,
}

/// A stripe with its lock held. Publishes its lowest rank when it is let go.
struct Open<'e> {
    common: &'e Common,
    stripe: MutexGuard<'e, Stripe>,
    lowest: &'e AtomicU64,
    now: Now,
}

/// What a write lacked: it has to be tried again with so many bytes of credit.
struct Needs(u64);

impl StripedStorageEngine {
    /// An empty engine.
    pub fn new(options: &EngineOptions) -> Self {
        const { assert!(STRIPES.is_power_of_two()) };
        Self {
            common: Common::new(options, OVERHEAD),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            lowest: (0..STRIPES).map(|_| AtomicU64::new(RANK_MAX)).collect(),
            walk: AtomicUsize::new(0),
        }
    }

    fn open(&self, key: Key<'_>, now: Now) -> Open<'_> {
        self.open_stripe(index(key), now)
    }

    fn open_stripe(&self, index: usize, now: Now) -> Open<'_> {
        let stripe = lock(&self.stripes[index]);
        self.common.begin(now);
        Open { common: &self.common, stripe, lowest: &self.lowest[index], now }
    }

    fn next_cas(&self) -> u64 {
        self.common.sequences.cas.next()
    }

    /// Attempts something under the key's lock until there is room for what it writes.
    fn attempt<R>(
        &self,
        key: Key<'_>,
        now: Now,
        mut credit: Credit<'_>,
        mut attempt: impl FnMut(&mut Open<'_>, &mut Credit<'_>) -> Result<R, Needs>,
    ) -> Result<R, Refusal> {
        loop {
            // The lock is let go at the end of this statement.
            let attempted = attempt(&mut self.open(key, now), &mut credit);
            match attempted {
                Ok(result) => return Ok(result),
                Err(Needs(bytes)) => self.make_room(bytes, &mut credit, key, now)?,
            }
        }
    }

    fn no_credit(&self) -> Credit<'_> {
        Credit::on(&self.common.ledger, 0)
    }

    fn put(
        &self,
        key: Key<'_>,
        store: &Store,
        incoming: &Incoming<'_>,
        now: Now,
        credit: Credit<'_>,
    ) -> Stored {
        if let Err(refusal) = self.common.footprint(key, store.flags, incoming.len()) {
            return Stored::Refused(refusal);
        }
        let attempted = self.attempt(key, now, credit, |open, credit| {
            let current = open.live(key).ok().map(|record| record.attributes);
            Ok(match semantics::store(current.as_ref(), store, now, || self.next_cas()) {
                StorePlan::Refuse(answer) => answer,
                StorePlan::Promote(attributes, answer) => {
                    open.stripe.change(key, |record| {
                        record.attributes = attributes;
                        self.common.promote(record);
                    });
                    answer
                }
                StorePlan::Write(write) => {
                    let written = open.write(key, &write, incoming.clone(), credit)?;
                    semantics::stored(&write, written)
                }
            })
        });
        attempted.unwrap_or_else(Stored::Refused)
    }

    /// Brings the credit to `bytes`: other items than the key's own leave if need be.
    fn make_room(
        &self,
        bytes: u64,
        credit: &mut Credit<'_>,
        key: Key<'_>,
        now: Now,
    ) -> Result<(), Refusal> {
        lock(&self.stripes[index(key)]).counters.add(Stat::direct_reclaims, 1);
        if !self.common.evict {
            self.walk_stripe(now, |open, record, why| {
                count_dead(&open.stripe.counters, record, why);
                open.stripe.counters.add(Stat::reclaimed, 1);
            });
        }
        while !credit.cover(bytes) {
            if !(self.common.evict && self.evict_one(key, now)) {
                return Err(Refusal::NoMemory);
            }
        }
        Ok(())
    }

    /// Takes the item with the lowest rank out, whatever stripe it is in, unless it is the key's
    /// own. False if there is none.
    fn evict_one(&self, key: Key<'_>, now: Now) -> bool {
        let own = index(key);
        loop {
            let own_lowest = self.open(key, now).stripe.lowest_but(key);
            let ranks = self.lowest.iter().enumerate().map(|(index, lowest)| {
                (if index == own { own_lowest } else { lowest.load(Relaxed) }, index)
            });
            let Some((_, lowest)) = ranks.min().filter(|(rank, _)| *rank != RANK_MAX) else {
                return false;
            };
            let mut open = self.open_stripe(lowest, now);
            if let Some(record) = open.stripe.take_lowest_but(key) {
                open.release(&record);
                self.common.evicted(&record, &open.stripe.counters, now);
                return true;
            }
            // Somebody else took it meanwhile.
        }
    }

    /// Takes the dead items out of the stripe that is next in the walk. Returns how many items it
    /// looked at, and whether the walk has come to its end.
    fn walk_stripe(
        &self,
        now: Now,
        mut each: impl FnMut(&Open<'_>, &Record, Miss),
    ) -> (usize, bool) {
        let index = self.walk.fetch_add(1, Relaxed) % STRIPES;
        let mut open = self.open_stripe(index, now);
        let checked = open.stripe.len();
        for (record, why) in open.stripe.take_dead(|record| self.common.death(record, now)) {
            open.release(&record);
            each(&open, &record, why);
        }
        (checked, index + 1 == STRIPES)
    }
}

impl StorageEngine for StripedStorageEngine {
    type Pin = Blob;
    type Access = Arc<Self>;

    fn access(self: &Arc<Self>) -> Arc<Self> {
        self.clone()
    }

    fn flush(&self, delay: i64, now: Now) {
        self.common.begin(now);
        self.common.flush.order(delay, || self.common.sequences.stores.last(), now);
    }

    fn flush_group(&self, prefix: &[u8], now: Now) -> Result<(), TooManyGroups> {
        self.common.begin(now);
        self.common.flush.order_group(prefix, || self.common.sequences.stores.last())
    }

    fn maintain(&self, now: Now) {
        lock(&self.stripes[0]).counters.add(Stat::lru_maintainer_juggles, 1);
        let mut checked = 0;
        for _ in 0..STRIPES {
            let (looked_at, at_end) = self.walk_stripe(now, |open, record, why| {
                count_walked_over(&open.stripe.counters, record, why);
            });
            checked += looked_at;
            let counters = &lock(&self.stripes[0]).counters;
            counters.add(Stat::crawler_items_checked, looked_at as u64);
            counters.add(Stat::lru_crawler_starts, u64::from(at_end));
            if checked >= MAINTAIN_ITEMS_MAX {
                break;
            }
        }
    }

    fn stat(&self, stat: Stat) -> u64 {
        let sum = |of: &dyn Fn(&Stripe) -> u64| -> u64 {
            self.stripes.iter().map(|stripe| of(&lock(stripe))).sum()
        };
        let slots = || sum(&|stripe| stripe.slots() as u64);
        match stat {
            Stat::limit_maxbytes => self.common.ledger.capacity(),
            Stat::bytes => self.common.ledger.used(),
            Stat::curr_items => sum(&|stripe| stripe.len() as u64),
            Stat::hash_power_level => u64::from(slots().max(1).ilog2()),
            Stat::hash_bytes => slots() * Stripe::SLOT as u64,
            _ => sum(&|stripe| stripe.counters.read(stat)),
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.common.observed.set(observer);
    }

    fn reset_stats(&self) {
        self.stripes.iter().for_each(|stripe| lock(stripe).counters.reset());
    }

    fn check(&self) {
        let mut footprints = self.common.ledger.reserved();
        for (stripe, lowest) in self.stripes.iter().zip(&self.lowest) {
            let stripe = lock(stripe);
            footprints += stripe.check();
            assert_eq!(lowest.load(Relaxed), stripe.lowest(), "the published rank is true");
        }
        assert_eq!(footprints, self.common.ledger.used(), "what is there is what was taken");
        assert!(footprints <= self.common.ledger.capacity());
    }
}

impl Access for Arc<StripedStorageEngine> {
    type Pin = Blob;
    type Item<'a> = Held;
    type Reservation = Arriving;

    #[inline]
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.common.hasher.key(bytes)
    }

    fn fetch(&mut self, key: Key<'_>, fetch: &Fetch, now: Now) -> Result<Hit<Held>, Miss> {
        let attempted = self.attempt(key, now, self.no_credit(), |open, credit| {
            let miss = match open.live(key) {
                Ok(record) => {
                    let (attributes, hit) = semantics::fetch(&record.attributes, fetch, now);
                    return Ok(open
                        .fetched(key, attributes, fetch.unseen)
                        .map(|item| hit.with(item)));
                }
                Err(miss) => miss,
            };
            let Some((write, hit)) = semantics::vivify(fetch, now, || self.next_cas()) else {
                return Ok(Err(miss));
            };
            let written = open.write(key, &write, Incoming::Borrowed(b""), credit)?;
            Ok(written.map(|item| hit.with(item)).map_err(|_| miss))
        });
        attempted.unwrap_or(Err(Miss::Absent))
    }

    fn store(&mut self, key: Key<'_>, store: &Store, value: &[u8], now: Now) -> Stored {
        self.put(key, store, &Incoming::Borrowed(value), now, self.no_credit())
    }

    fn reserve(
        &mut self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Result<Arriving, Refusal> {
        let footprint = self.common.footprint(key, store.flags, len)?;
        let mut credit = self.no_credit();
        if !credit.cover(footprint) {
            self.make_room(footprint, &mut credit, key, now)?;
        }
        credit.spend(footprint);
        Ok(Arriving::new(key.bytes, len, Claim::on(&self.common.ledger, footprint)))
    }

    fn commit(&mut self, key: Key<'_>, store: &Store, value: Arriving, now: Now) -> Stored {
        let (incoming, claim) = value.arrived(key.bytes);
        let credit = Credit::on(&self.common.ledger, claim.hand_over());
        self.put(key, store, &incoming, now, credit)
    }

    fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted {
        let mut open = self.open(key, now);
        let current = open.live(key).ok().map(|record| record.attributes);
        match semantics::delete(current.as_ref(), delete, now, || self.next_cas()) {
            DeletePlan::Refuse(answer) => return answer,
            DeletePlan::Remove => open.remove(key),
            DeletePlan::Mark(attributes) => {
                open.stripe.change(key, |record| record.attributes = attributes);
            }
            DeletePlan::Clear(write) => {
                // It needs no room. Only flags can make an item without a value too large: then
                // none is left.
                let empty = Incoming::Borrowed(b"");
                if !matches!(open.write(key, &write, empty, &mut self.no_credit()), Ok(Ok(_))) {
                    open.remove(key);
                }
            }
        }
        Deleted::Deleted
    }

    fn count(&mut self, key: Key<'_>, count: &Count, now: Now) -> Counted<Held> {
        let attempted = self.attempt(key, now, self.no_credit(), |open, credit| {
            let current = open.live(key).ok();
            let current = current.map(|record| (&record.attributes, record.blob.value()));
            Ok(match semantics::count(current, count, now, || self.next_cas()) {
                CountPlan::NotFound => Counted::NotFound,
                CountPlan::Exists => Counted::Exists,
                CountPlan::NotNumeric => Counted::NotNumeric,
                CountPlan::Write(value, write, hit) => {
                    let digits = Incoming::Number(Digits::new(value));
                    match open.write(key, &write, digits, credit)? {
                        Ok(item) => Counted::Number { value, hit: hit.with(item) },
                        Err(refusal) => Counted::Refused(refusal),
                    }
                }
            })
        });
        attempted.unwrap_or_else(Counted::Refused)
    }
}

/// The stripe of a key: bits of the hash that the table inside does not use.
fn index(key: Key<'_>) -> usize {
    (key.hash >> 40) as usize % STRIPES
}

fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Open<'_> {
    /// The item, if anybody can still have it. Drops it otherwise.
    fn live(&mut self, key: Key<'_>) -> Result<&Record, Miss> {
        let record = self.stripe.find(key).ok_or(Miss::Absent)?;
        if let Some(why) = self.common.death(record, self.now) {
            count_dead(&self.stripe.counters, record, why);
            self.remove(key);
            return Err(why);
        }
        self.stripe.find(key).ok_or(Miss::Absent)
    }

    fn fetched(
        &mut self,
        key: Key<'_>,
        attributes: semantics::Attributes,
        unseen: bool,
    ) -> Result<Held, Miss> {
        let common = self.common;
        let changed = self.stripe.change(key, |record| {
            record.attributes = attributes;
            if !unseen {
                record.life.fetches = record.life.fetches.saturating_add(1);
                common.promote(record);
            }
            record.hold()
        });
        changed.ok_or(Miss::Absent)
    }

    fn remove(&mut self, key: Key<'_>) {
        if let Some(record) = self.stripe.remove(key) {
            self.release(&record);
        }
    }

    fn release(&self, record: &Record) {
        self.common.release(record);
    }

    /// Writes an item, if the credit or what is left of the capacity has room for what it takes
    /// more than the present one.
    fn write(
        &mut self,
        key: Key<'_>,
        write: &Write,
        incoming: Incoming<'_>,
        credit: &mut Credit<'_>,
    ) -> Result<Result<Held, Refusal>, Needs> {
        let current = self.stripe.find(key);
        let value_len = incoming.spliced_len(write.splice, current);
        let present = current.map_or(0, Record::footprint);
        let footprint = match self.common.footprint(key, write.attributes.flags, value_len) {
            Ok(footprint) => footprint,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let more = footprint.saturating_sub(present);
        if !credit.cover(more) {
            return Err(Needs(more));
        }
        credit.spend(more);
        self.common.ledger.give_back(present.saturating_sub(footprint));

        let record = self.common.record(key, write, incoming, current);
        let item = record.hold();
        self.stripe.put(key, record);
        self.stripe.counters.add(Stat::total_items, u64::from(write.fresh));
        Ok(Ok(item))
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let lowest = self.stripe.lowest();
        if self.lowest.load(Relaxed) != lowest {
            self.lowest.store(lowest, Relaxed);
        }
    }
}

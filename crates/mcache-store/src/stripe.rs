//! One stripe: a hash table of items, and the same items in the order in which they leave.

use std::collections::BTreeMap;

use hashbrown::HashTable;
use mcache_base::operation::Miss;
use mcache_base::{Counters, Key};

use crate::eviction::RANK_MAX;
use crate::record::Record;

/// Where an item stands in the order: its rank, then its store sequence, which is its own.
type Place = (u64, u64);

/// A part of the items.
#[derive(Default)]
pub struct Stripe {
    table: HashTable<Slot>,
    /// The hash of each item, by its place.
    order: BTreeMap<Place, u64>,
    /// Written under the stripe's lock: one writer at a time.
    pub counters: Counters,
}

/// Small, because a table that has just grown is half empty: the record lies elsewhere.
struct Slot {
    hash: u64,
    record: Box<Record>,
}

impl Slot {
    fn holds(&self, key: Key<'_>) -> bool {
        self.hash == key.hash && self.record.blob.key() == key.bytes
    }
}

fn place(record: &Record) -> Place {
    (record.rank, record.life.stored)
}

impl Stripe {
    /// Bytes of a slot of the table, its tag included.
    pub const SLOT: usize = size_of::<Slot>() + 1;

    /// Items held.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Slots of the table.
    pub fn slots(&self) -> usize {
        self.table.capacity()
    }

    /// The item under a key.
    pub fn find(&self, key: Key<'_>) -> Option<&Record> {
        self.table.find(key.hash, |slot| slot.holds(key)).map(|slot| &*slot.record)
    }

    /// Changes the item under a key, and its place with it.
    pub fn change<R>(&mut self, key: Key<'_>, change: impl FnOnce(&mut Record) -> R) -> Option<R> {
        let slot = self.table.find_mut(key.hash, |slot| slot.holds(key))?;
        let before = place(&slot.record);
        let result = change(&mut slot.record);
        let after = place(&slot.record);
        if after != before {
            self.order.remove(&before);
            self.order.insert(after, key.hash);
        }
        Some(result)
    }

    /// Puts an item in; the one that lay under its key comes out.
    pub fn put(&mut self, key: Key<'_>, record: Record) -> Option<Record> {
        let old = self.remove(key);
        self.order.insert(place(&record), key.hash);
        let slot = Slot { hash: key.hash, record: Box::new(record) };
        self.table.insert_unique(key.hash, slot, |slot| slot.hash);
        old
    }

    /// Takes the item under a key out.
    pub fn remove(&mut self, key: Key<'_>) -> Option<Record> {
        let found = self.table.find_entry(key.hash, |slot| slot.holds(key)).ok()?;
        let record = *found.remove().0.record;
        self.order.remove(&place(&record));
        Some(record)
    }

    /// The lowest rank; [`RANK_MAX`] if there is no item.
    pub fn lowest(&self) -> u64 {
        self.order.first_key_value().map_or(RANK_MAX, |((rank, _), _)| *rank)
    }

    /// The lowest rank but that of the item under `key`.
    pub fn lowest_but(&self, key: Key<'_>) -> u64 {
        self.first_but(key).map_or(RANK_MAX, |((rank, _), _)| rank)
    }

    /// Takes the item with the lowest rank out, unless it lies under `key`: then the next one.
    pub fn take_lowest_but(&mut self, key: Key<'_>) -> Option<Record> {
        let (first, hash) = self.first_but(key)?;
        self.order.remove(&first);
        let found = self.table.find_entry(hash, |slot| place(&slot.record) == first).ok()?;
        Some(*found.remove().0.record)
    }

    fn first_but(&self, key: Key<'_>) -> Option<(Place, u64)> {
        let kept = self.find(key).map(place);
        let mut others = self.order.iter().filter(|(place, _)| Some(**place) != kept);
        others.next().map(|(place, hash)| (*place, *hash))
    }

    /// Takes all items out that are dead, and says why they are.
    pub fn take_dead(&mut self, death: impl Fn(&Record) -> Option<Miss>) -> Vec<(Record, Miss)> {
        let dead = self.table.extract_if(|slot| death(&slot.record).is_some());
        let dead: Vec<_> =
            dead.filter_map(|slot| death(&slot.record).map(|why| (*slot.record, why))).collect();
        for (record, _) in &dead {
            self.order.remove(&place(record));
        }
        dead
    }

    /// Panics if table and order disagree. Returns the sum of the footprints.
    pub fn check(&self) -> u64 {
        assert_eq!(self.table.len(), self.order.len(), "each item has one place");
        for Slot { hash, record } in &self.table {
            assert_eq!(self.order.get(&place(record)), Some(hash), "each place has its item");
            let key = Key { bytes: record.blob.key(), hash: *hash };
            let found = self.find(key).expect("each item is found under its key");
            assert_eq!(place(found), place(record), "no key has two items");
        }
        self.table.iter().map(|slot| slot.record.footprint()).sum()
    }
}

//! What a storage engine promises.

use std::sync::Arc;

use crate::groups::TooManyGroups;
use mcache_base::limits::REQUESTS_AHEAD;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, Stored,
};
use mcache_base::{ClassStat, Item, ItemView, Key, Now, Pin, Stat};

use crate::observer::Observer;

/// What an engine is told when it is built. No setting of the server reaches below this.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Bytes for keys, values and everything the engine keeps beside them.
    pub capacity: u64,
    /// How large one item may be.
    pub item_size: SizeLimit,
    /// Make room by evicting. Without it a full engine refuses with [`Refusal::NoMemory`].
    pub evict: bool,
    /// Who leaves first: a name of [`crate::eviction::POLICIES`].
    pub policy: &'static crate::eviction::PolicyEntry,
}

/// How large one item may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// memcached's `-I`: the item with memcached's own header (48 bytes), key, value and cas.
    Item(u64),
    /// The seed's `--max-val-size`: the value alone. 0 is no limit but the capacity.
    Value(u64),
}

impl SizeLimit {
    /// memcached's item header.
    const HEADER: u64 = 48;

    /// Whether an item like this is small enough.
    pub fn admits(self, key_len: usize, flags: u32, value_len: usize) -> bool {
        let (key_len, value_len) = (key_len as u64, value_len as u64);
        let flags_len = if flags == 0 { 0 } else { 4 };
        match self {
            Self::Item(most) => {
                let (key_end, line_end, cas) = (1, 2, 8);
                Self::HEADER + key_len + key_end + flags_len + value_len + line_end + cas <= most
            }
            Self::Value(0) => true,
            Self::Value(most) => value_len <= most,
        }
    }
}

/// A set of items under one memory limit, shared by all threads.
pub trait StorageEngine: Send + Sync + Sized + 'static {
    /// A value held still for a send by reference.
    type Pin: Pin;

    /// One thread's way in.
    type Access: Access<Pin = Self::Pin>;

    /// A way in for one more thread.
    fn access(self: &Arc<Self>) -> Self::Access;

    /// Invalidates everything stored until the moment that `delay` means as an exptime; 0, a
    /// negative delay and a moment that has passed mean now. Replaces a flush that is pending.
    fn flush(&self, delay: i64, now: Now);

    /// Invalidates the keys that begin with `prefix` and were stored until now. Its last byte is a
    /// delimiter: a key's groups end with each of them, as far as
    /// [`mcache_base::limits::GROUP_LEVELS_MAX`] reaches.
    fn flush_group(&self, prefix: &[u8], now: Now) -> Result<(), TooManyGroups>;

    /// Gives back memory of items that nobody can have any more. Called about once a second.
    fn maintain(&self, now: Now);

    /// The value of a statistic whose source is the engine.
    fn stat(&self, stat: Stat) -> u64;

    /// The engine's part of a statistic of a size class. The gauges are exact while nobody is at
    /// work.
    fn class_stat(&self, class: usize, stat: ClassStat) -> u64 {
        let _ = (class, stat);
        0
    }

    /// Bytes of memory that the engine holds for items, used or not.
    fn memory(&self) -> u64 {
        self.stat(Stat::bytes)
    }

    /// Figures that only this engine has, by name.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// From now on tells `observer` of evictions; an engine has at most one observer.
    fn observe(&self, observer: Arc<dyn Observer>);

    /// Sets the engine's counters to 0.
    fn reset_stats(&self);

    /// Moves the memory limit, in bytes. Memory over it is given back now or as work goes on.
    /// Returns whether the engine can.
    fn set_capacity(&self, capacity: u64, now: Now) -> bool {
        let _ = (capacity, now);
        false
    }

    /// Panics if an invariant of the engine does not hold. For tests: it looks at every item,
    /// and expects that nobody else is at work.
    fn check(&self);
}

/// What one thread does in a storage engine.
///
/// Each operation is atomic. An item handed out is one consistent version: it does not change
/// while it is held, and holding it keeps nobody else from making progress.
pub trait Access: Send + 'static {
    /// A value held still for a send by reference.
    type Pin: Pin;

    /// A found item.
    type Item<'a>: Item<Pin = Self::Pin>
    where
        Self: 'a;

    /// Room for a value that is still arriving.
    type Reservation: Reservation;

    /// Hashes a key.
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k>;

    /// Tells that the thread will wait for something else. A thread that stays away without it
    /// keeps memory from being used again.
    fn rest(&mut self) {}

    /// Hashes the keys of the next operations into `keys`, until there are no more of either,
    /// brings what the operations will read nearer, and may note in the keys where it is expected.
    /// At most [`REQUESTS_AHEAD`]. Returns how many.
    fn look_ahead<'k>(&self, bytes: impl Iterator<Item = &'k [u8]>, keys: &mut [Key<'k>]) -> usize {
        let hashed = bytes.zip(keys).map(|(bytes, key)| *key = self.key(bytes));
        hashed.take(REQUESTS_AHEAD).count()
    }

    /// Looks an item up.
    fn fetch(&mut self, key: Key<'_>, fetch: &Fetch, now: Now)
    -> Result<Hit<Self::Item<'_>>, Miss>;

    /// Stores a value that has arrived whole.
    fn store(&mut self, key: Key<'_>, store: &Store, value: &[u8], now: Now) -> Stored;

    /// Makes room for a value of `len` bytes that is still arriving and is to be stored like this.
    fn reserve(
        &mut self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Result<Self::Reservation, Refusal>;

    /// Where the next bytes of a reserved value go, if they can be received there: then
    /// [`Reservation::arrived`] says how many came. Empty if they have no place: they are given
    /// to [`Reservation::fill`].
    fn place<'v>(&mut self, value: &'v mut Self::Reservation, now: Now) -> &'v mut [u8];

    /// Stores a reserved value whose bytes have all arrived, under the key it was reserved for.
    fn commit(&mut self, key: Key<'_>, store: &Store, value: Self::Reservation, now: Now)
    -> Stored;

    /// Shows some of the items that are alive, from `cursor` on: 0 is the beginning. Returns where
    /// to go on, or `None` at the end.
    ///
    /// A call looks at about [`mcache_base::limits::WALK_STEP`] places. An item that is stored,
    /// changed or moved meanwhile may be missed or shown twice.
    fn walk(&mut self, cursor: u64, now: Now, visit: &mut dyn FnMut(&ItemView<'_>)) -> Option<u64> {
        let _ = (cursor, now, visit);
        None
    }

    /// Takes an item away, or makes it less than it was.
    fn delete(&mut self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted;

    /// Adds to, or takes from, a number.
    fn count(&mut self, key: Key<'_>, count: &Count, now: Now) -> Counted<Self::Item<'_>>;
}

/// Room for a value that is still arriving. Dropping it gives the room back.
pub trait Reservation: Send + 'static {
    /// Bytes still to arrive.
    fn missing(&self) -> usize;

    /// Takes the next bytes of the value; at most [`Self::missing`] of them, and at most as many
    /// as the place takes that [`Access::place`] gave. Returns how many.
    fn fill(&mut self, bytes: &[u8]) -> usize;

    /// Notes that so many bytes have come to the front of the place that [`Access::place`] gave.
    fn arrived(&mut self, bytes: usize);
}

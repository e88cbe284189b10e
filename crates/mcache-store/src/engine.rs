//! What a storage engine promises.

use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, Stored,
};
use mcache_base::{Item, Key, Now, Pin, Stat};

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

/// A set of items under one memory limit, shared by all workers.
///
/// Each operation is atomic. An item handed out is one consistent version: it does not change
/// while it is held, and holding it keeps nobody else from making progress.
pub trait StorageEngine: Send + Sync + Sized + 'static {
    /// A value held still for a send by reference.
    type Pin: Pin;

    /// A found item.
    type Item<'e>: Item<Pin = Self::Pin>;

    /// Room for a value that is still arriving.
    type Reservation: Reservation;

    /// Hashes a key.
    fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k>;

    /// Looks an item up.
    fn fetch(&self, key: Key<'_>, fetch: &Fetch, now: Now) -> Result<Hit<Self::Item<'_>>, Miss>;

    /// Stores a value that has arrived whole.
    fn store(&self, key: Key<'_>, store: &Store, value: &[u8], now: Now) -> Stored;

    /// Makes room for a value of `len` bytes that is still arriving and is to be stored like this.
    fn reserve(
        &self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Result<Self::Reservation, Refusal>;

    /// Stores a reserved value whose bytes have all arrived, under the key it was reserved for.
    fn commit(&self, key: Key<'_>, store: &Store, value: Self::Reservation, now: Now) -> Stored;

    /// Takes an item away, or makes it less than it was.
    fn delete(&self, key: Key<'_>, delete: &Delete, now: Now) -> Deleted;

    /// Adds to, or takes from, a number.
    fn count(&self, key: Key<'_>, count: &Count, now: Now) -> Counted<Self::Item<'_>>;

    /// Invalidates everything stored until the moment that `delay` means as an exptime; 0, a
    /// negative delay and a moment that has passed mean now. Replaces a flush that is pending.
    fn flush(&self, delay: i64, now: Now);

    /// Gives back memory of items that nobody can have any more. Called about once a second.
    fn maintain(&self, now: Now);

    /// The value of a statistic whose source is the engine.
    fn stat(&self, stat: Stat) -> u64;

    /// Sets the engine's counters to 0.
    fn reset_stats(&self);

    /// Panics if an invariant of the engine does not hold. For tests: it looks at every item.
    fn check(&self);
}

/// Room for a value that is still arriving. Dropping it gives the room back.
pub trait Reservation: Send + 'static {
    /// Bytes still to arrive.
    fn missing(&self) -> usize;

    /// Takes the next bytes of the value; at most [`Self::missing`] of them. Returns how many.
    fn fill(&mut self, bytes: &[u8]) -> usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_limit_admits_what_just_fits() {
        // limit, key, flags, value; a value longer by one is over it
        for (limit, key_len, flags, value_len) in [
            (SizeLimit::Item(1 << 20), 3, 0, (1 << 20) - 62),
            (SizeLimit::Item(1 << 20), 3, 1, (1 << 20) - 66),
            (SizeLimit::Item(1024), 250, 0, 1024 - 309),
            (SizeLimit::Value(1024), 250, 7, 1024),
            (SizeLimit::Value(1), 1, 0, 1),
        ] {
            assert!(limit.admits(key_len, flags, value_len), "{limit:?}");
            assert!(!limit.admits(key_len, flags, value_len + 1), "{limit:?}");
        }
        assert!(SizeLimit::Value(0).admits(250, 1, usize::MAX));
    }
}

//! THE TABLE OF A SIZE CLASS'S STATISTICS, and one thread's counters of them.
//!
//! The rows are those of memcached's `stats items` and `stats slabs` that are counted; the
//! classes are those of [`crate::slab_class`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::slab_class;
use crate::stats::Kind;

macro_rules! class_stats {
    ($( $(#[doc = $about:literal])+ $name:ident: $kind:ident; )+) => {
        /// A statistic of a size class.
        #[allow(non_camel_case_types)] // the variants are the wire's names
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum ClassStat { $( $(#[doc = $about])+ $name, )+ }

        impl ClassStat {
            /// Every row.
            pub const ALL: &'static [ClassStat] = &[ $( ClassStat::$name, )+ ];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $( ClassStat::$name => stringify!($name), )+ }
            }

            /// One sentence.
            pub const fn about(self) -> &'static str {
                match self { $( ClassStat::$name => concat!($($about),+), )+ }
            }

            /// How the value behaves.
            pub const fn kind(self) -> Kind {
                match self { $( ClassStat::$name => Kind::$kind, )+ }
            }
        }
    };
}

class_stats! {
    /// Items held now.
    number: Gauge;
    /// Bytes that those items take, overhead included: all classes' sum is `bytes`.
    mem_requested: Gauge;
    /// Items evicted to make room.
    evicted: Counter;
    /// Items evicted that had an exptime.
    evicted_nonzero: Counter;
    /// Values refused because there was no memory for them.
    outofmemory: Counter;
    /// Stores that took the memory of an expired item.
    reclaimed: Counter;
    /// Items that expired without having been fetched.
    expired_unfetched: Counter;
    /// Items evicted without having been fetched.
    evicted_unfetched: Counter;
    /// Items evicted that had been fetched, and were last used less than 60 seconds before.
    evicted_active: Counter;
    /// Expired items found by a walk over the items.
    crawler_reclaimed: Counter;
    /// Items looked at by walks over the items.
    crawler_items_checked: Counter;
    /// Keys asked for and found.
    get_hits: Counter;
    /// Values stored, or sent to be stored.
    cmd_set: Counter;
    /// Deletes of keys that were there.
    delete_hits: Counter;
    /// incr of keys that were there.
    incr_hits: Counter;
    /// decr of keys that were there.
    decr_hits: Counter;
    /// Compare-and-swaps that stored.
    cas_hits: Counter;
    /// Compare-and-swaps that found another cas unique.
    cas_badval: Counter;
    /// Touches of keys that were there.
    touch_hits: Counter;
    /// Items moved to the queue of those that have still to prove their worth.
    moves_to_cold: Counter;
    /// Items moved to the queue of those that were worth keeping.
    moves_to_warm: Counter;
    /// Items that stayed in their queue when their turn to leave had come.
    moves_within_lru: Counter;
    /// Stores that had to make room themselves.
    direct_reclaims: Counter;
    /// Seconds for which the item that was evicted last had not been used.
    evicted_time: Gauge;
    /// Seconds for which the item that was used least recently was not used, among those in the
    /// oldest segments; where none of the class is in these, the most that it can be.
    age: Gauge;
}

impl ClassStat {
    /// What all threads' parts come to. While threads are at work, who reads one after the other
    /// may meet an item's leaving without its coming: less than none is none.
    pub fn sum(self, parts: impl IntoIterator<Item = u64>) -> u64 {
        let sum = parts.into_iter().fold(0, u64::wrapping_add);
        match self.kind() {
            Kind::Gauge => sum.cast_signed().max(0).cast_unsigned(),
            _ => sum,
        }
    }
}

/// One class's counters.
type Row = [AtomicU64; ClassStat::ALL.len()];

/// One thread's counters of all size classes.
///
/// Only the owner adds and takes, so neither is a locked instruction; readers sum over the
/// threads. What one thread adds another may take: a single thread's gauge may wrap, the sum
/// does not.
pub struct ClassCounters(Box<[Row]>);

impl Default for ClassCounters {
    fn default() -> Self {
        let row = || [const { AtomicU64::new(0) }; ClassStat::ALL.len()];
        Self((0..=slab_class::CHUNK_SIZES.len()).map(|_| row()).collect())
    }
}

impl ClassCounters {
    /// Adds `n` to a class's statistic. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, class: usize, stat: ClassStat, n: u64) {
        if let Some(row) = self.0.get(class) {
            let counter = &row[stat as usize];
            counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
        }
    }

    /// Counts an item that came to be held: its size as [`slab_class::item_size`] has it, and the
    /// bytes that it takes.
    #[inline]
    pub fn enter(&self, size: usize, bytes: usize) {
        let class = slab_class::of(size);
        self.add(class, ClassStat::number, 1);
        self.add(class, ClassStat::mem_requested, bytes as u64);
    }

    /// Counts an item that is held no more, with what it entered with.
    #[inline]
    pub fn leave(&self, size: usize, bytes: usize) {
        let class = slab_class::of(size);
        self.add(class, ClassStat::number, 1u64.wrapping_neg());
        self.add(class, ClassStat::mem_requested, (bytes as u64).wrapping_neg());
    }

    /// This thread's part of a class's statistic, for [`ClassStat::sum`].
    pub fn read(&self, class: usize, stat: ClassStat) -> u64 {
        self.0.get(class).map_or(0, |row| row[stat as usize].load(Relaxed))
    }

    /// Sets what counts events to 0.
    pub fn reset(&self) {
        for row in &self.0 {
            for &stat in ClassStat::ALL {
                if stat.kind() == Kind::Counter {
                    row[stat as usize].store(0, Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_thread_adds_another_takes() {
        let (one, other) = (ClassCounters::default(), ClassCounters::default());
        one.enter(100, 90);
        one.enter(110, 95);
        other.leave(100, 90);
        let sums = |all: &[&ClassCounters]| {
            [ClassStat::number, ClassStat::mem_requested]
                .map(|stat| stat.sum(all.iter().map(|counters| counters.read(2, stat))))
        };
        assert_eq!(sums(&[&one, &other]), [1, 95]);
        assert_eq!(sums(&[&other]), [0, 0], "read while what it took was being added");
    }

    #[test]
    fn a_reset_leaves_what_is_held() {
        let counters = ClassCounters::default();
        counters.enter(1 << 30, 7);
        counters.add(39, ClassStat::evicted, 7);
        counters.add(40, ClassStat::evicted, 7); // no such class
        counters.reset();
        assert_eq!(counters.read(39, ClassStat::number), 1);
        assert_eq!(counters.read(39, ClassStat::evicted), 0);
    }
}

//! The least frequently used leaves first, of those the least recently used.
//!
//! Popularity ages (LFU with dynamic aging): an item's frequency counts from the frequency of the
//! item that was evicted last when it was accessed, so what was popular once and is not any more
//! is overtaken.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{EvictionPolicy, Life};

/// Low bits of a rank: the last access, to break ties. The rest is the aged frequency. Once the
/// count of accesses passes 2^24, ties across that border are broken wrongly and nothing else.
const ACCESS_BITS: u32 = 24;

const FREQUENCY_MAX: u64 = (1 << (u64::BITS - ACCESS_BITS)) - 2;

#[derive(Default)]
pub(super) struct Lfu {
    /// The aged frequency of the item that was evicted last.
    age: AtomicU64,
}

impl EvictionPolicy for Lfu {
    fn rank(&self, life: &Life) -> u64 {
        let frequency = self.age.load(Relaxed) + u64::from(life.fetches);
        let access = life.accessed & ((1 << ACCESS_BITS) - 1);
        frequency.min(FREQUENCY_MAX) << ACCESS_BITS | access
    }

    fn evicted(&self, rank: u64) {
        self.age.fetch_max(rank >> ACCESS_BITS, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_popular_is_overtaken() {
        let lfu = Lfu::default();
        let popular = lfu.rank(&Life { accessed: 1, fetches: 5, ..Life::default() });
        let newcomer = |accessed| lfu.rank(&Life { accessed, fetches: 1, ..Life::default() });
        let mut generations = 0;
        while newcomer(generations + 2) < popular {
            lfu.evicted(newcomer(generations + 2));
            generations += 1;
        }
        assert_eq!(generations, 4);
    }
}

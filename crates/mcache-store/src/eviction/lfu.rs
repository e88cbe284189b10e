//! The least frequently used leaves first, of those the least recently used.
//!
//! Popularity ages (LFU with dynamic aging): an item's frequency counts from the frequency of the
//! item that was evicted last when it was accessed, so what was popular once and is not any more
//! is overtaken.
//!
//! By segments the frequency is a heat that ages as bytes are written; of each segment the more
//! frequently used part is kept.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::scale::{self, Chance};
use super::segment::{Candidate, Choice, Place, SegmentPolicy, Standing, Verdict, View};
use super::threshold::Threshold;
use super::{EvictionPolicy, Life};

/// Low bits of a rank: the last access, to break ties. The rest is the aged frequency. Once the
/// count of accesses passes 2^24, ties across that border are broken wrongly and nothing else.
const ACCESS_BITS: u32 = 24;

const FREQUENCY_MAX: u64 = (1 << (u64::BITS - ACCESS_BITS)) - 1;

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

/// Capacities written until a frequency has halved.
const HALF_LIFE: f64 = 4.0;

/// Share of a segment that is kept.
const KEEP: f64 = 0.7;

const GAIN: f64 = 0.1;

/// Least used of those that are kept at first.
const THRESHOLD_START: f64 = 0.5;

/// The same by segments.
pub(super) struct SegmentLfu {
    threshold: Threshold,
    chance: Chance,
    capacity: f64,
}

impl Default for SegmentLfu {
    fn default() -> Self {
        let threshold = Threshold::new(THRESHOLD_START, KEEP, GAIN);
        Self { threshold, chance: Chance::default(), capacity: 1.0 }
    }
}

impl SegmentPolicy for SegmentLfu {
    fn choose(&mut self, view: &View) -> Choice {
        self.capacity = view.capacity.max(1) as f64;
        Choice { queue: 0, place: Place::Oldest }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        let Standing { frequency, heat, .. } = candidate.standing;
        let left = libm::exp2(-(candidate.age as f64) / self.capacity / HALF_LIFE);
        let used = scale::heat(heat) * left + f64::from(frequency);
        match self.threshold.admits(used) {
            true => {
                let heat = scale::level(used, self.chance.draw());
                Verdict::Keep(Standing { heat, ..Standing::default() })
            }
            false => Verdict::Drop,
        }
    }

    fn emptied(&mut self, view: &View, _queue: usize, kept: usize) {
        self.threshold.steer(view, kept);
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

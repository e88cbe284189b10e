//! Who leaves first. A policy judges; it never moves memory.

mod fifo;
mod ghosts;
mod heat;
mod lfu;
mod lru;
mod mru;
mod random;
mod s3fifo;
mod scale;
mod segment;
mod sieve;
mod threshold;

use std::io;

pub use segment::{
    Admission, Candidate, Choice, FREQUENCY_MAX, Place, QUEUES, SegmentPolicy, Standing, Verdict,
    View,
};

/// The policies: one row each, and a file of the same name. The first is the default.
pub static POLICIES: &[PolicyEntry] = &[
    PolicyEntry {
        name: "heat",
        about: "The least hit for the bytes it takes leaves first; hits age; a scan does no harm.",
        by_segments: |reserve| Ok(Box::new(heat::Heat::new(reserve)?)),
        by_rank: || Box::new(lru::Lru),
    },
    PolicyEntry {
        name: "s3fifo",
        about: "S3-FIFO: what is not fetched while it is new leaves first.",
        by_segments: |reserve| Ok(Box::new(s3fifo::S3Fifo::new(reserve)?)),
        by_rank: || Box::new(lru::Lru),
    },
    PolicyEntry {
        name: "lru",
        about: "The least recently used leaves first.",
        by_segments: |_| Ok(Box::new(lru::Lru)),
        by_rank: || Box::new(lru::Lru),
    },
    PolicyEntry {
        name: "mru",
        about: "The most recently used leaves first.",
        by_segments: |_| Ok(Box::new(mru::Mru)),
        by_rank: || Box::new(mru::Mru),
    },
    PolicyEntry {
        name: "lfu",
        about: "The least frequently used leaves first; popularity ages.",
        by_segments: |_| Ok(Box::new(lfu::SegmentLfu::default())),
        by_rank: || Box::new(lfu::Lfu::default()),
    },
    PolicyEntry {
        name: "fifo",
        about: "The one stored first leaves first.",
        by_segments: |_| Ok(Box::new(fifo::Fifo)),
        by_rank: || Box::new(fifo::Fifo),
    },
    PolicyEntry {
        name: "sieve",
        about: "SIEVE: a hand goes round and drops what was not fetched since it passed.",
        by_segments: |_| Ok(Box::new(sieve::Sieve::default())),
        by_rank: || Box::new(lru::Lru),
    },
    PolicyEntry {
        name: "random",
        about: "Anyone leaves.",
        by_segments: |_| Ok(Box::new(random::Random::default())),
        by_rank: || Box::new(lru::Lru),
    },
];

/// The row with this name.
pub fn policy(name: &str) -> Option<&'static PolicyEntry> {
    POLICIES.iter().find(|entry| entry.name == name)
}

/// A row of the table of policies.
#[derive(Debug)]
pub struct PolicyEntry {
    /// The name that `--eviction` takes.
    pub name: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Builds the policy for a store of segments that may grow to so many bytes.
    pub by_segments: fn(u64) -> io::Result<Box<dyn SegmentPolicy>>,
    /// Builds the policy for a store that keeps its items in one order. What is no order is
    /// the least recently used there.
    pub by_rank: fn() -> Box<dyn EvictionPolicy>,
}

/// An item's past, as far as a policy may judge by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// When it was stored, as a count of all stores.
    pub stored: u64,
    /// When it was last stored or fetched, as a count of all accesses.
    pub accessed: u64,
    /// How often it was fetched since it was stored.
    pub fetches: u32,
    /// Bytes it takes.
    pub footprint: u32,
}

/// Who leaves first, where items are kept in one order.
pub trait EvictionPolicy: Send + Sync {
    /// The item's rank, judged anew at each access: the lowest leaves first.
    fn rank(&self, life: &Life) -> u64;

    /// The item with this rank was chosen and has left.
    fn evicted(&self, _rank: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVES: [Life; 4] = [
        Life { stored: 1, accessed: 1, fetches: 0, footprint: 1 },
        Life { stored: 7, accessed: 9, fetches: 3, footprint: 100 },
        Life { stored: 7, accessed: 10, fetches: 4, footprint: 100 },
        Life { stored: 1 << 60, accessed: 1 << 62, fetches: u32::MAX, footprint: u32::MAX },
    ];

    #[test]
    fn names_are_unique_and_found() {
        for (index, entry) in POLICIES.iter().enumerate() {
            let found = POLICIES.iter().position(|other| other.name == entry.name);
            assert_eq!(found, Some(index), "{}", entry.name);
            assert!(policy(entry.name).is_some_and(|row| std::ptr::eq(row, entry)));
            assert!(entry.about.ends_with('.'));
        }
        assert!(policy("LRU").is_none() && policy("").is_none());
    }

    #[test]
    fn every_rank_keeps_the_contract() {
        for entry in POLICIES {
            let policy = (entry.by_rank)();
            let ranks = LIVES.map(|life| policy.rank(&life));
            assert_eq!(ranks, LIVES.map(|life| policy.rank(&life)), "{}: not steady", entry.name);
            // Two items with different pasts: the order is strict, so that no item is immortal.
            assert_ne!(ranks[0], ranks[1], "{}", entry.name);
        }
    }

    /// A store of a few segments in which everything was fetched, as often as that is noted.
    #[test]
    fn every_policy_makes_room_in_the_end() {
        const SEGMENT: usize = 1 << 14;
        const ITEMS: u64 = 64;
        for entry in POLICIES {
            let mut policy = (entry.by_segments)(1 << 30).unwrap();
            let admission = policy.admission();
            let mut queues = [Vec::new(), Vec::new()];
            for segment in 0..8 {
                let hash = |item: u64| (segment * ITEMS + item).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let admit = |item| (hash(item), admission.admit(hash(item), SEGMENT / 64, 0));
                let items: Vec<_> = (0..ITEMS).map(admit).collect();
                queues[items[0].1.queue].push(items);
            }
            queues.iter_mut().flatten().flatten().for_each(|item| item.1.frequency = FREQUENCY_MAX);
            let mut left = 0;
            for round in 0.. {
                assert!(round < 32, "{}: nothing leaves", entry.name);
                let lengths = [queues[0].len(), queues[1].len()];
                let view = View {
                    capacity: 8 * SEGMENT as u64,
                    written: 8 * SEGMENT as u64,
                    items: 8 * ITEMS,
                    segment_size: SEGMENT,
                    lengths,
                };
                let choice = policy.choose(&view);
                let queue =
                    if queues[choice.queue].is_empty() { 1 - choice.queue } else { choice.queue };
                let index = match choice.place {
                    Place::Oldest => 0,
                    Place::Newest => queues[queue].len() - 1,
                    Place::At(index) => index,
                };
                let items = queues[queue].remove(index);
                let mut kept = [Vec::new(), Vec::new()];
                for (hash, standing) in items {
                    let candidate = Candidate { hash, standing, age: 0, size: SEGMENT / 64 };
                    match policy.judge(&candidate) {
                        Verdict::Keep(standing) => {
                            assert!(standing.frequency <= FREQUENCY_MAX);
                            assert!(standing.heat <= scale::LEVEL_MAX);
                            kept[standing.queue].push((hash, standing));
                        }
                        Verdict::Drop => {
                            policy.dropped(&candidate);
                            left += 1;
                        }
                    }
                }
                let bytes = (kept[0].len() + kept[1].len()) * SEGMENT / 64;
                policy.emptied(&view, queue, bytes);
                let parts = kept.into_iter().enumerate().filter(|(_, items)| !items.is_empty());
                parts.for_each(|(queue, items)| queues[queue].push(items));
                if left > 0 {
                    break;
                }
            }
        }
    }
}

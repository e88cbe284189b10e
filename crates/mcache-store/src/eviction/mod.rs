//! Who leaves first. A policy judges; it never moves memory.

mod fifo;
mod lfu;
mod lru;
mod mru;
mod segment;

pub use segment::{Candidate, Choice, QUEUES, SegmentPolicy, Verdict};

/// The policies: one row each, and a file of the same name.
pub static POLICIES: &[PolicyEntry] = &[
    PolicyEntry {
        name: "lru",
        about: "The least recently used leaves first.",
        build: || Box::new(lru::Lru),
    },
    PolicyEntry {
        name: "mru",
        about: "The most recently used leaves first.",
        build: || Box::new(mru::Mru),
    },
    PolicyEntry {
        name: "lfu",
        about: "The least frequently used leaves first; popularity ages.",
        build: || Box::new(lfu::Lfu::default()),
    },
    PolicyEntry {
        name: "fifo",
        about: "The one stored first leaves first.",
        build: || Box::new(fifo::Fifo),
    },
];

/// The policy for segments.
pub fn segment_policy() -> Box<dyn SegmentPolicy> {
    Box::new(segment::TwoQueues)
}

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
    /// Builds the policy.
    pub build: fn() -> Box<dyn EvictionPolicy>,
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

/// Who leaves first.
pub trait EvictionPolicy: Send + Sync {
    /// The item's rank, judged anew at each access: the lowest leaves first. Below
    /// [`RANK_MAX`].
    fn rank(&self, life: &Life) -> u64;

    /// The item with this rank was chosen and has left.
    fn evicted(&self, _rank: u64) {}
}

/// Above all ranks.
pub const RANK_MAX: u64 = u64::MAX;

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
    fn every_policy_keeps_the_contract() {
        for entry in POLICIES {
            let policy = (entry.build)();
            let ranks = LIVES.map(|life| policy.rank(&life));
            assert_eq!(ranks, LIVES.map(|life| policy.rank(&life)), "{}: not steady", entry.name);
            assert!(ranks.iter().all(|&rank| rank < RANK_MAX), "{}: {ranks:?}", entry.name);
            // Two items with different pasts: the order is strict, so that no item is immortal.
            assert_ne!(ranks[0], ranks[1], "{}", entry.name);
            policy.evicted(ranks[0]);
            policy.evicted(RANK_MAX - 1);
            assert!(LIVES.iter().all(|life| policy.rank(life) < RANK_MAX), "{}", entry.name);
        }
    }
}

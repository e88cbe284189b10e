//! Who leaves first. A policy judges; it never moves memory.

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
    /// The item's rank: the lowest leaves first.
    fn rank(&self, life: &Life) -> u64;
}

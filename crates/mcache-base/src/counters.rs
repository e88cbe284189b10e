//! A worker's own counters: one writer, any number of readers who sum.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Stat;

/// The counters of one worker, on cache lines of their own.
///
/// Only the owner adds, so an addition is a plain load and store, not a locked instruction.
/// A reset by another thread may lose additions made in the same instant; it never corrupts.
#[repr(align(128))]
pub struct Counters([AtomicU64; Stat::ALL.len()]);

impl Default for Counters {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Stat::ALL.len()])
    }
}

impl Counters {
    /// Adds `n` to `stat`. Only the owning worker may call this.
    #[inline]
    pub fn add(&self, stat: Stat, n: u64) {
        let counter = &self.0[stat as usize];
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The value of `stat` as of some recent moment.
    pub fn read(&self, stat: Stat) -> u64 {
        self.0[stat as usize].load(Relaxed)
    }

    /// Sets every counter to 0.
    pub fn reset(&self) {
        for counter in &self.0 {
            counter.store(0, Relaxed);
        }
    }
}

//! Counts that number things from 1 on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that only rises. Each number is given once.
///
/// Every change draws a number: what lies beside it is read by everybody and must not move with it
/// from processor to processor.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Sequence(AtomicU64);

impl Sequence {
    /// The next number; the first is 1.
    #[inline]
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed) + 1
    }

    /// Goes on behind `number`.
    pub fn resume(&self, number: u64) {
        self.0.fetch_max(number, Relaxed);
    }

    /// The number given last; 0 if none was.
    #[inline]
    pub fn last(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

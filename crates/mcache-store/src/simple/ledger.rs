//! Who owes how many bytes of the capacity: room is taken here before anything is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bytes in use under a capacity that they never exceed, unless it was lowered.
///
/// The counts guard no other memory, so relaxed order is enough.
#[derive(Debug)]
pub struct Ledger {
    capacity: AtomicU64,
    used: AtomicU64,
    reserved: AtomicU64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(capacity: u64) -> Self {
        Self { capacity: capacity.into(), used: AtomicU64::new(0), reserved: AtomicU64::new(0) }
    }

    /// The most bytes that can be in use.
    pub fn capacity(&self) -> u64 {
        self.capacity.load(Relaxed)
    }

    /// Moves the capacity. More than that may be in use then: nothing is to be had until less is.
    pub fn set_capacity(&self, capacity: u64) {
        self.capacity.store(capacity, Relaxed);
    }

    /// Bytes in use, reservations included.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Bytes in use by values that are still arriving.
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Relaxed)
    }

    /// Takes `bytes` if they are to be had.
    pub fn try_take(&self, bytes: u64) -> bool {
        let capacity = self.capacity();
        let enough = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= capacity);
        self.used.fetch_update(Relaxed, Relaxed, enough).is_ok()
    }

    /// Gives `bytes` back that were taken.
    pub fn give_back(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Relaxed);
        debug_assert!(before >= bytes, "gave back {bytes} of {before}");
    }
}

/// Bytes taken for a value that is still arriving; given back when it is dropped.
#[derive(Debug)]
pub struct Claim {
    ledger: Arc<Ledger>,
    bytes: u64,
}

impl Claim {
    /// Takes over `bytes` that were taken from `ledger`.
    pub fn on(ledger: &Arc<Ledger>, bytes: u64) -> Self {
        ledger.reserved.fetch_add(bytes, Relaxed);
        Self { ledger: Arc::clone(ledger), bytes }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ledger.reserved.fetch_sub(self.bytes, Relaxed);
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_above_the_capacity() {
        let ledger = Ledger::new(10);
        assert!(ledger.try_take(10));
        assert!(!ledger.try_take(1));
        assert!(ledger.try_take(0));
        assert!(!ledger.try_take(u64::MAX));
        ledger.give_back(4);
        assert!(ledger.try_take(4));
        assert_eq!(ledger.used(), 10);
        ledger.set_capacity(9);
        assert!(!ledger.try_take(0));
    }

    #[test]
    fn a_dropped_claim_gives_its_bytes_back() {
        let ledger = Arc::new(Ledger::new(10));
        assert!(ledger.try_take(10));
        let (kept, dropped) = (Claim::on(&ledger, 4), Claim::on(&ledger, 6));
        assert_eq!(ledger.reserved(), 10);
        drop(dropped);
        assert_eq!((ledger.used(), ledger.reserved()), (4, 4));
        drop(kept);
        assert_eq!((ledger.used(), ledger.reserved()), (0, 0));
    }
}

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

/// Bytes taken ahead of a write; what is not spent is given back when it is dropped.
#[derive(Debug)]
pub struct Credit<'l> {
    ledger: &'l Ledger,
    bytes: u64,
}

impl<'l> Credit<'l> {
    /// Takes over `bytes` that were taken from `ledger`.
    pub fn on(ledger: &'l Ledger, bytes: u64) -> Self {
        Self { ledger, bytes }
    }

    /// Takes what is missing to `bytes`, if it is to be had.
    pub fn cover(&mut self, bytes: u64) -> bool {
        let covered = self.ledger.try_take(bytes.saturating_sub(self.bytes));
        if covered {
            self.bytes = self.bytes.max(bytes);
        }
        covered
    }

    /// Puts `bytes`, which have to be covered, to their use.
    pub fn spend(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.bytes, "spent {bytes} of {}", self.bytes);
        self.bytes -= bytes;
    }
}

impl Drop for Credit<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.ledger.give_back(self.bytes);
        }
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

    /// Hands the bytes over: the caller has to account for them now.
    pub fn hand_over(mut self) -> u64 {
        let bytes = std::mem::take(&mut self.bytes);
        self.ledger.reserved.fetch_sub(bytes, Relaxed);
        bytes
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.ledger.reserved.fetch_sub(self.bytes, Relaxed);
            self.ledger.give_back(self.bytes);
        }
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
    fn unspent_credit_is_given_back() {
        let ledger = Ledger::new(10);
        let mut credit = Credit::on(&ledger, 0);
        assert!(credit.cover(4) && credit.cover(8) && credit.cover(3) && !credit.cover(11));
        assert_eq!(ledger.used(), 8);
        credit.spend(5);
        drop(credit);
        assert_eq!(ledger.used(), 5);
    }

    #[test]
    fn a_dropped_claim_gives_its_bytes_back_and_a_handed_over_one_does_not() {
        let ledger = Arc::new(Ledger::new(10));
        assert!(ledger.try_take(10));
        let (kept, dropped) = (Claim::on(&ledger, 4), Claim::on(&ledger, 6));
        assert_eq!(ledger.reserved(), 10);
        drop(dropped);
        assert_eq!(kept.hand_over(), 4);
        assert_eq!((ledger.used(), ledger.reserved()), (4, 0));
    }
}

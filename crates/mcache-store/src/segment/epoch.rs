//! When memory that readers may still look at can be used again.
//!
//! Quiescent-state-based reclamation (Hart et al., "Performance of memory reclamation for
//! lockless synchronization", 2007). Every thread announces the epoch it works in; memory that
//! was unlinked in an epoch is free once every thread that is not resting has announced a later
//! one. Announcing is a load and a compare while the epoch stands still.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

/// What a thread that is between turns announces.
const RESTING: u64 = u64::MAX;

/// A thread's announcement, on a cache line of its own.
#[repr(align(128))]
#[derive(Debug)]
struct Announced(AtomicU64);

/// The epoch and who works in which.
#[derive(Debug)]
pub struct Epochs {
    now: AtomicU64,
    threads: Mutex<Vec<Arc<Announced>>>,
}

/// One thread's membership. It rests until its first operation.
#[derive(Debug)]
pub struct Member {
    announced: Arc<Announced>,
    current: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { now: AtomicU64::new(1), threads: Mutex::default() }
    }
}

impl Epochs {
    /// Takes a thread in.
    pub fn join(&self) -> Member {
        let announced = Arc::new(Announced(AtomicU64::new(RESTING)));
        self.threads().push(announced.clone());
        Member { announced, current: RESTING }
    }

    /// Begins a new epoch, after memory was unlinked. Returns the epoch that has to be over
    /// everywhere before that memory may be used again.
    pub fn advance(&self) -> u64 {
        self.now.fetch_add(1, SeqCst)
    }

    /// The oldest epoch that a thread still works in; everything unlinked before it is free.
    pub fn oldest(&self) -> u64 {
        fence(SeqCst);
        let mut threads = self.threads();
        threads.retain(|thread| Arc::strong_count(thread) > 1);
        threads.iter().map(|thread| thread.0.load(Acquire)).min().unwrap_or(RESTING)
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Announced>>> {
        self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Member {
    /// Announces that the thread holds nothing from before and works in the present epoch.
    #[inline]
    pub fn begin(&mut self, epochs: &Epochs) {
        let now = epochs.now.load(Acquire);
        if now == self.current {
            return;
        }
        let rested = self.current == RESTING;
        self.announced.0.store(now, Release);
        self.current = now;
        if rested {
            // The announcement has to be seen before anything that this thread reads next.
            fence(SeqCst);
        }
    }

    /// Announces that the thread holds nothing and will do nothing before its next `begin`.
    pub fn rest(&mut self) {
        self.announced.0.store(RESTING, Release);
        self.current = RESTING;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_free_when_nobody_works_in_its_epoch() {
        let epochs = Epochs::default();
        let (mut one, mut two) = (epochs.join(), epochs.join());
        one.begin(&epochs);
        let unlinked = epochs.advance();
        assert!(epochs.oldest() <= unlinked, "one still works in it");
        two.begin(&epochs);
        assert!(epochs.oldest() <= unlinked);
        one.begin(&epochs);
        assert!(epochs.oldest() > unlinked);
        let unlinked = epochs.advance();
        one.rest();
        assert!(epochs.oldest() <= unlinked, "two still works in it");
        drop(two);
        assert!(epochs.oldest() > unlinked, "nobody is left");
    }
}

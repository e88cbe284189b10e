//! When memory that readers may still look at can be used again.
//!
//! Quiescent-state-based reclamation (Hart et al., "Performance of memory reclamation for
//! lockless synchronization", 2007). Every thread announces the epoch it works in; memory that
//! was unlinked in an epoch is free once every thread that is not resting has announced a later
//! one. Announcing is a load and a compare while the epoch stands still.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

use super::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, fence, spin_loop};

/// What a thread that is between turns announces.
const RESTING: u64 = u64::MAX;

/// What stands there while another thread visits one that rests.
const VISITED: u64 = u64::MAX - 1;

/// A thread's announcement, on a cache line of its own.
#[repr(align(128))]
#[derive(Debug)]
struct Announced {
    epoch: AtomicU64,
    /// Somebody visited it since it began last.
    was_visited: AtomicBool,
}

/// Tells a thread to others.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Announced>);

/// The epoch and who works in which.
#[derive(Debug)]
pub struct Epochs {
    now: Now,
    threads: Mutex<Vec<Arc<Announced>>>,
}

/// The present epoch. What lies beside it is read by everybody, and it changes often.
#[repr(align(128))]
#[derive(Debug)]
struct Now(AtomicU64);

/// One thread's membership. It rests until its first operation.
#[derive(Debug)]
pub struct Member {
    announced: Arc<Announced>,
    current: u64,
}

impl Default for Epochs {
    fn default() -> Self {
        Self { now: Now(AtomicU64::new(1)), threads: Mutex::default() }
    }
}

impl Epochs {
    /// Takes a thread in.
    pub fn join(&self) -> Member {
        let epoch = AtomicU64::new(RESTING);
        let announced = Arc::new(Announced { epoch, was_visited: AtomicBool::new(false) });
        self.threads().push(announced.clone());
        Member { announced, current: RESTING }
    }

    /// Begins a new epoch, after memory was unlinked. Returns the epoch that has to be over
    /// everywhere before that memory may be used again.
    pub fn advance(&self) -> u64 {
        self.now.0.fetch_add(1, SeqCst)
    }

    /// The oldest epoch that a thread still works in; everything unlinked before it is free.
    pub fn oldest(&self) -> u64 {
        fence(SeqCst);
        let mut threads = self.threads();
        threads.retain(|thread| Arc::strong_count(thread) > 1);
        threads.iter().map(|thread| thread.epoch.load(Acquire)).min().unwrap_or(RESTING)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Arc<Announced>>> {
        self.threads.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Member {
    /// Announces that the thread holds nothing from before and works in the present epoch.
    /// Returns whether it was visited while it rested.
    #[inline]
    pub fn begin(&mut self, epochs: &Epochs) -> bool {
        let now = epochs.now.0.load(Acquire);
        now != self.current && self.move_to(now)
    }

    #[inline(never)]
    fn move_to(&mut self, now: u64) -> bool {
        let rested = std::mem::replace(&mut self.current, now) == RESTING;
        let Announced { epoch, was_visited } = &*self.announced;
        if !rested {
            epoch.store(now, Release);
            return false;
        }
        while epoch.compare_exchange_weak(RESTING, now, AcqRel, Relaxed).is_err() {
            spin_loop(); // a visit takes no longer than to move a few numbers
        }
        // The announcement has to be seen before anything that this thread reads next.
        fence(SeqCst);
        was_visited.load(Relaxed) && was_visited.swap(false, Relaxed)
    }

    /// The epoch that the thread works in: what it found since it began is where it was.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.current
    }

    /// Announces that the thread holds nothing and will do nothing before its next `begin`.
    pub fn rest(&mut self) {
        self.announced.epoch.store(RESTING, Release);
        self.current = RESTING;
    }

    /// What others know the thread by.
    pub fn identity(&self) -> Identity {
        Identity(self.announced.clone())
    }
}

impl Identity {
    /// Does something while the thread rests: it begins nothing meanwhile, and is told of it when
    /// it does. Returns whether it rests.
    pub fn visit(&self, act: impl FnOnce()) -> bool {
        let Announced { epoch, was_visited } = &*self.0;
        if epoch.compare_exchange(RESTING, VISITED, AcqRel, Relaxed).is_err() {
            return false;
        }
        act();
        was_visited.store(true, Relaxed);
        epoch.store(RESTING, Release);
        true
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

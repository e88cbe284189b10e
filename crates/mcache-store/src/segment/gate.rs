//! Who may be inside of a segment: those who write into its dead places, or one who walks it.
//!
//! Who walks closes the gate, then waits until nobody is inside; who writes enters first, then
//! looks whether it is closed. Both change one count, so one of the two comes second, and sees
//! what the other did before it.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use super::sync::{AtomicU32, yield_now};

/// A segment's gate, open at first.
#[derive(Default)]
#[repr(C)]
pub struct Gate {
    /// Threads that are inside.
    inside: AtomicU32,
    /// 1 while nobody may begin to be.
    closed: AtomicU32,
}

impl Gate {
    /// Goes inside if the gate is open and, seen from inside, `is_wanted`. Who gets inside
    /// [`Self::leave`]s.
    pub fn enter(&self, is_wanted: impl FnOnce() -> bool) -> bool {
        self.inside.fetch_add(1, AcqRel);
        let is_inside = self.closed.load(Acquire) == 0 && is_wanted();
        if !is_inside {
            self.leave();
        }
        is_inside
    }

    /// Goes out again.
    pub fn leave(&self) {
        self.inside.fetch_sub(1, Release);
    }

    /// Closes the gate and waits until nobody is inside. Only one thread at a time does.
    pub fn close(&self) {
        self.closed.store(1, Release);
        // A change of the count, not a look at it: see above.
        while self.inside.fetch_add(0, AcqRel) > 0 {
            yield_now();
        }
    }

    /// Opens a gate that nobody is inside of, whatever stands in it.
    pub fn reset(&self) {
        self.inside.store(0, Release);
        self.closed.store(0, Release);
    }

    /// Opens the gate that this thread closed.
    pub fn open(&self) {
        self.closed.store(0, Release);
    }
}

//! Who may be inside of a segment: those who write into its dead places, or one who walks it.
//!
//! Who walks closes the gate, then looks whether somebody is inside; who writes says that he is,
//! then looks whether it is closed. Both have a full fence between the two, so one of them comes
//! second, and sees what the other did before it. Each thread says where it is on a cache line of
//! its own: writers hinder each other in nothing.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use super::sync::{Arc, AtomicU32, AtomicU64, Mutex, fence, yield_now};

/// What a thread that is inside of no segment says.
const OUTSIDE: u64 = 0;

/// A segment's gate, open at first.
#[derive(Default)]
#[repr(C)]
pub struct Gate {
    /// 1 while nobody may begin to be inside.
    closed: AtomicU32,
}

/// All who may be inside of a segment.
#[derive(Default)]
pub struct Writers(Mutex<Vec<Arc<Whereabouts>>>);

/// The segment that a thread is inside of, counted from 1.
#[derive(Default)]
#[repr(align(128))]
struct Whereabouts(AtomicU64);

/// One thread among the writers.
pub struct Writer(Arc<Whereabouts>);

impl Writers {
    /// Takes a thread in.
    pub fn join(&self) -> Writer {
        let whereabouts = Arc::new(Whereabouts::default());
        let mut all = self.all();
        all.retain(|writer| Arc::strong_count(writer) > 1);
        all.push(whereabouts.clone());
        Writer(whereabouts)
    }

    /// Closes the gate of segment `id`, and waits until nobody is inside. Only one thread at a
    /// time does.
    pub fn close(&self, gate: &Gate, id: u32) {
        gate.closed.store(1, Relaxed);
        fence(SeqCst);
        for Whereabouts(inside) in self.all().iter().map(|writer| &**writer) {
            while inside.load(Acquire) == told(id) {
                yield_now();
            }
        }
    }

    fn all(&self) -> super::sync::MutexGuard<'_, Vec<Arc<Whereabouts>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Writer {
    /// Goes inside of segment `id` if its gate is open and, seen from inside, `is_wanted`. Who
    /// gets inside [`Self::leave`]s before it enters another.
    #[inline]
    pub fn enter(&self, gate: &Gate, id: u32, is_wanted: impl FnOnce() -> bool) -> bool {
        self.0.0.store(told(id), Relaxed);
        fence(SeqCst);
        let is_inside = gate.closed.load(Acquire) == 0 && is_wanted();
        if !is_inside {
            self.leave();
        }
        is_inside
    }

    /// Goes out again.
    #[inline]
    pub fn leave(&self) {
        self.0.0.store(OUTSIDE, Release);
    }
}

impl Gate {
    /// Opens the gate that this thread closed, or one that nobody is inside of.
    pub fn open(&self) {
        self.closed.store(0, Release);
    }
}

/// What a thread inside of segment `id` says.
fn told(id: u32) -> u64 {
    u64::from(id) + 1
}

//! The sign to stop, for threads that look and for those that sleep.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Whether a server is to stop.
#[derive(Default)]
pub struct Stop {
    asked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Whether the server is to stop.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Acquire)
    }

    /// Tells everybody who looks, and whoever sleeps in [`Self::sleep`], to stop.
    pub fn ask(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asked.store(true, Release);
        drop(guard);
        self.changed.notify_all();
    }

    /// Sleeps for `duration` or until the server is to stop; tells whether it goes on.
    pub fn sleep(&self, duration: Duration) -> bool {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(guard, duration, |()| !self.is_asked()));
        !self.is_asked()
    }
}

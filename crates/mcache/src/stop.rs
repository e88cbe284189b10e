//! The sign to stop, for threads that look and for those that sleep; and the one to let connections
//! end before that.

use std::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Release},
};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What a server is to do, where 0 is to serve.
const DRAIN: u8 = 1;
const STOP: u8 = 2;

/// Whether a server is to stop.
#[derive(Default)]
pub struct Stop {
    /// It only rises.
    asked: AtomicU8,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Whether the server is to stop.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Acquire) == STOP
    }

    /// Whether no connection is accepted any more, and those that are open are to end when nothing
    /// is asked on them.
    pub fn is_draining(&self) -> bool {
        self.asked.load(Acquire) == DRAIN
    }

    /// Lets connections end from now on.
    pub fn drain(&self) {
        self.asked.fetch_max(DRAIN, Release);
    }

    /// Tells everybody who looks, and whoever sleeps in [`Self::sleep`], to stop.
    pub fn ask(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.asked.store(STOP, Release);
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

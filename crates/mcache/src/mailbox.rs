//! How connections reach their worker: a short list under a lock, and a wake-up.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcache_net::Wake;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Newcomer {
    /// Its socket.
    pub socket: OwnedFd,
    /// The connection's place under the connection limit.
    pub place: Place,
}

/// A newcomer's place under the connection limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has one and is counted.
    Taken,
    /// It has none yet; so many workers, the receiver included, can still be asked to make room.
    Wanted {
        /// Workers that were not asked yet.
        workers_left: usize,
    },
}

/// A worker's mailbox. Bounded by the connection limit and by
/// [`mcache_base::limits::NEWCOMERS_WAITING_MAX`].
pub struct Mailbox<W> {
    newcomers: Mutex<Vec<Newcomer>>,
    waker: W,
}

impl<W: Wake> Mailbox<W> {
    /// The mailbox of the worker that `waker` wakes.
    pub fn new(waker: W) -> Self {
        Self { newcomers: Mutex::new(Vec::new()), waker }
    }

    /// Hands a connection to the worker.
    pub fn post(&self, newcomer: Newcomer) {
        let mut newcomers = self.lock();
        newcomers.push(newcomer);
        let first = newcomers.len() == 1;
        drop(newcomers);
        if first {
            self.waker.wake();
        }
    }

    /// Takes all connections out, into `newcomers`, which is empty.
    pub fn take(&self, newcomers: &mut Vec<Newcomer>) {
        std::mem::swap(newcomers, &mut *self.lock());
    }

    /// Wakes the worker without a letter.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Newcomer>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

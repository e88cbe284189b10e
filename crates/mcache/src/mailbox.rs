//! What other threads have for a worker: short lists under a lock, and a wake-up.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcache_net::{ConnectionId, Wake};

/// A connection that was accepted.
#[derive(Debug)]
pub struct Newcomer {
    /// Its socket.
    pub socket: OwnedFd,
    /// The place of its listener in [`crate::ServerOptions::listeners`].
    pub listener: usize,
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
    letters: Mutex<Letters>,
    /// Connections that the worker has, those on their way to it among them.
    connections: AtomicUsize,
    waker: W,
}

/// What lies in a mailbox.
#[derive(Debug, Default)]
pub struct Letters {
    /// Connections that were accepted.
    pub newcomers: Vec<Newcomer>,
    /// Connections that are to be told something: an event, or whether they may log in.
    pub announced: Vec<ConnectionId>,
}

impl Letters {
    fn is_empty(&self) -> bool {
        self.newcomers.is_empty() && self.announced.is_empty()
    }
}

impl<W: Wake> Mailbox<W> {
    /// The mailbox of the worker that `waker` wakes.
    pub fn new(waker: W) -> Self {
        Self { letters: Mutex::default(), connections: AtomicUsize::new(0), waker }
    }

    /// Hands a connection to the worker.
    pub fn post(&self, newcomer: Newcomer) {
        self.connections.fetch_add(1, Relaxed);
        self.put(|letters| letters.newcomers.push(newcomer));
    }

    /// Notes that the worker has one connection less.
    pub fn leave(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// The one whose worker has the fewest connections; among equals the first from `from` on.
    pub fn emptiest(all: &[Self], from: usize) -> usize {
        let from_there_on = (from..all.len()).chain(0..from);
        from_there_on.min_by_key(|&at| all[at].connections.load(Relaxed)).unwrap_or(0)
    }

    /// Tells the worker that a connection is to be told an event, or whether it may log in.
    pub fn announce(&self, connection: ConnectionId) {
        self.put(|letters| letters.announced.push(connection));
    }

    /// Takes everything out, into `letters`, which is empty.
    pub fn take(&self, letters: &mut Letters) {
        std::mem::swap(letters, &mut *self.lock());
    }

    fn put(&self, put: impl FnOnce(&mut Letters)) {
        let mut letters = self.lock();
        let first = letters.is_empty();
        put(&mut letters);
        drop(letters);
        if first {
            self.waker.wake();
        }
    }

    /// Wakes the worker without a letter.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct NoWaker;

    impl Wake for NoWaker {
        fn wake(&self) {}
    }

    #[test]
    fn newcomers_go_where_the_fewest_are() {
        let all = [(); 3].map(|()| Mailbox::new(NoWaker));
        let mut next = 0;
        let mut deal = |times: usize| {
            let dealt = (0..times).map(|_| {
                let at = Mailbox::emptiest(&all, next);
                let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
                let (socket, place) = (socket.into(), Place::Taken);
                all[at].post(Newcomer { socket, listener: 0, place });
                next = (at + 1) % all.len();
                at
            });
            dealt.collect::<Vec<_>>()
        };
        assert_eq!(deal(7), [0, 1, 2, 0, 1, 2, 0], "in turn while they are equal");
        (0..2).for_each(|_| all[2].leave());
        all[0].leave();
        assert_eq!(deal(4), [2, 2, 0, 1], "then where some have left");
    }
}

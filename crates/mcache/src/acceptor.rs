//! The acceptor: one thread that accepts on all listeners and deals connections out.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::{Duration, Instant};

use mcache_base::limits::{ACCEPT_RETRY_MS, NEWCOMERS_WAITING_MAX, NO_ROOM_LOGGED_MS};
use mcache_net::{Accepted, Listeners, Wake, socket};
use mcache_protocol::WireError;

use crate::mailbox::{Mailbox, Newcomer, Place};
use crate::options::IdlePolicy;
use crate::shared::Shared;

/// How long further newcomers stay with the system while so many wait for room.
const NEWCOMERS_PAUSE: Duration = Duration::from_millis(1);

/// How long nothing is to be done, once no more is accepted, if nobody asks to stop.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// The acceptor.
pub struct Acceptor<W> {
    listeners: Listeners,
    mailboxes: Arc<[Mailbox<W>]>,
    shared: Arc<Shared>,
    /// The worker that gets the next connection, if none has fewer.
    next: usize,
    /// When it was last logged that the limit is reached, and that there are no descriptors.
    full_logged: Seldom,
    suspended_logged: Seldom,
}

/// When something was last done that is not to be done often.
#[derive(Default)]
struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether it is to be done now; notes that it is.
    fn is_due(&mut self, now: Instant) -> bool {
        let pause = Duration::from_millis(NO_ROOM_LOGGED_MS);
        let is_due = self.0.is_none_or(|last| now.saturating_duration_since(last) >= pause);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

impl<W: Wake> Acceptor<W> {
    /// An acceptor that deals out to `mailboxes`.
    pub fn new(listeners: Listeners, mailboxes: Arc<[Mailbox<W>]>, shared: Arc<Shared>) -> Self {
        let [full_logged, suspended_logged] = [Seldom::default(), Seldom::default()];
        Self { listeners, mailboxes, shared, next: 0, full_logged, suspended_logged }
    }

    /// Accepts until the server is to stop.
    pub fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.is_asked() {
            if self.shared.stop.is_draining() {
                self.shared.connections.over.store(true, Release);
                self.shared.stop.sleep(DRAIN_PAUSE);
                continue;
            }
            if !self.shared.options.refuse_at_once && self.is_at_limit() {
                self.wait_for_room();
                continue;
            }
            if self.shared.connections.waiting.load(Relaxed) >= NEWCOMERS_WAITING_MAX {
                self.shared.stop.sleep(NEWCOMERS_PAUSE);
                continue;
            }
            match self.listeners.accept() {
                Ok(Some(accepted)) => self.deal(accepted),
                Ok(None) => self.listeners.wait(None)?,
                Err(error) => self.suspend(&error),
            }
        }
        Ok(())
    }

    /// Hands a connection to the worker that has the fewest, or refuses it.
    fn deal(&mut self, Accepted { socket, listener }: Accepted) {
        let connections = &self.shared.connections;
        let limit = self.shared.options.connections_max;
        let at_limit = self.is_at_limit();
        if at_limit && self.full_logged.is_due(Instant::now()) {
            tracing::warn!(limit, "the connection limit is reached");
        }
        let place = if !at_limit {
            connections.open.fetch_add(1, Relaxed);
            connections.total.fetch_add(1, Relaxed);
            Place::Taken
        } else if matches!(self.shared.options.idle, IdlePolicy::MakeRoom(_)) {
            connections.waiting.fetch_add(1, Relaxed);
            Place::Wanted { workers_left: self.mailboxes.len() }
        } else {
            refuse(socket, &self.shared);
            return;
        };
        let worker = Mailbox::emptiest(&self.mailboxes, self.next);
        self.mailboxes[worker].post(Newcomer { socket, listener, place });
        self.next = (worker + 1) % self.mailboxes.len();
    }

    /// Whether as many connections are open as may be.
    fn is_at_limit(&self) -> bool {
        self.shared.connections.open.load(Relaxed) >= self.shared.options.connections_max
    }

    /// Leaves the connections waiting until one that is open ends.
    fn wait_for_room(&self) {
        let since = self.shared.connections.suspend();
        while self.is_at_limit() && self.shared.stop.sleep(Duration::from_millis(ACCEPT_RETRY_MS)) {
        }
        self.shared.connections.resume(since);
    }

    /// Leaves the connections waiting until the process may have descriptors again.
    fn suspend(&mut self, error: &io::Error) {
        if self.suspended_logged.is_due(Instant::now()) {
            tracing::warn!(%error, "connections cannot be accepted");
        }
        let since = self.shared.connections.suspend();
        while self.shared.stop.sleep(Duration::from_millis(ACCEPT_RETRY_MS)) {
            match self.listeners.accept() {
                Ok(Some(accepted)) => {
                    self.deal(accepted);
                    break;
                }
                Ok(None) => break,
                Err(_) => {}
            }
        }
        self.shared.connections.resume(since);
    }
}

/// Tells a peer that there is no room for it.
pub fn refuse(socket: OwnedFd, shared: &Shared) {
    shared.connections.rejected.fetch_add(1, Relaxed);
    let answer = format!("{}\r\n", WireError::TooManyConnections.text());
    socket::send_and_close(socket, answer.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_seldom_is_due_after_a_pause() {
        let (begin, mut seldom) = (Instant::now(), Seldom::default());
        for (ms, expected) in [
            (0, true),
            (0, false),
            (NO_ROOM_LOGGED_MS - 1, false),
            (NO_ROOM_LOGGED_MS, true),
            (NO_ROOM_LOGGED_MS + 1, false),
        ] {
            assert_eq!(seldom.is_due(begin + Duration::from_millis(ms)), expected, "{ms}");
        }
    }
}

//! Which connections a worker has: how they come, when they have to go, how they end.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mcache_base::limits::{BUFFERED_IDLE_MS, LOGIN_MS, REQUEST_REST_MS, STOP_GRACE_MS};
use mcache_base::{Now, Stat};
use mcache_net::socket::Ends;
use mcache_net::{ConnectionId, Driver, Event};
use mcache_session::Authentication;
use mcache_store::StorageEngine;

use super::{IDLE_CHECK, Worker};
use crate::acceptor::refuse;
use crate::buffered::Held;
use crate::connection::{Connection, Reason, Waits, WaitsFor};
use crate::mailbox::{Newcomer, Place};
use crate::options::IdlePolicy;
use crate::outputs::Answers;
use crate::roster::Entry;

impl<E: StorageEngine, D: Driver<Answers<E::Pin>>> Worker<E, D> {
    /// Takes a connection in that has a place.
    pub(super) fn admit(&mut self, newcomer: Newcomer, now: Now) {
        let (descriptor, ends) = (newcomer.socket.as_raw_fd(), Ends::of(&newcomer.socket));
        let tls = self.shared.options.tls_at(newcomer.listener);
        let layer = tls.map(|(certificates, asked)| certificates.accept(asked)).transpose();
        let layer = layer.map_err(io::Error::other);
        let added = layer.and_then(|layer| Ok((self.driver.add(newcomer.socket)?, layer)));
        match added {
            Ok((id, layer)) => {
                if self.connections.len() <= id.0 {
                    self.connections.resize_with(id.0 + 1, || None);
                }
                let entry = Arc::new(Entry::connected(descriptor, ends, now.clock_ms));
                self.shared.roster.enter(self.index, entry.clone());
                let protocols = self.shared.options.protocols_at(newcomer.listener);
                let authentication = self.shared.logins.authentication;
                let mut connection = Connection::new(protocols, authentication, entry, now);
                connection.tls = layer.map(Box::new);
                self.connections[id.0] = Some(connection);
                self.held += 1;
                self.room_ms = 0; // it may have to make room itself, unless it asks something
                self.note(id, None);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken in");
                self.mailboxes[self.index].leave();
                self.shared.connections.open.fetch_sub(1, Relaxed);
            }
        }
    }

    /// Gives a newcomer the place of a connection whose peer is waited for, or asks the next worker
    /// to.
    pub(super) fn admit_instead(&mut self, newcomer: Newcomer, workers_left: usize, now: Now) {
        if let Some(waiting) = self.longest_waiting(now) {
            self.drop_connection(waiting, Reason::Idle); // and leaves its place to the newcomer
            self.shared.connections.waiting.fetch_sub(1, Relaxed);
            self.shared.connections.total.fetch_add(1, Relaxed);
            self.shared.counters[self.index].add(Stat::idle_kicks, 1);
            self.admit(newcomer, now);
        } else if workers_left > 1 {
            let next = (self.index + 1) % self.mailboxes.len();
            let place = Place::Wanted { workers_left: workers_left - 1 };
            self.mailboxes[self.index].leave();
            self.mailboxes[next].post(Newcomer { place, ..newcomer });
        } else {
            self.shared.connections.waiting.fetch_sub(1, Relaxed);
            self.mailboxes[self.index].leave();
            refuse(newcomer.socket, &self.shared);
        }
    }

    /// The connection whose peer was waited for longest, if for long enough to be closed to make
    /// room. Those that have begun something and do not get on go before those that are idle.
    fn longest_waiting(&mut self, now: Now) -> Option<ConnectionId> {
        let IdlePolicy::MakeRoom(age) = self.shared.options.idle else { return None };
        if now.clock_ms < self.room_ms {
            return None;
        }
        let idle_ms = age.as_millis() as u64;
        let patience_ms = |what| match what {
            WaitsFor::First => 0,
            WaitsFor::Rest => idle_ms.min(REQUEST_REST_MS),
            WaitsFor::Another => idle_ms,
        };
        let waiting = self.connections.iter().enumerate().filter_map(|(index, connection)| {
            let (what, since) = connection.as_ref()?.waiting()?;
            let due = since + patience_ms(what);
            Some((due > now.clock_ms, what, due, ConnectionId(index)))
        });
        let (early, _, due, id) =
            waiting.min_by_key(|&(early, what, due, _)| (early, what, due))?;
        if early {
            // Nobody who is waited for from now on is waited for long enough before that.
            self.room_ms = due.min(now.clock_ms + patience_ms(WaitsFor::Rest));
        }
        (!early).then_some(id)
    }

    /// Closes the connections that were idle too long, once a second.
    pub(super) fn close_idle(&mut self, now: Now) {
        if now.clock_ms < self.idle_check_ms {
            return;
        }
        self.idle_check_ms = now.clock_ms + IDLE_CHECK.as_millis() as u64;
        self.close_strangers(now);
        self.close_slow(now);
        self.close_unshaken(now);
        let IdlePolicy::Close(age) = self.shared.options.idle else { return };
        let age_ms = age.as_millis() as u64;
        let too_long = |since: u64| now.clock_ms.saturating_sub(since) >= age_ms;
        let idle: Vec<_> = self.idle().filter(|(since, _)| too_long(*since)).collect();
        for (_, id) in idle {
            self.shared.counters[self.index].add(Stat::idle_kicks, 1);
            self.take_leave(id, Reason::Idle);
        }
    }

    /// Closes the connections whose TLS handshakes take too long.
    fn close_unshaken(&mut self, now: Now) {
        let Some(certificates) = &self.shared.options.tls else { return };
        let patience_ms = certificates.patience().as_millis() as u64;
        let unshaken = self.connections.iter().enumerate().filter_map(|(index, connection)| {
            let connection = connection.as_ref().filter(|it| it.is_shaking())?;
            let waited_ms = now.clock_ms.saturating_sub(connection.known_ms);
            (waited_ms >= patience_ms).then_some(ConnectionId(index))
        });
        for id in unshaken.collect::<Vec<_>>() {
            self.shared.counters[self.index].add(Stat::ssl_handshake_errors, 1);
            self.shared.handshake_timeouts.fetch_add(1, Relaxed);
            self.close(id, Reason::Idle);
        }
    }

    /// Closes the connections whose peers have not logged in for too long.
    fn close_strangers(&mut self, now: Now) {
        if self.shared.logins.authentication == Authentication::None {
            return;
        }
        let strangers =
            self.connections.iter_mut().enumerate().filter_map(|(index, connection)| {
                let connection = connection.as_mut()?;
                if connection.is_admitted() {
                    connection.known_ms = now.clock_ms;
                }
                let waited_ms = now.clock_ms.saturating_sub(connection.known_ms);
                (waited_ms >= LOGIN_MS).then_some(ConnectionId(index))
            });
        for id in strangers.collect::<Vec<_>>() {
            self.shared.request_timeouts.fetch_add(1, Relaxed);
            self.close(id, Reason::Idle);
        }
    }

    /// Closes the connections whose peers have begun a request and do not get on with it.
    fn close_slow(&mut self, now: Now) {
        let Some(time) = self.shared.options.request_time else { return };
        let slow = self.connections.iter().enumerate().filter_map(|(index, connection)| {
            let connection = connection.as_ref().filter(|it| it.is_midway())?;
            let waited_ms = now.clock_ms.saturating_sub(connection.progress_ms);
            (u128::from(waited_ms) >= time.as_millis()).then_some(ConnectionId(index))
        });
        for id in slow.collect::<Vec<_>>() {
            self.shared.request_timeouts.fetch_add(1, Relaxed);
            self.close(id, Reason::Idle);
        }
    }

    /// Closes the connections whose peers have not got on for longest until others can hold more;
    /// `last` itself if all have of late. To send or take a byte now and then is not to get on.
    #[cold]
    pub(super) fn close_stuck(&mut self, last: ConnectionId, now: Now) {
        while self.shared.buffered[self.index].is_stuck() {
            let holders = self.connections.iter().enumerate().filter_map(|(index, it)| {
                let connection = it.as_ref().filter(|it| it.held.bytes > 0 && it.held.waits)?;
                Some((connection.progress_ms, ConnectionId(index)))
            });
            let longest = holders.min_by_key(|(since, _)| *since);
            let stuck = longest.filter(|(since, _)| now.clock_ms >= since + BUFFERED_IDLE_MS);
            let id = stuck.map_or(last, |(_, id)| id);
            let Some(connection) = self.connection(id) else { return };
            let stat =
                if connection.sending > 0 { Stat::response_obj_oom } else { Stat::read_buf_oom };
            self.shared.counters[self.index].add(stat, 1);
            self.close(id, Reason::Error);
        }
    }

    /// The connections that wait for their peers, and since when.
    fn idle(&self) -> impl Iterator<Item = (u64, ConnectionId)> {
        self.connections.iter().enumerate().filter_map(|(index, connection)| {
            let connection = connection.as_ref()?;
            let idle = connection.waits == Waits::Peer;
            idle.then_some((connection.entry.active_ms(), ConnectionId(index)))
        })
    }

    /// Closes a connection that nothing is being sent on; with TLS its peer is told.
    pub(super) fn take_leave(&mut self, id: ConnectionId, reason: Reason) {
        let nothing = self.outputs.take();
        if self.send(id, nothing, Some(reason)) {
            self.close(id, reason);
        }
    }

    /// Closes a connection that hit a bug.
    pub(super) fn close_panicked(&mut self, id: ConnectionId) {
        self.shared.panics.fetch_add(1, Relaxed);
        self.close(id, Reason::Error);
    }

    /// Closes a connection and gives its place back.
    pub(super) fn close(&mut self, id: ConnectionId, reason: Reason) {
        if self.drop_connection(id, reason) {
            self.shared.connections.open.fetch_sub(1, Relaxed);
        }
    }

    /// Closes a connection; tells whether it was open.
    fn drop_connection(&mut self, id: ConnectionId, reason: Reason) -> bool {
        self.note(id, Some(reason));
        let connection = self.connections.get_mut(id.0).and_then(Option::take);
        let open = connection.is_some();
        if let Some(connection) = connection {
            if let Some(watcher) = &connection.watcher {
                self.shared.watch.remove(watcher);
            }
            self.shared.buffered[self.index].note(connection.held, Held::default());
            self.shared.roster.leave(self.index, connection.entry.descriptor);
            self.driver.close(id);
            self.mailboxes[self.index].leave();
            self.held -= 1;
        }
        open
    }

    /// Closes the connections on which nothing is asked, each once it was looked at for what has
    /// come. Who has connected just now may ask first.
    #[cold]
    pub(super) fn drain(&mut self, now: Now) {
        for index in 0..self.connections.len() {
            let id = ConnectionId(index);
            let Some(connection) = self.connection(id) else { continue };
            let waits = connection.waits;
            match waits {
                Waits::Events => self.take_leave(id, Reason::Shutdown),
                Waits::Peer if connection.may_ask(now) => {}
                Waits::Peer if connection.looks_last() => self.make_ready(id),
                Waits::Peer => self.take_leave(id, Reason::Shutdown),
                Waits::Turn | Waits::Login | Waits::Sent | Waits::SentLast(_) => {}
            }
        }
    }

    /// Closes everything, but gives the sends that are under way a moment to finish.
    pub(super) fn finish(mut self, mut events: Vec<Event<Answers<E::Pin>>>) -> io::Result<()> {
        for index in 0..self.connections.len() {
            let id = ConnectionId(index);
            let Some(connection) = self.connection(id) else { continue };
            if !matches!(connection.waits, Waits::Sent | Waits::SentLast(_)) {
                let owed = connection.answers.take();
                self.send_last(id, owed);
            }
        }
        let deadline = Instant::now() + Duration::from_millis(STOP_GRACE_MS);
        let mut patience = Duration::ZERO; // first those sends that are done at once
        while self.held > 0 {
            self.driver.wait(Some(patience), &mut events)?;

            for event in events.drain(..) {
                match event {
                    Event::Sent(id, _) => self.send_last(id, None),
                    Event::Failed(id) => self.close(id, Reason::Shutdown),
                    Event::Received(_) | Event::Delayed(_) | Event::Woken => {}
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A send that was begun just now may be done without a word.
            patience = if std::mem::take(&mut self.hurries) { Duration::ZERO } else { left };
        }
        Ok(())
    }

    /// Sends what is owed to a connection, also what has still to be sealed, and closes it then.
    fn send_last(&mut self, id: ConnectionId, owed: Option<Answers<E::Pin>>) {
        let Some(connection) = self.connection(id) else { return };
        let mut sent = if connection.owes() {
            connection.tls.iter_mut().for_each(|tls| tls.end(Reason::Shutdown));
            self.send_sealed(id)
        } else {
            let out = owed.unwrap_or_else(|| self.outputs.take());
            self.send(id, out, Some(Reason::Shutdown))
        };
        while !sent && self.connection(id).is_some_and(|it| it.waits == Waits::Turn && it.owes()) {
            sent = self.send_sealed(id);
        }
        if sent {
            self.close(id, Reason::Shutdown);
        }
    }
}

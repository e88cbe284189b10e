//! A worker: one thread, one driver, its own counters and buffers, its share of the connections.

mod connections;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use mcache_base::limits::{OUTPUT_LOW_WATER, RECEIVE_CHUNK};
use mcache_base::{Now, Outgoing, Stat};
use mcache_net::socket::{End, Ends};
use mcache_net::{ConnectionId, Driver, Event, Send};
use mcache_protocol::WireError;
use mcache_session::{Authentication, Context, EventLog, Events, Kinds};
use mcache_store::{Access, StorageEngine};

use crate::connection::{Connection, Reason, Turn, Waits};
use crate::mailbox::{Letters, Mailbox, Place};
use crate::options::IdlePolicy;
use crate::outputs::{Answers, Outputs};
use crate::roster::{Role, State};
use crate::shared::Shared;

/// How often idle connections are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// How often it is looked which connections can end, while they are to.
const DRAIN_CHECK: Duration = Duration::from_millis(2);

/// How long a worker that has nothing to do leaves values by reference to a driver that says
/// nothing of sends that are done.
const PINS_CHECK: Duration = Duration::from_millis(10);

/// A worker.
pub struct Worker<E: StorageEngine, D: Driver<Answers<E::Pin>>> {
    index: usize,
    driver: D,
    engine: Arc<E>,
    access: E::Access,
    shared: Arc<Shared>,
    mailboxes: Arc<[Mailbox<D::Waker>]>,
    /// The connections, by their id in the driver.
    connections: Vec<Option<Connection<E>>>,
    /// How many there are.
    held: usize,
    /// Connections that have something to do, in the order of their turns.
    ready: VecDeque<ConnectionId>,
    /// Those of them that are given reports: one has its turn when all others have had theirs.
    patient: VecDeque<ConnectionId>,
    /// Where all connections receive.
    buffer: Box<[u8]>,
    /// Empty queues for the next answers.
    outputs: Outputs<E::Pin>,
    letters: Letters,
    /// When idle connections are looked for next, by the cache's clock.
    idle_check_ms: u64,
    /// No connection can have been idle for long enough to make room before this.
    room_ms: u64,
    /// There is more to do for a connection as soon as a send of this turn is done.
    hurries: bool,
    /// Answers that hold values by reference were sent since the worker last slept.
    pins_sent: bool,
}

impl<E: StorageEngine, D: Driver<Answers<E::Pin>>> Worker<E, D> {
    /// The worker that reads `mailboxes[index]`.
    pub fn new(
        index: usize,
        driver: D,
        engine: Arc<E>,
        shared: Arc<Shared>,
        mailboxes: Arc<[Mailbox<D::Waker>]>,
    ) -> Self {
        Self {
            index,
            driver,
            access: engine.access(),
            engine,
            shared,
            mailboxes,
            connections: Vec::new(),
            held: 0,
            ready: VecDeque::new(),
            patient: VecDeque::new(),
            buffer: vec![0; RECEIVE_CHUNK].into_boxed_slice(),
            outputs: Outputs::default(),
            letters: Letters::default(),
            idle_check_ms: 0,
            room_ms: 0,
            hurries: false,
            pins_sent: false,
        }
    }

    /// Serves until the server is to stop, then sends what is owed.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::new();
        while !self.shared.stop.is_asked() {
            let drains = self.shared.stop.is_draining();
            let patience = self.patience();
            self.driver.wait(patience, &mut events)?;
            let now = self.shared.clock.now();
            for event in events.drain(..) {
                self.take(event, now);
            }
            for _ in 0..self.ready.len() {
                if self.driver.is_full() {
                    break;
                }
                let Some(id) = self.ready.pop_front() else { break };
                self.give_turn(id, now);
            }
            if !self.driver.is_full()
                && let Some(id) = self.patient.pop_front()
            {
                self.give_turn(id, now);
            }
            self.driver.save_memory(self.shared.buffered[self.index].is_short());
            self.close_idle(now);
            if drains {
                self.drain(now);
            }
            self.access.rest();
        }
        self.finish(events)
    }

    /// How long to wait for events.
    fn patience(&mut self) -> Option<Duration> {
        let idle = self.ready.is_empty() && self.patient.is_empty();
        if std::mem::take(&mut self.hurries) || !idle {
            return Some(Duration::ZERO);
        }
        if std::mem::take(&mut self.pins_sent) {
            return Some(PINS_CHECK);
        }
        if self.shared.stop.is_draining() {
            return Some(DRAIN_CHECK);
        }
        let kicks = matches!(self.shared.options.idle, IdlePolicy::Close(_))
            || self.shared.options.request_time.is_some()
            || self.shared.logins.authentication != Authentication::None
            || self.shared.options.tls.is_some();
        let looks = kicks && self.held > 0;
        looks.then_some(IDLE_CHECK)
    }

    /// Notes what an event means; acts later, so that all connections get their turns in order.
    fn take(&mut self, event: Event<Answers<E::Pin>>, now: Now) {
        match event {
            Event::Received(id) => {
                let Some(connection) = self.connection(id) else { return };
                match connection.arrived() {
                    true => self.make_ready(id),
                    false => self.note_held(id, now), // the driver may have to keep it
                }
            }
            Event::Sent(id, out) => {
                self.outputs.keep(out);
                self.sent(id, now);
            }
            Event::Delayed(id) => {
                let Some(connection) = self.connection(id) else { return };
                connection.is_delayed();
                self.note_held(id, now);
            }
            Event::Failed(id) => self.close(id, Reason::Error),
            Event::Woken => self.read_letters(now),
        }
    }

    /// Goes on with a connection after a send.
    fn sent(&mut self, id: ConnectionId, now: Now) {
        let Some(connection) = self.connection(id) else { return };
        connection.entry.was_active(now.clock_ms);
        connection.progress_ms = now.clock_ms;
        connection.sending = 0;
        match connection.waits {
            _ if connection.owes() => self.make_ready(id),
            Waits::SentLast(reason) => self.close(id, reason),
            _ if connection.watcher.is_some() => {
                connection.waits = Waits::Events;
                self.make_ready(id);
            }
            _ if connection.rests() => {
                connection.rest();
                self.note_held(id, now);
            }
            _ => self.make_ready(id),
        }
    }

    /// Gives a connection its turn, unless it has to wait for another one.
    fn give_turn(&mut self, id: ConnectionId, now: Now) {
        if !self.has_turn(id) {
            return;
        }
        match self.has_to_wait(id) {
            true => self.make_ready(id),
            false => self.serve(id, now),
        }
        self.note_held(id, now);
    }

    /// Lets a connection serve its peer.
    fn serve(&mut self, id: ConnectionId, now: Now) {
        let Some(Some(connection)) = self.connections.get_mut(id.0) else { return };
        if connection.owes() || connection.watcher.is_some() {
            self.serve_unasked(id, now);
            return;
        }
        let counters = &self.shared.counters[self.index];
        let log = self.shared.watch.log(self.index);
        let mut context = Context {
            engine: &*self.engine,
            access: &mut self.access,
            now,
            counters,
            classes: &self.shared.classes[self.index],
            prefixes: &self.shared.prefixes,
            host: &*self.shared,
            events: Events {
                wanted: self.shared.watch.wanted(),
                log: &log,
                connection: connection.entry.descriptor,
            },
            requests_per_turn: self.shared.options.requests_per_turn,
            output_high_water: self.shared.buffered[self.index].high_water(),
        };
        let mut out = connection.answers.take().unwrap_or_else(|| self.outputs.take());
        connection.hear_verdict(&mut out, &context);
        let (driver, buffer, logins) = (&mut self.driver, &mut self.buffer, &self.shared.logins);
        let turn = connection.turn(id, driver, buffer, &mut out, &mut context, logins);
        if turn == Turn::Panicked {
            self.close_panicked(id);
            return;
        }
        if let Turn::Gone(reason) = turn {
            self.close(id, reason);
            return;
        }
        if let Turn::Watch(kinds) = turn {
            self.outputs.keep(out);
            self.watch(id, kinds);
            return;
        }
        if turn == Turn::Login
            && let Some(credentials) = connection.credentials()
        {
            connection.attempt = Some(self.shared.logins.judge(credentials, self.index, id));
        }
        if turn == Turn::Discarded {
            connection.answers = Some(out);
            self.make_ready(id);
            return;
        }
        if turn == Turn::Yielded {
            counters.add(Stat::conn_yields, 1);
            if out.unsent() < OUTPUT_LOW_WATER {
                connection.answers = Some(out);
                self.make_ready(id);
                return;
            }
        }
        connection.waits = if turn == Turn::Login { Waits::Login } else { Waits::Peer };
        let last = if let Turn::Last(reason) = turn { Some(reason) } else { None };
        if !self.send(id, out, last) {
            return;
        }
        match turn {
            Turn::More | Turn::Yielded => self.make_ready(id),
            Turn::Last(reason) => self.close(id, reason),
            Turn::Login => self.go_on(id),
            Turn::Nothing | Turn::Served => {}
            // Seen to above.
            Turn::Discarded | Turn::Gone(_) | Turn::Watch(_) | Turn::Panicked => {}
        }
    }

    /// Gives a connection its turn that has something to be sent without asking for it.
    #[cold]
    fn serve_unasked(&mut self, id: ConnectionId, now: Now) {
        if !self.connection(id).is_some_and(|connection| connection.owes()) {
            self.serve_watcher(id);
        } else if self.send_sealed(id) {
            self.sent(id, now);
        }
    }

    /// Sends answers; tells whether the connection can go on at once.
    fn send(&mut self, id: ConnectionId, out: Answers<E::Pin>, last: Option<Reason>) -> bool {
        if let Some(Some(Connection { tls: Some(tls), .. })) = self.connections.get_mut(id.0) {
            self.shared.counters[self.index].add(Stat::bytes_written, out.unsent() as u64);
            if let Some(empty) = tls.owe(out, last) {
                self.outputs.keep(empty);
            }
            return self.send_sealed(id);
        }
        if out.is_empty() {
            self.outputs.keep(out);
            return true;
        }
        self.shared.counters[self.index].add(Stat::bytes_written, out.unsent() as u64);
        let held = out.held();
        self.pins_sent |= out.is_pinned();
        match self.driver.send(id, out) {
            Send::Done(out) => {
                self.outputs.keep(out);
                return true;
            }
            sending @ (Send::Begun | Send::UnderWay) => {
                if let Some(Some(connection)) = self.connections.get_mut(id.0) {
                    connection.begun = held;
                    if matches!(sending, Send::UnderWay) {
                        connection.is_delayed();
                    }
                    connection.waits = last.map_or(Waits::Sent, Waits::SentLast);
                    self.hurries |= last.is_some() || !connection.rests();
                }
            }
            Send::Failed => self.close(id, Reason::Error),
        }
        false
    }

    /// Seals and sends a part of what a connection with TLS owes; tells whether that was all and
    /// the connection can go on at once. If it was not, it has its turn for the rest.
    fn send_sealed(&mut self, id: ConnectionId) -> bool {
        self.note_tls(id);
        let Some(Some(connection)) = self.connections.get_mut(id.0) else { return false };
        let Some(tls) = &mut connection.tls else { return true };
        let mut out = self.outputs.take();
        match tls.seal(out.bytes(), &mut self.buffer) {
            Ok(Some(empty)) => self.outputs.keep(empty),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection's keys are used up");
                self.close(id, Reason::Error);
                return false;
            }
        }
        if out.is_empty() {
            self.outputs.keep(out);
            return true;
        }
        let (held, owes, last) = (out.held(), tls.owes(), tls.last());
        match self.driver.send(id, out) {
            Send::Done(out) => {
                self.outputs.keep(out);
                if owes {
                    self.make_ready(id);
                }
                return !owes;
            }
            sending @ (Send::Begun | Send::UnderWay) => {
                connection.begun = held;
                if matches!(sending, Send::UnderWay) {
                    connection.is_delayed();
                }
                connection.waits = last.map_or(Waits::Sent, Waits::SentLast);
                self.hurries |= owes || last.is_some() || !connection.rests();
            }
            Send::Failed => self.close(id, Reason::Error),
        }
        false
    }

    /// Counts and tells what was wrong with a connection's TLS.
    fn note_tls(&mut self, id: ConnectionId) {
        let Some(Some(connection)) = self.connections.get_mut(id.0) else { return };
        let Some(tls) = &mut connection.tls else { return };
        let counters = &self.shared.counters[self.index];
        let Some((error, in_handshake)) = tls.error() else { return };
        let stat = if in_handshake { Stat::ssl_handshake_errors } else { Stat::ssl_proto_errors };
        counters.add(stat, 1);
        if self.shared.watch.wanted().meet(Kinds::CONNECTIONS) {
            let descriptor = connection.entry.descriptor;
            self.shared.watch.log(self.index).log(Kinds::CONNECTIONS, &mut |line| {
                let _ = write!(line, "type=conntlserr fd={descriptor} msg={error}");
            });
        }
    }

    /// Queues a connection whose peer waits to be let in, if it is known whether it is.
    fn go_on(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id)
            && connection.waits == Waits::Login
            && connection.attempt.as_ref().is_some_and(|attempt| attempt.verdict().is_some())
        {
            self.make_ready(id);
        }
    }

    /// Lets a connection watch, unless too many do.
    fn watch(&mut self, id: ConnectionId, kinds: Kinds) {
        let watcher = self.shared.watch.add(kinds, self.index, id);
        let Some(connection) = self.connection(id) else { return };
        if watcher.is_some() {
            connection.watcher = watcher;
            connection.waits = Waits::Events;
            self.make_ready(id);
            return;
        }
        let mut out = self.outputs.take();
        out.push(WireError::TooManyWatchers.text().as_bytes());
        out.push(b"\r\n");
        if self.send(id, out, None) {
            self.make_ready(id);
        }
    }

    /// Gives a connection that watches its turn: what its peer sends is thrown away, what there
    /// is to tell is told.
    fn serve_watcher(&mut self, id: ConnectionId) {
        let Some(Some(connection)) = self.connections.get_mut(id.0) else { return };
        // It may have been told something while it was queued: it has its turn after that again.
        let sending = matches!(connection.waits, Waits::Sent | Waits::SentLast(_));
        if !sending {
            connection.waits = Waits::Events;
        }
        connection.entry.is_now(State::Watching);
        let notes = (&self.shared.counters[self.index], &self.shared.logins);
        match connection.discard(id, &mut self.driver, &mut self.buffer, notes) {
            Turn::Gone(reason) => self.close(id, reason),
            Turn::Last(reason) if sending => self.close(id, reason),
            Turn::Last(reason) => self.take_leave(id, reason),
            Turn::Panicked => self.close_panicked(id),
            Turn::More if !sending => {
                self.make_ready(id);
                self.tell(id);
            }
            _ => self.tell(id),
        }
    }

    /// Sends a connection that watches what there is to tell, if its last send is finished.
    fn tell(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        let Some(watcher) = &connection.watcher else { return };
        if matches!(connection.waits, Waits::Sent | Waits::SentLast(_)) || connection.owes() {
            return; // it has its turn when the send is finished
        }
        let text = watcher.take();
        let mut out = self.outputs.take();
        out.push(&text);
        self.send(id, out, None);
    }

    /// Tells those who watch connections of one: a new one, or one that ends.
    fn note(&mut self, id: ConnectionId, end: Option<Reason>) {
        if !self.shared.watch.wanted().meet(Kinds::CONNECTIONS) {
            return;
        }
        let Some(connection) = self.connection(id) else { return };
        let descriptor = connection.entry.descriptor;
        let (address, port, transport) = match &connection.entry.role {
            Role::Connected(Ends { peer: End::Tcp(peer), .. }) => {
                (peer.ip().to_string(), peer.port(), "tcp")
            }
            _ => ("unix".to_owned(), 0, "local"),
        };
        self.shared.watch.log(self.index).log(Kinds::CONNECTIONS, &mut |line| {
            let what = if end.is_some() { "conn_close" } else { "conn_new" };
            let _ = write!(line, "type={what} rip={address} rport={port} transport={transport}");
            if let Some(reason) = end {
                let _ = write!(line, " reason={}", reason.name());
            }
            let _ = write!(line, " cfd={descriptor}");
        });
    }

    /// Queues a connection for its next turn.
    fn make_ready(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id) {
            connection.waits = Waits::Turn;
            let queue = if connection.is_patient() { &mut self.patient } else { &mut self.ready };
            queue.push_back(id);
        }
    }

    /// Whether a connection waits for its turn. One that was queued may have been closed to make
    /// room, and another one have its id; one that watches may be sent to while it is queued.
    #[inline]
    fn has_turn(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(id.0).and_then(Option::as_ref);
        connection.is_some_and(|it| it.waits == Waits::Turn || it.watcher.is_some())
    }

    /// Whether a connection that holds nothing has to wait until others hold less.
    fn has_to_wait(&self, id: ConnectionId) -> bool {
        self.shared.buffered[self.index].is_full()
            && self.connections.get(id.0).and_then(Option::as_ref).is_some_and(|connection| {
                connection.held.bytes == 0 && connection.watcher.is_none()
            })
    }

    /// Notes what a connection holds after its turn.
    fn note_held(&mut self, id: ConnectionId, now: Now) {
        let ahead = self.driver.received_ahead(id);
        let Some(connection) = self.connection(id) else { return };
        let holds = connection.holds(ahead);
        let before = std::mem::replace(&mut connection.held, holds);
        if before == holds {
            return;
        }
        if before.bytes == 0 {
            connection.progress_ms = now.clock_ms;
        }
        let buffered = &self.shared.buffered[self.index];
        buffered.note(before, holds);
        if holds.waits && buffered.is_stuck() {
            self.close_stuck(id, now);
        }
    }

    /// Takes in what the acceptor, another worker or the logger has sent.
    fn read_letters(&mut self, now: Now) {
        let mut letters = std::mem::take(&mut self.letters);
        self.mailboxes[self.index].take(&mut letters);
        for id in letters.announced.drain(..) {
            self.go_on(id);
            self.tell(id);
            self.note_held(id, now);
        }
        for newcomer in letters.newcomers.drain(..) {
            match newcomer.place {
                Place::Taken => self.admit(newcomer, now),
                Place::Wanted { workers_left } => self.admit_instead(newcomer, workers_left, now),
            }
        }
        self.letters = letters;
    }

    fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection<E>> {
        self.connections.get_mut(id.0)?.as_mut()
    }
}

//! A connection's turn: what it receives, and what comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mcache_base::limits::{
    EXPECTED_MUCH_MIN, OUTPUT_HIGH_WATER, RECEIVE_HEAD, RECEIVE_SOME, REQUEST_STEP, UNFRAMED_MAX,
};
use mcache_base::{Counters, Now, Stat};
use mcache_net::{ConnectionId, Driver, Received};
use mcache_protocol::Output;
use mcache_session::{Awaited, Context, Kinds, Next, Served, Session};
use mcache_store::StorageEngine;

use super::{Connection, Reason};
use crate::logins::Logins;
use crate::outputs::Answers;
use crate::roster::State;
use crate::tls::Opened;

/// What was thrown away since a command could not be told from data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unframed {
    bytes: usize,
    last: Option<u8>,
    /// Nothing had arrived when it was last looked.
    quiet: bool,
}

/// What came of a connection's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing: no bytes had arrived.
    Nothing,
    /// Requests were served; wait for the peer.
    Served,
    /// Requests were served, and there may be more.
    More,
    /// The session used up its requests.
    Yielded,
    /// The session throws away what arrives; it has its next turn before its answers are sent.
    Discarded,
    /// Send what is owed, then close, because of this.
    Last(Reason),
    /// The session wants to know whether its peer is who it says it is.
    Login,
    /// The session wants to follow events of these kinds.
    Watch(Kinds),
    /// Close: the peer is gone, or what came cannot be understood.
    Gone(Reason),
    /// Close: a request panicked.
    Panicked,
}

impl<E: StorageEngine> Connection<E> {
    /// Throws away what the peer of a watcher sends.
    pub fn discard<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        buffer: &mut [u8],
        (counters, logins): (&Counters, &Logins),
    ) -> Turn {
        match self.receive(id, driver, buffer, false, (counters, logins)) {
            Ok(Received::Bytes(_) | Received::Nothing) if self.arrived => Turn::More,
            Ok(Received::Bytes(_) | Received::Nothing) => Turn::Nothing,
            Ok(Received::Closed) => Turn::Gone(Reason::Normal),
            Err(turn) => turn,
        }
    }

    /// Receives, if the session wants bytes, and lets it serve.
    pub fn turn<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        buffer: &mut [u8],
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
        logins: &Logins,
    ) -> Turn {
        let Some(awaited) = self.awaits else {
            self.entry.is_now(State::Serving);
            let input = self.pending.get(self.taken..).unwrap_or_default();
            let Some(served) = serve(&mut self.session, input, out, context) else {
                return Turn::Panicked;
            };
            let last = input.last().copied();
            self.taken += served.consumed;
            if matches!(served.next, Next::Receive(_)) || self.taken >= self.pending.len() {
                self.pending = self.pending.get(self.taken..).unwrap_or_default().to_vec();
                self.taken = 0;
            }
            return self.settle(served.next, last);
        };
        if let Some(turn) = self.receive_in_place(id, driver, buffer, out, context) {
            return turn;
        }
        // What is pending is the beginning of a request, and short: put it before the new bytes.
        let kept = self.pending.len();
        if kept >= buffer.len() {
            return Turn::Gone(Reason::Error);
        }
        let (front, room) = buffer.split_at_mut(kept);
        front.copy_from_slice(&self.pending);
        // What the session may not answer yet has to be kept: less, while much is held already.
        let saves = context.output_high_water < OUTPUT_HIGH_WATER;
        let received = match self.receive(id, driver, room, saves, (context.counters, logins)) {
            Ok(Received::Bytes(received)) => received,
            Ok(Received::Nothing) => {
                let begins = self.tls.as_ref().is_some_and(|tls| tls.begins());
                if begins && self.pending.is_empty() && !self.session.is_midway() {
                    self.progress_ms = context.now.clock_ms;
                }
                self.entry.is_now(awaited.into());
                return self.quiet();
            }
            // Otherwise it is still owed the error.
            Ok(Received::Closed) if self.unframed.is_none() => return Turn::Gone(Reason::Normal),
            Ok(Received::Closed) => return Turn::Last(Reason::Normal),
            Err(turn) => return turn,
        };
        self.entry.was_active(context.now.clock_ms);
        self.entry.is_now(State::Serving);
        context.counters.add(Stat::bytes_read, received as u64);
        let input = &buffer[..kept + received];
        if let Some(unframed) = &mut self.unframed {
            let bytes = unframed.bytes + received;
            *unframed = Unframed { bytes, last: input.last().copied(), quiet: false };
            let over = bytes > UNFRAMED_MAX;
            return if over { Turn::Last(Reason::Error) } else { Turn::Discarded };
        }
        self.serve_received(id, driver, input, kept, out, context)
    }

    /// Receives the next bytes of a value to where they stay, and lets the session serve what came
    /// behind them. `None` if they have no place of their own.
    #[inline]
    fn receive_in_place<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        buffer: &mut [u8],
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Option<Turn> {
        if self.session.missing() == 0 || self.tls.is_some() {
            return None;
        }
        let Some(place) = place(&mut self.session, context) else { return Some(Turn::Panicked) };
        if place.is_empty() {
            return None;
        }
        let (room, behind) = (place.len(), &mut buffer[..RECEIVE_HEAD]);
        let received = match driver.receive_into(id, place, behind) {
            Received::Bytes(received) => received,
            Received::Nothing => {
                self.arrived = false;
                self.entry.is_now(Awaited::Value.into());
                return Some(Turn::Nothing);
            }
            Received::Closed => return Some(Turn::Gone(Reason::Normal)),
        };
        self.arrived = received == room + RECEIVE_HEAD;
        self.entry.was_active(context.now.clock_ms);
        self.entry.is_now(State::Serving);
        context.counters.add(Stat::bytes_read, received as u64);
        let placed = received.min(room);
        self.session.arrived(placed);
        self.advanced += placed;
        Some(self.serve_received(id, driver, &buffer[..received - placed], 0, out, context))
    }

    /// Lets the session serve what was received, of which the first `kept` bytes were there before.
    #[inline]
    fn serve_received<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        input: &[u8],
        kept: usize,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> Turn {
        let was_midway = self.session.is_midway();
        let Some(served) = serve(&mut self.session, input, out, context) else {
            return Turn::Panicked;
        };
        self.note_progress(kept, was_midway, served.consumed, context.now);
        self.pending = input.get(served.consumed..).unwrap_or_default().to_vec();
        let missing = self.session.missing();
        // Who sent one such value may send another: until a request comes that has none.
        let goes_on = was_midway || missing > 0 || !self.pending.is_empty();
        let much = missing >= EXPECTED_MUCH_MIN as u64 || (self.expects_much && goes_on);
        if much != self.expects_much {
            self.expects_much = much;
            driver.expect_much(id, much);
        }
        self.settle(served.next, input.last().copied())
    }

    /// Notes whether the peer has got on, now that the session is done with `consumed` bytes. Of
    /// those it was sent `kept` were left before, and perhaps it was in the midst of a request.
    #[inline]
    fn note_progress(&mut self, kept: usize, was_midway: bool, consumed: usize, now: Now) {
        let begins = kept == 0 && !was_midway;
        self.advanced += consumed;
        let finishes = consumed > 0 && !(was_midway && self.session.is_midway());
        if begins || finishes || self.advanced >= REQUEST_STEP {
            self.progress_ms = now.clock_ms;
            self.advanced = 0;
        }
        self.has_asked |= consumed > 0;
    }

    /// Nothing has arrived. What was to be thrown away is, once a driver that says so has waited
    /// in between: it may not have looked before.
    fn quiet(&mut self) -> Turn {
        match &mut self.unframed {
            // What came was no bytes of the session's.
            None if self.arrived => return Turn::More,
            Some(_) if self.arrived => return Turn::Discarded,
            Some(unframed) if !unframed.quiet => {
                unframed.quiet = true;
                return Turn::Discarded;
            }
            Some(unframed) => self.session.go_on(unframed.last),
            None => {}
        }
        self.unframed = None;
        Turn::Nothing
    }

    /// Receives what the session is to see, and notes whether more may have come. An error is what
    /// the turn comes to instead.
    #[inline]
    fn receive<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        room: &mut [u8],
        saves: bool,
        notes: (&Counters, &Logins),
    ) -> Result<Received, Turn> {
        if self.tls.is_some() {
            return self.receive_sealed(id, driver, room, saves, notes);
        }
        let most = match self.expects_much && self.session.missing() == 0 {
            true => RECEIVE_HEAD,
            false if saves => RECEIVE_SOME,
            false => room.len(),
        };
        let end = room.len().min(most);
        let received = driver.receive(id, &mut room[..end]);
        self.arrived = received == Received::Bytes(end);
        Ok(received)
    }

    /// The same through TLS.
    fn receive_sealed<D: Driver<Answers<E::Pin>>>(
        &mut self,
        id: ConnectionId,
        driver: &mut D,
        room: &mut [u8],
        saves: bool,
        (counters, logins): (&Counters, &Logins),
    ) -> Result<Received, Turn> {
        let Some(tls) = &mut self.tls else { return Ok(Received::Nothing) };
        let opened = tls.receive(id, driver, room, saves);
        if let Some((version, keys_are_new)) = tls.shaken() {
            let _ = self.entry.tls.set(version); // it is over only once
            counters.add(Stat::ssl_new_sessions, u64::from(keys_are_new));
            let certificate = tls.peer_certificate().filter(|_| !self.session.is_admitted());
            if let Some(grant) = certificate.and_then(|it| logins.certified(it)) {
                self.session.admit(Some(grant));
            }
        }
        let (received, more) = match opened {
            Opened::Bytes(count, more) => (Received::Bytes(count), more),
            Opened::Nothing(more) => (Received::Nothing, more),
            Opened::Closed(true) => return Err(Turn::Last(Reason::Normal)),
            Opened::Closed(false) => (Received::Closed, false),
            Opened::Failed => return Err(Turn::Last(Reason::Error)),
            Opened::Panicked => {
                tracing::error!("a TLS record panicked; its connection is closed");
                return Err(Turn::Panicked);
            }
        };
        self.arrived = more;
        Ok(received)
    }

    /// Notes what the session waits for, having been served bytes that ended in `last`.
    fn settle(&mut self, next: Next, last: Option<u8>) -> Turn {
        self.awaits = None;
        match next {
            Next::Receive(awaited) => {
                self.awaits = Some(awaited);
                if self.arrived {
                    return Turn::More;
                }
                self.entry.is_now(awaited.into());
                Turn::Served
            }
            Next::Discard => {
                self.awaits = Some(Awaited::Command);
                self.unframed = Some(Unframed { last, ..Unframed::default() });
                Turn::Discarded
            }
            Next::Send => Turn::More,
            Next::Turn => Turn::Yielded,
            Next::Close => Turn::Last(Reason::Normal),
            Next::Abort => Turn::Last(Reason::Error),
            Next::Login => Turn::Login,
            Next::Watch(kinds) => Turn::Watch(kinds),
        }
    }
}

/// Where the next bytes of the session's value go. A panic costs this connection: `None`.
fn place<'s, E: StorageEngine>(
    session: &'s mut Session<E>,
    context: &mut Context<'_, E>,
) -> Option<&'s mut [u8]> {
    let place = catch_unwind(AssertUnwindSafe(move || {
        let session = session; // gone from the closure, so that what it lends may leave
        session.place(context)
    }));
    place
        .inspect_err(|_| tracing::error!("room for a value panicked; its connection is closed"))
        .ok()
}

/// Lets the session serve. A panic costs this connection, not the others: `None`.
pub fn serve<E: StorageEngine>(
    session: &mut Session<E>,
    input: &[u8],
    out: &mut Output<E::Pin>,
    context: &mut Context<'_, E>,
) -> Option<Served> {
    // A session that panicked is dropped with its answers, so nobody sees it half changed.
    let served = catch_unwind(AssertUnwindSafe(|| session.serve(input, out, context)));
    served.inspect_err(|_| tracing::error!("a request panicked; its connection is closed")).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;
    use std::net::Ipv4Addr;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::time::Duration;

    use mcache_base::{ClassCounters, Counters};
    use mcache_conformance::Quiet;
    use mcache_net::{Event, ListenAddress, Send, Wake};
    use mcache_protocol::Protocols;
    use mcache_session::{Authentication, Events, Prefixes};
    use mcache_store::{EngineOptions, SimpleStorageEngine, SizeLimit, eviction::POLICIES};

    use super::*;
    use crate::roster::Entry;

    type Pin = <SimpleStorageEngine as StorageEngine>::Pin;

    /// A driver of one connection: what arrives on it, piece by piece, `None` being a wait.
    struct Script(VecDeque<Option<Vec<u8>>>);

    #[derive(Clone)]
    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    impl Driver<Answers<Pin>> for Script {
        type Waker = Nobody;

        fn waker(&self) -> Nobody {
            Nobody
        }

        fn add(&mut self, _: OwnedFd) -> io::Result<ConnectionId> {
            Ok(ConnectionId(0))
        }

        fn wait(
            &mut self,
            _: Option<Duration>,
            _: &mut Vec<Event<Answers<Pin>>>,
        ) -> io::Result<()> {
            Ok(())
        }

        fn receive(&mut self, _: ConnectionId, buffer: &mut [u8]) -> Received {
            match self.0.pop_front() {
                Some(Some(piece)) => {
                    buffer[..piece.len()].copy_from_slice(&piece);
                    Received::Bytes(piece.len())
                }
                Some(None) => Received::Nothing,
                None => Received::Closed,
            }
        }

        fn receive_into(&mut self, _: ConnectionId, _: &mut [u8], _: &mut [u8]) -> Received {
            unreachable!("no value arrives")
        }

        fn send(&mut self, _: ConnectionId, queue: Answers<Pin>) -> Send<Answers<Pin>> {
            Send::Done(queue)
        }

        fn close(&mut self, _: ConnectionId) {}
    }

    /// The turns of a connection on which `pieces` arrive, and what is owed at the end of each.
    fn turns(pieces: Vec<Option<Vec<u8>>>) -> Vec<(Turn, String)> {
        let engine = Arc::new(SimpleStorageEngine::new(&EngineOptions {
            capacity: 1 << 20,
            item_size: SizeLimit::Value(u64::MAX),
            evict: true,
            policy: &POLICIES[0],
        }));
        let (mut access, counters, classes) =
            (engine.access(), Counters::default(), ClassCounters::default());
        let (prefixes, host) = (Prefixes::new(b':', false), Quiet::new());
        let mut context = Context {
            engine: &*engine,
            access: &mut access,
            now: Now { clock_ms: 1000, unix: 1_800_000_000 },
            counters: &counters,
            classes: &classes,
            prefixes: &prefixes,
            host: &host,
            events: Events::NOBODY,
            requests_per_turn: 20,
            output_high_water: OUTPUT_HIGH_WATER,
        };
        let address = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let entry = Arc::new(Entry::found(0, address, 0));
        let mut connection =
            Connection::new(Protocols::Negotiated, Authentication::None, entry, context.now);
        let (mut script, mut buffer) = (Script(pieces.into()), vec![0; 64 << 10]);
        let logins = Logins::new(Authentication::None, Arc::default()).unwrap();
        let mut out = Output::default();
        let mut turns = Vec::new();
        loop {
            let id = ConnectionId(0);
            let turn =
                connection.turn(id, &mut script, &mut buffer, &mut out, &mut context, &logins);
            turns.push((turn, String::from_utf8_lossy(out.bytes()).into_owned()));
            if matches!(turn, Turn::Last(_) | Turn::Gone(_)) {
                return turns;
            }
        }
    }

    const ERROR: &str = "CLIENT_ERROR bad command line format\r\n";

    fn bad_length() -> Option<Vec<u8>> {
        Some(b"set k 0 0 -1\r\nversion\r\n".to_vec())
    }

    #[test]
    fn what_arrives_behind_a_bad_length_is_thrown_away_until_nothing_does() {
        let more = || Some(b"version\r\n".to_vec());
        // One wait may have begun before the bytes came.
        let pieces = vec![bad_length(), more(), None, more(), None, None, Some(b"mn\r\n".to_vec())];
        let found = turns(pieces);
        let during = found.iter().take(5).all(|turn| *turn == (Turn::Discarded, ERROR.to_owned()));
        assert!(during, "{found:?}");
        assert_eq!(found[5].0, Turn::Nothing);
        assert_eq!(found[6], (Turn::Served, format!("{ERROR}MN\r\n")));
    }

    #[test]
    fn more_than_the_limit_behind_a_bad_length_ends_the_connection() {
        let pieces = |bytes: usize| {
            let full = (0..bytes >> 15).map(|_| Some(vec![b'x'; 1 << 15]));
            [bad_length()].into_iter().chain(full).chain([None, None]).collect()
        };
        let last = |bytes| turns(pieces(bytes)).pop().map(|(turn, _)| turn);
        assert_eq!(last(UNFRAMED_MAX), Some(Turn::Gone(Reason::Normal)));
        assert_eq!(last(UNFRAMED_MAX + (1 << 15)), Some(Turn::Last(Reason::Error)));
    }
}

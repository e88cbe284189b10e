//! A socket's session and how its bytes travel: the only join of motion and meaning.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mcache_base::limits::{
    DRAIN_MS, EXPECTED_MUCH_MIN, OUTPUT_HIGH_WATER, RECEIVE_HEAD, RECEIVE_SOME, REQUEST_STEP,
    UNFRAMED_MAX,
};
use mcache_base::{Counters, Now, Stat};
use mcache_net::{ConnectionId, Driver, Received};
use mcache_protocol::{Output, Protocols};
use mcache_session::{Authentication, Awaited, Context, Credentials, Kinds, Next, Served, Session};
use mcache_store::StorageEngine;

use crate::buffered::Held;
use crate::logins::{Attempt, Logins};
use crate::outputs::Answers;
use crate::roster::{Entry, State};
use crate::tls::{Layer, Opened};
use crate::watch::Watcher;

/// One connection. Idle, it holds no buffer: bytes arrive in the worker's.
pub struct Connection<E: StorageEngine> {
    session: Session<E>,
    /// Received bytes, the first `taken` of which the session is done with. While it awaits more
    /// `taken` is 0 and the rest is the beginning of a request.
    pending: Vec<u8>,
    taken: usize,
    /// The session has looked at all that is pending and wants more, of this.
    awaits: Option<Awaited>,
    /// Set while what has arrived is thrown away: how much was, and the last byte of it.
    unframed: Option<Unframed>,
    /// More bytes may have arrived than were received.
    arrived: bool,
    /// What the driver was told last of how much is to come.
    expects_much: bool,
    /// Answers of a turn that was used up, to be sent together with the next turn's.
    pub answers: Option<Answers<E::Pin>>,
    /// What the connection waits for.
    pub waits: Waits,
    /// Memory of the answers that are being sent, while that takes time.
    pub sending: usize,
    /// Memory of the send that was begun last, which its peer may take at once.
    pub begun: usize,
    /// When its peer last got on, in milliseconds of the cache's clock: began a request, finished
    /// one or a good part of it, took a whole answer, or began to leave something here.
    pub progress_ms: u64,
    /// Bytes of a request under way that were done with since then.
    advanced: usize,
    /// Its peer has finished a request, or a part of one.
    has_asked: bool,
    /// It was looked for what has come, as it is to end.
    looked: bool,
    /// What was last noted that it holds.
    pub held: Held,
    /// Set while its peer's name and password are being looked at.
    pub attempt: Option<Arc<Attempt>>,
    /// When it was accepted, in milliseconds of the cache's clock.
    pub since_ms: u64,
    /// Set once the connection watches: it has nothing to ask any more.
    pub watcher: Option<Arc<Watcher>>,
    /// What is between its socket and its session, if its listener has TLS.
    pub tls: Option<Box<Layer<E::Pin>>>,
    /// What others see of it: it is active when bytes are received or a slow send ends.
    pub entry: Arc<Entry>,
}

/// What was thrown away since a command could not be told from data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unframed {
    bytes: usize,
    last: Option<u8>,
    /// Nothing had arrived when it was last looked.
    quiet: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Its peer.
    Peer,
    /// Its turn.
    Turn,
    /// Events to be told.
    Events,
    /// To be told whether its peer may log in.
    Login,
    /// The end of a send; nothing is received meanwhile.
    Sent,
    /// The end of a send, to be closed then.
    SentLast(Reason),
}

/// What a connection waits for from its peer: the earlier ones make room for newcomers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitsFor {
    /// Its first request.
    First,
    /// The rest of a request, or that it takes an answer.
    Rest,
    /// Another request.
    Another,
}

/// Why a connection ends, in the words of watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The socket failed, or what came cannot be understood.
    Error,
    /// The peer wants no more.
    Normal,
    /// Nothing was received for too long.
    Idle,
    /// The server stops.
    Shutdown,
}

impl Reason {
    /// memcached's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Normal => "normal",
            Self::Idle => "idle_timeout",
            Self::Shutdown => "shutdown",
        }
    }
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
    /// A connection that was just accepted.
    pub fn new(
        protocols: Protocols,
        authentication: Authentication,
        entry: Arc<Entry>,
        now: Now,
    ) -> Self {
        Self {
            session: Session::new(protocols, authentication),
            pending: Vec::new(),
            taken: 0,
            awaits: Some(Awaited::Command),
            unframed: None,
            arrived: false,
            expects_much: false,
            answers: None,
            waits: Waits::Peer,
            sending: 0,
            begun: 0,
            progress_ms: now.clock_ms,
            advanced: 0,
            has_asked: false,
            looked: false,
            held: Held::default(),
            attempt: None,
            since_ms: now.clock_ms,
            watcher: None,
            tls: None,
            entry,
        }
    }

    /// Notes that bytes have arrived; tells whether the connection was waiting for them.
    pub fn arrived(&mut self) -> bool {
        self.arrived = true;
        matches!(self.waits, Waits::Peer | Waits::Events)
    }

    /// What it holds in memory now, when the driver has received so many bytes ahead.
    pub fn holds(&self, ahead: usize) -> Held {
        let answers = self.answers.as_ref().map_or(0, |out| out.capacity());
        let mut bytes = self.pending.capacity() + answers + self.sending;
        if let Some(tls) = &self.tls {
            bytes += tls.held();
        }
        let mut ahead = ahead;
        if self.sending > 0 {
            bytes += std::mem::take(&mut ahead); // they stay until the peer reads
        }
        Held { bytes, ahead, waits: self.waits != Waits::Turn }
    }

    /// Whether its peer has begun a request and not finished it.
    pub fn is_midway(&self) -> bool {
        self.waits == Waits::Peer && (!self.pending.is_empty() || self.session.is_midway())
    }

    /// Whether its peer is in the midst of something, or has connected so shortly before that it
    /// had no time to ask anything.
    pub fn may_ask(&self, now: Now) -> bool {
        let is_new = !self.has_asked && now.clock_ms < self.since_ms + DRAIN_MS;
        self.is_midway() || self.is_shaking() || is_new
    }

    /// Has it look for what has come, before it ends; tells whether that is the first time.
    pub fn looks_last(&mut self) -> bool {
        self.arrived = true;
        !std::mem::replace(&mut self.looked, true)
    }

    /// What it has been waiting for from its peer, and since when, if it is.
    pub fn waiting(&self) -> Option<(WaitsFor, u64)> {
        match self.waits {
            Waits::Peer if !self.has_asked => Some((WaitsFor::First, self.progress_ms)),
            Waits::Peer if self.is_midway() => Some((WaitsFor::Rest, self.progress_ms)),
            Waits::Peer => Some((WaitsFor::Another, self.entry.active_ms())),
            Waits::Sent | Waits::SentLast(_) if self.watcher.is_none() && self.sending > 0 => {
                Some((WaitsFor::Rest, self.progress_ms))
            }
            _ => None,
        }
    }

    /// Whether it has nothing to do until its peer sends something.
    pub fn rests(&self) -> bool {
        self.awaits.is_some() && !self.arrived
    }

    /// Whether it is given reports or shakes hands, which cost much: others go first.
    pub fn is_patient(&self) -> bool {
        self.session.reports() || self.is_shaking()
    }

    /// Whether its TLS handshake is not over.
    pub fn is_shaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_shaking())
    }

    /// Whether a part of its answers has still to be sealed.
    pub fn owes(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.owes())
    }

    /// Notes that the peer does not take what is being sent as fast as it comes.
    pub fn is_delayed(&mut self) {
        self.sending = self.begun;
        self.entry.is_now(State::Sending);
    }

    /// Whether its peer may ask anything.
    pub fn is_admitted(&self) -> bool {
        self.session.is_admitted()
    }

    /// Who its peer says it is; the second time nobody.
    pub fn credentials(&mut self) -> Option<Credentials> {
        self.session.credentials()
    }

    /// Tells its peer whether it may log in, if that is known by now.
    pub fn hear_verdict(&mut self, out: &mut Output<E::Pin>, context: &Context<'_, E>) {
        let verdict = self.attempt.as_ref().and_then(|attempt| attempt.verdict()).cloned();
        if let Some(verdict) = verdict {
            self.attempt = None;
            self.session.judged(verdict, out, context);
        }
    }

    /// Waits for the peer again, after a send.
    pub fn rest(&mut self) {
        self.waits = Waits::Peer;
        if let Some(awaited) = self.awaits {
            self.entry.is_now(awaited.into());
        }
    }

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
    use std::time::Duration;

    use mcache_base::{ClassCounters, Counters};
    use mcache_conformance::Quiet;
    use mcache_net::{Event, ListenAddress, Send, Wake};
    use mcache_session::{Events, Prefixes};
    use mcache_store::{EngineOptions, SimpleStorageEngine, SizeLimit, eviction::POLICIES};

    use super::*;

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
        let logins = Logins::new(Authentication::None, Arc::default());
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

//! A socket's session and how its bytes travel: the only join of motion and meaning.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mcache_base::limits::{EXPECTED_MUCH_MIN, OUTPUT_HIGH_WATER, RECEIVE_SOME};
use mcache_base::{Now, Stat};
use mcache_net::{ConnectionId, Driver, Received};
use mcache_protocol::{Output, Protocols};
use mcache_session::{Authentication, Awaited, Context, Credentials, Kinds, Next, Served, Session};
use mcache_store::StorageEngine;

use crate::buffered::Held;
use crate::logins::Attempt;
use crate::outputs::Answers;
use crate::roster::{Entry, State};
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
    /// When its peer last got on, in milliseconds of the cache's clock: finished a request, took a
    /// whole answer, or began to leave something here.
    pub progress_ms: u64,
    /// What was last noted that it holds.
    pub held: Held,
    /// Set while its peer's name and password are being looked at.
    pub attempt: Option<Arc<Attempt>>,
    /// When it was accepted, in milliseconds of the cache's clock.
    pub since_ms: u64,
    /// Set once the connection watches: it has nothing to ask any more.
    pub watcher: Option<Arc<Watcher>>,
    /// What others see of it: it is active when bytes are received or a slow send ends.
    pub entry: Arc<Entry>,
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
            arrived: false,
            expects_much: false,
            answers: None,
            waits: Waits::Peer,
            sending: 0,
            begun: 0,
            progress_ms: 0,
            held: Held::default(),
            attempt: None,
            since_ms: now.clock_ms,
            watcher: None,
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
        let mut ahead = ahead;
        if self.sending > 0 {
            bytes += std::mem::take(&mut ahead); // they stay until the peer reads
        }
        Held { bytes, ahead, waits: self.waits != Waits::Turn }
    }

    /// Whether it has nothing to do until its peer sends something.
    pub fn rests(&self) -> bool {
        self.awaits.is_some() && !self.arrived
    }

    /// Whether it is given reports, which cost much: others go first.
    pub fn is_patient(&self) -> bool {
        self.session.reports()
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
        if let Some(verdict) = self.attempt.as_ref().and_then(|attempt| attempt.verdict()) {
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
    ) -> Turn {
        match driver.receive(id, buffer) {
            Received::Bytes(received) if received == buffer.len() => Turn::More,
            Received::Bytes(_) | Received::Nothing => Turn::Nothing,
            Received::Closed => Turn::Gone(Reason::Normal),
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
    ) -> Turn {
        let Some(awaited) = self.awaits else {
            self.entry.is_now(State::Serving);
            let input = self.pending.get(self.taken..).unwrap_or_default();
            let Some(served) = serve(&mut self.session, input, out, context) else {
                return Turn::Panicked;
            };
            self.taken += served.consumed;
            if matches!(served.next, Next::Receive(_)) || self.taken >= self.pending.len() {
                self.pending = self.pending.get(self.taken..).unwrap_or_default().to_vec();
                self.taken = 0;
            }
            return self.settle(served.next);
        };
        // What is pending is the beginning of a request, and short: put it before the new bytes.
        let kept = self.pending.len();
        if kept >= buffer.len() {
            return Turn::Gone(Reason::Error);
        }
        // What the session may not answer yet has to be kept: less, while much is held already.
        let end = match context.output_high_water {
            OUTPUT_HIGH_WATER => buffer.len(),
            _ => buffer.len().min(kept + RECEIVE_SOME),
        };
        let (front, room) = buffer[..end].split_at_mut(kept);
        front.copy_from_slice(&self.pending);
        let received = match driver.receive(id, room) {
            Received::Bytes(received) => received,
            Received::Nothing => {
                self.arrived = false;
                self.entry.is_now(awaited.into());
                return Turn::Nothing;
            }
            Received::Closed => return Turn::Gone(Reason::Normal),
        };
        self.arrived = received == room.len();
        self.entry.was_active(context.now.clock_ms);
        self.entry.is_now(State::Serving);
        context.counters.add(Stat::bytes_read, received as u64);
        let input = &buffer[..kept + received];
        let Some(served) = serve(&mut self.session, input, out, context) else {
            return Turn::Panicked;
        };
        if served.consumed > 0 {
            self.progress_ms = context.now.clock_ms;
        }
        self.pending = input.get(served.consumed..).unwrap_or_default().to_vec();
        let much = self.session.missing() >= EXPECTED_MUCH_MIN as u64;
        if much != self.expects_much {
            self.expects_much = much;
            driver.expect_much(id, much);
        }
        self.settle(served.next)
    }

    /// Notes what the session waits for.
    fn settle(&mut self, next: Next) -> Turn {
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
            Next::Send => Turn::More,
            Next::Turn => Turn::Yielded,
            Next::Close => Turn::Last(Reason::Normal),
            Next::Abort => Turn::Last(Reason::Error),
            Next::Login => Turn::Login,
            Next::Watch(kinds) => Turn::Watch(kinds),
        }
    }
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

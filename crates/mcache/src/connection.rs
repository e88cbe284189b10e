//! A socket's session and how its bytes travel: the only join of motion and meaning.

mod turn;

use std::sync::Arc;

use mcache_base::Now;
use mcache_base::limits::DRAIN_MS;
use mcache_protocol::{Output, Protocols};
use mcache_session::{Authentication, Awaited, Context, Credentials, Session};
use mcache_store::StorageEngine;

use crate::buffered::Held;
use crate::logins::Attempt;
use crate::outputs::Answers;
use crate::roster::{Entry, State};
use crate::tls::Layer;
use crate::watch::Watcher;
use turn::Unframed;
pub use turn::{Turn, serve};

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
    /// When it was last seen that its peer has logged in, or when it was accepted, in milliseconds
    /// of the cache's clock.
    pub known_ms: u64,
    /// Set once the connection watches: it has nothing to ask any more.
    pub watcher: Option<Arc<Watcher>>,
    /// What is between its socket and its session, if its listener has TLS.
    pub tls: Option<Box<Layer<E::Pin>>>,
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

/// What a connection waits for from its peer: the earlier ones make room for newcomers first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitsFor {
    /// Its first request, or that it logs in.
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
            known_ms: now.clock_ms,
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

    /// Whether its peer has begun a request, or the record of TLS that it is in, and not finished.
    pub fn is_midway(&self) -> bool {
        self.waits == Waits::Peer
            && (!self.pending.is_empty()
                || self.session.is_midway()
                || self.tls.as_ref().is_some_and(|tls| tls.is_midway()))
    }

    /// Whether its peer is in the midst of something, or has connected so shortly before that it
    /// had no time to ask anything.
    pub fn may_ask(&self, now: Now) -> bool {
        let is_new = !self.has_asked && now.clock_ms < self.entry.active_ms() + DRAIN_MS;
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
            _ if !self.is_admitted() => Some((WaitsFor::First, self.known_ms)),
            Waits::Peer if !self.has_asked => Some((WaitsFor::First, self.progress_ms)),
            Waits::Peer if self.is_midway() => Some((WaitsFor::Rest, self.progress_ms)),
            Waits::Peer => Some((WaitsFor::Another, self.entry.active_ms())),
            Waits::Sent | Waits::SentLast(_) if self.watcher.is_none() && self.sending > 0 => {
                Some((WaitsFor::Rest, self.progress_ms))
            }
            Waits::Turn | Waits::Events | Waits::Login | Waits::Sent | Waits::SentLast(_) => None,
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
}

//! A connection's conversation: decode, execute, encode, until the bytes run out.

use mcache_base::{Counters, Now};
use mcache_protocol::{Codec, Output, Protocols};
use mcache_store::StorageEngine;

use crate::Host;

/// What a session needs for one turn.
pub struct Context<'a, E> {
    /// The cache.
    pub engine: &'a E,
    /// The time of this turn.
    pub now: Now,
    /// The counters of the worker whose turn it is.
    pub counters: &'a Counters,
    /// The server around the session.
    pub host: &'a dyn Host,
    /// Requests to serve before other sessions get their turn.
    pub requests_per_turn: usize,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Bytes of the input that are done with; the caller keeps the rest for the next turn.
    pub consumed: usize,
    /// What the session waits for.
    pub next: Next,
}

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes: what is left of the input is not a whole request.
    Receive,
    /// Its next turn: it has used up this one.
    Turn,
    /// Room: so many answers wait to be sent that it stopped serving.
    Send,
    /// Nothing: send what is owed, then close.
    Close,
}

/// One connection's conversation.
pub struct Session<E: StorageEngine> {
    codec: Codec,
    value: Option<E::Reservation>,
}

impl<E: StorageEngine> Session<E> {
    /// A session of a new connection.
    pub fn new(protocols: Protocols) -> Self {
        Self { codec: Codec::new(protocols), value: None }
    }

    /// Serves the whole requests in `input`, appending the answers to `out`.
    ///
    /// The bytes that are not consumed have to be at the front of the next call's input, with
    /// more behind them if [`Next::Receive`] was the answer.
    pub fn serve(
        &mut self,
        input: &[u8],
        out: &mut Output<E::Pin>,
        context: &Context<'_, E>,
    ) -> Served {
        let _ = (input, out, context, &self.codec, &self.value);
        Served { consumed: 0, next: Next::Receive }
    }
}

//! The UDP thread: one session for each datagram, its answer in as many as it takes.
//!
//! A sender's address is easily forged, and a server that answers a small request with a large
//! answer floods whoever is named in it. So only who is on the list of
//! [`crate::ServerOptions::udp_allow`] gets any answer; the others may ask for one key at a time
//! and nothing about the server, and get no answer that is more than [`UDP_AMPLIFICATION_MAX`]
//! times what they sent.

use std::io::{self, IoSlice};
use std::sync::Arc;

use mcache_base::limits::{OUTPUT_HIGH_WATER, RECEIVE_CHUNK, UDP_AMPLIFICATION_MAX, UDP_REPLY_MAX};
use mcache_base::{Outgoing, Stat};
use mcache_net::udp::{Datagram, Datagrams};
use mcache_protocol::{Output, datagram};
use mcache_session::{Authentication, Context, Events, Next, Session};
use mcache_store::{Access, StorageEngine};

use crate::connection::serve;
use crate::shared::Shared;

/// Serves the UDP ports.
pub struct DatagramServer<E: StorageEngine> {
    sockets: Datagrams,
    access: E::Access,
    engine: Arc<E>,
    shared: Arc<Shared>,
    buffer: Box<[u8]>,
    out: Output<E::Pin>,
    answer: Vec<u8>,
}

impl<E: StorageEngine> DatagramServer<E> {
    /// A thread's worth of server for `sockets`.
    pub fn new(sockets: Datagrams, engine: Arc<E>, shared: Arc<Shared>) -> Self {
        Self {
            sockets,
            access: engine.access(),
            engine,
            shared,
            buffer: vec![0; RECEIVE_CHUNK].into_boxed_slice(),
            out: Output::default(),
            answer: Vec::new(),
        }
    }

    /// Serves until the server is to stop.
    pub fn run(mut self) -> io::Result<()> {
        while !self.shared.stop.is_asked() {
            match self.sockets.receive(&mut self.buffer) {
                Some(request) => self.answer(&request),
                None => self.sockets.wait()?,
            }
            self.access.rest();
        }
        Ok(())
    }

    /// Serves the commands of a datagram, and sends their answer if it is not too long.
    fn answer(&mut self, request: &Datagram) {
        let buffer = std::mem::take(&mut self.buffer);
        let packet = buffer.get(..request.len).unwrap_or_default();
        if let Some(frame) = datagram::decode(packet) {
            let allowed = &self.shared.options.udp_allow;
            let is_allowed = allowed.iter().any(|network| network.contains(request.from.ip()));
            let most =
                if is_allowed { UDP_REPLY_MAX } else { UDP_AMPLIFICATION_MAX * packet.len() };
            let shared = self.shared.clone();
            let counters = shared.udp_counters();
            counters.add(Stat::bytes_read, packet.len() as u64);
            shared.roster.found_was_active(request.descriptor, shared.clock.now().clock_ms);
            if (is_allowed || datagram::asks_one_thing(frame.payload))
                && self.converse(frame.payload, most, request)
            {
                datagram::encode(frame.id, &self.answer, |packet| {
                    if self.sockets.answer(request, packet) {
                        counters.add(Stat::bytes_written, packet.len() as u64);
                    }
                });
            }
            self.answer.clear();
            self.answer.shrink_to(RECEIVE_CHUNK);
        }
        self.buffer = buffer;
    }

    /// Lets a session serve `input`. Whether its answer comes to at most `most` bytes, headers
    /// included; what the commands do is done in any case.
    fn converse(&mut self, input: &[u8], most: usize, from: &Datagram) -> bool {
        let protocols = self.shared.options.protocols_at(from.listener);
        let mut session = Session::<E>::new(protocols, Authentication::None);
        let connection = from.descriptor;
        let log = self.shared.watch.log(self.shared.options.threads);
        let mut context = Context {
            engine: &*self.engine,
            access: &mut self.access,
            now: self.shared.clock.now(),
            counters: self.shared.udp_counters(),
            classes: self.shared.udp_classes(),
            prefixes: &self.shared.prefixes,
            host: &*self.shared,
            events: Events { wanted: self.shared.watch.wanted(), log: &log, connection },
            requests_per_turn: self.shared.options.requests_per_turn,
            output_high_water: OUTPUT_HIGH_WATER,
        };
        let mut rest = input;
        loop {
            let Some(served) = serve(&mut session, rest, &mut self.out, &mut context) else {
                self.out.clear();
                return false;
            };
            let headers = self.answer.len().div_ceil(datagram::PAYLOAD) * datagram::HEADER;
            let fits = self.answer.len() + self.out.unsent() + headers.max(datagram::HEADER);
            if fits > most || !empty_into(&mut self.out, &mut self.answer) {
                self.out.clear();
                return false;
            }
            rest = rest.get(served.consumed..).unwrap_or_default();
            match served.next {
                Next::Turn | Next::Send => {}
                Next::Watch(_) => self.answer.extend_from_slice(b"ERROR\r\n"),
                Next::Receive(_) | Next::Discard | Next::Close | Next::Abort | Next::Login => {
                    return true;
                }
            }
        }
    }
}

/// Moves what waits to be sent behind `answer`; tells whether all of it was still there.
fn empty_into(out: &mut impl Outgoing, answer: &mut Vec<u8>) -> bool {
    while !out.is_empty() {
        let before = answer.len();
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = out.gather(&mut slices);
        if filled == 0 {
            return false;
        }
        for slice in &slices[..filled] {
            answer.extend_from_slice(slice);
        }
        out.advance(answer.len() - before);
    }
    true
}

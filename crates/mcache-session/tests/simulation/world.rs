//! The world: one engine, the threads that work in it, and a network on which everything happens
//! in the order that a seed says. Beside it the model, which is asked what the server has served,
//! request by request, in the order in which it was.

use std::io::IoSlice;
use std::sync::Arc;

use mcache_base::limits::OUTPUT_HIGH_WATER;
use mcache_base::{ClassCounters, Counters, Now, Outgoing, Stat};
use mcache_conformance::Quiet;
use mcache_protocol::{Output, Protocols};
use mcache_session::{Authentication, Context, Events, Next, Prefixes, Session};
use mcache_store::eviction::POLICIES;
use mcache_store::{
    Access, EngineOptions, SegmentStorageEngine, SimpleStorageEngine, SizeLimit, StorageEngine,
};

use super::answers::{Answers, compare, may_be_missing};
use super::client::{Client, ITEM_MAX, KEYS, Manners, Part, Request, key_name};
use super::numbers::Numbers;

/// Bytes of an engine in which nothing is ever evicted.
const AMPLE: u64 = 32 << 20;

/// Bytes of an engine that evicts most of what is stored.
const LITTLE: u64 = 256 << 10;

/// Connections at the same time.
const CONNECTIONS: usize = 5;

/// A client asks no more while so many bytes of its requests are on their way.
const ON_THE_WAY_MAX: usize = 128 << 10;

/// A connection that asks for reports, which no model knows.
const NOSY: usize = 0;

/// A thread's way into an engine, and what it counts with.
struct Thread<E: StorageEngine> {
    engine: Arc<E>,
    access: E::Access,
    counters: Counters,
    classes: ClassCounters,
}

/// A connection, from both ends.
struct Connection {
    thread: usize,
    binary: bool,
    session: Session<SegmentStorageEngine>,
    model: Session<SimpleStorageEngine>,
    /// Parts of requests that were sent and not served.
    asked: Vec<Part>,
    /// Bytes that the client has sent, all together.
    sent: u64,
    /// Bytes on their way to the server.
    network: Vec<u8>,
    /// Bytes that have arrived and are not done with.
    arrived: Vec<u8>,
    /// Bytes that are done with.
    done: u64,
    /// Answers that the network has not taken.
    out: Output<<SegmentStorageEngine as StorageEngine>::Pin>,
    next: Next,
    /// Whether something has changed for the session since its last turn.
    has_turn: bool,
    heard: Answers,
    expected: Answers,
    is_over: bool,
    is_model_over: bool,
}

/// The world of one seed.
pub struct World {
    numbers: Numbers,
    manners: Manners,
    engine: Arc<SegmentStorageEngine>,
    threads: Vec<Thread<SegmentStorageEngine>>,
    model: Thread<SimpleStorageEngine>,
    host: Quiet,
    prefixes: Prefixes,
    now: Now,
    connections: Vec<Connection>,
    told: Vec<(usize, u64, u64)>,
    resets: u64,
}

/// What happened in a world, to be sure that it was something.
#[derive(Default, Debug)]
pub struct Happened {
    pub evictions: u64,
    pub hits: u64,
    pub resets: u64,
}

impl<E: StorageEngine> Thread<E> {
    fn new(engine: &Arc<E>) -> Self {
        Self {
            engine: engine.clone(),
            access: engine.access(),
            counters: Counters::default(),
            classes: ClassCounters::default(),
        }
    }

    /// What a session is given for a turn.
    fn context<'a>(
        &'a mut self,
        (now, host, prefixes): (Now, &'a Quiet, &'a Prefixes),
        requests_per_turn: usize,
        output_high_water: usize,
    ) -> Context<'a, E> {
        Context {
            engine: &*self.engine,
            access: &mut self.access,
            now,
            counters: &self.counters,
            classes: &self.classes,
            prefixes,
            host,
            events: Events::NOBODY,
            requests_per_turn,
            output_high_water,
        }
    }
}

impl Connection {
    fn new(thread: usize, binary: bool, masks_cas: bool) -> Self {
        Self {
            thread,
            binary,
            session: Session::new(Protocols::Negotiated, Authentication::None),
            model: Session::new(Protocols::Negotiated, Authentication::None),
            asked: Vec::new(),
            sent: 0,
            network: Vec::new(),
            arrived: Vec::new(),
            done: 0,
            out: Output::default(),
            next: Next::Turn,
            has_turn: false,
            heard: Answers::new(binary, masks_cas),
            expected: Answers::new(binary, masks_cas),
            is_over: false,
            is_model_over: false,
        }
    }

    /// The client sends a request.
    fn send(&mut self, request: Request) {
        let before = self.sent;
        self.sent += request.bytes.len() as u64;
        self.network.extend_from_slice(&request.bytes);
        self.asked
            .extend(request.parts.into_iter().map(|part| Part { end: before + part.end, ..part }));
    }

    /// The network brings the server some bytes.
    fn deliver(&mut self, len: usize) {
        self.arrived.extend(self.network.drain(..len));
        self.has_turn = true;
    }

    /// The network takes at most so many bytes of the answers. Returns whether it can: a value of
    /// which only a part was held is not all there any more.
    fn take(&mut self, most: usize) -> bool {
        let taken = take(&mut self.out, most);
        self.heard.hear(&taken);
        self.has_turn |= self.next == Next::Send;
        !taken.is_empty() || self.out.is_empty()
    }

    /// Whether nothing can happen any more unless the client sends.
    fn is_quiet(&self) -> bool {
        let is_served = self.network.is_empty() && !self.has_turn;
        self.out.is_empty() && (is_served || self.is_over)
    }
}

impl World {
    /// The world of a seed, of an engine that has much memory or little.
    pub fn new(seed: u64, little: bool) -> Self {
        let mut numbers = Numbers::new(seed);
        let threads = 1 + numbers.below(3);
        let manners = Manners { little, many_threads: threads > 1, steps_back: numbers.one_in(2) };
        let policy = numbers.below(POLICIES.len());
        let options = EngineOptions {
            capacity: if little { LITTLE } else { AMPLE },
            item_size: SizeLimit::Item(ITEM_MAX as u64),
            evict: little || numbers.one_in(2),
            policy: &POLICIES[policy],
        };
        let secret = [numbers.next(), numbers.next()];
        let engine = SegmentStorageEngine::with_secret(&options, secret);
        let engine = Arc::new(engine.expect("there is address space"));
        let ample = EngineOptions { capacity: AMPLE, ..options };
        Self {
            threads: (0..threads).map(|_| Thread::new(&engine)).collect(),
            engine,
            model: Thread::new(&Arc::new(SimpleStorageEngine::new(&ample))),
            host: Quiet::strict(),
            prefixes: Prefixes::new(b':', false),
            now: Now { clock_ms: 100_000, unix: 1_800_000_000 },
            connections: Vec::new(),
            told: Vec::new(),
            resets: 0,
            numbers,
            manners,
        }
    }

    /// Lets so many things happen, then waits until everything that was asked is answered, and
    /// looks at every key. Panics if something is not as it should be.
    pub fn run(mut self, steps: usize) -> Happened {
        for at in 0..CONNECTIONS {
            let connection = self.connect(at != NOSY);
            self.connections.push(connection);
        }
        for _ in 0..steps {
            let at = self.numbers.below(CONNECTIONS);
            match self.numbers.below(100) {
                0..30 => self.ask(at),
                30..55 => self.deliver(at),
                55..75 => self.turn(at),
                75..93 => self.take(at),
                93 | 94 => self.reset(at),
                95 => self.threads_change(),
                96 => self.engine.maintain(self.now),
                _ => self.clocks_step(),
            }
        }
        self.connections[1] = self.connect(false);
        for key in 0..KEYS {
            let line = format!("get {}\r\n", key_name(key)).into_bytes();
            let part = Part { end: line.len() as u64, asked: line.clone(), goes_on: false };
            self.connections[1].send(Request { bytes: line, parts: vec![part] });
        }
        self.settle();
        self.end()
    }

    fn connect(&mut self, may_be_binary: bool) -> Connection {
        let thread = self.numbers.below(self.threads.len());
        let binary = may_be_binary && self.numbers.one_in(3);
        Connection::new(thread, binary, self.manners.little || self.manners.many_threads)
    }

    fn ask(&mut self, at: usize) {
        let Self { numbers, manners, now, told, connections, .. } = self;
        let connection = &mut connections[at];
        if connection.is_over || connection.network.len() > ON_THE_WAY_MAX {
            return;
        }
        let mut client = Client { numbers, manners: *manners, unix: now.unix, told };
        let request = if at == NOSY { client.nosy() } else { client.request(connection.binary) };
        connection.send(request);
    }

    fn deliver(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        if !connection.network.is_empty() && !connection.is_over {
            connection.deliver(self.numbers.piece(connection.network.len()));
        }
    }

    fn take(&mut self, at: usize) {
        let most = self.numbers.piece(64 << 10);
        let goes_on = self.connections[at].take(most);
        self.compare(at);
        if !goes_on {
            assert!(self.manners.little && self.connections[at].out.is_partial());
            self.reset(at);
        }
    }

    fn reset(&mut self, at: usize) {
        self.resets += 1;
        self.connections[at] = self.connect(at != NOSY);
    }

    /// A connection has its turn, if there is something to do in it.
    fn turn(&mut self, at: usize) {
        let Self { numbers, connections, threads, model, now, host, prefixes, .. } = self;
        let (around, connection) = ((*now, &*host, &*prefixes), &mut connections[at]);
        if !connection.has_turn || connection.is_over {
            return;
        }
        let thread = &mut threads[connection.thread];
        let requests = numbers.pick(&[1, 2, 20]);
        let high_water = numbers.pick(&[1, 300, 4096, OUTPUT_HIGH_WATER]);
        let mut context = thread.context(around, requests, high_water);
        let served =
            connection.session.serve(&connection.arrived, &mut connection.out, &mut context);
        connection.arrived.drain(..served.consumed);
        connection.done += served.consumed as u64;
        connection.next = served.next;
        connection.has_turn = matches!(served.next, Next::Turn)
            || (served.next == Next::Send && connection.out.is_empty());
        connection.is_over = matches!(served.next, Next::Close | Next::Abort);
        if self.manners.little || !numbers.one_in(4) {
            thread.access.rest();
        }
        let served = connection.asked.iter().take_while(|part| part.end <= connection.done).count();
        let served: Vec<_> = connection.asked.drain(..served).collect();
        for part in served.into_iter().filter(|_| at != NOSY) {
            if !connection.is_model_over {
                ask_model(connection, model.context(around, usize::MAX, usize::MAX), &part);
            }
        }
        assert!(at == NOSY || !connection.is_over || connection.is_model_over, "hung up");
        self.compare(at);
    }

    fn compare(&mut self, at: usize) {
        let Connection { heard, expected, .. } = &mut self.connections[at];
        if at == NOSY {
            heard.whole.clear();
        } else {
            self.told.extend(compare(heard, expected, self.manners.little));
        }
    }

    /// A thread ends, and another one takes its place.
    fn threads_change(&mut self) {
        let at = self.numbers.below(self.threads.len());
        self.threads[at].access = self.engine.access();
    }

    fn clocks_step(&mut self) {
        let ms = self.numbers.pick(&[1, 999, 1000, 1001, 7_000, 65_000, 600_000]);
        self.now.clock_ms += ms;
        self.now.unix += ms / 1000;
        if self.numbers.one_in(4) {
            let by = self.numbers.pick(&[1, 60, 3600]);
            self.now.unix = match self.manners.steps_back {
                true => self.now.unix.saturating_sub(by),
                false => self.now.unix + by,
            };
        }
    }

    /// Everything that is on its way arrives, is served and is answered.
    fn settle(&mut self) {
        while !self.connections.iter().all(Connection::is_quiet) {
            let at = self.numbers.below(CONNECTIONS);
            self.deliver(at);
            self.turn(at);
            self.take(at);
        }
    }

    fn end(mut self) -> Happened {
        for connection in &self.connections[NOSY + 1..] {
            let Connection { heard, expected, asked, is_over, .. } = connection;
            assert!(*is_over || (asked.is_empty() && connection.arrived.is_empty()), "served");
            assert!(heard.whole.is_empty() && heard.is_whole(), "not asked for: {heard:?}");
            let missing = self.manners.little && may_be_missing(expected);
            assert!(expected.whole.is_empty() || missing, "not said: {expected:?}");
        }
        self.connections.clear();
        self.threads.iter_mut().for_each(|thread| thread.access.rest());
        self.engine.check();
        let left = ["staged_bytes", "segments_pinned", "threads_died"];
        for (name, value) in self.engine.figures() {
            assert!(value == 0 || !left.contains(&name), "{value} {name} with nobody there");
        }
        let hits = self.threads.iter().map(|thread| thread.counters.read(Stat::get_hits)).sum();
        Happened { evictions: self.engine.stat(Stat::evictions), hits, resets: self.resets }
    }
}

/// Asks the model what the server has just served.
fn ask_model(
    connection: &mut Connection,
    mut context: Context<'_, SimpleStorageEngine>,
    part: &Part,
) {
    let (mut out, mut done, mut answer) = (Output::default(), 0, Vec::new());
    loop {
        let served = connection.model.serve(&part.asked[done..], &mut out, &mut context);
        done += served.consumed;
        while !out.is_empty() {
            answer.extend(take(&mut out, usize::MAX));
        }
        match served.next {
            Next::Turn | Next::Send => {}
            Next::Close | Next::Abort => break connection.is_model_over = true,
            _ => break assert_eq!(done, part.asked.len(), "the model has the whole request"),
        }
    }
    let end = if part.goes_on { b"END\r\n".len() } else { 0 };
    connection.expected.hear(&answer[..answer.len() - end]);
}

/// Takes at most so many bytes off the front of a queue, as a socket does.
fn take(out: &mut impl Outgoing, most: usize) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 3];
    let filled = out.gather(&mut slices);
    let bytes: Vec<u8> = slices[..filled].iter().flat_map(|slice| slice.iter()).copied().collect();
    let taken = bytes[..bytes.len().min(most)].to_vec();
    out.advance(taken.len());
    taken
}

//! A cache without sockets as a house: sessions over one engine, and a clock wound by hand.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcache_base::limits::{OUTPUT_HIGH_WATER, SLICES_PER_SEND};
use mcache_base::{ClassCounters, ClassStat, Counters, MEMCACHED_LEVEL, Now, Outgoing, Stat};
use mcache_protocol::{Output, Protocols, StatLine};
use mcache_session::{Authentication, ClockMove, Context, Events, Host, Next, Prefixes, Session};
use mcache_store::eviction::POLICIES;
use mcache_store::{
    EngineOptions, SegmentStorageEngine, SimpleStorageEngine, SizeLimit, StorageEngine,
};

use crate::house::{Connection, House, Received, Started};
use crate::transcript::Server;

/// As memcached's `-R`.
const REQUESTS_PER_TURN: usize = 20;

/// Sessions over an engine, in memory.
pub struct Memory<E> {
    name: &'static str,
    build: fn(&EngineOptions) -> E,
}

impl<E: StorageEngine> Memory<E> {
    /// A house whose engine `build` makes; `name` is the engine's.
    pub fn new(name: &'static str, build: fn(&EngineOptions) -> E) -> Self {
        Self { name, build }
    }
}

/// A house for each engine.
pub fn memory_houses() -> Vec<Box<dyn House>> {
    vec![
        Box::new(Memory::new("simple", SimpleStorageEngine::new)),
        Box::new(Memory::new("segment", |options| {
            SegmentStorageEngine::new(options).expect("there is address space")
        })),
    ]
}

impl<E: StorageEngine> House for Memory<E> {
    fn name(&self) -> String {
        format!("session over the {} engine", self.name)
    }

    fn server(&self) -> Server {
        Server { name: "mcache".to_owned(), version: MEMCACHED_LEVEL.to_owned() }
    }

    fn start(&self, options: &[String]) -> Result<Option<Box<dyn Started>>, String> {
        let Some((options, host)) = understand(options)? else { return Ok(None) };
        let engine = Arc::new((self.build)(&options));
        let cache = Cache {
            access: RefCell::new(engine.access()),
            engine,
            counters: Counters::default(),
            classes: ClassCounters::default(),
            prefixes: Prefixes::new(b':', false),
            host,
            now: Cell::new(Now { clock_ms: 100_000, unix: 1_800_000_000 }),
        };
        Ok(Some(Box::new(Room(Rc::new(cache)))))
    }
}

/// The engine's options and the host that memcached's options mean, starting from memcached's
/// defaults. `None` if they need a server.
fn understand(options: &[String]) -> Result<Option<(EngineOptions, Quiet)>, String> {
    let mut engine = EngineOptions {
        capacity: 64 << 20,
        item_size: SizeLimit::Item(1 << 20),
        evict: true,
        policy: &POLICIES[0],
    };
    let mut host = Quiet::new();
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "-m" => engine.capacity = bytes(rest.next(), "m")?,
            "-I" => engine.item_size = SizeLimit::Item(bytes(rest.next(), "")?),
            "-M" => engine.evict = false,
            "-F" => host.flush_allowed = false,
            "--strict-framing" => host.strict_framing = true,
            "-X" => host.change_setting("dump_enabled", "no".to_owned()),
            _ => return Ok(None),
        }
    }
    Ok(Some((engine, host)))
}

/// A size with memcached's units; `unit` is that of a bare number.
fn bytes(text: Option<&String>, unit: &str) -> Result<u64, String> {
    let text = format!("{}{unit}", text.ok_or("a size is missing")?);
    let (number, shift) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 10),
        Some(b'm') => (&text[..text.len() - 1], 20),
        _ => (text.as_str(), 0),
    };
    let number: u64 = number.parse().map_err(|_| format!("`{text}` is no size"))?;
    Ok(number << shift)
}

struct Cache<E: StorageEngine> {
    engine: Arc<E>,
    access: RefCell<E::Access>,
    counters: Counters,
    classes: ClassCounters,
    prefixes: Prefixes,
    host: Quiet,
    now: Cell<Now>,
}

struct Room<E: StorageEngine>(Rc<Cache<E>>);

impl<E: StorageEngine> Started for Room<E> {
    fn connect(&mut self) -> Result<Box<dyn Connection>, String> {
        Ok(Box::new(Talk {
            cache: Rc::clone(&self.0),
            session: Session::new(Protocols::Negotiated, Authentication::None),
            pending: Vec::new(),
            answers: Vec::new(),
            closed: false,
        }))
    }

    fn advance(&mut self, time: Duration) -> bool {
        let Now { clock_ms, unix } = self.0.now.get();
        let now = Now { clock_ms: clock_ms + time.as_millis() as u64, unix: unix + time.as_secs() };
        self.0.now.set(now);
        self.0.engine.maintain(now);
        true
    }
}

struct Talk<E: StorageEngine> {
    cache: Rc<Cache<E>>,
    session: Session<E>,
    /// Sent to the session and not yet consumed.
    pending: Vec<u8>,
    /// Said by the session and not yet received.
    answers: Vec<u8>,
    closed: bool,
}

impl<E: StorageEngine> Connection for Talk<E> {
    fn send(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        let mut access = self.cache.access.borrow_mut();
        let mut context = Context {
            engine: &*self.cache.engine,
            access: &mut access,
            now: self.cache.now.get(),
            counters: &self.cache.counters,
            classes: &self.cache.classes,
            prefixes: &self.cache.prefixes,
            host: &self.cache.host,
            events: Events::NOBODY,
            requests_per_turn: REQUESTS_PER_TURN,
            output_high_water: OUTPUT_HIGH_WATER,
        };
        let mut out = Output::default();
        while !self.closed {
            let served = self.session.serve(&self.pending, &mut out, &mut context);
            let last = self.pending.last().copied();
            self.pending.drain(..served.consumed);
            drain(&mut out, &mut self.answers);
            match served.next {
                Next::Receive(_) => return,
                Next::Turn | Next::Send => {}
                Next::Discard => self.session.go_on(last),
                Next::Watch(_) => self.answers.extend_from_slice(b"OK\r\n"),
                Next::Close | Next::Abort | Next::Login => self.closed = true,
            }
        }
    }

    fn hang_up(&mut self) {
        self.closed = true;
    }

    fn receive(&mut self, _: Duration) -> Received {
        match self.answers.is_empty() {
            false => Received::Bytes(std::mem::take(&mut self.answers)),
            true if self.closed => Received::Closed,
            true => Received::Silence,
        }
    }
}

/// Sends all that waits, as a driver would.
fn drain(out: &mut impl Outgoing, answers: &mut Vec<u8>) {
    while !out.is_empty() {
        let before = answers.len();
        let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
        let filled = out.gather(&mut slices);
        assert!(filled > 0, "a value is gone before it was sent");
        slices[..filled].iter().for_each(|slice| answers.extend_from_slice(slice));
        out.advance(answers.len() - before);
    }
}

/// The server around the sessions: there is none.
pub struct Quiet {
    flush_allowed: bool,
    strict_framing: bool,
    settings: Mutex<Vec<StatLine>>,
}

impl Quiet {
    /// The settings that sessions look at.
    #[allow(clippy::new_without_default)] // a host is chosen, not fallen back to
    pub fn new() -> Self {
        let on = ["dump_enabled", "lru_crawler", "lru_maintainer_thread", "maxconns_fast"];
        let line = |(name, value): (&str, &str)| StatLine {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let rest = [("track_sizes", "no"), ("slab_reassign", "yes"), ("shutdown_command", "no")];
        let settings = on.map(|name| (name, "yes")).into_iter().chain(rest).map(line).collect();
        Self { flush_allowed: true, strict_framing: false, settings: Mutex::new(settings) }
    }

    /// The same, where a session that has lost its place ends.
    pub fn strict() -> Self {
        Self { strict_framing: true, ..Self::new() }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<StatLine>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for Quiet {
    fn stat(&self, stat: Stat) -> Option<String> {
        (stat != Stat::idle_kicks).then(|| "0".to_owned())
    }

    fn class_stat(&self, _: usize, _: ClassStat) -> u64 {
        0
    }

    fn figures(&self) -> Vec<StatLine> {
        Vec::new()
    }

    fn connections(&self, _: i32, _: Now) -> (Vec<StatLine>, Option<i32>) {
        (Vec::new(), None)
    }

    fn settings(&self) -> Vec<StatLine> {
        self.lines().clone()
    }

    fn change_setting(&self, name: &str, value: String) {
        if let Some(line) = self.lines().iter_mut().find(|line| line.name == name) {
            line.value = value;
        }
    }

    fn reset_stats(&self) {}

    fn set_verbosity(&self, _: u32) {}

    fn watch_allowed(&self) -> bool {
        true
    }

    fn flush_allowed(&self) -> bool {
        self.flush_allowed
    }

    fn goes_on_unframed(&self) -> bool {
        !self.strict_framing
    }

    fn stop(&self) {}

    fn move_clock(&self, _: ClockMove) -> bool {
        false
    }
}

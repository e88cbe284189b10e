//! Words that the tests of all engines share.
#![allow(dead_code)] // each test file is a crate of its own and uses some of them

pub mod pressure;
pub mod program;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Store, StoreMode, Stored,
};
use mcache_base::{Expiry, Item, Now, Pin};
use mcache_store::{Access, EngineOptions, Reservation, SizeLimit, StorageEngine, eviction};

/// Room enough that nothing is ever evicted.
pub const AMPLE: u64 = 64 << 20;

pub fn options(capacity: u64) -> EngineOptions {
    let policy = eviction::policy("lru").expect("lru is a row of the table");
    EngineOptions { capacity, item_size: SizeLimit::Item(1 << 20), evict: true, policy }
}

/// `ms` milliseconds after the start.
pub const fn at(ms: u64) -> Now {
    Now { clock_ms: 1_000 + ms, unix: 1_800_000_000 + ms / 1000 }
}

/// An item by value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub flags: u32,
    pub cas: u64,
    pub expiry: Expiry,
    pub binary_key: bool,
}

pub fn copy(item: &impl Item) -> Copied {
    let mut value = Vec::new();
    while value.len() < item.value_len() {
        value.extend_from_slice(item.value_at(value.len()));
    }
    assert!(item.value_at(value.len()).is_empty());
    Copied {
        key: item.key().to_vec(),
        value,
        flags: item.flags(),
        cas: item.cas(),
        expiry: item.expiry(),
        binary_key: item.binary_key(),
    }
}

pub fn copy_hit<I: Item>(hit: Hit<I>) -> Hit<Copied> {
    let item = copy(&hit.item);
    hit.with(item)
}

/// What came of any operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Fetched(Result<Hit<Copied>, Miss>),
    Stored(Stored),
    Deleted(Deleted),
    Counted(Counted<Copied>),
    Done,
}

/// One thread's way into an engine, with the short words that tests want.
pub struct Bench<E: StorageEngine> {
    pub engine: Arc<E>,
    pub access: RefCell<E::Access>,
    /// What it may hold at the start, in bytes, if a program is going to move that.
    capacity: u64,
    /// Values that are held still, and what they were when that began.
    held: RefCell<VecDeque<(E::Pin, Vec<u8>)>>,
    /// Values that are arriving.
    arriving: RefCell<VecDeque<Arriving<E>>>,
}

/// A value that is arriving.
struct Arriving<E: StorageEngine> {
    key: String,
    store: Store,
    /// What is still to come.
    rest: Vec<u8>,
    room: <E::Access as Access>::Reservation,
}

impl<E: StorageEngine> Arriving<E> {
    fn finish(mut self, bench: &Bench<E>, now: Now) -> Stored {
        bench.bring(&mut self.room, &self.rest, now);
        bench.with(|access| {
            access.commit(access.key(self.key.as_bytes()), &self.store, self.room, now)
        })
    }
}

impl<E: StorageEngine> Bench<E> {
    pub fn new(engine: E) -> Self {
        Self::of(&Arc::new(engine))
    }

    fn with_capacity(engine: E, capacity: u64) -> Self {
        Self { capacity, ..Self::new(engine) }
    }

    /// One more thread's way into the engine.
    pub fn of(engine: &Arc<E>) -> Self {
        Self {
            engine: engine.clone(),
            access: RefCell::new(engine.access()),
            capacity: AMPLE,
            held: RefCell::default(),
            arriving: RefCell::default(),
        }
    }

    /// Another thread takes the place of the one that was at work.
    fn begin_anew(&self) {
        *self.access.borrow_mut() = self.engine.access();
    }

    /// Finds a value without a trace and holds it still, with at most `most` others.
    fn hold(&self, key: &str, most: usize, now: Now) -> Result<Hit<Copied>, Miss> {
        let fetch = Fetch { unseen: true, ..Fetch::default() };
        self.with(|access| {
            let hit = access.fetch(access.key(key.as_bytes()), &fetch, now)?;
            let pin = hit.item.pin();
            let hit = copy_hit(hit);
            let mut held = self.held.borrow_mut();
            held.extend(pin.map(|pin| (pin, hit.item.value.clone())));
            if held.len() > most {
                held.pop_front();
            }
            Ok(hit)
        })
    }

    fn let_go(&self, number: usize) {
        let mut held = self.held.borrow_mut();
        if let Some(last) = held.len().checked_sub(1) {
            held.remove(number.min(last));
        }
    }

    /// Whether something is held that may keep memory from being used again.
    fn holds(&self) -> bool {
        !self.held.borrow().is_empty() || !self.arriving.borrow().is_empty()
    }

    /// Panics if an invariant does not hold, or a value that is held has changed.
    fn check(&self) {
        self.engine.check();
        for (pin, value) in &*self.held.borrow() {
            let mut found = 0;
            while found < pin.len() {
                let run = pin.value_at(found);
                assert!(value[found..].starts_with(run), "a value that is held has changed");
                assert!(!run.is_empty() || pin.is_partial(), "a part of it is missing");
                found += if run.is_empty() { pin.len() } else { run.len() }; // held no further
            }
            assert_eq!(pin.len(), value.len());
        }
    }

    /// Runs an operation, after which the thread holds nothing.
    pub fn with<T>(&self, operation: impl FnOnce(&mut E::Access) -> T) -> T {
        let mut access = self.access.borrow_mut();
        let result = operation(&mut access);
        access.rest();
        result
    }

    /// Brings the next bytes of a value: those for which there is a place are written to it in
    /// pieces of awkward sizes, the others are given.
    pub fn bring(
        &self,
        value: &mut <E::Access as Access>::Reservation,
        mut bytes: &[u8],
        now: Now,
    ) {
        for most in [1, 4_095, 700, 65_537].into_iter().cycle() {
            let place_len = self.with(|access| {
                let place = access.place(value, now);
                let len = place.len().min(bytes.len()).min(most);
                place[..len].copy_from_slice(&bytes[..len]);
                len
            });
            match place_len {
                0 => bytes = &bytes[value.fill(bytes)..],
                len => {
                    value.arrived(len);
                    bytes = &bytes[len..];
                }
            }
            if bytes.is_empty() {
                return;
            }
        }
    }

    pub fn fetch(&self, key: &str, fetch: Fetch, now: Now) -> Result<Hit<Copied>, Miss> {
        self.with(|access| access.fetch(access.key(key.as_bytes()), &fetch, now).map(copy_hit))
    }

    pub fn store(&self, key: &str, store: Store, value: &str, now: Now) -> Stored {
        let value = value.as_bytes();
        self.with(|access| access.store(access.key(key.as_bytes()), &store, value, now))
    }

    pub fn delete(&self, key: &str, delete: Delete, now: Now) -> Deleted {
        self.with(|access| access.delete(access.key(key.as_bytes()), &delete, now))
    }

    pub fn count(&self, key: &str, count: Count, now: Now) -> Counted<Copied> {
        self.with(|access| match access.count(access.key(key.as_bytes()), &count, now) {
            Counted::Number { value, hit } => Counted::Number { value, hit: copy_hit(hit) },
            Counted::NotFound => Counted::NotFound,
            Counted::Exists => Counted::Exists,
            Counted::NotNumeric => Counted::NotNumeric,
            Counted::Refused(refusal) => Counted::Refused(refusal),
        })
    }

    /// A plain set at the start.
    pub fn set(&self, key: &str, value: &str) -> Stored {
        self.store(key, Store::default(), value, at(0))
    }

    /// The value, looked at without a trace.
    pub fn peek(&self, key: &str, now: Now) -> Option<String> {
        let hit = self.fetch(key, Fetch { unseen: true, ..Fetch::default() }, now).ok()?;
        Some(String::from_utf8(hit.item.value).expect("tests store text"))
    }
}

pub fn mode(mode: StoreMode) -> Store {
    Store { mode, ..Store::default() }
}

//! Threads that do the same operation again and again, side by side.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mcache_base::limits::REQUESTS_AHEAD;
use mcache_base::operation::{Fetch, Store};
use mcache_base::{Item, Key, Now};
use mcache_store::{Access, StorageEngine};

use crate::clock::{Passed, Reading};
use crate::numbers::{Numbers, mix};

/// Bytes of a key and of a value.
pub const KEY_LEN: usize = 24;
const VALUE_LEN: usize = 100;

/// Operations between two rests of a thread: a worker's turn.
const TURN: usize = 64;

/// Keys that are chosen ahead of the work, so that choosing costs little.
const CHOSEN: usize = 800 * REQUESTS_AHEAD;

/// The moment at which everything happens.
pub const NOW: Now = Now { clock_ms: 1_000_000, unix: 1_800_000_000 };

/// A key.
pub type KeyBytes = [u8; KEY_LEN];

/// What a thread does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Looks an item up and reads its value.
    Get,
    /// Overwrites an item.
    Set,
    /// Overwrites an item, as [`Self::Set`], having looked ahead at the keys of a turn as a session
    /// does that finds several requests.
    SetAhead,
    /// Nine gets and a set.
    Mixed,
    /// Hashes the key and no more: what the machine itself gives to a second thread.
    Hash,
}

/// On which keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All alike.
    Uniform,
    /// One.
    Hot,
}

impl Operation {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::SetAhead => "set-ahead",
            Self::Mixed => "mixed",
            Self::Hash => "hash",
        }
    }
}

impl Keys {
    /// Their name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Hot => "hot",
        }
    }
}

/// The items.
pub struct Work {
    keys: Vec<KeyBytes>,
    value: [u8; VALUE_LEN],
}

impl Work {
    /// So many items.
    pub fn new(items: usize) -> Self {
        Self::on((0..items as u64).map(random_key).collect())
    }

    /// Items of these keys.
    pub fn on(keys: Vec<KeyBytes>) -> Self {
        Self { keys, value: [b'v'; VALUE_LEN] }
    }

    /// The keys.
    #[cfg(test)]
    pub fn keys(&self) -> &[KeyBytes] {
        &self.keys
    }

    /// Stores every item.
    pub fn fill<E: StorageEngine>(&self, engine: &Arc<E>) {
        let mut access = engine.access();
        for key in &self.keys {
            access.store(access.key(key), &Store::default(), &self.value, NOW);
        }
        access.rest();
    }

    /// Does so many operations in this thread.
    pub fn run_here<E: StorageEngine>(
        &self,
        engine: &Arc<E>,
        operation: Operation,
        keys: Keys,
        operations: usize,
    ) {
        self.repeat(&mut engine.access(), operation, &self.chosen(keys, 0), operations);
    }

    /// The keys of a thread, in the order in which it takes them.
    fn chosen(&self, keys: Keys, seed: u64) -> Vec<KeyBytes> {
        let mut numbers = Numbers::new(seed);
        let mut choose = || match keys {
            Keys::Uniform => self.keys[numbers.below(self.keys.len() as u64) as usize],
            Keys::Hot => self.keys[0],
        };
        (0..CHOSEN).map(|_| choose()).collect()
    }

    /// Does so many operations on the keys in turn.
    fn repeat<A: Access>(
        &self,
        access: &mut A,
        operation: Operation,
        keys: &[KeyBytes],
        operations: usize,
    ) {
        for (number, bytes) in keys.iter().cycle().take(operations).enumerate() {
            match operation {
                Operation::SetAhead if number % REQUESTS_AHEAD == 0 => {
                    let from = number % keys.len();
                    let count = REQUESTS_AHEAD.min(operations - number);
                    self.set_ahead(access, &keys[from..keys.len().min(from + count)]);
                }
                Operation::SetAhead => {}
                Operation::Get => get(access, bytes),
                Operation::Mixed if number % 10 < 9 => get(access, bytes),
                Operation::Set | Operation::Mixed => self.set(access, access.key(bytes)),
                Operation::Hash => {
                    black_box(access.key(bytes));
                }
            }
            if number % TURN == TURN - 1 {
                access.rest();
            }
        }
        access.rest();
    }

    fn set<A: Access>(&self, access: &mut A, key: Key<'_>) {
        black_box(access.store(key, &Store::default(), &self.value, NOW));
    }

    fn set_ahead<A: Access>(&self, access: &mut A, keys: &[KeyBytes]) {
        let mut ahead = [Key { bytes: &[], hash: 0, hint: 0 }; REQUESTS_AHEAD];
        let count = access.look_ahead(keys.iter().map(|key| &key[..]), &mut ahead);
        ahead[..count].iter().for_each(|&key| self.set(access, key));
    }
}

fn get<A: Access>(access: &mut A, bytes: &[u8]) {
    let mut buffer = [0; VALUE_LEN];
    if let Ok(hit) = access.fetch(access.key(bytes), &Fetch::default(), NOW) {
        let value = hit.item.value_at(0);
        buffer[..value.len()].copy_from_slice(value);
    }
    black_box(&buffer);
}

/// Runs a thread on each of these processors, side by side, for some rounds of so many operations.
/// Returns the rounds of each thread.
pub fn run_threads<E: StorageEngine>(
    engine: &Arc<E>,
    work: &Work,
    (operation, keys): (Operation, Keys),
    processors: &[usize],
    (rounds, operations): (usize, usize),
) -> Vec<Vec<Round>> {
    let start = Start { threads: processors.len(), ready: AtomicUsize::new(0) };
    let mut all: Vec<Vec<Round>> = std::thread::scope(|scope| {
        let run = |&processor: &usize| {
            let start = &start;
            let mut access = engine.access();
            scope.spawn(move || {
                stay_on(processor);
                let keys = work.chosen(keys, processor as u64);
                let round = |round| {
                    start.wait(round);
                    let reading = Reading::now();
                    work.repeat(&mut access, operation, &keys, operations);
                    Round::of(reading.passed(), operations)
                };
                (0..rounds).map(round).collect()
            })
        };
        let threads: Vec<_> = processors.iter().map(run).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    });
    for round in 0..rounds {
        let is_undisturbed = all.iter().all(|thread| thread[round].is_undisturbed);
        all.iter_mut().for_each(|thread| thread[round].is_undisturbed = is_undisturbed);
    }
    all
}

/// What an operation took a thread in a round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// CPU time in nanoseconds.
    pub ns: f64,
    /// Whether all threads were at work all the time, side by side.
    pub is_undisturbed: bool,
}

impl Round {
    fn of(passed: Passed, operations: usize) -> Self {
        let is_undisturbed = passed.wall_ns * 10 <= passed.cpu_ns * 11;
        Self { ns: passed.cpu_ns as f64 / operations as f64, is_undisturbed }
    }

    /// What an operation takes in those rounds that are worth most: the first quarter's last of
    /// the undisturbed ones, or of all if hardly any is.
    pub fn typical(rounds: &[Self]) -> f64 {
        let mut ns: Vec<f64> =
            rounds.iter().filter(|round| round.is_undisturbed).map(|round| round.ns).collect();
        if ns.len() < 4 {
            ns = rounds.iter().map(|round| round.ns).collect();
        }
        ns.sort_by(f64::total_cmp);
        ns[ns.len() / 4]
    }
}

/// Where threads wait for each other, awake, so that all begin in the same instant.
struct Start {
    threads: usize,
    ready: AtomicUsize,
}

impl Start {
    fn wait(&self, round: usize) {
        self.ready.fetch_add(1, SeqCst);
        while self.ready.load(SeqCst) < (round + 1) * self.threads {
            spin_loop();
        }
    }
}

/// Keeps the thread on one processor, where the system lets it.
fn stay_on(processor: usize) {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor % processors);
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

/// The key of a number: letters and digits that look random.
pub fn random_key(number: u64) -> KeyBytes {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let halves = [mix(number), mix(number ^ 0x5bd1_e995_0000_0000)];
    std::array::from_fn(|at| {
        let bits = halves[at % 2] >> (at / 2 * 5);
        DIGITS[(bits & 63) as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinct() {
        let distinct: std::collections::HashSet<_> = (0..200_000).map(random_key).collect();
        assert_eq!(distinct.len(), 200_000);
    }
}

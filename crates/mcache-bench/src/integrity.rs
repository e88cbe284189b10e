//! Integrity: concurrent writers and readers of values of 1 B to 900 KB over TCP, in so little
//! memory that most of them are evicted. A value is a function of its key and version, so every
//! byte of what is read is verified; and it has to be of a version that was there during the get.
//!
//! `integrity [--seconds 60] [--mb 64] [--address HOST:PORT]`: without an address, the server runs
//! in this process with the segment store.

pub(crate) mod client;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use mcache::{Server, ServerOptions};
use mcache_net::ListenAddress;
use mcache_store::SegmentStorageEngine;
use mcache_store::eviction::POLICIES;

use crate::arguments::Arguments;
use crate::numbers::Numbers;
use crate::store::options;
use client::{Answer, Client};
use values::{Values, value_len};

/// Keys: their values are about 200 MB.
const KEYS: u64 = 3_000;

/// Of which so many get half of all requests.
const HOT_KEYS: u64 = 24;

/// Threads that write, each its own keys; that read; and that read slowly.
const WRITERS: u64 = 3;
const READERS: u64 = 2;
const SLOW_READERS: u64 = 1;

/// Gets that a slow reader sends before it begins to read.
const SLOW_GETS: usize = 12;

/// What a slow reader waits between two pieces of an answer.
const SLOW_PAUSE: Duration = Duration::from_micros(500);

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words, &["--seconds", "--mb", "--address"])?;
    let end = Instant::now() + Duration::from_secs(arguments.number("--seconds", 60)?);
    let is_over = |_: &Tally| Instant::now() >= end;
    let tally = match arguments.value("--address") {
        Some(address) => {
            let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
            exercise(address, is_over)?
        }
        None => serve_and_exercise(arguments.number("--mb", 64_u64)? << 20, is_over)?,
    };
    println!("{tally}");
    tally.verdict()
}

/// Exercises a server of this process with so many bytes of memory.
fn serve_and_exercise(
    capacity: u64,
    is_over: impl Fn(&Tally) -> bool + Sync,
) -> Result<Arc<Tally>, String> {
    let text = |error: std::io::Error| error.to_string();
    let engine = SegmentStorageEngine::new(&options(capacity, &POLICIES[0])).map_err(text)?;
    let anywhere = ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let options =
        ServerOptions { listeners: vec![anywhere], threads: 2, ..ServerOptions::default() };
    let server = Server::start(options, Arc::new(engine)).map_err(text)?;
    let ListenAddress::Tcp(address) = server.addresses()[0] else {
        return Err("the server listens elsewhere".to_owned());
    };
    let tally = exercise(address, is_over);
    server.stop().map_err(text)?;
    tally
}

/// What came of it.
#[derive(Default)]
struct Tally {
    sets: AtomicU64,
    gets: AtomicU64,
    hits: AtomicU64,
    deletes: AtomicU64,
    bytes: AtomicU64,
    /// Values that are none of their key's versions.
    torn: AtomicU64,
    /// Values of a version that was overwritten or deleted before the get was sent.
    stale: AtomicU64,
    /// Requests that the server could not serve.
    errors: AtomicU64,
}

impl Tally {
    fn verdict(&self) -> Result<(), String> {
        let [torn, stale, errors] =
            [&self.torn, &self.stale, &self.errors].map(|it| it.load(Relaxed));
        if torn + stale + errors == 0 && self.hits.load(Relaxed) > 0 {
            return Ok(());
        }
        Err(format!("{torn} torn, {stale} stale, {errors} errors"))
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |count: &AtomicU64| count.load(Relaxed);
        write!(
            out,
            "{} sets, {} deletes, {} gets, {} hits of {} MB: {} torn, {} stale, {} errors",
            of(&self.sets),
            of(&self.deletes),
            of(&self.gets),
            of(&self.hits),
            of(&self.bytes) >> 20,
            of(&self.torn),
            of(&self.stale),
            of(&self.errors),
        )
    }
}

/// What is known of a key. Only its writer changes it.
#[derive(Default)]
struct Known {
    /// The version that is being written, or was written last.
    begun: AtomicU64,
    /// The oldest version that may be read: the server said that it is stored.
    settled: AtomicU64,
}

/// What all threads share.
struct Scene<'s> {
    address: SocketAddr,
    values: Values,
    known: Vec<Known>,
    tally: Arc<Tally>,
    is_over: &'s (dyn Fn(&Tally) -> bool + Sync),
    failed: AtomicBool,
}

/// Exercises a server until `is_over`.
fn exercise(
    address: SocketAddr,
    is_over: impl Fn(&Tally) -> bool + Sync,
) -> Result<Arc<Tally>, String> {
    let scene = Scene {
        address,
        values: Values::new(),
        known: (0..KEYS).map(|_| Known::default()).collect(),
        tally: Arc::default(),
        is_over: &is_over,
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let scene = &scene;
        let writers =
            (0..WRITERS).map(|thread| scope.spawn(move || scene.guard(|| scene.write(thread))));
        let readers =
            (0..READERS).map(|thread| scope.spawn(move || scene.guard(|| scene.read(thread))));
        let slow = (0..SLOW_READERS)
            .map(|thread| scope.spawn(move || scene.guard(|| scene.read_slowly(thread))));
        let threads: Vec<_> = writers.chain(readers).chain(slow).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        })
    })?;
    Ok(scene.tally)
}

impl Scene<'_> {
    /// A thread's work; when it fails the others end too.
    fn guard(&self, work: impl FnOnce() -> std::io::Result<()>) -> Result<(), String> {
        let result = work();
        if result.is_err() {
            self.failed.store(true, Relaxed);
        }
        result.map_err(|error| error.to_string())
    }

    fn is_over(&self) -> bool {
        self.failed.load(Relaxed) || (self.is_over)(&self.tally)
    }

    fn write(&self, thread: u64) -> std::io::Result<()> {
        let mut client = Client::connect(self.address)?;
        let mut numbers = Numbers::new(thread);
        while !self.is_over() {
            let key = choose(&mut numbers) / WRITERS * WRITERS + thread;
            let Some(known) = self.known.get(key as usize) else { continue };
            let version = known.begun.load(Relaxed) + 1;
            if numbers.below(16) == 0 {
                // A version of its own that nobody may read.
                known.begun.store(version, SeqCst);
                client.delete(key)?;
                known.settled.store(version, SeqCst);
                self.tally.deletes.fetch_add(1, Relaxed);
                continue;
            }
            known.begun.store(version, SeqCst);
            let value = self.values.of(key, version);
            match client.set(key, value)? {
                true => self.tally.sets.fetch_add(1, Relaxed),
                false => self.tally.errors.fetch_add(1, Relaxed),
            };
            known.settled.store(version, SeqCst);
        }
        Ok(())
    }

    fn read(&self, thread: u64) -> std::io::Result<()> {
        let mut client = Client::connect(self.address)?;
        let mut numbers = Numbers::new(100 + thread);
        while !self.is_over() {
            let keys: Vec<u64> = (0..1 + numbers.below(4)).map(|_| choose(&mut numbers)).collect();
            let settled = self.settled(&keys);
            client.ask(&keys)?;
            self.take_in(&mut client, &settled)?;
        }
        Ok(())
    }

    /// Asks for much, and reads it slowly: what is on its way is overwritten meanwhile.
    fn read_slowly(&self, thread: u64) -> std::io::Result<()> {
        let mut client = Client::connect(self.address)?.with_pause(SLOW_PAUSE);
        let mut numbers = Numbers::new(200 + thread);
        while !self.is_over() {
            let keys: Vec<u64> = (0..SLOW_GETS).map(|_| numbers.below(HOT_KEYS)).collect();
            let settled = self.settled(&keys);
            client.ask(&keys)?;
            self.take_in(&mut client, &settled)?;
        }
        Ok(())
    }

    /// The oldest version of each key that a get may find from now on.
    fn settled(&self, keys: &[u64]) -> Vec<(u64, u64)> {
        let settled = |&key: &u64| (key, self.known[key as usize].settled.load(SeqCst));
        keys.iter().map(settled).collect()
    }

    /// Reads an answer and verifies every value of it.
    fn take_in(&self, client: &mut Client, settled: &[(u64, u64)]) -> std::io::Result<()> {
        self.tally.gets.fetch_add(settled.len() as u64, Relaxed);
        loop {
            match client.next()? {
                Answer::End => return Ok(()),
                Answer::Error => {
                    self.tally.errors.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Answer::Value { key, value } => {
                    self.tally.hits.fetch_add(1, Relaxed);
                    self.tally.bytes.fetch_add(value.len() as u64, Relaxed);
                    let oldest = settled.iter().filter(|asked| asked.0 == key).map(|it| it.1).min();
                    self.judge(key, oldest, value);
                }
            }
        }
    }

    fn judge(&self, key: u64, oldest: Option<u64>, value: &[u8]) {
        let Some(oldest) = oldest else {
            self.tally.torn.fetch_add(1, Relaxed); // a key that nobody asked for
            return;
        };
        let newest = self.known[key as usize].begun.load(SeqCst);
        let is = |version: &u64| {
            value_len(key, *version) == value.len() && self.values.of(key, *version) == value
        };
        if (oldest..=newest).any(|version| is(&version)) {
            return;
        }
        match (1..oldest).rev().find(is) {
            Some(_) => self.tally.stale.fetch_add(1, Relaxed),
            None => self.tally.torn.fetch_add(1, Relaxed),
        };
    }
}

/// A key, half of the time a hot one.
fn choose(numbers: &mut Numbers) -> u64 {
    let limit = if numbers.below(2) == 0 { HOT_KEYS } else { KEYS };
    numbers.below(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_torn_or_stale() {
        let enough =
            |tally: &Tally| tally.sets.load(Relaxed) > 1_500 && tally.hits.load(Relaxed) > 1_500;
        let tally = serve_and_exercise(16 << 20, enough).unwrap();
        assert_eq!(tally.verdict(), Ok(()), "{tally}");
    }

    #[test]
    fn what_is_wrong_is_seen() {
        let scene = Scene {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            values: Values::new(),
            known: vec![Known { begun: 9.into(), settled: 7.into() }],
            tally: Arc::default(),
            is_over: &|_| true,
            failed: AtomicBool::new(false),
        };
        let versions = (1..10).filter(|&version| value_len(0, version) > 8);
        for version in versions.clone() {
            scene.judge(0, Some(7), scene.values.of(0, version));
        }
        let mut torn = scene.values.of(0, 8).to_vec();
        torn.push(0);
        scene.judge(0, Some(7), &torn);
        let stale = versions.filter(|&version| version < 7).count() as u64;
        assert_eq!(scene.tally.stale.load(Relaxed), stale);
        assert_eq!(scene.tally.torn.load(Relaxed), 1);
    }
}

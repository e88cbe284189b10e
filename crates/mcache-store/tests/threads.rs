//! Several threads at once: no update is lost, no value is torn, the capacity is kept.

mod common;

use common::{AMPLE, Bench, mode, options};
use mcache_base::operation::{Count, Fetch, Store, StoreMode, Stored};
use mcache_base::{Now, Stat};
use mcache_store::{
    Access, EngineOptions, Reservation, SegmentStorageEngine, SimpleStorageEngine, StorageEngine,
};

const NOW: Now = common::at(0);
const THREADS: usize = 4;
const ROUNDS: usize = 500;

/// Runs `work` in every thread with its number.
fn in_threads(work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let work = &work;
            scope.spawn(move || work(thread));
        }
    });
}

fn loses_no_update<E: StorageEngine>(new: impl Fn(&EngineOptions) -> E) {
    let bench = Bench::new(new(&options(AMPLE)));
    for key in ["counted", "compared"] {
        bench.set(key, "0");
    }
    bench.set("appended", "");
    let engine = &bench.engine;
    in_threads(|thread| {
        let bench = Bench::of(engine);
        let letter = char::from(b'a' + thread as u8).to_string();
        for _ in 0..ROUNDS {
            bench.count("counted", Count { delta: 1, ..Count::default() }, NOW);
            bench.store("appended", mode(StoreMode::Append), &letter, NOW);
            while !increment_by_comparing(&bench) {}
        }
    });
    let all = (THREADS * ROUNDS).to_string();
    assert_eq!(bench.peek("counted", NOW), Some(all.clone()));
    assert_eq!(bench.peek("compared", NOW), Some(all));
    let appended = bench.peek("appended", NOW).expect("nothing is evicted");
    for thread in 0..THREADS as u8 {
        let letter = char::from(b'a' + thread);
        assert_eq!(appended.matches(letter).count(), ROUNDS);
    }
    bench.engine.check();
}

fn increment_by_comparing<E: StorageEngine>(bench: &Bench<E>) -> bool {
    let item = bench.fetch("compared", Fetch::default(), NOW).expect("nothing is evicted").item;
    let number: u64 = String::from_utf8(item.value).unwrap().parse().unwrap();
    let store = Store { compare: Some(item.cas), ..Store::default() };
    let stored = bench.store("compared", store, &(number + 1).to_string(), NOW);
    matches!(stored, Stored::Stored { .. })
}

/// Values say which key they belong to and how long they are.
fn keeps_values_whole_in_little_room<E: StorageEngine>(new: impl Fn(&EngineOptions) -> E) {
    const CAPACITY: u64 = 16_000;
    let bench = Bench::new(new(&options(CAPACITY)));
    let engine = &bench.engine;
    in_threads(|thread| {
        let bench = Bench::of(engine);
        for round in 0..ROUNDS * 4 {
            let number = round * (thread + 3) % 61;
            let key = format!("key-{number:02}");
            match round % 5 {
                0 => drop(bench.delete(&key, Default::default(), NOW)),
                1 => {
                    let mut access = bench.access.borrow_mut();
                    let handle = access.key(key.as_bytes());
                    let value = key.repeat(round % 90);
                    let reserved = access.reserve(handle, &Store::default(), value.len(), NOW);
                    // Four threads hold at most a fraction of the capacity.
                    let mut arriving = reserved.expect("there is something to evict");
                    arriving.fill(value.as_bytes());
                    access.commit(handle, &Store::default(), arriving, NOW);
                }
                2 => drop(bench.set(&key, &key.repeat(round % 50))),
                _ => {
                    if let Ok(hit) = bench.fetch(&key, Fetch::default(), NOW) {
                        assert_eq!(hit.item.key, key.as_bytes());
                        let whole = key.repeat(hit.item.value.len() / key.len());
                        assert_eq!(hit.item.value, whole.as_bytes());
                    }
                }
            }
            assert!(bench.engine.memory() <= CAPACITY);
        }
    });
    bench.engine.check();
    assert!(bench.engine.stat(Stat::evictions) > 0);
}

#[test]
fn simple_loses_no_update() {
    loses_no_update(SimpleStorageEngine::new);
}

#[test]
fn segment_loses_no_update() {
    loses_no_update(|options| SegmentStorageEngine::new(options).unwrap());
}

#[test]
fn simple_keeps_values_whole() {
    keeps_values_whole_in_little_room(SimpleStorageEngine::new);
}

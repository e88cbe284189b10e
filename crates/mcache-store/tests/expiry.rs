//! Expiry to the second, for all times to live, and without anybody asking.

mod common;

use common::{AMPLE, Bench, at, options};
use mcache_base::operation::{Fetch, Store};
use mcache_base::time::RELATIVE_EXPTIME_MAX;
use mcache_base::{Now, Stat};
use mcache_store::{Access, EngineOptions, SegmentStorageEngine};
use mcache_store::{SimpleStorageEngine, StorageEngine};

const KEYS: u64 = 10_000;

const YEAR_S: f64 = 365.0 * 24.0 * 3600.0;

/// The times to live of the keys, in seconds, from 1 to a year, each about as much longer than
/// the one before.
fn time_to_live(key: u64) -> u64 {
    YEAR_S.powf(key as f64 / (KEYS - 1) as f64).round() as u64
}

/// The exptime that means so many seconds from the start.
fn exptime(seconds: u64) -> i64 {
    let seconds = seconds as i64;
    if seconds <= RELATIVE_EXPTIME_MAX { seconds } else { at(0).unix as i64 + seconds }
}

fn is_there<E: StorageEngine>(bench: &Bench<E>, key: u64, now: Now) -> bool {
    let unseen = Fetch { unseen: true, ..Fetch::default() };
    bench.with(|access| access.fetch(access.key(&key.to_le_bytes()), &unseen, now).is_ok())
}

fn expires_to_the_second<E: StorageEngine>(engine: E) {
    let bench = Bench::new(engine);
    for key in 0..KEYS {
        let store = Store { exptime: exptime(time_to_live(key)), ..Store::default() };
        bench.with(|access| access.store(access.key(&key.to_le_bytes()), &store, b"v", at(0)));
    }
    let looks = (0..KEYS).flat_map(|key| {
        let end = time_to_live(key);
        [(end - 1, key, true), (end + 1, key, false)]
    });
    let mut looks: Vec<_> = looks.collect();
    looks.sort_unstable();
    let mut second = 0;
    for (number, (moment, key, expected)) in looks.into_iter().enumerate() {
        if number % 8 == 0 && moment > second {
            second = moment;
            bench.engine.maintain(at(moment * 1000));
        }
        let life = time_to_live(key);
        assert_eq!(is_there(&bench, key, at(moment * 1000)), expected, "{life} s, at {moment}");
    }
    bench.engine.check();
    assert_eq!(bench.engine.stat(Stat::curr_items), 0);
}

#[test]
fn simple_expires_to_the_second() {
    expires_to_the_second(SimpleStorageEngine::new(&options(AMPLE)));
}

#[test]
fn segment_expires_to_the_second() {
    expires_to_the_second(SegmentStorageEngine::new(&options(AMPLE)).unwrap());
}

#[test]
fn a_million_items_leave_soon_after_their_end_though_nobody_reads() {
    const ITEMS: u64 = 1_000_000;
    let options = EngineOptions { capacity: 256 << 20, ..options(AMPLE) };
    let bench = Bench::new(SegmentStorageEngine::new(&options).unwrap());
    let store = Store { exptime: 5, ..Store::default() };
    let mut access = bench.engine.access();
    for key in 0..ITEMS {
        access.store(access.key(&key.to_le_bytes()), &store, &[b'v'; 50], at(0));
    }
    access.rest();
    assert_eq!(bench.engine.stat(Stat::curr_items), ITEMS);
    let before = bench.engine.memory();
    for second in 1..=10 {
        bench.engine.maintain(at(second * 1000));
        let held = bench.engine.stat(Stat::curr_items);
        assert!(second >= 5 || held == ITEMS, "{held} after {second} s");
    }
    assert_eq!(bench.engine.stat(Stat::curr_items), 0);
    assert_eq!(bench.engine.stat(Stat::bytes), 0);
    let after = bench.engine.memory();
    assert!(after < before / 50, "{after} bytes of {before} are still held");
    bench.engine.check();
}

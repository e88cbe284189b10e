//! Each policy evicts what its name says, on every engine, and all keep the capacity.

mod common;

use common::{Bench, at, options};
use mcache_base::Item;
use mcache_base::operation::{Fetch, Stored};
use mcache_base::{Now, Stat};
use mcache_store::eviction::{POLICIES, PolicyEntry};
use mcache_store::{
    Access, EngineOptions, SegmentStorageEngine, SimpleStorageEngine, StorageEngine,
};

const NOW: Now = at(0);

/// Stored in this order, and then fetched in this order.
const STORED: &str = "dabc";
const FETCHED: &str = "aaacddbbbb";

/// Who leaves when `e` is stored and then `f`.
const EXPECTED: &[(&str, &str)] = &[
    ("heat", "ac"),
    ("s3fifo", "ac"),
    ("lru", "ac"),
    ("mru", "be"),
    ("lfu", "ce"),
    ("fifo", "da"),
    ("sieve", "ac"),
    ("random", "ac"),
];

fn evicts_what_its_name_says<E: StorageEngine>(new: impl Fn(&EngineOptions) -> E) {
    assert_eq!(EXPECTED.len(), POLICIES.len(), "a policy has no row here");
    for (entry, (name, expected)) in POLICIES.iter().zip(EXPECTED) {
        assert_eq!(entry.name, *name);
        let mut bench = Bench::new(new(&with_policy(entry, 1 << 20)));
        let capacity = footprint(&bench) * STORED.len() as u64;
        bench = Bench::new(new(&with_policy(entry, capacity)));
        let set = |key: char| bench.set(&key.to_string(), "value");
        STORED.chars().for_each(|key| assert!(matches!(set(key), Stored::Stored { .. })));
        for key in FETCHED.chars() {
            bench.fetch(&key.to_string(), Fetch::default(), NOW).expect("there is room for four");
        }
        let mut left = String::new();
        for new_key in ['e', 'f'] {
            set(new_key);
            let is_gone = |key: &char| bench.peek(&key.to_string(), NOW).is_none();
            let gone = "abcdef".chars().filter(|key| *key <= new_key && is_gone(key));
            left.extend(gone.filter(|key| !left.contains(*key)).collect::<Vec<_>>());
        }
        assert_eq!(left, *expected, "{name}");
        assert_eq!(bench.engine.stat(Stat::evictions), 2);
        bench.engine.check();
    }
}

fn keeps_the_capacity_and_always_finds_room<E: StorageEngine>(new: impl Fn(&EngineOptions) -> E) {
    const CAPACITY: u64 = 20_000;
    for entry in POLICIES {
        let bench = Bench::new(new(&with_policy(entry, CAPACITY)));
        for i in 0..1000_usize {
            let value = "x".repeat(i * 37 % 3000);
            let stored = bench.set(&format!("key-{}", i * 7 % 97), &value);
            assert!(matches!(stored, Stored::Stored { .. }), "{}: {stored:?}", entry.name);
            let _ = bench.fetch(&format!("key-{}", i * 5 % 97), Fetch::default(), NOW);
            assert!(bench.engine.memory() <= CAPACITY);
        }
        bench.engine.check();
        assert!(bench.engine.stat(Stat::evictions) > 100, "{}", entry.name);
    }
}

fn with_policy(policy: &'static PolicyEntry, capacity: u64) -> EngineOptions {
    EngineOptions { policy, ..options(capacity) }
}

fn footprint<E: StorageEngine>(bench: &Bench<E>) -> u64 {
    bench.set("a", "value");
    bench.with(|access| {
        let hit = access.fetch(access.key(b"a"), &Fetch::default(), NOW).expect("just stored");
        hit.item.footprint() as u64
    })
}

#[test]
fn simple_evicts_what_the_policy_says() {
    evicts_what_its_name_says(SimpleStorageEngine::new);
}

#[test]
fn simple_keeps_the_capacity() {
    keeps_the_capacity_and_always_finds_room(SimpleStorageEngine::new);
}

/// A small store of segments: about 14,000 items of 100 bytes fit.
fn segments(name: &str) -> Bench<SegmentStorageEngine> {
    let policy = POLICIES.iter().find(|entry| entry.name == name).expect("a row of the table");
    Bench::new(SegmentStorageEngine::new(&with_policy(policy, SMALL_STORE)).expect("memory"))
}

const SMALL_STORE: u64 = 2 << 20;
const SMALL_VALUE: usize = 100;

/// Values of 100 bytes under `prefix-0`, `prefix-1`, ...
fn fill(bench: &Bench<SegmentStorageEngine>, prefix: &str, count: usize) {
    let value = "v".repeat(SMALL_VALUE);
    for i in 0..count {
        let stored = bench.set(&format!("{prefix}-{i}"), &value);
        assert!(matches!(stored, Stored::Stored { .. }));
    }
}

fn fetch_all(bench: &Bench<SegmentStorageEngine>, prefix: &str, count: usize) {
    for i in 0..count {
        let _ = bench.fetch(&format!("{prefix}-{i}"), Fetch::default(), NOW);
    }
}

/// How many percent of `prefix-0`, `prefix-1`, ... are still there.
fn left(bench: &Bench<SegmentStorageEngine>, prefix: &str, count: usize) -> usize {
    let is_there = |i: &usize| bench.peek(&format!("{prefix}-{i}"), NOW).is_some();
    (0..count).filter(is_there).count() * 100 / count
}

#[test]
fn every_policy_keeps_segments_in_bounds() {
    for entry in POLICIES {
        let bench = segments(entry.name);
        for round in 0..40_000_usize {
            let value = "x".repeat(round * 37 % 3000);
            let stored = bench.set(&format!("key-{}", round * 7919 % 9973), &value);
            assert!(matches!(stored, Stored::Stored { .. }), "{}: {stored:?}", entry.name);
            let _ = bench.fetch(&format!("key-{}", round * 31 % 997), Fetch::default(), NOW);
            assert!(bench.engine.memory() <= SMALL_STORE, "{}", entry.name);
        }
        bench.engine.check();
        assert!(bench.engine.stat(Stat::evictions) > 1000, "{}", entry.name);
    }
}

#[test]
fn what_was_fetched_lately_outlives_what_was_not() {
    // The least of the fetched and the most of the others that stay, in percent. Heat density
    // lets more of the new ones go instead: they were not fetched either.
    for (name, least, most) in
        [("lru", 98, 2), ("sieve", 98, 2), ("s3fifo", 98, 2), ("lfu", 85, 2), ("heat", 98, 60)]
    {
        let bench = segments(name);
        fill(&bench, "fetched", 4000);
        fill(&bench, "other", 4000);
        for round in 0..6 {
            fetch_all(&bench, "fetched", 4000);
            fill(&bench, &format!("new-{round}"), 2500);
        }
        let (fetched, other) = (left(&bench, "fetched", 4000), left(&bench, "other", 4000));
        let as_named = fetched >= least && other <= most;
        assert!(as_named, "{name}: {fetched} % of the fetched, {other} %");
    }
}

#[test]
fn a_scan_does_not_push_out_what_is_fetched() {
    for name in ["sieve", "s3fifo", "heat"] {
        let bench = segments(name);
        fill(&bench, "fetched", 4000);
        for round in 0..40 {
            fetch_all(&bench, "fetched", 4000);
            fill(&bench, &format!("scan-{round}"), 4000);
        }
        let fetched = left(&bench, "fetched", 4000);
        assert!(fetched >= 90, "{name}: {fetched} % are left");
    }
}

#[test]
fn mru_keeps_the_oldest() {
    let bench = segments("mru");
    fill(&bench, "old", 8000);
    fill(&bench, "new", 40_000);
    assert!(left(&bench, "old", 8000) >= 95);
    assert!(left(&bench, "new", 40_000) <= 25);
}

#[test]
fn fifo_drops_the_oldest_though_fetched() {
    let bench = segments("fifo");
    fill(&bench, "old", 8000);
    fetch_all(&bench, "old", 8000);
    fill(&bench, "new", 20_000);
    assert_eq!(left(&bench, "old", 8000), 0);
    assert!(left(&bench, "new", 20_000) >= 50);
}

#[test]
fn lfu_keeps_the_often_fetched_rather_than_the_once_fetched() {
    let bench = segments("lfu");
    for round in 0..30 {
        fill(&bench, &format!("once-{round}"), 2000);
        fetch_all(&bench, &format!("once-{round}"), 2000);
        if round == 0 {
            fill(&bench, "often", 4000);
        }
        (0..3).for_each(|_| fetch_all(&bench, "often", 4000));
    }
    let (often, once) = (left(&bench, "often", 4000), left(&bench, "once-20", 2000));
    assert!(often >= 80 && once <= 20, "{often} % of the often fetched, {once} %");
}

#[test]
fn heat_keeps_the_small_and_often_fetched() {
    let bench = segments("heat");
    let large = "x".repeat(2000);
    for round in 0..30 {
        if round == 0 {
            fill(&bench, "small", 4000);
        }
        for i in 0..1200 {
            let key = format!("large-{i}");
            if bench.fetch(&key, Fetch::default(), NOW).is_err() {
                bench.set(&key, &large);
            }
        }
        fetch_all(&bench, "small", 4000);
        fill(&bench, &format!("scan-{round}"), 2000);
    }
    let (small, large) = (left(&bench, "small", 4000), left(&bench, "large", 1200));
    assert!(small >= 95 && large <= 80, "{small} % of the small, {large} % of the large");
}

#[test]
fn random_leaves_some_of_all() {
    let bench = segments("random");
    fill(&bench, "old", 10_000);
    fill(&bench, "new", 10_000);
    let old = left(&bench, "old", 10_000);
    assert!((10..90).contains(&old), "{old} %");
}

#[test]
fn an_overwritten_item_keeps_its_standing() {
    for name in ["heat", "s3fifo"] {
        let bench = segments(name);
        fill(&bench, "fetched", 3000);
        for round in 0..10 {
            fetch_all(&bench, "fetched", 3000);
            fill(&bench, "fetched", 3000);
            fill(&bench, &format!("new-{round}"), 6000);
        }
        let fetched = left(&bench, "fetched", 3000);
        assert!(fetched >= 90, "{name}: {fetched} % are left");
    }
}

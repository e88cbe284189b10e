//! Each policy evicts what its name says, on every engine, and all keep the capacity.

mod common;

use common::{Bench, at, options};
use mcache_base::Item;
use mcache_base::operation::{Fetch, Stored};
use mcache_base::{Now, Stat};
use mcache_store::eviction::{POLICIES, PolicyEntry};
use mcache_store::{
    Access, EngineOptions, SimpleStorageEngine, StorageEngine, StripedStorageEngine,
};

const NOW: Now = at(0);

/// Stored in this order, and then fetched in this order.
const STORED: &str = "dabc";
const FETCHED: &str = "aaacddbbbb";

/// Who leaves when `e` is stored and then `f`.
const EXPECTED: &[(&str, &str)] = &[("lru", "ac"), ("mru", "be"), ("lfu", "ce"), ("fifo", "da")];

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
            assert!(bench.engine.stat(Stat::bytes) <= CAPACITY);
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
fn striped_evicts_what_the_policy_says() {
    evicts_what_its_name_says(StripedStorageEngine::new);
}

#[test]
fn simple_keeps_the_capacity() {
    keeps_the_capacity_and_always_finds_room(SimpleStorageEngine::new);
}

#[test]
fn striped_keeps_the_capacity() {
    keeps_the_capacity_and_always_finds_room(StripedStorageEngine::new);
}

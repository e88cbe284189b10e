//! What `stats items` tells of items' ages and moves, and that it adds up when the store is full.

mod common;

use common::{Bench, at, options};
use mcache_base::operation::{Fetch, Store};
use mcache_base::{ClassStat, Stat, slab_class};
use mcache_store::{
    EngineOptions, SegmentStorageEngine, SimpleStorageEngine, StorageEngine, eviction,
};

const CAPACITY: u64 = 8 << 20;

fn class_of(value_len: usize) -> usize {
    slab_class::of(slab_class::item_size(8, 0, value_len))
}

fn key(number: u64) -> String {
    format!("{number:08}")
}

#[test]
fn ages_are_those_of_the_oldest_item_and_of_the_last_one_evicted() {
    let bench = Bench::new(SegmentStorageEngine::new(&options(CAPACITY)).unwrap());
    let of = |class, stat| bench.engine.class_stat(class, stat);
    let store = |number: u64, value_len: usize, now| {
        bench.store(&key(number), Store::default(), &"v".repeat(value_len), now)
    };
    let (small, large) = (class_of(100), class_of(1_000));
    store(0, 100, at(0));
    store(1, 100, at(10_000));
    store(2, 1_000, at(20_000));
    bench.engine.maintain(at(30_000));
    assert_eq!((of(small, ClassStat::age), of(large, ClassStat::age)), (30, 10));
    assert!(bench.fetch(&key(0), Fetch::default(), at(40_000)).is_ok());
    bench.engine.maintain(at(50_000));
    assert_eq!((of(small, ClassStat::age), of(large, ClassStat::age)), (40, 30));
    assert_eq!(of(large, ClassStat::evicted_time), 0);

    let mut number = 3;
    while of(large, ClassStat::evicted) == 0 {
        store(number, 1_000, at(60_000));
        number += 1;
    }
    assert!((0..=40).contains(&of(large, ClassStat::evicted_time)));
    let filled = number;
    while number < 3 * filled {
        store(number, 1_000, at(100_000));
        number += 1;
    }
    assert!([0, 40].contains(&of(large, ClassStat::evicted_time)));
    bench.engine.reset_stats();
    assert_eq!(of(large, ClassStat::evicted_time), 0);
}

/// 2,000 items of 24 MB together, and as many fetches.
fn classes_add_up<E: StorageEngine>(engine: E, name: &str) {
    let bench = Bench::new(engine);
    let sizes = [10, 100, 700, 9_000, 50_000];
    for number in 0..2_000_u64 {
        let value = "v".repeat(sizes[number as usize % sizes.len()] + number as usize % 7);
        let exptime = if number.is_multiple_of(3) { 1_000 } else { 0 };
        bench.store(&key(number), Store { exptime, ..Store::default() }, &value, at(number));
        let _ = bench.fetch(&key(number / 2), Fetch::default(), at(number));
    }
    let sum =
        |stat| -> u64 { slab_class::ids().map(|class| bench.engine.class_stat(class, stat)).sum() };
    for (class_stat, stat) in [
        (ClassStat::mem_requested, Stat::bytes),
        (ClassStat::number, Stat::curr_items),
        (ClassStat::evicted, Stat::evictions),
        (ClassStat::evicted_active, Stat::evicted_active),
        (ClassStat::direct_reclaims, Stat::direct_reclaims),
        (ClassStat::moves_to_cold, Stat::moves_to_cold),
        (ClassStat::moves_to_warm, Stat::moves_to_warm),
        (ClassStat::moves_within_lru, Stat::moves_within_lru),
    ] {
        assert_eq!(sum(class_stat), bench.engine.stat(stat), "{name}: {class_stat:?}");
    }
    assert!(sum(ClassStat::direct_reclaims) > 0 && sum(ClassStat::mem_requested) <= CAPACITY);
    bench.engine.check();
}

#[test]
fn the_classes_add_up_when_the_store_is_full() {
    classes_add_up(SimpleStorageEngine::new(&options(CAPACITY)), "simple");
    for name in ["heat", "s3fifo"] {
        let policy = eviction::policy(name).unwrap();
        let options = EngineOptions { policy, ..options(CAPACITY) };
        classes_add_up(SegmentStorageEngine::new(&options).unwrap(), name);
    }
}

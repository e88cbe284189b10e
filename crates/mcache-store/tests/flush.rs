//! After a flush the gauges and the memory follow within a few runs of upkeep, unasked.

mod common;

use common::{AMPLE, Bench, at, options};
use mcache_base::{ClassStat, Now, Stat, slab_class};
use mcache_store::{EngineOptions, SegmentStorageEngine, SimpleStorageEngine, StorageEngine};

/// Runs of upkeep, one a second, after which everything that a flush took is gone.
const RUNS: u64 = 2;

fn class_sum<E: StorageEngine>(engine: &E, stat: ClassStat) -> u64 {
    slab_class::ids().map(|class| engine.class_stat(class, stat)).sum()
}

fn run<E: StorageEngine>(bench: &Bench<E>, from_s: u64, runs: u64) -> Now {
    (1..=runs).for_each(|run| bench.engine.maintain(at((from_s + run) * 1000)));
    at((from_s + runs) * 1000)
}

fn gauges_follow<E: StorageEngine>(engine: E) {
    let bench = Bench::new(engine);
    let fill = |count: u64, group: &str| {
        for i in 0..count {
            bench.set(&format!("{group}{i}"), &"v".repeat(100));
        }
    };
    let held = || {
        let number = class_sum(&*bench.engine, ClassStat::number);
        assert_eq!(number, bench.engine.stat(Stat::curr_items));
        bench.engine.check();
        number
    };
    // a flush of a group, of everything, of everything later
    fill(5_000, "one:");
    fill(5_000, "two:");
    bench.engine.flush_group(b"one:", at(0)).unwrap();
    fill(70, "one:");
    run(&bench, 0, RUNS);
    assert_eq!(held(), 5_070, "the group's");

    bench.engine.flush(0, at(3_000));
    run(&bench, 3, RUNS);
    assert_eq!((held(), bench.engine.stat(Stat::bytes)), (0, 0));
    assert_eq!(class_sum(&*bench.engine, ClassStat::mem_requested), 0);

    fill(5_000, "one:");
    bench.engine.flush(3, at(6_000));
    run(&bench, 6, RUNS);
    assert_eq!(held(), 5_000, "its moment has not come");
    run(&bench, 9, RUNS);
    assert_eq!(held(), 0);
}

#[test]
fn simple_gauges_follow() {
    gauges_follow(SimpleStorageEngine::new(&options(AMPLE)));
}

#[test]
fn segment_gauges_follow() {
    gauges_follow(SegmentStorageEngine::new(&options(AMPLE)).unwrap());
}

#[test]
fn a_run_does_so_much_and_the_next_goes_on() {
    const ITEMS: u64 = 100_000;
    let options = EngineOptions { capacity: 512 << 20, ..options(AMPLE) };
    let bench = Bench::new(SegmentStorageEngine::new(&options).unwrap());
    for i in 0..ITEMS {
        bench.set(&format!("{i}"), &"v".repeat(3_000));
    }
    let memory = bench.engine.memory();
    bench.engine.flush(0, at(0));
    run(&bench, 0, 1);
    let held = bench.engine.stat(Stat::curr_items);
    assert!(0 < held && held < ITEMS * 2 / 3, "{held}");
    run(&bench, 1, 2);
    assert_eq!(bench.engine.stat(Stat::curr_items), 0);
    run(&bench, 3, 4);
    let taken = |name| bench.engine.figures().into_iter().find(|it| it.0 == name).unwrap().1;
    assert!(taken("segments_taken") <= taken("segments_allowed") / 8 + 1);
    assert!(bench.engine.memory() < memory / 10);
    bench.engine.check();
    bench.set("again", "v");
    assert_eq!(bench.peek("again", at(8_000)).as_deref(), Some("v"));
}

//! Walks over the items, and what the size classes hold.

mod common;

use std::collections::BTreeMap;

use common::{AMPLE, Bench, at, options};
use mcache_base::operation::{Delete, Store};
use mcache_base::{ClassStat, ItemView, Now, Stat, slab_class};
use mcache_store::{Access, SegmentStorageEngine, SimpleStorageEngine, StorageEngine};

fn on_both(simple: impl Fn(&Bench<SimpleStorageEngine>), segment: impl Fn(&Segment)) {
    simple(&Bench::new(SimpleStorageEngine::new(&options(AMPLE))));
    segment(&Bench::new(SegmentStorageEngine::new(&options(AMPLE)).unwrap()));
}

type Segment = Bench<SegmentStorageEngine>;

fn walk<E: StorageEngine>(bench: &Bench<E>, now: Now, mut visit: impl FnMut(&ItemView<'_>)) {
    let mut cursor = Some(0);
    while let Some(from) = cursor {
        cursor = bench.with(|access| access.walk(from, now, &mut visit));
    }
}

fn shows_every_item_once<E: StorageEngine>(bench: &Bench<E>) {
    for i in 0..5_000 {
        bench.set(&format!("key{i}"), &"x".repeat(i % 300));
    }
    bench.store("dies", Store { exptime: 5, ..Store::default() }, "x", at(0));
    bench.store("lives", Store { exptime: 50, flags: 7, ..Store::default() }, "long", at(0));
    bench.set("large", &"x".repeat(100_000));
    let mut seen = BTreeMap::new();
    walk(bench, at(10_000), |item| {
        let earlier = seen.insert(item.key.to_vec(), item.size());
        assert_eq!(earlier, None, "{}", item.key.escape_ascii());
        if item.key == b"lives" {
            assert_eq!((item.flags, item.value_len, item.fetched), (7, 4, false));
            assert_eq!(item.expiry.seconds_left(at(10_000)), Some(40));
            assert_eq!(item.accessed_ms / 1000, at(0).clock_ms / 1000);
        }
    });
    assert_eq!(seen.len(), 5_002);
    assert_eq!(seen[&b"large"[..]], slab_class::item_size(5, 0, 100_000));
    assert_eq!(bench.with(|access| access.walk(u64::MAX, at(0), &mut |_| {})), None);
}

fn classes_hold_what_is_there<E: StorageEngine>(bench: &Bench<E>) {
    let of = |class, stat| bench.engine.class_stat(class, stat);
    let held = |size: usize| of(slab_class::of(size), ClassStat::number);
    let agree = || {
        let sum: u64 = slab_class::ids().map(|class| of(class, ClassStat::mem_requested)).sum();
        assert_eq!(sum, bench.engine.stat(Stat::bytes));
    };
    let (small, large) = (slab_class::item_size(1, 0, 3), slab_class::item_size(1, 0, 90_000));
    bench.set("a", "123");
    bench.set("b", "123");
    assert_eq!(held(small), 2);
    agree();
    bench.set("b", &"x".repeat(90_000));
    assert_eq!((held(small), held(large)), (1, 1));
    agree();
    bench.delete("b", Delete::default(), at(0));
    bench.store("a", Store { exptime: 5, ..Store::default() }, "123", at(0));
    assert_eq!((held(small), held(large)), (1, 0));
    agree();
    assert_eq!(bench.peek("a", at(6_000)), None);
    assert_eq!(held(small), 0);
    agree();
    let class = slab_class::of(small);
    assert_eq!(bench.engine.class_stat(class, ClassStat::expired_unfetched), 1);
    bench.engine.check();
    bench.engine.reset_stats();
    assert_eq!(bench.engine.class_stat(class, ClassStat::expired_unfetched), 0);
}

#[test]
fn a_walk_shows_every_item_that_is_alive_once() {
    on_both(shows_every_item_once, shows_every_item_once);
}

#[test]
fn size_classes_hold_what_is_there() {
    on_both(classes_hold_what_is_there, classes_hold_what_is_there);
}

//! The segment engine under pressure: every size, little memory, many threads, pinned values.

mod common;

use std::sync::Arc;

use common::pressure::{NOW, Numbers, engine, is_stored, is_whole, value};
use common::{Bench, at, options};
use mcache_base::operation::{Count, Delete, Fetch, Refusal, Store, Stored};
use mcache_base::{Item, ItemView, Pin, Stat};
use mcache_store::{Access, EngineOptions, Reservation, SegmentStorageEngine, StorageEngine};

#[test]
fn every_size_fits_in_any_order() {
    for capacity in [2 << 20, 5 << 20, 64 << 20] {
        let bench = engine(capacity, true);
        let most = capacity / 3;
        let mut numbers = Numbers(capacity);
        for round in 0..1500 {
            let shift = numbers.below(24);
            let len = (numbers.below(most).min((1 << shift) + numbers.below(1 << shift))) as usize;
            let key = format!("key-{}", numbers.below(300));
            let text = value(&key, round, len);
            assert!(is_stored(bench.set(&key, &text)), "{len} bytes in {capacity}");
            assert_eq!(bench.peek(&key, NOW).as_deref(), Some(&text[..]), "{len} of {capacity}");
            let other = format!("key-{}", numbers.below(300));
            if let Some(found) = bench.peek(&other, NOW) {
                assert!(is_whole(&other, &found), "{other}");
            }
            assert!(bench.engine.memory() <= capacity);
        }
        bench.engine.check();
        assert!(bench.engine.stat(Stat::evictions) > 0);
    }
}

#[test]
fn many_threads_see_whole_values() {
    let bench = engine(3 << 20, true);
    let engine = &bench.engine;
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                let bench = Bench::of(engine);
                let mut numbers = Numbers(thread);
                for round in 0..6000 {
                    let key = format!("key-{}", numbers.below(800));
                    let shift = numbers.below(18);
                    match numbers.below(10) {
                        0 => drop(bench.delete(&key, Delete::default(), NOW)),
                        1..4 => {
                            let text = value(&key, round, numbers.below(1 << shift) as usize);
                            assert!(is_stored(bench.set(&key, &text)));
                        }
                        4 => drop(bench.fetch(
                            &key,
                            Fetch { touch: Some(1 + shift as i64), ..Fetch::default() },
                            NOW,
                        )),
                        _ => {
                            if let Some(found) = bench.peek(&key, NOW) {
                                assert!(is_whole(&key, &found), "{key}: {} bytes", found.len());
                            }
                        }
                    }
                }
            });
        }
        let upkeep = scope.spawn(move || (0..200).for_each(|_| engine.maintain(NOW)));
        upkeep.join().unwrap();
    });
    engine.check();
    assert!(engine.stat(Stat::evictions) > 0);
}

#[test]
fn without_eviction_nothing_stored_is_lost() {
    let bench = engine(3 << 20, false);
    let text = |i: usize| value(&format!("{i}"), 0, 700);
    let fits = (0..).take_while(|&i| is_stored(bench.set(&format!("{i}"), &text(i)))).count();
    assert!(fits > 3000, "{fits} items of 700 bytes in 3 MiB");
    for i in 0..fits {
        assert_eq!(bench.peek(&format!("{i}"), NOW), Some(text(i)), "{i} of {fits}");
    }
    for i in (0..fits).filter(|i| i % 3 == 0) {
        assert!(bench.delete(&format!("{i}"), Delete::default(), NOW).is_deleted());
    }
    let again = (0..fits / 5).filter(|i| is_stored(bench.set(&format!("new-{i}"), "x"))).count();
    assert_eq!(again, fits / 5, "the room of what was deleted can be used");
    for i in (0..fits).filter(|i| i % 3 != 0) {
        assert_eq!(bench.peek(&format!("{i}"), NOW), Some(text(i)));
    }
    bench.engine.check();
    assert_eq!(bench.engine.stat(Stat::evictions), 0);
}

#[test]
fn a_pinned_value_stays_and_keeps_nobody_from_storing() {
    let bench = engine(4 << 20, true);
    let mut pins = Vec::new();
    let mut access = bench.engine.access();
    for i in 0..200 {
        let key = format!("held-{i}");
        bench.set(&key, &value(&key, 0, 20_000));
        let hit = access.fetch(access.key(key.as_bytes()), &Fetch::default(), NOW).unwrap();
        pins.extend(hit.item.pin().map(|pin| (key, pin)));
        access.rest();
    }
    assert!((10..200).contains(&pins.len()), "{} of 200 could be pinned", pins.len());
    let mut numbers = Numbers(9);
    for round in 0..3000 {
        let key = format!("key-{}", numbers.below(50));
        let text = value(&key, round, numbers.below(20_000) as usize);
        assert!(is_stored(bench.set(&key, &text)), "round {round}");
    }
    for (key, pin) in pins {
        let mut found = Vec::new();
        while found.len() < pin.len() {
            found.extend_from_slice(pin.value_at(found.len()));
        }
        assert_eq!(String::from_utf8(found).unwrap(), value(&key, 0, 20_000));
    }
    bench.engine.check();
}

#[test]
fn expired_items_leave_without_being_asked_for() {
    let bench = engine(16 << 20, true);
    let brief = Store { exptime: 5, ..Store::default() };
    for i in 0..20_000 {
        bench.store(&format!("{i}"), brief, "v", NOW);
    }
    bench.set("lasting", "v");
    bench.engine.maintain(at(4_000));
    assert_eq!(bench.engine.stat(Stat::curr_items), 20_001);
    bench.engine.maintain(at(5_000));
    bench.engine.maintain(at(6_100));
    assert_eq!(bench.engine.stat(Stat::curr_items), 1);
    assert_eq!(bench.engine.stat(Stat::expired_unfetched), 20_000);
    bench.engine.check();
}

#[test]
fn tiny_values_get_the_memory_of_large_ones() {
    let fresh = engine(8 << 20, true);
    let mixed = engine(8 << 20, true);
    let mut numbers = Numbers(5);
    for i in 0..3000 {
        mixed.set(&format!("large-{i}"), &value("x", i, numbers.below(50_000) as usize));
    }
    for i in 0..250_000 {
        let key = format!("tiny-{i}");
        fresh.set(&key, "0123456789");
        mixed.set(&key, "0123456789");
    }
    let (fresh, mixed) = (&fresh.engine, &mixed.engine);
    let (most, now) = (fresh.stat(Stat::curr_items), mixed.stat(Stat::curr_items));
    assert!(now * 10 >= most * 9, "{now} of {most}");
    assert!(most > (8 << 20) / 56, "{most} items of about 20 bytes in 8 MiB");
}

#[test]
fn the_limit_moves_both_ways() {
    let bench = engine(32 << 20, true);
    let fill = || {
        for i in 0..40_000 {
            assert!(is_stored(bench.set(&format!("{i}"), &value("v", i, 900))));
        }
    };
    fill();
    let before = bench.engine.stat(Stat::curr_items);
    bench.engine.set_capacity(8 << 20, NOW);
    bench.engine.maintain(NOW);
    assert!(bench.engine.memory() <= 8 << 20);
    assert_eq!(bench.engine.stat(Stat::limit_maxbytes), 8 << 20);
    let less = bench.engine.stat(Stat::curr_items);
    assert!(less < before / 3, "{less} of {before}");
    bench.engine.check();
    bench.engine.set_capacity(32 << 20, NOW);
    fill();
    assert!(bench.engine.stat(Stat::curr_items) * 10 > before * 9);
    bench.engine.check();
}

#[test]
fn what_can_never_fit_is_refused_at_once() {
    let bench = engine(2 << 20, true);
    assert_eq!(bench.set("k", &"x".repeat(2 << 20)), Stored::Refused(Refusal::TooLarge));
    bench.with(|access| {
        let key = access.key(b"k");
        assert_eq!(
            access.reserve(key, &Store::default(), 2 << 20, NOW).err(),
            Some(Refusal::TooLarge)
        );
    });
    assert!(is_stored(bench.set("k", &"x".repeat(1 << 20))));
    assert_eq!(bench.peek("k", NOW).map(|found| found.len()), Some(1 << 20));
}

#[test]
fn overwriting_and_counting_take_no_more_memory() {
    for evict in [true, false] {
        let bench = engine(2 << 20, evict);
        let items = (0..3000).map(|i| (format!("{i}"), value(&format!("{i}"), i, 500)));
        let items: Vec<_> = items.collect();
        items.iter().for_each(|(key, text)| assert!(is_stored(bench.set(key, text))));
        bench.set("counter", "1000000");
        let lasting = Store { exptime: 1000, ..Store::default() };
        let before = bench.engine.stat(Stat::bytes);
        for round in 0..200_000 {
            bench.count("counter", Count { delta: 1, ..Count::default() }, NOW);
            let (key, text) = &items[round % 50];
            assert!(is_stored(bench.set(key, text)));
            assert!(is_stored(bench.store("expires", lasting, text, NOW)));
        }
        assert_eq!(bench.peek("counter", NOW).as_deref(), Some("1200000"));
        let grown = bench.engine.stat(Stat::bytes) - before;
        assert!(grown < (2 << 20) / 8, "{grown} bytes more");
        for (key, text) in &items {
            assert_eq!(bench.peek(key, NOW).as_ref(), Some(text));
        }
        assert_eq!(bench.engine.stat(Stat::evictions), 0);
        bench.engine.check();
    }
}

#[test]
fn a_pinned_value_is_never_written_over() {
    let bench = engine(4 << 20, true);
    let mut access = bench.engine.access();
    let text = value("key", 0, 500);
    bench.set("key", &text);
    let hit = access.fetch(access.key(b"key"), &Fetch::default(), NOW).unwrap();
    let pin = hit.item.pin().expect("nothing else is pinned");
    access.rest();
    for round in 1..10_000 {
        assert!(is_stored(bench.set("key", &value("key", round, 500))));
        assert_eq!(pin.value_at(0), text.as_bytes(), "round {round}");
    }
    drop(pin);
    bench.engine.check();
}

#[test]
fn many_threads_store_items_of_all_times_to_live_in_few_segments() {
    for (capacity, threads) in [(2 << 20, 16), (8 << 20, 64)] {
        let bench = engine(capacity, true);
        let all: Vec<_> = (0..threads).map(|_| Bench::of(&bench.engine)).collect();
        for round in 0..20 {
            for (thread, bench) in all.iter().enumerate() {
                for exptime in [0, 1, 5, 20, 70, 300, 1500, 5000, 100_000] {
                    let store = Store { exptime, ..Store::default() };
                    let key = format!("{thread}-{exptime}-{round}");
                    assert!(is_stored(bench.store(&key, store, &"v".repeat(100), NOW)), "{key}");
                }
            }
        }
        bench.engine.check();
    }
}

#[test]
fn many_threads_use_dead_places_and_see_whole_values() {
    let bench = engine(3 << 20, true);
    let engine = &bench.engine;
    bench.set("counter", "1000000");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| scope.spawn(move || overwrite_count_and_look(engine, thread)))
            .collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            engine.maintain(NOW);
            std::thread::yield_now();
        }
    });
    engine.check();
    assert_eq!(bench.peek("counter", NOW).as_deref(), Some("1020000"));
}

/// 5,000 increments, and as many stores, and looks at what others stored.
fn overwrite_count_and_look(engine: &Arc<SegmentStorageEngine>, thread: u64) {
    let bench = Bench::of(engine);
    let mut numbers = Numbers(thread);
    let lasting = Store { exptime: 100, ..Store::default() };
    for round in 0..5000 {
        bench.count("counter", Count { delta: 1, ..Count::default() }, NOW);
        let key = format!("key-{}", numbers.below(40));
        let text = value(&key, round, 100 + numbers.below(4) as usize * 8);
        match numbers.below(16) {
            0 => drop(bench.delete(&key, Delete::default(), NOW)),
            1..8 => assert!(is_stored(bench.store(&key, lasting, &text, NOW))),
            _ => assert!(is_stored(bench.set(&key, &text))),
        }
        let key = format!("key-{}", numbers.below(40));
        if let Some(found) = bench.peek(&key, NOW) {
            assert!(is_whole(&key, &found), "{key}: {found}");
        }
    }
}

#[test]
fn a_limit_far_below_the_first_one_leaves_segments_for_every_thread() {
    let policy = mcache_store::eviction::policy("heat").expect("a row of the table");
    let options = EngineOptions { policy, ..options(1 << 30) };
    let bench = Bench::new(SegmentStorageEngine::new(&options).unwrap());
    let all: Vec<_> = (0..16).map(|_| Bench::of(&bench.engine)).collect();
    let store_all = |round: usize| {
        for (thread, bench) in all.iter().enumerate() {
            for exptime in [0, 5, 300, 100_000] {
                let store = Store { exptime, ..Store::default() };
                let key = format!("{thread}-{exptime}-{round}");
                assert!(is_stored(bench.store(&key, store, &"v".repeat(900), NOW)), "{key}");
            }
            bench.with(|access| access.rest());
        }
    };
    (0..100).for_each(store_all);
    assert!(bench.engine.set_capacity(8 << 20, NOW));
    bench.engine.maintain(NOW);
    // Eight segments of 1 MiB, a page for each region of the index, the policy's own, and what
    // threads remember dead places in.
    let least = (12 << 20) + (64 << 10) + (all.len() as u64 + 1) * (66 << 10);
    assert!(bench.engine.memory() <= least, "{}", bench.engine.memory());
    (100..1000).for_each(store_all);
    let memory = bench.engine.memory();
    assert!(memory <= least, "{memory}");
    bench.engine.check();
}

#[test]
fn a_thread_that_dies_loses_nothing_that_was_stored() {
    let bench = engine(4 << 20, true);
    let engine = &bench.engine;
    bench.set("before", "stays");
    let died = std::thread::scope(|scope| {
        let dying = scope.spawn(|| {
            let mut access = engine.access();
            let key = access.key(b"whole");
            access.store(key, &Store::default(), b"stays", NOW);
            let mut arriving = access.reserve(key, &Store::default(), 9, NOW).unwrap();
            arriving.fill(b"half");
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                let fails = &mut |_: &ItemView<'_>| panic!("at work, with an item in hand");
                cursor = access.walk(from, NOW, fails);
            }
            access.commit(key, &Store::default(), arriving, NOW);
        });
        dying.join().is_err()
    });
    assert!(died);
    let figures = engine.figures();
    assert!(figures.contains(&("threads_died", 1)) && figures.contains(&("staged_bytes", 0)));
    for key in ["before", "whole"] {
        assert_eq!(bench.peek(key, NOW).as_deref(), Some("stays"));
    }
    for round in 0..20_000 {
        assert!(is_stored(bench.set(&format!("{round}"), &"v".repeat(900))), "memory comes back");
    }
    engine.check();
}

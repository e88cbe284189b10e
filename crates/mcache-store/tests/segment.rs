//! The segment engine under pressure: every size, little memory, many threads, stalled readers.

mod common;

use std::sync::Arc;

use common::{Bench, at, mode, options};
use mcache_base::operation::{Count, Delete, Fetch, Refusal, Store, StoreMode, Stored};
use mcache_base::{Item, ItemView, Now, Pin, Stat};
use mcache_store::{
    Access, EngineOptions, Reservation, SegmentStorageEngine, SizeLimit, StorageEngine,
};

const NOW: Now = at(0);

fn engine(capacity: u64, evict: bool) -> Bench<SegmentStorageEngine> {
    let item_size = SizeLimit::Value(0);
    let options = EngineOptions { evict, item_size, ..options(capacity) };
    Bench::new(SegmentStorageEngine::new(&options).unwrap())
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// A value that says which key it belongs to, which version it is and how long.
fn value(key: &str, version: u64, len: usize) -> String {
    let word = format!("{key}/{version}/{len};");
    word.repeat(len / word.len() + 1)[..len].to_owned()
}

fn is_whole(key: &str, found: &str) -> bool {
    let Some((word, _)) = found.split_once(';') else { return true };
    let mut parts = word.split('/');
    let (name, version, len) = (parts.next(), parts.next(), parts.next());
    let version = version.and_then(|version| version.parse().ok());
    let len = len.and_then(|len| len.parse().ok());
    name == Some(key)
        && version.zip(len).is_some_and(|(version, len)| found == value(key, version, len))
}

fn is_stored(stored: Stored) -> bool {
    matches!(stored, Stored::Stored { .. })
}

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
fn many_readers_of_one_long_value_hold_it_once() {
    let bench = engine(4 << 20, true);
    bench.set("long", &value("long", 0, 1_800_000));
    bench.set("other", &value("other", 0, 1_800_000));
    let mut access = bench.engine.access();
    let mut pin = |key: &[u8]| {
        let hit = access.fetch(access.key(key), &Fetch::default(), NOW).unwrap();
        let pin = hit.item.pin();
        access.rest();
        pin
    };
    let pins: Vec<_> = (0..1000).map_while(|_| pin(b"long")).collect();
    assert_eq!(pins.len(), 1000);
    drop(pins);
    assert!(pin(b"other").is_some(), "the segments were let go");
}

#[test]
fn a_reader_of_a_huge_value_does_without_the_rest_when_a_store_needs_its_room() {
    let bench = engine(4 << 20, true);
    let text = value("huge", 0, 2_000_000);
    bench.set("huge", &text);
    let mut access = bench.engine.access();
    let mut pin = || {
        let hit = access.fetch(access.key(b"huge"), &Fetch::default(), NOW).unwrap();
        let pin = hit.item.pin().expect("little of it is held");
        access.rest();
        pin
    };
    let (mut fast, mut slow) = (pin(), pin());
    let mut read = Vec::new();
    while read.len() < fast.len() {
        let run = fast.value_at(read.len());
        assert!(!run.is_empty(), "at {}", read.len());
        read.extend_from_slice(run);
        fast.move_to(read.len());
    }
    assert!(read == text.as_bytes());
    for round in 0..3 {
        assert!(is_stored(bench.set("other", &value("other", round, 2_500_000))));
        assert!(is_stored(bench.set("brief", "x")));
    }
    let front = slow.value_at(0);
    assert!(!front.is_empty() && text.as_bytes().starts_with(front), "its part is held");
    let offset = front.len();
    slow.move_to(offset);
    assert!(slow.value_at(offset).is_empty() && slow.value_at(0).is_empty());
    drop((fast, slow));
    bench.engine.check();
    assert!(bench.engine.figures().contains(&("segments_pinned", 0)));
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
fn a_value_of_more_fragments_than_a_record_lists_is_refused() {
    let bench = engine(8 << 20, true); // its segments stay small when the limit moves
    assert!(bench.engine.set_capacity(128 << 20, NOW));
    assert_eq!(bench.set("k", &"x".repeat(64 << 20)), Stored::Refused(Refusal::TooLarge));
    let text = value("k", 0, 12 << 20);
    assert!(is_stored(bench.set("k", &text)));
    assert_eq!(bench.peek("k", NOW), Some(text));
    bench.engine.check();
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
fn an_append_to_a_long_value_needs_no_copy_beside_the_arena() {
    let bench = engine(16 << 20, true);
    let (long, more) = (value("k", 0, 5 << 20), value("k", 1, 1000));
    assert!(is_stored(bench.set("k", &long)));
    for how in [StoreMode::Append, StoreMode::Prepend] {
        assert!(is_stored(bench.store("k", mode(how), &more, NOW)));
    }
    assert_eq!(bench.peek("k", NOW), Some([&more[..], &long, &more].concat()));
    let figures = bench.engine.figures();
    assert!(figures.contains(&("segments_pinned", 0)) && figures.contains(&("staged_bytes", 0)));
    bench.with(|access| access.rest());
    bench.engine.check();
}

/// How many fragments there are must not depend on how a value came about.
#[test]
fn a_value_grows_by_many_small_pieces() {
    for (capacity, base, more) in [(64, 5000, 9000), (1024, 0, 12_000), (1024, 70_000, 9000)] {
        for how in [StoreMode::Append, StoreMode::Prepend] {
            let bench = engine(capacity << 20, true);
            bench.set("k", &"0123456789".repeat(base / 10));
            for count in 1..=more {
                let Stored::Stored { value_len, .. } =
                    bench.store("k", mode(how), "0123456789", NOW)
                else {
                    panic!("{how:?} number {count} at {capacity} MiB");
                };
                assert_eq!(value_len, base + 10 * count);
            }
            let expected = "0123456789".repeat(base / 10 + more);
            assert!(bench.peek("k", NOW) == Some(expected), "{how:?} at {capacity} MiB");
            bench.engine.check();
        }
    }
}

#[test]
fn every_size_is_appended_to_every_size() {
    let sizes = [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 16_000, 20_000, 40_000, 65_536];
    for capacity in [2 << 20, 64 << 20] {
        let bench = engine(capacity, true);
        for (present, more) in sizes.into_iter().flat_map(|a| sizes.map(|b| (a, b))) {
            let (old, new) = (value("old", 0, present), value("new", 1, more));
            for how in [StoreMode::Append, StoreMode::Prepend] {
                assert!(is_stored(bench.set("k", &old)));
                assert!(is_stored(bench.store("k", mode(how), &new, NOW)));
                let expected = match how {
                    StoreMode::Append => [&old[..], &new].concat(),
                    _ => [&new[..], &old].concat(),
                };
                assert!(bench.peek("k", NOW) == Some(expected), "{how:?} {more} to {present}");
            }
        }
        bench.engine.check();
    }
}

/// As the network brings it, whatever it is cut into on the way.
#[test]
fn a_value_of_hundreds_of_mebibytes_is_kept_whole() {
    const LEN: usize = 520 << 20;
    let bench = engine(1100 << 20, true);
    let run: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    bench.with(|access| {
        let key = access.key(b"k");
        let mut arriving = access.reserve(key, &Store::default(), LEN, NOW).unwrap();
        while arriving.missing() > 0 {
            let taken = arriving.fill(&run);
            assert!(taken == run.len() || arriving.missing() == 0);
        }
        assert!(is_stored(access.commit(key, &Store::default(), arriving, NOW)));
        let hit = access.fetch(key, &Fetch::default(), NOW).expect("was stored");
        assert_eq!(hit.item.value_len(), LEN);
        for at in [0, 1, 1_000_002, 18_939_904, LEN / 2, LEN - 1] {
            assert_eq!(hit.item.value_at(at)[0], run[at % run.len()], "at {at}");
        }
    });
    bench.engine.check();
}

type Staged = <<SegmentStorageEngine as StorageEngine>::Access as Access>::Reservation;

fn arrive(bench: &Bench<SegmentStorageEngine>, key: &str, len: usize) -> Staged {
    let key = key.as_bytes();
    bench.with(|access| access.reserve(access.key(key), &Store::default(), len, NOW)).unwrap()
}

fn commit(bench: &Bench<SegmentStorageEngine>, key: &str, value: Staged) -> Stored {
    let store = Store::default();
    bench.with(|access| access.commit(access.key(key.as_bytes()), &store, value, NOW))
}

#[test]
fn a_value_that_never_ends_takes_no_memory_beyond_the_limit_where_nothing_is_evicted() {
    const CAPACITY: u64 = 32 << 20;
    let options =
        EngineOptions { evict: false, item_size: SizeLimit::Value(0), ..options(CAPACITY) };
    let bench = Bench::new(SegmentStorageEngine::new(&options).unwrap());
    let value = "v".repeat(4_000);
    let kept =
        (0..).take_while(|number| is_stored(bench.set(&format!("k{number}"), &value))).count();
    let mut arriving = arrive(&bench, "long", 16 << 20);
    while arriving.missing() > 1 {
        arriving.fill(&[b'l'; 1000][..(arriving.missing() - 1).min(1000)]);
        let staged = bench.engine.figures().into_iter().find(|it| it.0 == "staged_bytes").unwrap();
        assert!(staged.1 <= (4 << 20) + (64 << 10), "{} bytes wait", staged.1);
    }
    arriving.fill(b"l");
    assert_eq!(commit(&bench, "long", arriving), Stored::Refused(Refusal::NoMemory));
    for number in 0..kept {
        assert_eq!(bench.peek(&format!("k{number}"), NOW).as_deref(), Some(value.as_str()));
    }
}

/// Items, index and values that are arriving stay within the limit, but for a few segments that
/// are emptied and not yet free.
fn is_within_limit(engine: &SegmentStorageEngine) -> bool {
    let figures = engine.figures();
    let figure = |name| figures.iter().find(|(other, _)| *other == name).map_or(0, |(_, n)| *n);
    let slack = 8 * figure("segment_size");
    let segments = figure("segments_taken") * figure("segment_size");
    let beside = figure("staged_bytes") + figure("index_bytes") + figure("policy_bytes");
    segments + beside <= engine.stat(Stat::limit_maxbytes) + slack
}

#[test]
fn half_sent_values_keep_no_other_from_being_stored() {
    let bench = engine(64 << 20, true);
    (0..70).for_each(|i| {
        assert!(is_stored(bench.set(&format!("old-{i}"), &value("old", i, 1_000_000))));
    });
    let mut stalled: Vec<_> = Vec::new();
    for round in 0..400 {
        let mut half_sent = arrive(&bench, "half", 1_000_000);
        half_sent.fill(&[b'x'; 200_000]);
        stalled.push(half_sent);
        assert!(is_within_limit(&bench.engine), "round {round}");
        if round % 20 == 19 {
            for len in [300_000, 1_000_000] {
                let text = value("k", round, len);
                let mut arriving = arrive(&bench, "k", len);
                text.as_bytes().chunks(50_000).for_each(|run| assert!(arriving.fill(run) > 0));
                assert!(is_stored(commit(&bench, "k", arriving)), "{len} in round {round}");
                assert!(bench.peek("k", NOW) == Some(text), "{len} in round {round}");
            }
        }
    }
    let finish = |mut half_sent: Staged| {
        half_sent.fill(&[b'x'; 800_000]);
        assert_eq!(half_sent.missing(), 0, "it is taken even if thrown away");
        commit(&bench, "half", half_sent)
    };
    assert!(is_stored(finish(stalled.pop().unwrap())), "the last is still there");
    assert_eq!(finish(stalled.swap_remove(0)), Stored::Refused(Refusal::NoMemory));
    drop(stalled);
    bench.engine.check();
}

#[test]
fn values_that_stall_where_they_will_stay_hold_few_segments() {
    let bench = engine(64 << 20, true);
    let figure = |name| bench.engine.figures().into_iter().find(|it| it.0 == name).unwrap().1;
    let texts: Vec<_> = (0..300).map(|i| value("half", i, 200_000)).collect();
    let mut stalled: Vec<_> = texts.iter().map(|_| arrive(&bench, "half", 200_000)).collect();
    let (most, mut stored) = (figure("segments_allowed") / 8, 0);
    for (half_sent, text) in stalled.iter_mut().zip(&texts) {
        bench.bring(half_sent, &text.as_bytes()[..70_000], NOW);
        stored += 1;
        assert!(is_stored(bench.set(&format!("beside-{stored}"), &value("beside", stored, 9_000))));
        assert!(figure("segments_pinned") <= most);
        assert!(is_within_limit(&bench.engine), "at {stored}");
    }
    assert!(figure("segments_pinned") > 0, "there are places");
    for (number, (mut half_sent, text)) in stalled.into_iter().zip(&texts).enumerate() {
        if number % 3 == 0 {
            continue; // its sender is gone
        }
        bench.bring(&mut half_sent, &text.as_bytes()[70_000..], NOW);
        assert_eq!(half_sent.missing(), 0);
        assert!(is_stored(commit(&bench, "half", half_sent)), "number {number}");
        assert!(bench.peek("half", NOW).as_ref() == Some(text), "number {number}");
    }
    assert_eq!((figure("segments_pinned"), figure("staged_bytes")), (0, 0));
    bench.engine.check();
}

#[test]
fn memory_that_large_values_leave_is_used_before_more() {
    let bench = engine(256 << 20, true);
    let segments =
        || bench.engine.figures().into_iter().find(|it| it.0 == "segments_taken").unwrap().1;
    for round in 0..1_000 {
        let text = value("k", round, 150_000);
        let mut arriving = arrive(&bench, "k", text.len());
        bench.bring(&mut arriving, text.as_bytes(), NOW);
        assert!(is_stored(commit(&bench, "k", arriving)));
        assert!(segments() < 12, "{} in round {round}", segments());
    }
    bench.engine.check();
}

#[test]
fn long_values_that_arrive_at_once_are_all_stored() {
    for (capacity, count, len) in [(110 << 20, 3, 20 << 20), (64 << 20, 1, 32 << 20)] {
        let bench = engine(capacity, true);
        (0..120).for_each(|i| {
            assert!(is_stored(bench.set(&format!("old-{i}"), &value("old", i, 1_000_000))));
        });
        let keys: Vec<_> = (0..count).map(|i| format!("long-{i}")).collect();
        let texts: Vec<_> = keys.iter().map(|key| value(key, 0, len)).collect();
        let mut arriving: Vec<_> = keys.iter().map(|key| arrive(&bench, key, len)).collect();
        for at in (0..len).step_by(1 << 18) {
            for (staged, text) in arriving.iter_mut().zip(&texts) {
                staged.fill(&text.as_bytes()[at..len.min(at + (1 << 18))]);
                assert!(is_within_limit(&bench.engine), "{at} of {len} in {capacity}");
            }
        }
        for (key, staged) in keys.iter().zip(arriving) {
            assert!(is_stored(commit(&bench, key, staged)), "{key} of {len} in {capacity}");
            assert!(is_within_limit(&bench.engine), "{key} of {len} in {capacity}");
        }
        for (key, text) in keys.iter().zip(texts) {
            assert!(bench.peek(key, NOW) == Some(text), "{key} of {len} in {capacity}");
        }
        bench.engine.check();
    }
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

#[test]
fn an_append_of_many_fragments_to_an_empty_value_is_kept() {
    let bench = engine(1 << 20, true);
    let text = value("k", 0, 23_554);
    for how in [StoreMode::Append, StoreMode::Prepend] {
        bench.set("k", "");
        assert!(is_stored(bench.store("k", mode(how), &text, NOW)));
        assert_eq!(bench.peek("k", NOW).as_ref(), Some(&text));
    }
    bench.engine.check();
}

//! Long values in the segment engine: they arrive, grow, stall and are read in pieces.

mod common;

use common::pressure::{NOW, engine, is_stored, value};
use common::{Bench, mode, options};
use mcache_base::operation::{Fetch, Refusal, Store, StoreMode, Stored};
use mcache_base::{Item, Pin, Stat};
use mcache_store::{
    Access, EngineOptions, Reservation, SegmentStorageEngine, SizeLimit, StorageEngine,
};

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

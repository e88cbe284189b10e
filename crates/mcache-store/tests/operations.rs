//! What each operation does, on every engine, where memcached 1.6.45 is the authority.

mod common;

use common::{AMPLE, Bench, at, mode, options};
use mcache_base::Expiry;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_store::{
    Access, EngineOptions, Reservation, SegmentStorageEngine, SimpleStorageEngine, SizeLimit,
    StorageEngine,
};

/// Runs a test on every engine.
macro_rules! on_every_engine {
    ($(fn $name:ident($new:ident) $body:block)+) => {$(
        #[test]
        fn $name() {
            fn run<E: StorageEngine>($new: impl Fn(&EngineOptions) -> Bench<E>) $body
            run(|options| Bench::new(SimpleStorageEngine::new(options)));
            run(|options| Bench::new(SegmentStorageEngine::new(options).unwrap()));
        }
    )+};
}

/// Runs a test on the engines that can be as small as a few items.
macro_rules! on_small_engines {
    ($(fn $name:ident($new:ident) $body:block)+) => {$(
        #[test]
        fn $name() {
            fn run<E: StorageEngine>($new: impl Fn(&EngineOptions) -> Bench<E>) $body
            run(|options| Bench::new(SimpleStorageEngine::new(options)));
        }
    )+};
}

const GET: Fetch = Fetch {
    touch: None,
    vivify: None,
    recache: None,
    touch_first: false,
    compete: false,
    new_cas: None,
    unseen: false,
    binary_key: false,
};
const META_GET: Fetch = Fetch { compete: true, ..GET };

fn stored(cas: u64, value_len: usize) -> Stored {
    Stored::Stored { cas, value_len }
}

fn number<I>(counted: &Counted<I>) -> Option<u64> {
    match counted {
        Counted::Number { value, .. } => Some(*value),
        _ => None,
    }
}

on_every_engine! {
    fn each_mode_stores_when_its_condition_holds(new) {
        let bench = new(&options(AMPLE));
        let set = |how, value| bench.store("k", how, value, at(0));
        assert_eq!(set(mode(StoreMode::Replace), "r"), Stored::NotStored);
        assert_eq!(set(mode(StoreMode::Append), "a"), Stored::NotStored);
        assert_eq!(set(mode(StoreMode::Prepend), "p"), Stored::NotStored);
        assert_eq!(set(mode(StoreMode::Add), "mid"), stored(1, 3));
        assert_eq!(set(mode(StoreMode::Add), "x"), Stored::NotStored);
        assert_eq!(set(mode(StoreMode::Append), ">>"), stored(2, 5));
        assert_eq!(set(mode(StoreMode::Prepend), "<"), stored(3, 6));
        assert_eq!(bench.peek("k", at(0)).as_deref(), Some("<mid>>"));
        assert_eq!(set(mode(StoreMode::Replace), ""), stored(4, 0));
        assert_eq!(set(mode(StoreMode::Set), "v"), stored(5, 1));
    }

    fn append_keeps_flags_and_exptime_and_may_create(new) {
        let bench = new(&options(AMPLE));
        bench.store("k", Store { flags: 7, exptime: 10, ..Store::default() }, "a", at(0));
        let more = Store { flags: 9, exptime: 99, ..mode(StoreMode::Append) };
        bench.store("k", more, "b", at(500));
        let hit = bench.fetch("k", GET, at(600)).unwrap();
        assert_eq!((hit.item.flags, hit.item.expiry), (7, Expiry::Clock(at(10_000).clock_ms)));
        assert!(!hit.before.fetched);

        let create = Store { vivify: Some(30), ..more };
        assert_eq!(bench.store("new", create, "c", at(0)), stored(3, 1));
        let hit = bench.fetch("new", GET, at(0)).unwrap();
        assert_eq!((hit.item.flags, hit.item.expiry), (9, Expiry::Clock(at(30_000).clock_ms)));
    }

    fn cas_compares(new) {
        let bench = new(&options(AMPLE));
        let cas = |mode, compare| Store { mode, compare: Some(compare), ..Store::default() };
        use StoreMode::*;
        assert_eq!(bench.store("k", cas(Set, 1), "x", at(0)), Stored::NotFound);
        assert_eq!(bench.store("k", cas(Replace, 1), "x", at(0)), Stored::NotFound);
        assert_eq!(bench.store("k", cas(Append, 1), "x", at(0)), Stored::NotStored);
        assert_eq!(bench.store("k", cas(Add, 9), "x", at(0)), stored(1, 1));
        for (mode, compare, expected) in [
            (Set, 0, Stored::Exists),
            (Set, 2, Stored::Exists),
            (Set, 1, stored(2, 1)),
            (Replace, 2, stored(3, 1)),
            (Append, 2, Stored::Exists),
            (Append, 3, stored(4, 2)),
            (Prepend, 0, stored(5, 3)),
            (Add, 5, Stored::NotStored),
        ] {
            assert_eq!(bench.store("k", cas(mode, compare), "y", at(0)), expected, "{mode:?}");
        }
        let chosen = Store { new_cas: Some(777), ..Store::default() };
        assert_eq!(bench.store("k", chosen, "z", at(0)), stored(777, 1));
        assert_eq!(bench.set("k", "z"), stored(7, 1));
    }

    fn a_late_refill_is_stored_stale(new) {
        let bench = new(&options(AMPLE));
        bench.store("k", Store { exptime: 50, ..Store::default() }, "old", at(0));
        bench.delete("k", Delete { invalidate: true, ..Delete::default() }, at(0));
        let refill = |compare| Store {
            compare: Some(compare), invalidate: true, exptime: 99, ..Store::default()
        };
        assert_eq!(bench.store("k", refill(3), "new", at(0)), Stored::Exists);
        assert_eq!(bench.store("k", refill(0), "new", at(0)), Stored::Exists);
        assert_eq!(bench.store("k", refill(1), "late", at(0)), stored(3, 4));
        let hit = bench.fetch("k", META_GET, at(0)).unwrap();
        assert!(hit.stale && hit.won && !hit.token_sent);
        assert_eq!(hit.item.expiry, Expiry::Clock(at(50_000).clock_ms));
        assert_eq!(bench.store("k", refill(1), "late", at(0)), stored(4, 4));
        let hit = bench.fetch("k", META_GET, at(0)).unwrap();
        assert!(hit.stale && !hit.won && hit.token_sent);
        assert_eq!(bench.store("k", refill(4), "good", at(0)), stored(5, 4));
        let hit = bench.fetch("k", META_GET, at(0)).unwrap();
        assert!(!hit.stale && !hit.won && !hit.token_sent);
    }

    fn a_delete_tells_what_was_there(new) {
        let bench = new(&options(AMPLE));
        let long = "v".repeat(70_000);
        let rows = [("value", false, 7), (long.as_str(), true, 9), ("", false, 0)];
        for (value, clear, flags) in rows {
            bench.store("k", Store { flags, ..Store::default() }, value, at(0));
            let clear = clear.then_some(3);
            let deleted = bench.delete("k", Delete { clear, ..Delete::default() }, at(0));
            assert_eq!(deleted, Deleted::Deleted { flags, value_len: value.len() });
        }
        assert_eq!(bench.delete("k", Delete::default(), at(0)), Deleted::NotFound);
    }

    fn a_vivified_item_is_won_once(new) {
        let bench = new(&options(AMPLE));
        let fetch = Fetch { vivify: Some(30), touch: Some(99), ..META_GET };
        let hit = bench.fetch("k", fetch, at(0)).unwrap();
        assert!(hit.created && hit.won && !hit.token_sent && !hit.before.fetched);
        assert_eq!((hit.item.value.len(), hit.item.cas), (0, 1));
        assert_eq!(hit.item.expiry, Expiry::Clock(at(30_000).clock_ms));
        let hit = bench.fetch("k", Fetch { vivify: Some(30), ..META_GET }, at(2500)).unwrap();
        assert!(!hit.created && !hit.won && hit.token_sent && hit.before.fetched);
        assert_eq!(hit.before.idle_s, 2);
        let chosen = Fetch { vivify: Some(0), new_cas: Some(55), binary_key: true, ..META_GET };
        let hit = bench.fetch("other", chosen, at(0)).unwrap();
        assert_eq!((hit.item.cas, hit.item.binary_key), (55, true));
    }

    fn a_stale_item_is_won_by_those_who_compete(new) {
        let bench = new(&options(AMPLE));
        bench.set("k", "v");
        let invalidate = Delete { invalidate: true, exptime: Some(30), ..Delete::default() };
        assert!(bench.delete("k", invalidate, at(0)).is_deleted());
        let hits = [GET, META_GET, META_GET].map(|fetch| bench.fetch("k", fetch, at(0)).unwrap());
        let marks = hits.each_ref().map(|hit| (hit.won, hit.stale, hit.token_sent));
        assert_eq!(marks, [(false, true, false), (true, true, false), (false, true, true)]);
        assert_eq!((hits[0].item.cas, &hits[0].item.value[..]), (2, &b"v"[..]));
        assert_eq!(hits[0].item.expiry, Expiry::Clock(at(30_000).clock_ms));
        assert_eq!(number(&bench.count("k", Count::default(), at(0))), None);
        bench.delete("k", invalidate, at(0));
        assert!(bench.fetch("k", META_GET, at(0)).unwrap().won, "each invalidation is won anew");
    }

    fn recache_is_won_when_time_runs_out(new) {
        let bench = new(&options(AMPLE));
        let recache = |recache| Fetch { recache: Some(recache), ..META_GET };
        bench.set("ever", "v");
        assert!(!bench.fetch("ever", recache(30), at(0)).unwrap().won);
        bench.store("k", Store { exptime: 30, ..Store::default() }, "v", at(0));
        for (seconds, now, won) in
            [(0, 0, false), (-1, 0, false), (30, 999, false), (30, 1000, true), (30, 2000, false)]
        {
            let hit = bench.fetch("k", recache(seconds), at(now)).unwrap();
            assert_eq!(hit.won, won, "{seconds} at {now}");
        }
    }

    fn an_unseen_fetch_leaves_no_trace(new) {
        let bench = new(&options(AMPLE));
        bench.set("k", "v");
        let unseen = Fetch { unseen: true, touch: Some(60), ..META_GET };
        assert!(!bench.fetch("k", unseen, at(3000)).unwrap().before.fetched);
        let hit = bench.fetch("k", GET, at(5000)).unwrap();
        assert_eq!((hit.before.fetched, hit.before.idle_s), (false, 5));
        assert_eq!(hit.before.expiry, Expiry::Clock(at(63_000).clock_ms));
        assert_eq!(hit.item.cas, 1, "a touch takes no cas unique");
        let hit = bench.fetch("k", GET, at(5000)).unwrap();
        assert_eq!((hit.before.fetched, hit.before.idle_s), (true, 0));
    }

    fn delete_compares_clears_and_removes(new) {
        let bench = new(&options(AMPLE));
        assert_eq!(bench.delete("k", Delete::default(), at(0)), Deleted::NotFound);
        bench.store("k", Store { exptime: 9, binary_key: true, ..Store::default() }, "v", at(0));
        let compare = |cas| Delete { compare: Some(cas), ..Delete::default() };
        assert_eq!(bench.delete("k", compare(2), at(0)), Deleted::Exists);
        let clear = Delete { clear: Some(7), ..Delete::default() };
        assert!(bench.delete("k", clear, at(0)).is_deleted());
        let item = bench.fetch("k", META_GET, at(0)).unwrap().item;
        assert_eq!((item.value.len(), item.flags, item.cas), (0, 7, 1));
        assert_eq!((item.expiry, item.binary_key), (Expiry::Never, true));
        let bury = Delete { invalidate: true, new_cas: Some(9), exptime: Some(30), ..clear };
        bench.delete("k", bury, at(0));
        let hit = bench.fetch("k", META_GET, at(0)).unwrap();
        assert!(hit.won && hit.stale && hit.item.cas == 9);
        assert_eq!(hit.item.expiry, Expiry::Clock(at(30_000).clock_ms));
        assert!(bench.delete("k", compare(9), at(0)).is_deleted());
        assert_eq!(bench.fetch("k", GET, at(0)).unwrap_err(), Miss::Absent);
    }

    fn numbers_count_and_others_do_not(new) {
        let bench = new(&options(AMPLE));
        let up = |delta| Count { delta, ..Count::default() };
        let down = |delta| Count { delta, down: true, ..Count::default() };
        for (value, count, expected, text) in [
            ("10", up(5), Some(15), "15"),
            ("100", down(1), Some(99), "99"),
            ("5", down(6), Some(0), "0"),
            ("18446744073709551615", up(2), Some(1), "1"),
            ("99  ", up(1), Some(100), "100"),
            (" +7", up(0), Some(7), "7"),
            ("007", up(1), Some(8), "8"),
            ("18446744073709551616", up(1), None, "18446744073709551616"),
            ("-1", up(1), None, "-1"),
            ("1 2", up(1), None, "1 2"),
            ("", up(1), None, ""),
            ("++1", up(1), None, "++1"),
        ] {
            bench.set("k", value);
            assert_eq!(number(&bench.count("k", count, at(0))), expected, "{value:?}");
            assert_eq!(bench.peek("k", at(0)).as_deref(), Some(text), "{value:?}");
        }
        assert!(matches!(bench.count("none", up(1), at(0)), Counted::NotFound));
    }

    fn counting_keeps_attributes_but_the_cas(new) {
        let bench = new(&options(AMPLE));
        let how = Store { flags: 3, exptime: 60, ..Store::default() };
        bench.store("k", how, "9", at(0));
        bench.fetch("k", GET, at(0)).unwrap();
        let count = Count { delta: 1, compare: Some(1), touch: Some(90), ..Count::default() };
        let Counted::Number { value: 10, hit } = bench.count("k", count, at(2000)) else {
            panic!("9 and 1 make 10")
        };
        assert_eq!((hit.item.cas, hit.item.flags, &hit.item.value[..]), (2, 3, &b"10"[..]));
        assert_eq!(hit.before.expiry, Expiry::Clock(at(60_000).clock_ms));
        assert_eq!(hit.item.expiry, Expiry::Clock(at(92_000).clock_ms));
        assert!(hit.before.fetched && hit.before.idle_s == 2 && !hit.created);
        assert!(matches!(bench.count("k", count, at(0)), Counted::Exists));
        let any = Count { compare: Some(0), new_cas: Some(70), ..count };
        let Counted::Number { hit, .. } = bench.count("k", any, at(0)) else { panic!("counts") };
        assert_eq!(hit.item.cas, 70);

        let create = Count { create: Some((40, 30)), binary_key: true, ..count };
        let Counted::Number { value: 40, hit } = bench.count("new", create, at(0)) else {
            panic!("created with its first value, the delta not applied")
        };
        assert!(hit.created && hit.item.binary_key && &hit.item.value[..] == b"40");
        assert_eq!(hit.item.expiry, Expiry::Clock(at(30_000).clock_ms));
    }

    fn misses_are_told_apart(new) {
        let bench = new(&options(AMPLE));
        let lasting = |exptime| Store { exptime, ..Store::default() };
        bench.store("past", lasting(-1), "v", at(0));
        bench.store("second", lasting(1), "v", at(0));
        bench.set("flushed", "v");
        assert_eq!(bench.fetch("past", GET, at(0)).unwrap_err(), Miss::Expired);
        assert_eq!(bench.fetch("past", GET, at(0)).unwrap_err(), Miss::Absent);
        assert!(bench.fetch("second", GET, at(999)).is_ok());
        assert_eq!(bench.fetch("second", GET, at(1000)).unwrap_err(), Miss::Expired);
        bench.engine.flush(0, at(1000));
        assert_eq!(bench.set("kept", "v"), stored(4, 1));
        assert_eq!(bench.fetch("flushed", GET, at(1000)).unwrap_err(), Miss::Flushed);
        assert_eq!(bench.fetch("flushed", GET, at(1000)).unwrap_err(), Miss::Absent);
        assert!(bench.fetch("kept", GET, at(1000)).is_ok());
    }

    fn a_delayed_flush_takes_what_was_stored_until_then(new) {
        let bench = new(&options(AMPLE));
        let chosen = Store { new_cas: Some(u64::MAX), ..Store::default() };
        bench.store("early", chosen, "v", at(0));
        bench.engine.flush(2, at(0));
        bench.set("meanwhile", "v");
        assert!(bench.fetch("early", GET, at(1999)).is_ok());
        assert_eq!(bench.store("late", Store::default(), "v", at(2000)), stored(3, 1));
        assert_eq!(bench.fetch("early", GET, at(2000)).unwrap_err(), Miss::Flushed);
        assert_eq!(bench.fetch("meanwhile", GET, at(2000)).unwrap_err(), Miss::Flushed);
        assert!(bench.fetch("late", GET, at(2000)).is_ok());
    }

    fn what_is_too_large_is_refused(new) {
        for (item_size, most) in [
            (SizeLimit::Item(1024), 1024 - 60),
            (SizeLimit::Value(100), 100),
        ] {
            let bench = new(&EngineOptions { item_size, ..options(AMPLE) });
            let text = "x".repeat(most + 1);
            assert_eq!(bench.set("k", &text), Stored::Refused(Refusal::TooLarge));
            assert_eq!(bench.set("k", &text[1..]), stored(1, most));
            let more = bench.store("k", mode(StoreMode::Append), "x", at(0));
            assert_eq!(more, Stored::NotStored);
            let mut access = bench.access.borrow_mut();
        let key = access.key(b"k");
            assert!(access.reserve(key, &Store::default(), most, at(0)).is_ok());
            let refusal = access.reserve(key, &Store::default(), most + 1, at(0)).err();
            assert_eq!(refusal, Some(Refusal::TooLarge));
            bench.engine.check();
        }
    }

    fn a_value_arrives_in_pieces(new) {
        let bench = new(&options(AMPLE));
        bench.set("k", "old-");
        let other = Bench::of(&bench.engine);
        let mut access = bench.access.borrow_mut();
        let key = access.key(b"k");
        let how = mode(StoreMode::Append);
        let mut arriving = access.reserve(key, &how, 5, at(0)).unwrap();
        assert_eq!((arriving.fill(b"ne"), arriving.missing()), (2, 3));
        assert_eq!((arriving.fill(b""), arriving.missing()), (0, 3));
        assert_eq!((arriving.fill(b"wer\r\n"), arriving.missing()), (3, 0));
        bench.engine.check();
        assert_eq!(access.commit(key, &how, arriving, at(0)), stored(2, 9));
        assert_eq!(other.peek("k", at(0)).as_deref(), Some("old-newer"));

        let mut arriving = access.reserve(key, &Store::default(), 3, at(0)).unwrap();
        arriving.fill(b"all");
        assert_eq!(access.commit(key, &Store::default(), arriving, at(0)), stored(3, 3));
        assert_eq!(other.peek("k", at(0)).as_deref(), Some("all"));
        bench.engine.check();
    }

    fn a_held_item_does_not_change(new) {
        let bench = new(&options(AMPLE));
        bench.store("k", Store { flags: 5, ..Store::default() }, "one", at(0));
        let other = Bench::of(&bench.engine);
        let mut access = bench.access.borrow_mut();
        let key = access.key(b"k");
        let held = access.fetch(key, &GET, at(0)).unwrap().item;
        let pin = mcache_base::Item::pin(&held).expect("nothing else is pinned");
        let before = common::copy(&held);
        other.set("k", "two");
        other.delete("k", Delete::default(), at(0));
        other.set("k", "three");
        bench.engine.flush(0, at(0));
        bench.engine.maintain(at(0));
        assert_eq!(common::copy(&held), before);
        drop(held);
        assert_eq!(mcache_base::Pin::value_at(&pin, 0), b"one");
        assert_eq!(mcache_base::Pin::value_at(&pin, 2), b"e");
        assert_eq!(mcache_base::Pin::value_at(&pin, 3), b"");
    }
}

on_small_engines! {
    fn without_eviction_a_full_engine_refuses(new) {
        let bench = new(&EngineOptions { evict: false, ..options(64 << 10) });
        let value = "x".repeat(1000);
        let refused = Stored::Refused(Refusal::NoMemory);
        let fits = (0..).take_while(|i| bench.set(&format!("{i}"), &value) != refused).count();
        assert!((40..64).contains(&fits), "{fits}");
        let twice = value.repeat(2);
        assert_eq!(bench.store("0", mode(StoreMode::Append), &twice, at(0)), refused);
        assert!(matches!(bench.set("1", &value), Stored::Stored { .. }), "in its own room");
        assert!(bench.delete("1", Delete::default(), at(0)).is_deleted());
        assert!(matches!(bench.set("new", &value), Stored::Stored { .. }));
        bench.engine.check();
    }

    fn reservations_count_against_the_capacity(new) {
        let bench = new(&EngineOptions { evict: false, ..options(10_000) });
        let reserve = |key: &str| {
            bench.with(|access| {
                access.reserve(access.key(key.as_bytes()), &Store::default(), 4000, at(0))
            })
        };
        let (first, _second) = (reserve("a").unwrap(), reserve("b").unwrap());
        assert_eq!(reserve("c").err(), Some(Refusal::NoMemory));
        assert_eq!(bench.set("d", &"x".repeat(4000)), Stored::Refused(Refusal::NoMemory));
        drop(first);
        assert_eq!(bench.set("d", &"x".repeat(4000)), stored(2, 4000));
        bench.engine.check();
    }

    fn what_can_never_fit_is_refused(new) {
        let no_limit = EngineOptions { item_size: SizeLimit::Value(0), ..options(4096) };
        let bench = new(&no_limit);
        assert_eq!(bench.set("k", &"x".repeat(4096)), Stored::Refused(Refusal::TooLarge));
        assert_eq!(bench.set("k", &"x".repeat(2048)), stored(1, 2048));
    }
}

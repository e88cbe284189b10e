//! Attacks on the reuse of dead places: by other writers, readers, walkers, pins, expiry and
//! eviction.

mod common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use common::{Bench, at, options};
use mcache_base::operation::{Delete, Fetch, Store, Stored};
use mcache_base::{Item, Now, Pin, Stat};
use mcache_store::{Access, SegmentStorageEngine, StorageEngine};

const NOW: Now = at(0);

fn engine(capacity: u64) -> Bench<SegmentStorageEngine> {
    Bench::new(SegmentStorageEngine::new(&options(capacity)).unwrap())
}

fn figure(bench: &Bench<SegmentStorageEngine>, name: &str) -> u64 {
    let figures = bench.engine.figures();
    figures.into_iter().find(|figure| figure.0 == name).expect("a figure of the engine").1
}

/// Threads that take turns, as they do when there are more of them than processors.
#[test]
fn writers_that_take_turns_use_dead_places() {
    for turn in [1, 64, 1000, 3000] {
        let bench = engine(256 << 20);
        let mut writers: Vec<_> = (0..3).map(|_| bench.engine.access()).collect();
        for round in 0..60_000 / turn {
            for (number, writer) in writers.iter_mut().enumerate() {
                for step in 0..turn {
                    let key = format!("key-{number}-{}", (round * turn + step) % 5000);
                    writer.store(writer.key(key.as_bytes()), &Store::default(), &[b'v'; 100], NOW);
                }
            }
        }
        let taken = figure(&bench, "segments_taken") * figure(&bench, "segment_size");
        let live = bench.engine.stat(Stat::bytes);
        assert!(taken < 2 * live + (4 << 20), "in turns of {turn}: {taken} bytes for {live}");
    }
}

/// A text that says whose it is, and how long.
fn text(key: &str, len: usize) -> String {
    format!("{key}:{len}:").chars().cycle().take(len).collect()
}

fn assert_whole(key: &str, found: &str) {
    assert!(found == text(key, found.len()), "{key}: {found:.40}");
}

#[test]
fn an_item_that_is_being_looked_at_is_not_written_over() {
    let bench = engine(64 << 20);
    let (mut reader, mut other) = (bench.engine.access(), bench.engine.access());
    bench.set("key", &text("key", 300));
    bench.with(|access| access.rest());
    let hit = reader.fetch(reader.key(b"key"), &Fetch::default(), NOW).expect("just stored");
    for round in 0..20_000 {
        let key = if round % 2 == 0 { "key" } else { "other" };
        other.store(other.key(key.as_bytes()), &Store::default(), &[b'x'; 300], NOW);
        assert_eq!(hit.item.value_at(0), text("key", 300).as_bytes(), "round {round}");
    }
    let cas = hit.item.cas();
    assert_eq!(cas, 1, "its marks are its own");
}

/// Sizes next to each other, so that places change their class, and one of several fragments.
const LENGTHS: [usize; 6] = [90, 92, 96, 100, 104, 9000];
const KEYS: usize = 48;
const ROUNDS: usize = 2_000;

/// What the threads of the next test share: the clock, and whether the writers have ended.
struct Scene {
    engine: Arc<SegmentStorageEngine>,
    clock_ms: AtomicU64,
    writers: AtomicUsize,
}

/// Tells that a writer has ended, even if it failed.
struct Ends<'a>(&'a AtomicUsize);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Scene {
    fn now(&self) -> Now {
        at(self.clock_ms.load(Relaxed))
    }

    fn goes_on(&self) -> bool {
        self.writers.load(Relaxed) > 0
    }

    fn write(&self, number: usize) {
        let bench = Bench::of(&self.engine);
        let _ends = Ends(&self.writers);
        for round in 0..ROUNDS {
            let key = format!("key-{}", (round * 31 + number * 7) % KEYS);
            let text = text(&key, LENGTHS[(round * 5 + number) % LENGTHS.len()]);
            let exptime = [0, 1, 30][round % 3];
            let store = Store { exptime, ..Store::default() };
            let now = self.now();
            match round % 11 {
                0 => drop(bench.delete(&key, Delete::default(), now)),
                1 => drop(bench.fetch(&key, Fetch { touch: Some(2), ..Fetch::default() }, now)),
                _ => {
                    let stored = bench.store(&key, store, &text, now);
                    assert!(matches!(stored, Stored::Stored { .. }), "{stored:?}");
                }
            }
            // Fresh items: segments are filled, evicted and opened anew.
            bench.store(&format!("new-{number}-{round}"), store, &text, now);
            bench.with(|access| access.rest());
        }
    }

    fn read_and_pin(&self) {
        let mut access = self.engine.access();
        let mut pins = VecDeque::new();
        for round in 0.. {
            let key = format!("key-{}", round % KEYS);
            if let Ok(hit) = access.fetch(access.key(key.as_bytes()), &Fetch::default(), self.now())
            {
                assert_whole(&key, &String::from_utf8(common::copy(&hit.item).value).unwrap());
                pins.extend(hit.item.pin().map(|pin| (key, pin)));
            }
            access.rest();
            if pins.len() > 8 || !self.goes_on() {
                let Some((key, pin)) = pins.pop_front() else { return };
                let mut value = Vec::new();
                while value.len() < Pin::len(&pin) {
                    value.extend_from_slice(pin.value_at(value.len()));
                }
                assert_whole(&key, &String::from_utf8(value).unwrap());
            }
        }
    }

    fn walk_over_all(&self) {
        let mut access = self.engine.access();
        while self.goes_on() {
            let mut cursor = Some(0);
            while let Some(from) = cursor {
                cursor = access.walk(from, self.now(), &mut |item| {
                    let key = std::str::from_utf8(item.key).expect("a whole key");
                    assert!(key.starts_with("key-") || key.starts_with("new-"), "{key}");
                    assert!(LENGTHS.contains(&item.value_len), "{key}: {}", item.value_len);
                });
                access.rest();
            }
        }
    }

    fn keep_up(&self) {
        while self.goes_on() {
            self.clock_ms.fetch_add(200, Relaxed);
            let now = self.now();
            let capacity = if now.clock_ms % 4000 < 2000 { CAPACITY } else { CAPACITY / 2 };
            assert!(self.engine.set_capacity(capacity, now));
            self.engine.maintain(now);
            std::thread::yield_now();
        }
    }
}

const CAPACITY: u64 = 3 << 20;

#[test]
fn readers_walkers_and_upkeep_meet_whole_items_only() {
    let scene = Scene {
        engine: engine(CAPACITY).engine,
        clock_ms: AtomicU64::new(0),
        writers: AtomicUsize::new(2),
    };
    std::thread::scope(|scope| {
        let scene = &scene;
        (0..2).for_each(|number| drop(scope.spawn(move || scene.write(number))));
        scope.spawn(|| scene.read_and_pin());
        scope.spawn(|| scene.walk_over_all());
        scope.spawn(|| scene.keep_up());
    });
    scene.engine.check();
    assert_eq!(figure(&Bench::of(&scene.engine), "segments_pinned"), 0);
}

#[test]
fn what_is_touched_while_upkeep_looks_leaves_in_time() {
    let bench = engine(4 << 20);
    let engine = &bench.engine;
    for item in 0..2000 {
        bench.store(&format!("{item}"), Store { exptime: 9000, ..Store::default() }, "v", NOW);
    }
    bench.with(|access| access.rest());
    std::thread::scope(|scope| {
        let touching = scope.spawn(|| {
            let bench = Bench::of(engine);
            for item in 0..2000 {
                let touch = Fetch { touch: Some(60), ..Fetch::default() };
                assert!(bench.fetch(&format!("{item}"), touch, NOW).is_ok());
            }
        });
        // Each round finds the segments due anew: a second has passed since it was touched.
        for second in 0.. {
            engine.maintain(at(second % 50 * 1000));
            if touching.is_finished() {
                break;
            }
        }
    });
    engine.maintain(at(61_000));
    assert_eq!(engine.stat(Stat::curr_items), 0);
    engine.check();
}

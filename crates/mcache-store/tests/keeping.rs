//! Without evictions: the room of what was deleted or overwritten is found again, whoever left it.

mod common;

use std::collections::BTreeMap;

use common::pressure::{NOW, Numbers};
use common::{Bench, options};
use mcache_base::Stat;
use mcache_base::operation::{Delete, Stored};
use mcache_store::{Access, EngineOptions, SegmentStorageEngine, SizeLimit, StorageEngine};

/// Two threads' ways into a store that evicts nothing, and the lengths of what it should hold.
struct Kept {
    benches: [Bench<SegmentStorageEngine>; 2],
    lens: BTreeMap<u64, usize>,
}

impl Kept {
    fn new(capacity: u64) -> Self {
        let item_size = SizeLimit::Value(0);
        let options = EngineOptions { evict: false, item_size, ..options(capacity) };
        let bench = Bench::new(SegmentStorageEngine::new(&options).unwrap());
        Self { benches: [Bench::of(&bench.engine), bench], lens: BTreeMap::new() }
    }

    fn text(number: u64, len: usize) -> String {
        let word = format!("{number}/{len};");
        word.repeat(len / word.len() + 1)[..len].to_owned()
    }

    /// Returns whether it was stored. What was there is gone if not.
    fn set(&mut self, way: usize, number: u64, len: usize) -> bool {
        let stored = self.benches[way].set(&format!("{number}"), &Self::text(number, len));
        let is_stored = matches!(stored, Stored::Stored { .. });
        self.benches[way].with(|access| access.rest());
        if is_stored {
            self.lens.insert(number, len);
        } else {
            self.lens.remove(&number);
            self.benches[way].delete(&format!("{number}"), Delete::default(), NOW); // as a session
        }
        is_stored
    }

    fn delete(&mut self, way: usize, number: u64) -> usize {
        let deleted = self.benches[way].delete(&format!("{number}"), Delete::default(), NOW);
        self.benches[way].with(|access| access.rest());
        let len = self.lens.remove(&number);
        assert_eq!(deleted.is_deleted(), len.is_some());
        len.unwrap_or(0)
    }

    fn verify(&self) {
        for (&number, &len) in &self.lens {
            let found = self.benches[0].peek(&format!("{number}"), NOW);
            assert_eq!(found, Some(Self::text(number, len)));
        }
        self.benches.iter().for_each(|bench| bench.with(|access| access.rest()));
    }

    fn check(&self) {
        self.verify();
        assert_eq!(self.benches[0].engine.stat(Stat::evictions), 0);
        self.benches[0].engine.check();
    }
}

#[test]
fn the_room_of_what_was_deleted_is_found_by_every_thread() {
    // Values of like size, then of any: so many in a hundred may be refused.
    let all =
        [(1000, 1, 1, 0), (1000, 1, 7, 0), (1, 1000, 1, 2), (1, 1000, 5, 2), (10, 20_000, 3, 2)];
    for (least, span, run, percent) in all {
        for way in 0..2 {
            let mut numbers = Numbers(run);
            let mut len = || (least + numbers.below(span)) as usize;
            let mut kept = Kept::new(8 << 20);
            let count = (100_000..).take_while(|&number| kept.set(0, number, len())).count() as u64;
            let numbers = 100_000..100_000 + count;
            let gone: Vec<_> = numbers.filter(|number| number / run % 5 == 0).collect();
            let lens: Vec<_> = gone.iter().map(|&number| kept.delete(0, number)).collect();
            let new = (200_000..).zip(lens);
            let refused = new.filter(|&(number, len)| !kept.set(way, number, len)).count();
            assert!(refused * 100 <= gone.len() * percent, "{refused} of {} refused", gone.len());
            kept.check();
        }
    }
}

#[test]
fn an_item_is_overwritten_however_full_the_store_is() {
    let mut kept = Kept::new(8 << 20);
    let mut numbers = Numbers(7);
    let mut len = || 1 + numbers.below(1000) as usize;
    let count = (100_000..).take_while(|&number| kept.set(0, number, len())).count() as u64;
    for round in 0..3 {
        for number in 100_000..100_000 + count {
            let len = kept.lens[&number];
            assert!(kept.set(round % 2, number, len), "{number} of {len} bytes");
        }
    }
    kept.check();
}

#[test]
fn threads_that_share_a_full_store_lose_nothing_but_what_was_refused() {
    let kept = Kept::new(4 << 20);
    let engine = &kept.benches[0].engine;
    std::thread::scope(|scope| {
        for thread in 1..4 {
            scope.spawn(move || {
                let bench = Bench::of(engine);
                let mut own = Kept { benches: [Bench::of(engine), bench], lens: BTreeMap::new() };
                let mut numbers = Numbers(thread);
                for _ in 0..4_000 {
                    let number = thread * 1_000_000 + numbers.below(2000);
                    let (way, len) = (numbers.below(2) as usize, numbers.below(1500) as usize);
                    match numbers.below(5) {
                        0 => drop(own.delete(way, number)),
                        _ => drop(own.set(way, number, len + 1)),
                    }
                }
                own.verify();
                assert!(own.lens.len() > 100, "{} of thread {thread}", own.lens.len());
            });
        }
    });
    kept.check();
}

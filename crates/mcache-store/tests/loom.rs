//! Every interleaving, and every reordering that the memory model allows, of what is lock-free in
//! the segment engine: readers against who frees what they look at, pins, and the gate.
//!
//! The engine's own sources are compiled here with loom's atomics. loom fails a run in which two
//! threads use a cell at once that one of them writes to.

// AddressSanitizer does not follow loom from stack to stack, and sees what its generators leave.
#![cfg(not(asan))]
#![allow(unsafe_code)] // loom's cells are shared on purpose

#[allow(dead_code)] // what the engine needs and the models do not
#[path = "../src/segment/epoch.rs"]
mod epoch;
#[allow(dead_code)] // as above
#[path = "../src/segment/gate.rs"]
mod gate;

/// In place of the engine's module of this name.
mod sync {
    pub use loom::hint::spin_loop;
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
    pub use loom::sync::{Arc, Mutex, MutexGuard};
    pub use loom::thread::yield_now;
}

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use epoch::{Epochs, Member};
use gate::{Gate, Writers};
use loom::cell::UnsafeCell;
use loom::thread;
use sync::{Arc, AtomicU32};

/// One record: a place in memory, and the index that leads to it.
struct Scene {
    epochs: Epochs,
    /// 1 while the record stands in the index.
    index: AtomicU32,
    pins: AtomicU32,
    life: AtomicU32,
    gate: Gate,
    writers: Writers,
    place: UnsafeCell<u32>,
}

// SAFETY: all but the place are atomics and locks, and loom fails a run in which the place is
// used by two threads at once.
unsafe impl Sync for Scene {}
// SAFETY: as above.
unsafe impl Send for Scene {}

/// What the record's bytes are, and what they are when the place is used again.
const RECORD: u32 = 7;
const NEXT: u32 = 8;

impl Scene {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            epochs: Epochs::default(),
            index: AtomicU32::new(1),
            pins: AtomicU32::new(0),
            life: AtomicU32::new(0),
            gate: Gate::default(),
            writers: Writers::default(),
            place: UnsafeCell::new(RECORD),
        })
    }

    fn read(&self) -> u32 {
        self.place.with(|place| {
            // SAFETY: loom fails the run if it is written to meanwhile.
            unsafe { *place }
        })
    }

    fn write(&self) {
        self.place.with_mut(|place| {
            // SAFETY: loom fails the run if anybody else uses it meanwhile.
            unsafe { *place = NEXT }
        });
    }

    /// Takes the record out of the index. Returns the epoch that has to be over.
    fn unlink(&self) -> u64 {
        self.index.store(0, Release);
        self.epochs.advance()
    }

    fn is_free(&self, epoch: u64) -> bool {
        epoch < self.epochs.oldest() && self.pins.load(Acquire) == 0
    }
}

/// Looks the record up and reads it, `times` times.
fn look(scene: &Scene, member: &mut Member, times: usize) {
    for _ in 0..times {
        member.begin(&scene.epochs);
        if scene.index.load(Acquire) == 1 {
            assert_eq!(scene.read(), RECORD);
        }
    }
    member.rest();
}

#[test]
fn a_reader_never_sees_its_record_written_over() {
    loom::model(|| {
        let scene = Scene::new();
        let mut member = scene.epochs.join();
        let reader = {
            let scene = scene.clone();
            thread::spawn(move || look(&scene, &mut member, 2))
        };
        let epoch = scene.unlink();
        if scene.is_free(epoch) {
            scene.write();
        }
        reader.join().unwrap();
        assert!(scene.is_free(epoch), "nobody is left to wait for");
    });
}

#[test]
fn a_pin_outlives_its_readers_epoch() {
    loom::model(|| {
        let scene = Scene::new();
        let mut member = scene.epochs.join();
        let reader = {
            let scene = scene.clone();
            thread::spawn(move || {
                member.begin(&scene.epochs);
                let found = scene.index.load(Acquire) == 1;
                if found {
                    scene.pins.fetch_add(1, Relaxed);
                }
                member.rest();
                if found {
                    assert_eq!(scene.read(), RECORD);
                    scene.pins.fetch_sub(1, Release);
                }
            })
        };
        let epoch = scene.unlink();
        if scene.is_free(epoch) {
            scene.write();
        }
        reader.join().unwrap();
        assert!(scene.is_free(epoch));
    });
}

#[test]
fn who_walks_never_meets_who_writes_into_a_dead_place() {
    loom::model(|| {
        let scene = Scene::new();
        let writer = scene.writers.join();
        let writer = {
            let scene = scene.clone();
            thread::spawn(move || {
                if writer.enter(&scene.gate, 0, || scene.life.load(SeqCst) == 0) {
                    scene.write();
                    writer.leave();
                }
            })
        };
        scene.writers.close(&scene.gate, 0);
        let met = scene.read();
        assert!(met == RECORD || met == NEXT);
        // Emptied, and used by somebody else: the place is of a life that is over.
        scene.life.fetch_add(1, SeqCst);
        scene.gate.open();
        let met = scene.read();
        writer.join().unwrap();
        assert_eq!(scene.read(), met, "nobody wrote since");
    });
}

#[test]
fn memory_is_free_when_nobody_works_in_its_epoch() {
    loom::model(|| {
        let epochs = Epochs::default();
        let (mut one, mut two) = (epochs.join(), epochs.join());
        one.begin(&epochs);
        let unlinked = epochs.advance();
        assert!(epochs.oldest() <= unlinked, "one still works in it");
        two.begin(&epochs);
        assert!(epochs.oldest() <= unlinked);
        one.begin(&epochs);
        assert!(epochs.oldest() > unlinked);
        let unlinked = epochs.advance();
        one.rest();
        assert!(epochs.oldest() <= unlinked, "two still works in it");
        drop(two);
        assert!(epochs.oldest() > unlinked, "nobody is left");
    });
}

#[test]
fn only_who_rests_is_visited_and_is_told() {
    loom::model(|| {
        let epochs = Epochs::default();
        let mut one = epochs.join();
        let identity = one.identity();
        let mut visits = 0;
        assert!(identity.visit(|| visits += 1));
        assert!(one.begin(&epochs), "it was visited");
        assert!(!identity.visit(|| visits += 1));
        one.rest();
        assert!(!one.begin(&epochs), "not since");
        assert_eq!((visits, identity == epochs.join().identity()), (1, false));
    });
}

#[test]
fn a_visitor_never_meets_who_works() {
    loom::model(|| {
        let scene = Scene::new();
        let mut member = scene.epochs.join();
        let identity = member.identity();
        let visitor = {
            let scene = scene.clone();
            thread::spawn(move || identity.visit(|| scene.write()))
        };
        let was_visited = member.begin(&scene.epochs);
        let own = scene.read();
        assert_eq!(was_visited, own == NEXT, "it is told of what was done");
        member.rest();
        visitor.join().unwrap();
    });
}

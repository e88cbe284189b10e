//! A kill at every moment: before each access to a memory file, which may be a store to it, the
//! file is copied as it is; every copy is recovered and compared with what was answered until then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mcache_base::operation::{Count, Delete, Fetch, Store, StoreMode};
use mcache_base::{Expiry, Item, Now};
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::checksum;
use super::super::memory::{PAGE, watch};
use super::*;
use crate::engine::{Access, SizeLimit, StorageEngine};
use crate::eviction;
use crate::segment::SegmentAccess;

const KEYS: [&str; 7] = ["a:1", "a:2", "b:1", "number", "long", "longer", "short"];

/// An item as its reader sees it: value, flags, cas unique, expiry.
type Seen = Option<(Vec<u8>, u32, u64, Expiry)>;
type State = BTreeMap<&'static str, Seen>;

/// The parts of a file that are not empty: where each begins, and its bytes.
#[derive(Clone)]
struct Copied(Vec<(u64, Vec<u8>)>);

fn options() -> EngineOptions {
    let policy = eviction::policy("lru").expect("a row");
    EngineOptions { capacity: 512 << 10, item_size: SizeLimit::Value(0), evict: true, policy }
}

fn new_file() -> File {
    memfd_create("a memory file", MemfdFlags::CLOEXEC).expect("memory").into()
}

fn engine_on(file: File, now: Now) -> Arc<SegmentStorageEngine> {
    let boot = Boot { id: [7; 16], since_ms: now.clock_ms as i64, unix: now.unix };
    let file = MemoryFile::new(file).expect("a memory file");
    Arc::new(SegmentStorageEngine::on_file(&options(), file, boot, AfterReboot::Cold).unwrap())
}

impl Copied {
    fn of(file: &File) -> Self {
        let geometry = Geometry::of(options().capacity);
        let (segments, len) = (layout::segments_at(geometry), file.metadata().unwrap().len());
        let parts = [
            (0, layout::GROUPS_AT + PAGE as u64),
            (layout::TABLE_AT, layout::TABLE_AT + PAGE as u64),
            (segments, len.max(segments)),
        ];
        Self(
            parts
                .map(|(from, to)| {
                    let mut bytes = vec![0; (to - from) as usize];
                    let _ = file.read_at(&mut bytes, from).unwrap();
                    (from, bytes)
                })
                .into(),
        )
    }

    fn sum(&self) -> u32 {
        self.0.iter().fold(0, |sum, (_, bytes)| checksum::append(sum, bytes))
    }

    fn to_file(&self) -> File {
        let file = new_file();
        self.0.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
        file
    }
}

fn state(access: &mut SegmentAccess, now: Now) -> State {
    let fetch = Fetch { unseen: true, ..Fetch::default() };
    let mut look = |name: &'static str| {
        let hit = access.fetch(access.key(name.as_bytes()), &fetch, now).ok()?;
        let mut value = Vec::new();
        while value.len() < hit.item.value_len() {
            value.extend_from_slice(hit.item.value_at(value.len()));
        }
        Some((value, hit.item.flags(), hit.item.cas(), hit.item.expiry()))
    };
    let state = KEYS.map(|name| (name, look(name))).into();
    access.rest();
    state
}

/// Does something that `random` chooses.
fn act(engine: &SegmentStorageEngine, access: &mut SegmentAccess, random: u64, now: Now) {
    let name = KEYS[(random >> 8) as usize % KEYS.len()];
    let len = match name {
        "long" => 3_000 + (random >> 20) as usize % 5_000,
        "longer" => 17_000 + (random >> 20) as usize % 20_000,
        "number" => 0,
        _ => (random >> 20) as usize % 900,
    };
    let value = match name {
        "number" => b"12".to_vec(),
        _ => vec![b'a' + (random >> 40) as u8 % 26; len],
    };
    let key = access.key(name.as_bytes());
    let exptime = [0, 0, 5, 100][(random >> 16) as usize % 4];
    let flags = (random >> 50) as u32 % 3;
    let store = Store { exptime, flags, ..Store::default() };
    match random % 32 {
        0 => engine.flush([0, 3][(random >> 30) as usize % 2], now),
        1 => engine.flush_group(b"a:", now).expect("few groups"),
        2 | 3 => engine.maintain(now),
        4..=6 => ignore(access.delete(key, &Delete::default(), now)),
        7 => ignore(access.delete(key, &Delete { invalidate: true, ..Delete::default() }, now)),
        8 => ignore(access.delete(key, &Delete { clear: Some(3), ..Delete::default() }, now)),
        9..=11 => {
            let touch = Fetch { touch: Some(exptime), compete: true, ..Fetch::default() };
            ignore(access.fetch(key, &touch, now).map(|hit| hit.won));
        }
        12..=14 => {
            let count = Count { delta: 7, create: Some((5, 0)), ..Count::default() };
            access.count(access.key(b"number"), &count, now);
        }
        15 | 16 => {
            let append = Store { mode: StoreMode::Append, ..store };
            ignore(access.store(key, &append, b"more", now));
        }
        _ => ignore(access.store(key, &store, &value, now)),
    }
    access.rest();
}

/// Keeps copies of a file that differ from the one before.
fn watcher(to: Rc<RefCell<(u32, Vec<Copied>)>>, from: File) -> Box<dyn FnMut()> {
    Box::new(move || {
        let copied = Copied::of(&from);
        let (last, all) = &mut *to.borrow_mut();
        if std::mem::replace(last, copied.sum()) != copied.sum() {
            all.push(copied);
        }
    })
}

fn ignore<T>(_answer: T) {}

/// Recovers a copy. What it holds is what was there before an operation, or after it.
fn judge(copied: &Copied, before: &State, after: &State, now: Now, step: usize) {
    let engine = engine_on(copied.to_file(), now);
    let recovery = engine.recovery().expect("it has a file");
    assert_eq!((recovery.cold, recovery.segments_damaged), (None, 0), "operation {step}");
    assert_eq!(recovery.items_dropped, 0, "operation {step}");
    let found = state(&mut engine.access(), now);
    for (name, item) in &found {
        let is_it = *item == before[name] || *item == after[name];
        let short = |item: &Seen| item.as_ref().map(|it| (it.0.len(), it.1, it.2, it.3));
        assert!(
            is_it,
            "operation {step}, {name}: {:?} of {:?} and {:?}",
            short(item),
            short(&before[name]),
            short(&after[name])
        );
    }
    engine.check();
}

#[test]
fn what_was_answered_before_a_kill_is_there_after_it_and_nothing_older() {
    let mut now = Now { clock_ms: CLOCK_START_MS, unix: 1_800_000_000 };
    let file = new_file();
    let engine = engine_on(file.try_clone().unwrap(), now);
    let mut access = engine.access();
    let copies = Rc::new(RefCell::new((0, Vec::new())));
    let (mut random, mut points) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for step in 0..300 {
        random = (random ^ random >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ random >> 32;
        now.clock_ms += random % 700;
        let before = state(&mut access, now);
        let (to, from) = (copies.clone(), file.try_clone().unwrap());
        watch::set(Some(watcher(to, from)));
        act(&engine, &mut access, random, now);
        watch::set(None);
        let after = state(&mut access, now);
        let copies = std::mem::take(&mut copies.borrow_mut().1);
        points += copies.len();
        copies.iter().for_each(|copied| judge(copied, &before, &after, now, step));
    }
    drop(access);
    let mut access = engine.access();
    let last = state(&mut access, now);
    drop(access);
    let (to, from) = (copies.clone(), file.try_clone().unwrap());
    watch::set(Some(watcher(to, from)));
    engine.close(now);
    watch::set(None);
    copies.borrow_mut().1.push(Copied::of(&file));
    copies.borrow().1.iter().for_each(|copied| judge(copied, &last, &last, now, usize::MAX));
    assert!(points > 2_000, "{points} moments");
    let lives = (0..8).map(|id| engine.arena.segment(id).life.load(Relaxed));
    assert!(lives.sum::<u32>() > 0, "segments were emptied");
}

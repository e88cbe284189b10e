//! An engine whose items lie in a file: what comes back in a new process, and what does not.

mod common;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use common::{Bench, at, options};
use mcache_base::operation::{Delete, Fetch, Store};
use mcache_base::{ClassStat, Now, Stat, slab_class};
use mcache_store::{
    AfterReboot, Boot, Cold, EngineOptions, MemoryFile, MemoryFileError, Recovery,
    SegmentStorageEngine, StorageEngine,
};

/// Bytes that an engine of these tests may hold.
const CAPACITY: u64 = 8 << 20;

/// Since the machine was started, when the tests' time begins.
const BOOTED_MS: i64 = 500_000;

/// A file that is gone when the test is.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("mcache-warm-{}-{number}", std::process::id());
        // Where there is a RAM disk, no disk is written to.
        let ram_disk = PathBuf::from("/dev/shm");
        let directory = if ram_disk.is_dir() { ram_disk } else { std::env::temp_dir() };
        Self(directory.join(name))
    }

    fn open(&self) -> Result<MemoryFile, MemoryFileError> {
        MemoryFile::open(&self.0)
    }

    /// A new process that begins at `now`.
    fn start(&self, options: &EngineOptions, now: Now) -> Bench<SegmentStorageEngine> {
        self.start_on(options, now, 1, AfterReboot::Cold)
    }

    fn start_on(
        &self,
        options: &EngineOptions,
        now: Now,
        boot: u8,
        after_reboot: AfterReboot,
    ) -> Bench<SegmentStorageEngine> {
        let since_ms = BOOTED_MS + now.clock_ms as i64;
        let boot = Boot { id: [boot; 16], since_ms, unix: now.unix };
        let file = self.open().expect("it can be had");
        let engine = SegmentStorageEngine::on_file(options, file, boot, after_reboot);
        Bench::new(engine.expect("an engine"))
    }

    fn file(&self) -> File {
        OpenOptions::new().read(true).write(true).open(&self.0).expect("it is there")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn recovery(bench: &Bench<SegmentStorageEngine>) -> Recovery {
    bench.engine.recovery().expect("it has a file")
}

fn value(number: usize) -> String {
    format!("{number}:").repeat(1 + number % 40 * if number.is_multiple_of(50) { 700 } else { 1 })
}

fn fill(bench: &Bench<SegmentStorageEngine>, items: usize) {
    for number in 0..items {
        let flags = number as u32 % 3;
        let store = Store { flags, ..Store::default() };
        bench.store(&format!("key {number}"), store, &value(number), at(0));
    }
}

/// How many of the items are there, each as it was.
fn held(bench: &Bench<SegmentStorageEngine>, items: usize, now: Now) -> usize {
    let is_held = |number: &usize| {
        let found = bench.peek(&format!("key {number}"), now);
        found
            .inspect(|found| assert!(*found == value(*number), "key {number} is another"))
            .is_some()
    };
    (0..items).filter(is_held).count()
}

#[test]
fn all_comes_back_however_the_process_ended() {
    for stops in [false, true] {
        let place = Place::new();
        let bench = place.start(&options(CAPACITY), at(0));
        assert_eq!(recovery(&bench).cold, Some(Cold::New));
        fill(&bench, 2_000);
        let sum = |bench: &Bench<SegmentStorageEngine>, stat| -> u64 {
            slab_class::ids().map(|class| bench.engine.class_stat(class, stat)).sum()
        };
        let figures = |bench: &Bench<SegmentStorageEngine>| {
            let bytes = bench.engine.stat(Stat::bytes);
            (bytes, sum(bench, ClassStat::number), sum(bench, ClassStat::mem_requested))
        };
        let cas = bench.fetch("key 77", Fetch::default(), at(0)).unwrap().item.cas;
        bench.delete("key 5", Delete::default(), at(0));
        bench.set("key 5", &value(5));
        let before = figures(&bench);
        if stops {
            bench.engine.close(at(0));
        }
        drop(bench);
        let bench = place.start(&options(CAPACITY), at(5_000));
        let Recovery { cold, was_stopped, items, bytes, segments_damaged, items_dropped, .. } =
            recovery(&bench);
        assert_eq!(recovery(&bench).index_was_saved, stops);
        assert_eq!((cold, was_stopped, segments_damaged, items_dropped), (None, stops, 0, 0));
        assert_eq!((items, bytes), (2_000, before.0));
        assert_eq!(figures(&bench), before);
        assert_eq!(held(&bench, 2_000, at(5_000)), 2_000);
        bench.engine.check();
        let again = bench.fetch("key 77", Fetch::default(), at(5_000)).unwrap().item;
        assert_eq!((again.cas, again.flags), (cas, 77 % 3));
        let newer = bench.fetch("key 5", Fetch::default(), at(5_000)).unwrap().item.cas;
        bench.set("key 5", "newer");
        let newest = bench.fetch("key 5", Fetch::default(), at(5_000)).unwrap().item.cas;
        assert!(newest > newer, "sequence numbers go on");
    }
}

#[test]
fn what_was_overwritten_deleted_or_flushed_stays_so() {
    let place = Place::new();
    let bench = place.start(&options(CAPACITY), at(0));
    for round in 0..3 {
        for number in 0..500 {
            bench.set(&format!("over {number}"), &format!("{round}"));
            bench.set(&format!("g:{number}"), "group");
            bench.set(&format!("gone {number}"), "delete");
        }
    }
    for number in 0..500 {
        let deleted = bench.delete(&format!("gone {number}"), Delete::default(), at(0));
        assert!(deleted.is_deleted());
    }
    bench.engine.flush_group(b"g:", at(0)).unwrap();
    bench.set("g:7", "stored later");
    drop(bench);
    let bench = place.start(&options(CAPACITY), at(0));
    for number in 0..500 {
        assert_eq!(bench.peek(&format!("over {number}"), at(0)).as_deref(), Some("2"));
        assert_eq!(bench.peek(&format!("gone {number}"), at(0)), None);
        let kept = (number == 7).then_some("stored later");
        assert_eq!(bench.peek(&format!("g:{number}"), at(0)).as_deref(), kept);
    }
    bench.engine.flush(0, at(0));
    bench.set("after", "the flush");
    bench.engine.flush(100, at(0));
    drop(bench);
    let bench = place.start(&options(CAPACITY), at(1_000));
    assert_eq!(bench.engine.stat(Stat::curr_items), 1);
    assert_eq!(bench.peek("after", at(1_000)).as_deref(), Some("the flush"));
    drop(bench);
    let bench = place.start(&options(CAPACITY), at(200_000));
    assert_eq!(bench.peek("after", at(200_000)), None, "a flush that was to come has come");
}

#[test]
fn times_to_live_go_on_while_nobody_serves() {
    for (boot, unix_runs) in [(1, true), (1, false), (2, true)] {
        let place = Place::new();
        let bench = place.start(&options(CAPACITY), at(0));
        let absolute = at(0).unix as i64 + 50;
        for (key, exptime) in [("short", 20), ("long", 100), ("wall", absolute), ("ever", 0)] {
            bench.store(key, Store { exptime, ..Store::default() }, "value", at(0));
        }
        bench.engine.maintain(at(1_000));
        drop(bench);
        let later = |ms| match unix_runs {
            true => at(ms),
            false => Now { unix: at(0).unix, ..at(ms) },
        };
        let bench = place.start_on(&options(CAPACITY), later(60_000), boot, AfterReboot::Verify);
        let there =
            |now| ["short", "long", "wall", "ever"].map(|key| bench.peek(key, now).is_some());
        assert_eq!(there(later(60_000)), [false, true, !unix_runs, true], "boot {boot}");
        assert_eq!(there(later(101_000)), [false, false, !unix_runs, true], "boot {boot}");
    }
}

#[test]
fn a_file_of_before_the_machine_was_started_is_not_trusted_unless_asked() {
    for (after_reboot, cold) in
        [(AfterReboot::Cold, Some(Cold::Rebooted)), (AfterReboot::Verify, None)]
    {
        let place = Place::new();
        let bench = place.start(&options(CAPACITY), at(0));
        fill(&bench, 100);
        drop(bench);
        let bench = place.start_on(&options(CAPACITY), at(10), 2, after_reboot);
        assert_eq!(recovery(&bench).cold, cold);
        let expected = if cold.is_some() { 0 } else { 100 };
        assert_eq!(held(&bench, 100, at(10)), expected);
        bench.engine.check();
    }
}

#[test]
fn other_settings_keep_what_fits() {
    let place = Place::new();
    drop({
        let bench = place.start(&options(CAPACITY), at(0));
        fill(&bench, 4_000);
        bench
    });
    let lru = options(CAPACITY).policy;
    for (capacity, policy, evict, kept) in [
        (4 * CAPACITY, "s3fifo", true, 4_000),
        (CAPACITY, "heat", false, 4_000),
        (CAPACITY, "fifo", true, 4_000),
        (CAPACITY / 8, lru.name, true, 500),
        (CAPACITY, lru.name, true, 500),
    ] {
        let policy = mcache_store::eviction::policy(policy).expect("a row");
        let settings = EngineOptions { policy, evict, ..options(capacity) };
        let bench = place.start(&settings, at(0));
        assert_eq!(recovery(&bench).cold, None);
        assert!(bench.engine.memory() <= capacity, "{} of {capacity}", bench.engine.memory());
        let held = held(&bench, 4_000, at(0));
        assert!(held >= kept, "{held} at {capacity}");
        bench.engine.check();
    }
    let bench = place.start(&options(300 << 10), at(0));
    assert_eq!(recovery(&bench).cold, Some(Cold::OtherSize));
}

#[test]
fn more_memory_than_the_file_reaches_or_its_volume_has_costs_no_item() {
    let place = Place::new();
    fill(&place.start(&options(CAPACITY), at(0)), 500);
    let bench = place.start(&options(1 << 50), at(0));
    assert_eq!(recovery(&bench).cold, None);
    assert_eq!(bench.engine.stat(Stat::limit_maxbytes), 16 << 30, "as far as it reaches");
    assert_eq!(held(&bench, 500, at(0)), 500);
    bench.engine.check();
}

#[test]
fn what_was_cut_off_or_wiped_out_is_told() {
    type Loss = fn(&File, u64);
    let losses: [(Loss, bool); 2] = [
        (|file, segments| file.set_len(segments + (1 << 20)).unwrap(), true),
        (|file, _| file.write_all_at(&[0; 4096], table_begins(file)).unwrap(), false),
    ];
    for (lose, is_damage) in losses {
        let place = Place::new();
        let bench = place.start(&options(CAPACITY), at(0));
        fill(&bench, 1_500);
        bench.engine.maintain(at(0));
        drop(bench);
        lose(&place.file(), segments_begin(&place.file()));
        let bench = place.start(&options(CAPACITY), at(0));
        let found = recovery(&bench);
        assert!(found.items < 1_500 && found.items_before == 1_500, "{found:?}");
        assert_eq!(found.segments_damaged > 0, is_damage, "{found:?}");
        held(&bench, 1_500, at(0));
        bench.engine.check();
        fill(&bench, 1_500);
        bench.engine.check();
    }
}

#[test]
fn a_length_that_says_too_much_takes_no_memory() {
    for stops in [false, true] {
        let place = Place::new();
        let bench = place.start(&options(CAPACITY), at(0));
        fill(&bench, 500);
        if stops {
            bench.engine.close(at(0));
        }
        drop(bench);
        let takes = || place.file().metadata().unwrap().blocks() * 512;
        let before = takes();
        place.file().set_len(1 << 38).unwrap();
        let bench = place.start(&options(CAPACITY), at(0));
        assert_eq!(held(&bench, 500, at(0)), 500);
        assert!(takes() <= before + (1 << 20), "{} of {before}", takes());
    }
}

#[test]
fn a_file_has_one_server_and_is_its_owners_alone() {
    let place = Place::new();
    let first = place.start(&options(CAPACITY), at(0));
    assert!(matches!(place.open(), Err(MemoryFileError::InUse)));
    drop(first);
    let mode = || fs::metadata(&place.0).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o644)).unwrap();
    drop(place.start(&options(CAPACITY), at(0)));
    assert_eq!(mode(), 0o600);
    // Only root may give it away.
    if chown(&place.0, Some(65_534), None).is_ok() {
        assert!(matches!(place.open(), Err(MemoryFileError::OtherOwner(65_534))));
    }
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new();
    fs::write(&place.0, b"a letter").unwrap();
    assert!(matches!(place.open(), Err(MemoryFileError::NotOurs)));
    assert_eq!(fs::read(&place.0).unwrap(), b"a letter");
    let beside = Place(place.0.with_extension("meta"));
    fs::write(&beside.0, b"").unwrap();
    let own = Place(place.0.with_extension(""));
    assert!(matches!(own.open(), Err(MemoryFileError::Memcached(path)) if path == beside.0));
    assert!(matches!(
        MemoryFile::open(&std::env::temp_dir()),
        Err(MemoryFileError::System(..) | MemoryFileError::NotAFile)
    ));
    let place = Place::new();
    let file = place.open().unwrap();
    let boot = Boot { id: [1; 16], since_ms: BOOTED_MS, unix: 0 };
    let made =
        SegmentStorageEngine::on_file(&options(1 << 50), file, boot, AfterReboot::Cold).err();
    assert!(matches!(made, Some(MemoryFileError::NoSpace { .. })), "{made:?}");
}

/// A generator of numbers that repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ self.0 >> 32;
        self.0 % most
    }
}

/// Ways to damage a file of `len` bytes, of which the segments begin at `segments`.
type Damage = fn(&File, u64, u64, &mut Random);

fn flip(file: &File, at: u64, random: &mut Random) {
    let mut byte = [0];
    if file.read_exact_at(&mut byte, at).is_ok() {
        byte[0] ^= 1 << random.below(8);
        file.write_all_at(&byte, at).unwrap();
    }
}

const DAMAGES: &[(&str, Damage)] = &[
    ("a bit of a segment", |file, segments, len, random| {
        flip(file, segments + random.below(len - segments), random);
    }),
    ("many bits", |file, segments, len, random| {
        (0..2_000).for_each(|_| flip(file, segments + random.below(len - segments), random));
    }),
    ("bits everywhere", |file, segments, _, random| {
        (0..2_000).for_each(|_| flip(file, random.below(segments + (1 << 20)), random));
    }),
    ("zeroed pages", |file, segments, len, random| {
        for _ in 0..20 {
            let page = (segments + random.below(len - segments)) / 4096 * 4096;
            file.write_all_at(&[0; 4096], page).unwrap();
        }
    }),
    ("bits of the table", |file, _, _, random| {
        let table = table_begins(file);
        (0..40).for_each(|_| flip(file, table + random.below(4096), random));
    }),
    ("a page of the beginning", |file, _, _, random| {
        file.write_all_at(&[0; 4096], random.below(4) * 4096).unwrap();
    }),
    ("bits of the beginning", |file, _, _, random| {
        (0..20).for_each(|_| flip(file, random.below(4 * 4096), random));
    }),
    ("pages that changed places", |file, segments, len, random| {
        for _ in 0..20 {
            let places = [(); 2].map(|()| (segments + random.below(len - segments)) / 4096 * 4096);
            let mut pages = [[0; 4096]; 2];
            let read = |page: &mut [u8; 4096], at| file.read_exact_at(page, at).unwrap();
            pages.iter_mut().zip(places).for_each(|(page, at)| read(page, at));
            file.write_all_at(&pages[0], places[1]).unwrap();
            file.write_all_at(&pages[1], places[0]).unwrap();
        }
    }),
    ("the end is missing", |file, _, len, random| file.set_len(random.below(len)).unwrap()),
    ("some of the end is missing", |file, segments, len, random| {
        file.set_len(segments + random.below(len - segments)).unwrap();
    }),
    ("more than there was", |file, _, len, random| {
        file.set_len(len + random.below(1 << 22)).unwrap();
    }),
];

#[test]
fn a_damaged_file_gives_nothing_wrong() {
    const ITEMS: usize = 1_500;
    let mut random = Random(0x5eed);
    for (name, damage) in DAMAGES {
        for trial in 0..6 {
            let place = Place::new();
            let bench = place.start(&options(CAPACITY), at(0));
            fill(&bench, ITEMS);
            (0..ITEMS).step_by(3).for_each(|number| {
                bench.delete(&format!("key {number}"), Delete::default(), at(0));
            });
            if trial % 2 == 0 {
                bench.engine.close(at(0));
            }
            drop(bench);
            let file = place.file();
            let len = file.metadata().unwrap().len();
            let segments = segments_begin(&file);
            damage(&file, segments, len, &mut random);
            drop(file);
            let Ok(_) = place.open() else { continue }; // its beginning is no longer mcache's
            let policy = mcache_store::eviction::policy("heat").expect("a row");
            let bench = place.start(&EngineOptions { policy, ..options(CAPACITY) }, at(0));
            held(&bench, ITEMS, at(0));
            (0..ITEMS).step_by(3).for_each(|number| {
                assert_eq!(bench.peek(&format!("key {number}"), at(0)), None, "{name}");
            });
            bench.engine.check();
            // Until room has to be made.
            for number in 0..500 {
                bench.set(&format!("new {number}"), &value(50));
            }
            fill(&bench, ITEMS);
            held(&bench, ITEMS, at(0));
            bench.engine.check();
        }
    }
}

/// Where the table of segments begins: at the only row of its pages that is not empty.
fn table_begins(file: &File) -> u64 {
    let mut page = [0; 4096];
    let begins = |at: &u64| file.read_exact_at(&mut page, *at).is_ok() && page != [0; 4096];
    (4 * 4096..segments_begin(file)).step_by(4096).find(begins).expect("a table")
}

/// Where segments begin: behind the header, of which the file has two copies, the first hole of
/// megabytes is what lies before them.
fn segments_begin(file: &File) -> u64 {
    let mut byte = [0; 8];
    let begins = |at: &u64| {
        let read = file.read_exact_at(&mut byte, at + 4).is_ok();
        read && byte != [0; 8]
    };
    (20 << 20..1 << 30).step_by(2 << 20).find(begins).expect("segments")
}

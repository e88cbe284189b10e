//! The segment store: items appended to segments of one arena, found by a compact index.
//!
//! `memory`, `record` and `arena` are the bytes; `index` finds; `epoch` and `pool` say when a
//! segment may be used again; `access` is what one thread does; `reclaim` makes room;
//! `item` is what a reader holds. docs/storage.md draws it.

mod access;
#[allow(unsafe_code)] // walks segments
mod ages;
#[allow(unsafe_code)] // walks segments and hands out records
mod arena;
#[allow(unsafe_code)] // places in the arena
mod arriving;
#[allow(unsafe_code)] // calls the sanitizer
mod asan;
#[allow(unsafe_code)] // the processor's own instruction
mod checksum;
#[allow(unsafe_code)] // writes records' bytes
mod draft;
mod epoch;
#[allow(unsafe_code)] // writes fragments
mod fragments;
mod gate;
mod held_part;
mod index;
mod item;
mod layout;
mod left;
mod live;
#[allow(unsafe_code)] // the mapped memory
pub(crate) mod memory;
#[allow(unsafe_code)] // gives segments back to the system
mod pool;
#[allow(unsafe_code)] // writes records
mod publish;
mod put;
#[allow(unsafe_code)] // walks emptied segments and writes kept records
mod reclaim;
#[allow(unsafe_code)] // a record's bytes
mod record;
#[allow(unsafe_code)] // makes fillers of dead places
mod recycle;
mod room;
mod staged;
mod standing;
mod sync;
#[allow(unsafe_code)] // walks segments
mod upkeep;
mod walk;
mod warm;

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::operation::Miss;
use mcache_base::{ClassStat, Key, Now, Stat};

pub use access::SegmentAccess;
use ages::Ages;
use arena::{Arena, Open, SegmentId};
pub use arriving::Arriving;
use epoch::Epochs;
use gate::Writers;
use held_part::Parts;
use index::{Hashes, Index, Location};
pub use item::{SegmentItem, SegmentPin};
use live::{LiveBytes, LiveCounter, LiveView};
use memory::PAGE;
use pool::Pool;
use publish::Present;
use reclaim::Reclaimer;
use record::Record;
use staged::Staging;
use warm::Warm;
pub use warm::{AfterReboot, Boot, Cold, MemoryFile, MemoryFileError, Recovery};

use crate::engine::{EngineOptions, SizeLimit, StorageEngine};
use crate::eviction::Admission;
use crate::flush::Flush;
use crate::groups::TooManyGroups;
use crate::hash::KeyHasher;
use crate::observer::{Observed, Observer};
use crate::sequence::Sequence;
use crate::tally::EngineCounters;

/// Bytes of capacity for each region of the index.
const BYTES_PER_REGION: u64 = 2 << 20;

/// Regions of an index: enough that writers rarely meet, few enough that pages are not wasted.
const REGIONS_MAX: u64 = 4096;

/// Buckets that a region may have: 8 MiB of them.
const REGION_WINDOW: usize = 1 << 17;

/// Sequence numbers are written as distances from a base that lies so far back.
const BASE_DISTANCE: u64 = 1 << 31;

/// Segments that a store needs to work at all: one to fill, one to empty, one to keep into.
const SEGMENTS_MIN: usize = 8;

/// log2 of memcached's smallest hash table. It doubles when it has 3 items for 2 of its places, and
/// never shrinks.
const HASH_LEVEL_MIN: u64 = 16;

/// The least capacity, in bytes: below it the segments that a store needs do not fit.
pub const CAPACITY_MIN: u64 = 256 << 10;

/// The engine.
pub struct SegmentStorageEngine {
    arena: Arena,
    index: Index,
    pool: Pool,
    live: LiveBytes,
    writers: Writers,
    epochs: Epochs,
    hasher: KeyHasher,
    sequence: Sequence,
    flush: Flush,
    item_size: SizeLimit,
    evict: bool,
    observed: Observed,
    capacity: AtomicU64,
    staging: Arc<Staging>,
    /// Bytes in which threads remember dead places.
    places: Arc<AtomicU64>,
    /// Threads that died at work. What they had not published is forgotten, all else stays.
    panics: AtomicU64,
    /// Segments held still, by sends under way or while a value is written.
    pinned: AtomicUsize,
    parts: Parts,
    reclaimer: Mutex<Reclaimer>,
    /// The part of the policy that is asked about new items.
    admission: Arc<dyn Admission>,
    /// The byte clock: bytes of the segments that stores have opened.
    written: AtomicU64,
    /// One a thread; the engine sums.
    counters: Mutex<Vec<Arc<EngineCounters>>>,
    /// How long each size class's items have not been used.
    ages: Ages,
    /// Of upkeep, which one thread does.
    upkeep_counters: Arc<EngineCounters>,
    /// log2 of the hash table that memcached would have.
    hash_level: AtomicU64,
    /// The file that the segments lie in, if they do.
    warm: Option<Warm>,
}

impl SegmentStorageEngine {
    /// An empty engine. Fails if the system has no address space for it.
    pub fn new(options: &EngineOptions) -> io::Result<Self> {
        Self::with_secret(options, KeyHasher::draw_secret())
    }

    /// As [`Self::new`], with the secret that keys are hashed under: where nobody else is at work,
    /// the same operations have the same outcomes and evictions.
    pub fn with_secret(options: &EngineOptions, secret: [u64; 2]) -> io::Result<Self> {
        let arena = Arena::new(options.capacity)?;
        Self::build(options, arena, secret, Flush::default())
    }

    /// An engine in this arena, of which nothing is in the index.
    fn build(
        options: &EngineOptions,
        arena: Arena,
        secret: [u64; 2],
        flush: Flush,
    ) -> io::Result<Self> {
        let regions = (options.capacity / BYTES_PER_REGION).clamp(2, REGIONS_MAX);
        let regions = (regions / 2 + 1).next_power_of_two() as usize;
        let epochs = Epochs::default();
        let upkeep_counters = Arc::new(EngineCounters::default());
        let policy = (options.policy.by_segments)(arena.memory().len() as u64)?;
        let admission = policy.admission();
        let reclaimer = Mutex::new(Reclaimer::new(&epochs, policy));
        let engine = Self {
            arena,
            index: Index::new(regions, REGION_WINDOW)?,
            pool: Pool::new(SEGMENTS_MIN),
            live: LiveBytes::default(),
            writers: Writers::default(),
            epochs,
            hasher: KeyHasher::with_secret(secret),
            sequence: Sequence::default(),
            flush,
            item_size: options.item_size,
            evict: options.evict,
            observed: Observed::default(),
            capacity: AtomicU64::new(options.capacity),
            staging: Arc::default(),
            places: Arc::default(),
            panics: AtomicU64::new(0),
            pinned: AtomicUsize::new(0),
            parts: Parts::default(),
            reclaimer,
            admission,
            written: AtomicU64::new(0),
            counters: Mutex::new(vec![upkeep_counters.clone()]),
            ages: Ages::default(),
            upkeep_counters,
            hash_level: AtomicU64::new(HASH_LEVEL_MIN),
            warm: None,
        };
        engine.balance();
        Ok(engine)
    }

    /// Asks the system for huge pages, for items and for a large index. Fails if it has none.
    pub fn use_huge_pages(&self) -> io::Result<()> {
        self.index.use_huge_pages()?;
        self.arena.memory().use_huge_pages()
    }

    /// Gives segments what the index and the policy leave of the capacity.
    fn balance(&self) {
        let index = self.index.bytes() + (self.index.regions() * PAGE / 2) as u64;
        let capacity = self.capacity.load(Relaxed);
        self.staging.allow(capacity, self.evict);
        let beside = index + self.admission.bytes() + self.staged() + self.threads_bytes();
        let table = (self.arena.segment_size() as u64 + 64) as f64;
        let left = capacity.saturating_sub(beside) as f64;
        self.pool.allow(((left / table) as usize).max(SEGMENTS_MIN));
    }

    /// Bytes for values that are still arriving, as far as segments make room for them.
    fn staged(&self) -> u64 {
        self.staging.charged().min(staged::share(self.capacity.load(Relaxed), self.evict))
    }

    /// The record at a location that was found in the index in the caller's epoch.
    #[allow(unsafe_code)]
    #[inline]
    fn record(&self, location: Location) -> Record<'_> {
        // SAFETY: the index holds locations of complete records only; a record's memory is used
        // again only after every thread has left the epoch in which it stood in the index, and
        // every caller works in an epoch that it announced before it looked.
        unsafe { self.arena.record(location) }
    }

    /// The record at a location as it is now, told from any other that may ever be there.
    #[inline]
    fn present(&self, location: Location) -> Present {
        let base = self.arena.base_of(location);
        let record = self.record(location);
        Present {
            location,
            sequence: record.sequence(base),
            checksum: record.checksum(),
            expiry: record.expiry(),
        }
    }

    #[inline]
    fn is_key(&self, location: Location, key: &[u8]) -> bool {
        self.record(location).key() == key
    }

    /// Finds a key's record, dead or alive, without a lock: most likely where the key's hint says.
    #[inline(always)] // it is what a get is about
    fn find(&self, key: Key<'_>) -> Option<(Location, Record<'_>)> {
        if let Some(location) = self.index.at(key.hint) {
            let record = self.record(location);
            if record.key() == key.bytes {
                return Some((location, record));
            }
        }
        self.search(key)
    }

    /// As [`Self::find`], for a change: what it will write to is brought nearer.
    #[inline]
    fn find_to_change(&self, key: Key<'_>) -> Option<Location> {
        self.index.expect_change(key);
        let is_it = |location| {
            self.arena.expect_change(location);
            self.record(location).key() == key.bytes
        };
        match self.index.at(key.hint).filter(|&location| is_it(location)) {
            None => self.index.find(key.hash, is_it),
            found => found,
        }
    }

    #[inline(never)]
    fn search(&self, key: Key<'_>) -> Option<(Location, Record<'_>)> {
        let mut found = None;
        let location = self.index.find(key.hash, |location| {
            let record = self.record(location);
            let is_it = record.key() == key.bytes;
            found = is_it.then_some(record);
            is_it
        })?;
        Some((location, found?))
    }

    /// Why nobody can have a record's item any more, if so.
    #[inline(always)]
    fn death(&self, location: Location, record: &Record<'_>, now: Now) -> Option<Miss> {
        if self.flush.took_any() {
            let sequence = record.sequence(self.arena.base_of(location));
            if self.flush.took(record.key(), sequence) {
                return Some(Miss::Flushed);
            }
        }
        record.expiry().is_past(now).then_some(Miss::Expired)
    }

    /// Takes a record out of use that no longer stands in the index. The item's region is locked:
    /// whoever changes the item next finds that only one record of it is alive, so that one alone
    /// is found by who recovers a memory file.
    fn retire(&self, location: Location, record: &Record<'_>) {
        if record.kill() {
            self.arena.remove_live(location, record.size());
        }
    }

    /// As [`Self::retire`], for a record whose size is known, by a thread that counts.
    #[inline]
    fn retire_counted(
        &self,
        location: Location,
        record: &Record<'_>,
        size: usize,
        live: &LiveCounter,
    ) {
        if record.kill() {
            live.remove(&self.arena, location, size);
        }
    }

    /// Bytes of the segments' live records, to be asked for.
    fn live(&self) -> LiveView<'_> {
        self.live.view(&self.arena)
    }

    /// Bytes in which threads remember dead places and count live bytes.
    fn threads_bytes(&self) -> u64 {
        self.places.load(Relaxed) + self.live.bytes(self.pool.allowed())
    }

    /// Bytes of all live records.
    fn live_bytes(&self) -> u64 {
        let live = self.live();
        (0..self.arena.used()).map(|id| live.of(id) as u64).sum()
    }

    /// Begins to fill an empty segment that belongs to the caller alone.
    fn open(&self, id: SegmentId, queue: usize, born: u64, now: Now) -> Open {
        self.live.begin(&self.arena, id);
        self.arena.open(id, queue, self.base(), born, now.clock_ms)
    }

    fn new_counters(&self) -> Arc<EngineCounters> {
        let counters = Arc::new(EngineCounters::default());
        self.all_counters().push(counters.clone());
        counters
    }

    fn all_counters(&self) -> MutexGuard<'_, Vec<Arc<EngineCounters>>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reclaimer(&self) -> MutexGuard<'_, Reclaimer> {
        self.wait_until_verified(); // its holder walks segments
        self.reclaimer.lock().unwrap_or_else(|poisoned| {
            // A thread died while it emptied a segment: what it looked at nobody does any more.
            let mut reclaimer = poisoned.into_inner();
            self.reclaimer.clear_poison();
            reclaimer.rest();
            reclaimer
        })
    }

    /// Whatever operations are to look at before they look at an item.
    #[cold]
    fn look_up(&self, now: Now) {
        self.wait_until_verified();
        self.flush.ripen(|| self.sequence.cut(), now);
    }

    /// As [`Self::look_up`], for one that fetches a key's item.
    #[cold]
    fn look_up_for(&self, key: Key<'_>, now: Now) {
        self.verify_for(key);
        self.flush.ripen(|| self.sequence.cut(), now);
    }

    /// The base for a segment that is opened now.
    fn base(&self) -> u64 {
        self.sequence.last().saturating_sub(BASE_DISTANCE)
    }
}

impl Hashes for SegmentStorageEngine {
    #[inline]
    fn hash_at(&self, location: Location) -> u64 {
        self.hasher.key(self.record(location).key()).hash
    }

    #[inline]
    fn expect(&self, location: Location) {
        self.arena.prefetch(location);
    }
}

impl StorageEngine for SegmentStorageEngine {
    type Pin = SegmentPin;
    type Access = SegmentAccess;

    fn access(self: &Arc<Self>) -> SegmentAccess {
        SegmentAccess::new(self)
    }

    fn flush(&self, delay: i64, now: Now) {
        self.flush.ripen(|| self.sequence.cut(), now);
        self.flush.order(delay, || self.sequence.cut(), now);
    }

    fn flush_group(&self, prefix: &[u8], now: Now) -> Result<(), TooManyGroups> {
        self.flush.ripen(|| self.sequence.cut(), now);
        self.flush.order_group(prefix, || self.sequence.cut())
    }

    fn maintain(&self, now: Now) {
        if self.is_unverified() {
            return;
        }
        self.flush.ripen(|| self.sequence.cut(), now);
        self.upkeep(now);
    }

    fn stat(&self, stat: Stat) -> u64 {
        match stat {
            Stat::limit_maxbytes => self.capacity.load(Relaxed),
            Stat::bytes => self.live_bytes(),
            Stat::curr_items => self.index.items(),
            Stat::hash_power_level => self.hash_level.load(Relaxed),
            Stat::hash_bytes => self.index.bytes(),
            _ => self.all_counters().iter().map(|counters| counters.general.read(stat)).sum(),
        }
    }

    fn class_stat(&self, class: usize, stat: ClassStat) -> u64 {
        if let Some(seconds) = self.ages.read(class, stat) {
            return seconds;
        }
        let parts = self.all_counters();
        stat.sum(parts.iter().map(|counters| counters.classes.read(class, stat)))
    }

    fn memory(&self) -> u64 {
        let used = self.pool.taken().saturating_sub(self.pool.free());
        let segments = (used * self.arena.segment_size()) as u64;
        segments + self.index.bytes() + self.admission.bytes() + self.threads_bytes()
    }

    /// The rows of [`mcache_base::figures`] that are the engine's.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        let taken = self.pool.taken();
        let recovery = self.recovery().unwrap_or_default();
        vec![
            ("segment_size", self.arena.segment_size() as u64),
            ("segments_allowed", self.pool.allowed() as u64),
            ("segments_taken", taken as u64),
            ("segments_free", self.pool.free() as u64),
            ("segments_pinned", self.pinned.load(Relaxed) as u64),
            ("threads_died", self.panics.load(Relaxed)),
            ("staged_bytes", self.staging.held()),
            ("index_regions", self.index.regions() as u64),
            ("index_bytes", self.index.bytes()),
            ("policy_bytes", self.admission.bytes()),
            ("dead_places_bytes", self.places.load(Relaxed)),
            ("flushed_prefixes", self.flush.groups() as u64),
            ("recovered_items", recovery.items),
            ("recovered_bytes", recovery.bytes),
            ("recovery_segments_damaged", recovery.segments_damaged),
            ("recovery_items_dropped", recovery.items_dropped),
        ]
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.observed.set(observer);
    }

    fn reset_stats(&self) {
        self.all_counters().iter().for_each(|counters| counters.reset());
        self.ages.reset();
    }

    /// Memory over the limit is given back as upkeep finds it. A limit over the address space
    /// that was reserved is refused.
    fn set_capacity(&self, capacity: u64, _now: Now) -> bool {
        let reserved = (self.arena.segments_max() * self.arena.segment_size()) as u64;
        if capacity > reserved {
            return false;
        }
        self.capacity.store(capacity, Relaxed);
        self.balance();
        true
    }

    fn check(&self) {
        self.wait_until_verified();
        for region in 0..self.index.regions() {
            let fault = self.index.lock_region(region).check(self).err();
            assert_eq!(fault, None, "region {region} of the index");
        }
        self.check_segments();
    }
}

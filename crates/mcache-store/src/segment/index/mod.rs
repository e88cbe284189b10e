//! The hash index: where each key's record lies. Knows tags and locations, no keys.
//!
//! A table of 64-byte buckets of 12 slots; a key has two candidate buckets. The table is cut into
//! regions by the hash's top bits. A region's version is a lock for writers (odd: locked) and a
//! sequence number for readers, who take no lock. `bucket` is the slots, `locked` what a writer
//! does, `sweep` how a region grows and shrinks in place, a bucket at a time.
//!
//! Invariants: a location stands in at most one slot; it stands in one of its hash's two buckets
//! as the region maps them now; `items` is the number of filled slots; a region changes only while
//! its version is odd.

#[allow(unsafe_code)] // buckets are cells
mod bucket;
mod locked;
mod saved;
mod sweep;

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};

use mcache_base::Key;

use super::memory::{CellArray, HUGE_PAGE, PAGE, prefetch, prefetch_to_write};
use bucket::{Bucket, slot_of};
pub use locked::{Locked, Place};

/// Where a record begins, in granules of the arena. 0 is nowhere.
pub type Location = u32;

/// Buckets that a region has at least: a page of them.
const BUCKETS_MIN: u32 = 1 << PAGE_BITS;

/// log2 of the buckets in a page.
const PAGE_BITS: u32 = 6;

/// Buckets in a page.
const PAGE_BUCKETS: usize = 1 << PAGE_BITS;

/// How keys are found in a region. Every request reads one, seldom one changes: so they lie close
/// together, and apart from what writers change.
#[derive(Default)]
struct Extent {
    low: AtomicU32,
    high: AtomicU32,
    border: AtomicU64,
}

/// A region's lock and version, and what changes under it.
#[derive(Default)]
#[repr(C, align(64))]
struct Region {
    version: AtomicU32,
    items: AtomicU32,
    /// A sweep that is under way makes the region smaller.
    shrinking: AtomicBool,
    /// The hash of the item for which the lock was taken last.
    wanted: AtomicU64,
    /// The highest sequence number of a record that was removed.
    removed: AtomicU64,
}

/// Which bucket of a region each half of a hash names: one of `low` for those below the border,
/// one of `high` for the others. The two differ while the region grows or shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    low: u32,
    /// Never less than `low`.
    high: u32,
    /// From 0 to [`HALVES`].
    border: u64,
}

/// Times that a thread spins while another changes the same item: some 5 microseconds, in which a
/// thread that is alone makes a dozen changes.
const STAND_SPINS: u32 = 256;

/// Times that it stands back before it lets other threads have the processor.
const STANDS_MAX: u32 = 16;

/// How many halves of a hash there are.
const HALVES: u64 = 1 << 32;

/// Tells the hash of the key whose record is at a location.
pub trait Hashes {
    /// The hash, as the engine computes it.
    fn hash_at(&self, location: Location) -> u64;

    /// The hash of this one will be asked for soon.
    fn expect(&self, _location: Location) {}
}

/// The table.
pub struct Index {
    buckets: CellArray<Bucket>,
    extents: Box<[Extent]>,
    regions: Box<[Region]>,
    /// Buckets that each region may have at most.
    window: usize,
    region_bits: u32,
}

impl Index {
    /// An empty index of `regions` (a power of two), each of at most `window` buckets: memory is
    /// reserved for all of them, but taken only as they fill.
    pub fn new(regions: usize, window: usize) -> io::Result<Self> {
        assert!(regions.is_power_of_two(), "regions are told apart by bits of the hash");
        let is_whole = window >= PAGE_BUCKETS && window.is_multiple_of(PAGE_BUCKETS);
        assert!(is_whole, "a region has whole pages of buckets");
        let buckets = CellArray::new(regions * window)?;
        let size = || AtomicU32::new(BUCKETS_MIN);
        let extent = || Extent { low: size(), high: size(), ..Extent::default() };
        Ok(Self {
            buckets,
            extents: (0..regions).map(|_| extent()).collect(),
            regions: (0..regions).map(|_| Region::default()).collect(),
            window,
            region_bits: regions.trailing_zeros(),
        })
    }

    /// Asks the system for huge pages, if all regions' next pages are one together. Fails if it
    /// has none.
    pub fn use_huge_pages(&self) -> io::Result<()> {
        match self.regions() * PAGE >= HUGE_PAGE {
            true => self.buckets.use_huge_pages(),
            false => Ok(()),
        }
    }

    /// Number of regions.
    pub fn regions(&self) -> usize {
        self.regions.len()
    }

    /// Items in the whole table.
    pub fn items(&self) -> u64 {
        self.regions.iter().map(|region| u64::from(region.items.load(Relaxed))).sum()
    }

    /// Bytes of the buckets in use.
    pub fn bytes(&self) -> u64 {
        let buckets = |extent: &Extent| u64::from(extent.high.load(Relaxed));
        self.extents.iter().map(buckets).sum::<u64>() * size_of::<Bucket>() as u64
    }

    /// Finds the record for which `is_it` holds, without a lock.
    ///
    /// A hit is a location that stood in the table at some moment of the call; a miss means that
    /// there was none during some moment of it.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Location) -> bool) -> Option<Location> {
        let region = &self.regions[self.region_of(hash)];
        let mut spins = 0;
        loop {
            let version = region.version.load(Acquire);
            if version & 1 == 0 {
                let [first, second] = self.candidates(hash);
                let mut search = |bucket| self.search(bucket, tag_of(hash), &mut is_it);
                if let Some((_, location)) = search(first).or_else(|| search(second)) {
                    return Some(location);
                }
                fence(Acquire);
                if region.version.load(Relaxed) == version {
                    return None;
                }
            }
            back_off(&mut spins);
        }
    }

    /// Brings the buckets of `hash` nearer; returns them for [`Self::guess`].
    #[inline(always)] // a loop's body
    pub fn prefetch(&self, hash: u64) -> [usize; 2] {
        let candidates = self.candidates(hash);
        for bucket in candidates {
            prefetch(&raw const self.buckets.as_ref()[bucket]);
        }
        candidates
    }

    /// The place and location that a look for `hash` in these buckets would, most likely, end at.
    #[inline(always)] // as above
    pub fn guess(&self, hash: u64, candidates: [usize; 2]) -> Option<(Place, Location)> {
        candidates.into_iter().find_map(|bucket| {
            let (slot, location) = self.search(bucket, tag_of(hash), &mut |_| true)?;
            Some((Place { bucket, slot }, location))
        })
    }

    /// Brings what a change of a key's item writes to nearer.
    #[inline]
    pub fn expect_change(&self, key: Key<'_>) {
        prefetch_to_write(&raw const self.regions[self.region_of(key.hash)]);
        match Place::of(key.hint).and_then(|place| self.buckets.as_ref().get(place.bucket)) {
            Some(bucket) => prefetch_to_write(&raw const *bucket),
            None => {
                for bucket in self.candidates(key.hash) {
                    prefetch_to_write(&raw const self.buckets.as_ref()[bucket]);
                }
            }
        }
    }

    /// The location at the place that a hint tells of, if there is one.
    #[inline(always)] // as above
    pub fn at(&self, hint: u64) -> Option<Location> {
        let place = Place::of(hint)?;
        let bucket = self.buckets.as_ref().get(place.bucket)?;
        let location = bucket.locations.get(place.slot)?.load(Acquire);
        (location != 0).then_some(location)
    }

    /// Locks the region of `hash` for changes.
    #[inline]
    pub fn lock(&self, hash: u64) -> Locked<'_> {
        let region = self.region_of(hash);
        let wanted = &self.regions[region].wanted;
        let mut spins = 0;
        let locked = loop {
            if let Some(locked) = self.try_lock(region) {
                break locked;
            }
            match wanted.load(Relaxed) == hash {
                true => stand_back(&mut spins),
                false => back_off(&mut spins),
            }
        };
        wanted.store(hash, Relaxed);
        locked
    }

    /// Locks a region for changes.
    pub fn lock_region(&self, region: usize) -> Locked<'_> {
        let mut spins = 0;
        loop {
            if let Some(locked) = self.try_lock(region) {
                return locked;
            }
            back_off(&mut spins);
        }
    }

    #[inline]
    fn try_lock(&self, region: usize) -> Option<Locked<'_>> {
        let version = &self.regions[region].version;
        let seen = version.load(Relaxed);
        if seen & 1 == 1 {
            return None;
        }
        version.compare_exchange(seen, seen.wrapping_add(1), Acquire, Relaxed).ok()?;
        fence(Release); // the odd version is seen before any change that follows
        Some(Locked { index: self, region })
    }

    #[inline]
    fn region_of(&self, hash: u64) -> usize {
        (hash.unbounded_shr(64 - self.region_bits)) as usize
    }

    /// The two buckets in which the item of `hash` may be.
    #[inline]
    fn candidates(&self, hash: u64) -> [usize; 2] {
        let region = self.region_of(hash);
        let mapping = self.extents[region].mapping();
        let halves = [(hash << self.region_bits) >> 32, hash & 0xffff_ffff];
        halves.map(|half| self.bucket_of(region, mapping.bucket(half)))
    }

    /// Where a region's bucket stands in the table. All regions' first pages lie side by side, then
    /// all their second ones: regions are about equally long, so what is in use is dense, and the
    /// processor walks few page tables.
    #[inline(always)] // a few instructions
    fn bucket_of(&self, region: usize, within: usize) -> usize {
        let (page, bucket) = (within >> PAGE_BITS, within % PAGE_BUCKETS);
        (((page << self.region_bits) + region) << PAGE_BITS) + bucket
    }

    #[inline(always)] // a few instructions around those of `is_it`
    fn search(
        &self,
        bucket: usize,
        tag: u8,
        is_it: &mut impl FnMut(Location) -> bool,
    ) -> Option<(usize, Location)> {
        let bucket = &self.buckets.as_ref()[bucket];
        let mut marks = bucket.marks(tag);
        while marks != 0 {
            let slot = slot_of(marks.trailing_zeros() as usize);
            let location = bucket.locations[slot].load(Acquire);
            if location != 0 && is_it(location) {
                return Some((slot, location));
            }
            marks &= marks - 1;
        }
        None
    }
}

impl Extent {
    #[inline]
    fn mapping(&self) -> Mapping {
        Mapping {
            low: self.low.load(Relaxed),
            high: self.high.load(Relaxed),
            border: self.border.load(Relaxed),
        }
    }
}

impl Mapping {
    /// The bucket that half a hash names.
    #[inline]
    fn bucket(&self, half: u64) -> usize {
        ((half * self.count_at(half)) >> 32) as usize
    }

    /// The least number above `half` that names another bucket; [`HALVES`] if none does.
    fn next(&self, half: u64) -> u64 {
        let next = first_of(self.bucket(half) + 1, self.count_at(half));
        if half < self.border { next.min(self.border) } else { next }
    }

    fn is_moving(&self) -> bool {
        self.low != self.high
    }

    #[inline]
    fn count_at(&self, half: u64) -> u64 {
        u64::from(if half < self.border { self.low } else { self.high })
    }
}

/// The least half of a hash that names a bucket of so many, or one behind it.
fn first_of(bucket: usize, count: u64) -> u64 {
    ((bucket as u64) << 32).div_ceil(count)
}

/// The bits of a hash that neither candidate bucket uses for small tables.
#[inline]
fn tag_of(hash: u64) -> u8 {
    hash as u8
}

/// Waits a moment for a region: its lock is held for a microsecond or two.
fn back_off(spins: &mut u32) {
    *spins += 1;
    if *spins < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

/// Waits until another has changed the item that this thread will change, perhaps some times: if
/// they took turns, each change would wait for the item's cache lines.
#[cold]
fn stand_back(spins: &mut u32) {
    *spins += 1;
    if *spins > STANDS_MAX {
        return std::thread::yield_now();
    }
    for _ in 0..STAND_SPINS {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::bucket::SLOTS;
    use super::locked::Full;
    use super::*;

    /// Locations are numbers, and a number's hash is its scrambled self.
    struct Numbers;

    impl Hashes for Numbers {
        fn hash_at(&self, location: Location) -> u64 {
            let mut hash = u64::from(location).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
            hash.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ (hash >> 32)
        }
    }

    fn index(regions: usize, window: usize) -> Index {
        Index::new(regions, window).unwrap()
    }

    fn insert(index: &Index, number: Location) -> Result<(), Full> {
        let hash = Numbers.hash_at(number);
        index.lock(hash).insert(hash, number, &Numbers)
    }

    fn remove(index: &Index, number: Location) {
        let hash = Numbers.hash_at(number);
        let region = index.lock(hash);
        let (place, _) = region.find(hash, |location| location == number).expect("was inserted");
        region.remove(place, 0);
    }

    fn holds(index: &Index, number: Location) -> bool {
        index.find(Numbers.hash_at(number), |location| location == number).is_some()
    }

    #[test]
    fn regions_lie_side_by_side_and_share_no_bucket() {
        let index = index(4, 192);
        let first_pages = 4 * PAGE_BUCKETS;
        let mut seen = std::collections::BTreeSet::new();
        for (region, within) in (0..4).flat_map(|region| (0..192).map(move |it| (region, it))) {
            let bucket = index.bucket_of(region, within);
            assert_eq!(bucket < first_pages, within < PAGE_BUCKETS);
            assert!(seen.insert(bucket), "bucket {bucket} is two regions'");
        }
        assert!(seen.into_iter().eq(0..4 * 192));
    }

    #[test]
    fn finds_all_it_was_given_at_a_high_load() {
        let index = index(4, 4096);
        for number in 1..=100_000 {
            insert(&index, number).unwrap();
        }
        assert!((1..=100_000).all(|number| holds(&index, number)));
        assert!(!(100_001..=200_000).any(|number| holds(&index, number)));
        for region in 0..4 {
            index.lock_region(region).check(&Numbers).unwrap();
        }
        let load = 100_000.0 * 64.0 / 12.0 / index.bytes() as f64;
        assert!(load > 0.85, "load {load}");
    }

    #[test]
    fn gives_buckets_back_when_items_leave() {
        let index = index(1, 4096);
        for number in 1..=30_000 {
            insert(&index, number).unwrap();
        }
        let before = index.bytes();
        for number in 1..=29_000 {
            remove(&index, number);
        }
        while index.lock_region(0).shrink(&Numbers) {}
        assert!(index.bytes() < before / 10);
        assert!((29_001..=30_000).all(|number| holds(&index, number)));
        index.lock_region(0).check(&Numbers).unwrap();
    }

    #[test]
    fn items_that_come_back_turn_a_shrinking_region_round() {
        let index = index(1, 4096);
        (1..=30_000).for_each(|number| insert(&index, number).unwrap());
        for steps in [1, 2, 50, 100] {
            let (before, kept) = (index.bytes(), 10_000);
            (kept + 1..=30_000).for_each(|number| remove(&index, number));
            for _ in 0..steps {
                assert!(index.lock_region(0).shrink(&Numbers));
            }
            index.lock_region(0).check(&Numbers).unwrap();
            assert!((1..=kept).all(|number| holds(&index, number)));
            (kept + 1..=30_000).for_each(|number| insert(&index, number).unwrap());
            index.lock_region(0).check(&Numbers).unwrap();
            assert!((1..=30_000).all(|number| holds(&index, number)));
            assert!(index.bytes() <= before + before / 8);
        }
    }

    /// Counts the hashes that are asked for: each may be a wait for memory.
    struct Counted(Cell<usize>);

    impl Hashes for Counted {
        fn hash_at(&self, location: Location) -> u64 {
            self.0.set(self.0.get() + 1);
            Numbers.hash_at(location)
        }
    }

    #[test]
    fn nobody_waits_for_a_whole_region() {
        let (index, hashes) = (index(1, 1 << 17), Counted(Cell::new(0)));
        let mut most = [0; 2];
        for number in 1..=300_000 {
            let hash = Numbers.hash_at(number);
            index.lock(hash).insert(hash, number, &hashes).unwrap();
            most[0] = most[0].max(hashes.0.take());
        }
        (1..=200_000).for_each(|number| remove(&index, number));
        while index.lock_region(0).shrink(&hashes) {
            most[1] = most[1].max(hashes.0.take());
        }
        assert!(most[0] <= 200 && most[1] <= 400, "{most:?} of 300,000");
        index.lock_region(0).check(&Numbers).unwrap();
    }

    #[test]
    fn a_walk_meets_each_once_while_none_is_added() {
        for items in (7_000..9_000).step_by(61) {
            let index = index(1, 4096);
            (1..=items).for_each(|number| insert(&index, number).unwrap());
            let (mut found, mut next) = (Vec::new(), Some(0));
            while let Some(within) = next {
                next = index.lock_region(0).part(within, 24, &mut found);
                while index.lock_region(0).shrink(&Numbers) {}
            }
            found.sort_unstable();
            assert!(found.iter().copied().eq(1..=items), "of {items}");
        }
    }

    #[test]
    fn a_walk_meets_nearly_everything_while_the_region_grows() {
        let index = index(1, 4096);
        (1..=8_000).for_each(|number| insert(&index, number).unwrap());
        let (mut found, mut next, mut number) = (Vec::new(), Some(0), 8_001);
        while let Some(within) = next {
            next = index.lock_region(0).part(within, 24, &mut found);
            insert(&index, number).unwrap();
            number += 1;
        }
        let found: std::collections::HashSet<_> = found.into_iter().collect();
        let missed = (1..=8_000).filter(|number| !found.contains(number)).count();
        assert!(missed < 8_000 / 20, "{missed} were moved to where the walk had been");
    }

    #[test]
    fn a_full_window_is_an_answer_and_loses_nothing() {
        let index = index(1, 64);
        let held = (1..).take_while(|&number| insert(&index, number).is_ok()).count() as Location;
        assert!(held > 700, "{held} of 768 slots");
        assert!((1..=held).all(|number| holds(&index, number)));
        index.lock_region(0).check(&Numbers).unwrap();
    }

    /// All numbers have the same two buckets, whatever the bucket count: 24 of them fit.
    struct Same;

    impl Hashes for Same {
        fn hash_at(&self, _location: Location) -> u64 {
            u64::MAX >> 33
        }
    }

    #[test]
    fn an_item_that_no_growing_makes_room_for_is_refused_and_all_others_stay() {
        let index = index(1, 4096);
        let hash = Same.hash_at(0);
        let insert = |number| index.lock(hash).insert(hash, number, &Same);
        let held = (1..100).take_while(|&number| insert(number).is_ok()).count() as Location;
        assert_eq!(held, 2 * SLOTS as Location);
        assert_eq!(insert(200), Err(Full));
        assert!((1..=held).all(|number| index.find(hash, |at| at == number).is_some()));
        index.lock_region(0).check(&Same).unwrap();
        assert_eq!(index.items(), u64::from(held));
    }

    #[test]
    fn readers_miss_nothing_while_a_writer_moves_everything() {
        let index = index(1, 4096);
        for number in 1..=1_000 {
            insert(&index, number).unwrap();
        }
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 1_001..=40_000 {
                    insert(&index, number).unwrap();
                }
            });
            while !writer.is_finished() {
                assert!((1..=1_000).all(|number| holds(&index, number)));
            }
        });
    }
}

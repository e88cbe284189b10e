//! The hash index: where each key's record lies. Knows tags and locations, no keys.
//!
//! A table of 64-byte buckets of 12 slots; a key has two candidate buckets. The table is cut into
//! regions by the hash's top bits. A region's version is a lock for writers (odd: locked) and a
//! sequence number for readers, who take no lock. A region grows and shrinks in place, a little
//! at a time, so that the load stays high whatever the items' size.
//!
//! Invariants: a location stands in at most one slot; it stands in one of its hash's two buckets
//! for the region's current bucket count; `items` is the number of filled slots; a region changes
//! only while its version is odd.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use super::memory::{CellArray, Cells, prefetch};

/// Where a record begins, in granules of the arena. 0 is nowhere.
pub type Location = u32;

/// Slots in a bucket: 12 locations and 12 tags fill a cache line but for 4 bytes.
const SLOTS: usize = 12;

/// Tags in a word of a bucket, so that as many are compared at once.
const TAGS_IN_WORD: usize = 8;

/// Load at which a region grows: two choices of 12 slots rarely overflow below it.
const LOAD_MAX: f64 = 0.93;

/// Load below which a region shrinks.
const LOAD_MIN: f64 = 0.6;

/// Load that a region has after it grew or shrank.
const LOAD_AIM: f64 = 0.84;

/// Buckets that a region has at least: a page of them.
const BUCKETS_MIN: u32 = 64;

/// One cache line of the table.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Bucket {
    locations: [AtomicU32; SLOTS],
    /// The slots' tags, the first in the lowest byte. The last four bytes are spare.
    tags: [AtomicU64; 2],
}

// SAFETY: a bucket is made of atomic integers.
unsafe impl Cells for Bucket {}

impl Bucket {
    /// A bit for each slot whose tag is `tag`, and perhaps for some that have others: slots 0 to 7
    /// in the lowest bits of the bytes, 8 to 11 in bit 4 of the first bytes.
    #[inline(always)]
    fn marks(&self, tag: u8) -> u64 {
        let [low, high] = &self.tags;
        let (low, high) = (alike(low.load(Relaxed), tag), alike(high.load(Relaxed), tag));
        low >> 7 | u64::from(high as u32) >> 3
    }

    fn tag(&self, slot: usize) -> u8 {
        let word = self.tags[slot / TAGS_IN_WORD].load(Relaxed);
        (word >> (slot % TAGS_IN_WORD * 8)) as u8
    }

    /// Changes a tag; the bucket's region is locked.
    fn set_tag(&self, slot: usize, tag: u8) {
        let (word, shift) = (&self.tags[slot / TAGS_IN_WORD], slot % TAGS_IN_WORD * 8);
        let others = word.load(Relaxed) & !(0xff << shift);
        word.store(others | u64::from(tag) << shift, Relaxed);
    }
}

/// Marks the bytes of `word` that are `byte` in their highest bits. A byte behind a marked one
/// may be marked too.
#[inline]
fn alike(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let differing = word ^ (ONES * u64::from(byte));
    differing.wrapping_sub(ONES) & !differing & (ONES << 7)
}

/// The slot that a bit of [`Bucket::marks`] stands for.
#[inline(always)]
fn slot_of(bit: usize) -> usize {
    bit / 8 + bit % 8 * 2
}

/// A region's lock, version and size, on a cache line of its own.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Region {
    version: AtomicU32,
    buckets: AtomicU32,
    items: AtomicU32,
}

/// Tells the hash of the key whose record is at a location.
pub trait Hashes {
    /// The hash, as the engine computes it.
    fn hash_at(&self, location: Location) -> u64;
}

/// The table.
pub struct Index {
    buckets: CellArray<Bucket>,
    regions: Box<[Region]>,
    /// Buckets that each region may have at most.
    window: usize,
    region_bits: u32,
}

/// A place in the table, valid while its region is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: usize,
    slot: usize,
}

/// The table has no place for one more item: its region has used up its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A locked region. Dropping it unlocks.
pub struct Locked<'i> {
    index: &'i Index,
    region: usize,
}

impl Index {
    /// An empty index of `regions` (a power of two), each of at most `window` buckets: memory is
    /// reserved for all of them, but taken only as they fill.
    pub fn new(regions: usize, window: usize) -> io::Result<Self> {
        assert!(regions.is_power_of_two(), "regions are told apart by bits of the hash");
        assert!(window >= BUCKETS_MIN as usize, "a region has at least a page of buckets");
        let buckets = CellArray::new(regions * window)?;
        let region = || Region { buckets: BUCKETS_MIN.into(), ..Region::default() };
        Ok(Self {
            buckets,
            regions: (0..regions).map(|_| region()).collect(),
            window,
            region_bits: regions.trailing_zeros(),
        })
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
        let buckets = |region: &Region| u64::from(region.buckets.load(Relaxed));
        self.regions.iter().map(buckets).sum::<u64>() * size_of::<Bucket>() as u64
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

    /// Brings the buckets of `hash` nearer.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        for bucket in self.candidates(hash) {
            prefetch(&raw const self.buckets.as_ref()[bucket]);
        }
    }

    /// Visits the locations that a look for `hash` would, most likely, look at.
    #[inline]
    pub fn likely(&self, hash: u64, mut visit: impl FnMut(Location)) {
        for bucket in self.candidates(hash) {
            self.search(bucket, tag_of(hash), &mut |location| {
                visit(location);
                false
            });
        }
    }

    /// Locks the region of `hash` for changes.
    #[inline]
    pub fn lock(&self, hash: u64) -> Locked<'_> {
        self.lock_region(self.region_of(hash))
    }

    /// Locks a region for changes.
    pub fn lock_region(&self, region: usize) -> Locked<'_> {
        let version = &self.regions[region].version;
        let mut spins = 0;
        loop {
            let seen = version.load(Relaxed);
            if seen & 1 == 0
                && version
                    .compare_exchange_weak(seen, seen.wrapping_add(1), Acquire, Relaxed)
                    .is_ok()
            {
                fence(Release); // the odd version is seen before any change that follows
                return Locked { index: self, region };
            }
            back_off(&mut spins);
        }
    }

    #[inline]
    fn region_of(&self, hash: u64) -> usize {
        (hash.unbounded_shr(64 - self.region_bits)) as usize
    }

    /// The two buckets in which the item of `hash` may be.
    #[inline]
    fn candidates(&self, hash: u64) -> [usize; 2] {
        let region = self.region_of(hash);
        let buckets = u64::from(self.regions[region].buckets.load(Relaxed));
        let first = (((hash << self.region_bits) >> 32) * buckets) >> 32;
        let second = ((hash & 0xffff_ffff) * buckets) >> 32;
        let base = region * self.window;
        [base + first as usize, base + second as usize]
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

impl Locked<'_> {
    /// Finds the record for which `is_it` holds.
    #[inline]
    pub fn find(
        &self,
        hash: u64,
        mut is_it: impl FnMut(Location) -> bool,
    ) -> Option<(Place, Location)> {
        self.index.candidates(hash).into_iter().find_map(|bucket| {
            let (slot, location) = self.index.search(bucket, tag_of(hash), &mut is_it)?;
            Some((Place { bucket, slot }, location))
        })
    }

    /// Puts another record into a place.
    #[inline]
    pub fn replace(&self, place: Place, location: Location) {
        self.bucket(place.bucket).locations[place.slot].store(location, Release);
    }

    /// Empties a place.
    #[inline]
    pub fn remove(&self, place: Place) {
        self.bucket(place.bucket).locations[place.slot].store(0, Release);
        let items = &self.region().items;
        items.store(items.load(Relaxed) - 1, Relaxed);
    }

    /// Adds a record that is not there yet. May grow the region, for which it asks `hashes`.
    pub fn insert(&self, hash: u64, location: Location, hashes: &impl Hashes) -> Result<(), Full> {
        let items = self.region().items.load(Relaxed);
        if f64::from(items) >= f64::from(self.slots()) * LOAD_MAX {
            let _ = self.resize(items, hashes); // at the window's end it fills up to the last slot
        }
        while !self.place(hash, location, hashes) {
            self.grow(hashes)?;
        }
        self.region().items.store(items + 1, Relaxed);
        Ok(())
    }

    /// Gives buckets back if far more are there than the items need. Returns whether any were.
    pub fn shrink(&self, hashes: &impl Hashes) -> bool {
        let items = self.region().items.load(Relaxed);
        let sparse = f64::from(items) < f64::from(self.slots()) * LOAD_MIN;
        sparse && self.region().buckets.load(Relaxed) > BUCKETS_MIN && {
            self.resize(items, hashes).is_ok()
        }
    }

    /// Every location in the region, with its place.
    pub fn each(&self, mut visit: impl FnMut(Place, Location)) {
        for bucket in self.range() {
            for slot in 0..SLOTS {
                let location = self.bucket(bucket).locations[slot].load(Relaxed);
                if location != 0 {
                    visit(Place { bucket, slot }, location);
                }
            }
        }
    }

    /// The locations in about `slots` slots from `within` on, a place in the region in parts of
    /// 2^32. Returns where to go on, or `None` at the region's end.
    pub fn part(&self, within: u64, slots: usize, found: &mut Vec<Location>) -> Option<u64> {
        let buckets = self.range();
        let count = buckets.len() as u64;
        let first = ((within * count) >> 32) as usize;
        let last = (first + slots.div_ceil(SLOTS)).min(buckets.len());
        for bucket in buckets.start + first..buckets.start + last {
            let locations = self.bucket(bucket).locations.iter();
            found.extend(locations.map(|it| it.load(Relaxed)).filter(|&location| location != 0));
        }
        (last < buckets.len()).then(|| ((last as u64) << 32).div_ceil(count))
    }

    /// Verifies the index's invariants for this region; names the first that does not hold.
    pub fn check(&self, hashes: &impl Hashes) -> Result<(), String> {
        let mut seen = std::collections::HashSet::new();
        let mut fault = None;
        self.each(|place, location| {
            let hash = hashes.hash_at(location);
            if !seen.insert(location) {
                fault = Some(format!("location {location} stands twice"));
            } else if !self.index.candidates(hash).contains(&place.bucket) {
                fault = Some(format!("location {location} stands in a bucket not its own"));
            } else if self.bucket(place.bucket).tag(place.slot) != tag_of(hash) {
                fault = Some(format!("location {location} has another's tag"));
            }
        });
        let items = self.region().items.load(Relaxed) as usize;
        match fault {
            Some(fault) => Err(fault),
            None if seen.len() != items => Err(format!("{} filled, {items} counted", seen.len())),
            None => Ok(()),
        }
    }

    fn region(&self) -> &Region {
        &self.index.regions[self.region]
    }

    #[inline]
    fn bucket(&self, bucket: usize) -> &Bucket {
        &self.index.buckets.as_ref()[bucket]
    }

    fn slots(&self) -> u32 {
        self.region().buckets.load(Relaxed) * SLOTS as u32
    }

    fn range(&self) -> std::ops::Range<usize> {
        let base = self.region * self.index.window;
        base..base + self.region().buckets.load(Relaxed) as usize
    }

    /// Puts a location into the emptier of its two buckets, moving another away if both are full.
    fn place(&self, hash: u64, location: Location, hashes: &impl Hashes) -> bool {
        let buckets = self.index.candidates(hash);
        let [first, second] = buckets.map(|bucket| self.free_slots(bucket));
        let (bucket, free) =
            if first.0 >= second.0 { (buckets[0], first) } else { (buckets[1], second) };
        if free.0 > 0 {
            self.fill(Place { bucket, slot: free.1 }, tag_of(hash), location);
            return true;
        }
        buckets.into_iter().any(|bucket| {
            self.move_one_away(bucket, hashes).is_some_and(|slot| {
                self.fill(Place { bucket, slot }, tag_of(hash), location);
                true
            })
        })
    }

    /// Moves one record of a full bucket to its other bucket. Returns the slot that is free now.
    fn move_one_away(&self, bucket: usize, hashes: &impl Hashes) -> Option<usize> {
        (0..SLOTS).find(|&slot| {
            let location = self.bucket(bucket).locations[slot].load(Relaxed);
            let hash = hashes.hash_at(location);
            let [first, second] = self.index.candidates(hash);
            let other = if first == bucket { second } else { first };
            let (free, to) = self.free_slots(other);
            if other == bucket || free == 0 {
                return false;
            }
            self.fill(Place { bucket: other, slot: to }, tag_of(hash), location);
            self.bucket(bucket).locations[slot].store(0, Release);
            true
        })
    }

    /// How many slots of a bucket are free, and one of them.
    fn free_slots(&self, bucket: usize) -> (usize, usize) {
        let locations = &self.bucket(bucket).locations;
        let free = |&slot: &usize| locations[slot].load(Relaxed) == 0;
        let count = (0..SLOTS).filter(free).count();
        (count, (0..SLOTS).find(free).unwrap_or(SLOTS))
    }

    #[inline]
    fn fill(&self, place: Place, tag: u8, location: Location) {
        let bucket = self.bucket(place.bucket);
        bucket.set_tag(place.slot, tag);
        bucket.locations[place.slot].store(location, Release);
    }

    /// Makes room when two buckets are full although the region is not.
    fn grow(&self, hashes: &impl Hashes) -> Result<(), Full> {
        let buckets = self.region().buckets.load(Relaxed);
        self.rebuild(buckets + (buckets / 16).max(BUCKETS_MIN), hashes)
    }

    /// Gives the region as many buckets as `items` need.
    fn resize(&self, items: u32, hashes: &impl Hashes) -> Result<(), Full> {
        let buckets = (f64::from(items) / LOAD_AIM / SLOTS as f64) as u32;
        self.rebuild(buckets.next_multiple_of(BUCKETS_MIN).max(BUCKETS_MIN), hashes)
    }

    /// Takes every location out and puts it back under another bucket count.
    fn rebuild(&self, buckets: u32, hashes: &impl Hashes) -> Result<(), Full> {
        let buckets = buckets.min(self.index.window as u32);
        if buckets == self.region().buckets.load(Relaxed) {
            return Err(Full);
        }
        let mut all = Vec::with_capacity(self.region().items.load(Relaxed) as usize);
        self.each(|place, location| all.push((hashes.hash_at(location), location, place)));
        let before = self.range();
        let mut count = buckets;
        while !self.refill(count, &all, hashes) {
            if count as usize == self.index.window {
                self.put_back(before.len() as u32, &all);
                return Err(Full);
            }
            count = (count + BUCKETS_MIN).min(self.index.window as u32);
        }
        self.index.buckets.release(self.range().end, before.end);
        Ok(())
    }

    fn refill(&self, buckets: u32, all: &[(u64, Location, Place)], hashes: &impl Hashes) -> bool {
        self.clear(buckets);
        all.iter().all(|&(hash, location, _)| self.place(hash, location, hashes))
    }

    /// Puts every location back where it stood, which no other order of placing promises.
    fn put_back(&self, buckets: u32, all: &[(u64, Location, Place)]) {
        self.clear(buckets);
        for &(hash, location, place) in all {
            self.fill(place, tag_of(hash), location);
        }
    }

    /// Empties all buckets and sets how many there are.
    fn clear(&self, buckets: u32) {
        for bucket in self.range() {
            for slot in 0..SLOTS {
                self.bucket(bucket).locations[slot].store(0, Relaxed);
            }
        }
        self.region().buckets.store(buckets, Relaxed);
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let version = &self.region().version;
        version.store(version.load(Relaxed).wrapping_add(1), Release);
    }
}

/// The bits of a hash that neither candidate bucket uses for small tables.
#[inline]
fn tag_of(hash: u64) -> u8 {
    hash as u8
}

/// Waits a moment for a region: its lock is held for less than a microsecond unless it grows.
fn back_off(spins: &mut u32) {
    *spins += 1;
    if *spins < 64 {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
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
        region.remove(place);
    }

    fn holds(index: &Index, number: Location) -> bool {
        index.find(Numbers.hash_at(number), |location| location == number).is_some()
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
        assert!(load > 0.8, "load {load}");
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
        assert!(index.lock_region(0).shrink(&Numbers));
        assert!(index.bytes() < before / 10);
        assert!((29_001..=30_000).all(|number| holds(&index, number)));
        index.lock_region(0).check(&Numbers).unwrap();
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

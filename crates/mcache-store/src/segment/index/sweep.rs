//! How a region grows and shrinks: bucket by bucket, a few with each item that is added, so that
//! nobody ever waits for all of them.
//!
//! Which bucket half a hash names is `half * count / 2^32`: in the order of the halves, whatever
//! the count. So all below a border can be mapped by one count and all from it on by a larger one,
//! and no bucket is named by both. Growing moves the border down, shrinking moves it up: a step
//! takes one bucket's records out and puts them where the border's new place has them.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::bucket::SLOTS;
use super::locked::{Full, Journal, Locked, Place};
use super::{BUCKETS_MIN, HALVES, Hashes, Mapping, first_of};

/// Load at which a region grows: two choices of 12 slots rarely overflow below it.
const LOAD_MAX: f64 = 0.94;

/// Load below which a region shrinks. One that overflows although it is below it has keys that
/// are too much alike for any size.
const LOAD_MIN: f64 = 0.6;

/// Load that a region has after it shrank.
const LOAD_AIM: f64 = 0.84;

/// A region grows by one part of so many.
const GROWTH_DIVISOR: u32 = 14;

/// Steps with each item that is added: growing is over long before the next begins.
const STEPS: usize = 2;

/// Steps of upkeep while it holds a region.
const STEPS_OF_UPKEEP: usize = 16;

impl Locked<'_> {
    /// Goes on with a sweep that is under way, or begins one if the region is crowded.
    #[inline]
    pub(super) fn go_on(&self, hashes: &impl Hashes) {
        let mapping = self.extent().mapping();
        let is_crowded = f64::from(self.items()) >= slots(mapping.low) * LOAD_MAX;
        if mapping.is_moving() {
            self.sweep(is_crowded, hashes);
        } else if is_crowded {
            let _ = self.begin_growing(); // at the window's end it fills up to the last slot
        }
    }

    /// Makes room when two buckets are full although the region is not.
    #[cold]
    pub(super) fn make_room(&self, hashes: &impl Hashes) -> Result<(), Full> {
        let mapping = self.extent().mapping();
        if mapping.is_moving() {
            return match self.turn_back() {
                true => Ok(()),
                false => self.step(hashes).then_some(()).ok_or(Full),
            };
        }
        if f64::from(self.items()) < slots(mapping.low) * LOAD_MIN {
            return Err(Full);
        }
        self.begin_growing()
    }

    /// Gives buckets back if far more are there than the items need. Does a part of it; returns
    /// whether there is more to do.
    ///
    /// A region that grows and keeps its items is left as it is until more come: who walks over
    /// items while none is added meets each of them once.
    pub fn shrink(&self, hashes: &impl Hashes) -> bool {
        for _ in 0..STEPS_OF_UPKEEP {
            let mapping = self.extent().mapping();
            if !mapping.is_moving() {
                return self.begin_shrinking();
            }
            let is_spacious = f64::from(self.items()) < slots(mapping.low) * LOAD_MIN;
            if !is_spacious && !self.region().shrinking.load(Relaxed) {
                return false;
            }
            if !self.step(hashes) {
                return false;
            }
        }
        true
    }

    /// Gives the region, which holds nothing, the room for so many items: they need not make it
    /// grow again and again.
    pub(super) fn begin_with(&self, items: f64) {
        let wanted = buckets_for(items).min(self.index.window as u32);
        self.extent().low.store(wanted, Relaxed);
        self.extent().high.store(wanted, Relaxed);
    }

    fn begin_shrinking(&self) -> bool {
        let (region, extent) = (self.region(), self.extent());
        let (count, items) = (extent.low.load(Relaxed), f64::from(self.items()));
        let wanted = buckets_for(items);
        if items >= slots(count) * LOAD_MIN || wanted >= count {
            return false;
        }
        extent.low.store(wanted, Relaxed);
        extent.border.store(0, Relaxed);
        region.shrinking.store(true, Relaxed);
        true
    }

    #[cold]
    fn begin_growing(&self) -> Result<(), Full> {
        let extent = self.extent();
        let count = extent.high.load(Relaxed);
        let wanted = (count + count / GROWTH_DIVISOR).next_multiple_of(BUCKETS_MIN);
        let wanted = wanted.max(count + BUCKETS_MIN).min(self.index.window as u32);
        if wanted <= count {
            return Err(Full);
        }
        extent.border.store(HALVES, Relaxed);
        extent.high.store(wanted, Relaxed);
        Ok(())
    }

    #[cold]
    fn sweep(&self, is_crowded: bool, hashes: &impl Hashes) {
        if is_crowded {
            self.turn_back(); // the items came back
        }
        let is_moving = || self.extent().mapping().is_moving();
        let _ = (0..STEPS).all(|_| is_moving() && self.step(hashes));
    }

    /// Lets the region grow again if it is shrinking. Returns whether it was.
    fn turn_back(&self) -> bool {
        let (region, extent) = (self.region(), self.extent());
        if extent.border.load(Relaxed) == 0 {
            extent.low.store(extent.high.load(Relaxed), Relaxed); // nothing was moved yet
        }
        region.shrinking.swap(false, Relaxed)
    }

    /// Moves the border by one bucket. Returns whether its records could be placed anew: if not,
    /// everything is as it was.
    fn step(&self, hashes: &impl Hashes) -> bool {
        let (region, extent) = (self.region(), self.extent());
        let before = extent.mapping();
        let shrinking = region.shrinking.load(Relaxed);
        let (bucket, border) = if shrinking { before.above() } else { before.below() };
        let mut journal = Journal { writes: Some(Vec::with_capacity(2 * SLOTS)) };
        let (taken, count) = self.take_all(self.at(bucket), hashes, &mut journal);
        extent.border.store(border, Relaxed);
        let place = |&(hash, at): &_| self.place(hash, at, hashes, &mut journal);
        if !taken[..count].iter().all(place) {
            self.undo(journal);
            extent.border.store(before.border, Relaxed);
            return false;
        }
        if shrinking {
            self.give_back(bucket, before.low);
        }
        match border {
            0 => extent.low.store(before.high, Relaxed),
            HALVES => {
                extent.high.store(before.low, Relaxed);
                region.shrinking.store(false, Relaxed);
            }
            _ => {}
        }
        true
    }

    /// Empties a bucket. Returns what it had, each with its hash, and how many they are.
    fn take_all(
        &self,
        bucket: usize,
        hashes: &impl Hashes,
        journal: &mut Journal,
    ) -> ([(u64, u32); SLOTS], usize) {
        let slots = || self.bucket(bucket).locations.iter().map(|it| it.load(Relaxed));
        slots().filter(|&location| location != 0).for_each(|location| hashes.expect(location));
        let (mut taken, mut count) = ([(0, 0); SLOTS], 0);
        for (slot, location) in slots().enumerate() {
            if location != 0 {
                taken[count] = (hashes.hash_at(location), location);
                count += 1;
                self.write(Place { bucket, slot }, 0, 0, journal);
            }
        }
        (taken, count)
    }

    fn undo(&self, journal: Journal) {
        for (place, tag, location) in journal.writes.into_iter().flatten().rev() {
            let bucket = self.bucket(place.bucket);
            bucket.set_tag(place.slot, tag);
            bucket.locations[place.slot].store(location, Release);
        }
    }

    /// Gives a page of buckets back to the system of which this was the last, if the smaller
    /// count has none of them.
    fn give_back(&self, bucket: usize, low: u32) {
        let (end, page) = (bucket + 1, BUCKETS_MIN as usize);
        if end.is_multiple_of(page) && end - page >= low as usize {
            let start = self.at(end - page);
            self.index.buckets.release(start, start + page);
        }
    }

    fn items(&self) -> u32 {
        self.region().items.load(Relaxed)
    }
}

impl Mapping {
    /// The bucket below the border, and where the border is when it is moved.
    fn below(&self) -> (usize, u64) {
        let bucket = self.bucket(self.border - 1);
        (bucket, first_of(bucket, u64::from(self.low)))
    }

    /// The bucket above the border, and where the border is when it is moved.
    fn above(&self) -> (usize, u64) {
        let bucket = self.bucket(self.border);
        (bucket, first_of(bucket + 1, u64::from(self.high)))
    }
}

/// Buckets of a region that so many items are to have.
fn buckets_for(items: f64) -> u32 {
    let wanted = (items / LOAD_AIM / SLOTS as f64).min(f64::from(u32::MAX / 2)) as u32;
    wanted.next_multiple_of(BUCKETS_MIN).max(BUCKETS_MIN)
}

fn slots(buckets: u32) -> f64 {
    f64::from(buckets) * SLOTS as f64
}

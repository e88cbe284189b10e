//! What a writer does with a region that it has locked.

use std::sync::atomic::Ordering::{Relaxed, Release};

use super::bucket::{Bucket, SLOTS};
use super::{Extent, HALVES, Hashes, Index, Location, Region, tag_of};

/// Hints that tell of places in a bucket: a power of two, not all of which are slots.
const HINTS_PER_BUCKET: usize = SLOTS.next_power_of_two();

/// How many records may be moved for one for which both buckets are full.
const MOVES_MAX: usize = 2;

/// A place in the table. What stands there changes only while its region is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) bucket: usize,
    pub(super) slot: usize,
}

impl Place {
    /// The place as a [`mcache_base::Key`]'s hint.
    #[inline]
    pub fn hint(self) -> u64 {
        (self.bucket * HINTS_PER_BUCKET + self.slot + 1) as u64
    }

    /// The place that a hint tells of.
    #[inline]
    pub(super) fn of(hint: u64) -> Option<Self> {
        let place = (hint as usize).checked_sub(1)?;
        Some(Self { bucket: place / HINTS_PER_BUCKET, slot: place % HINTS_PER_BUCKET })
    }
}

/// The table has no place for one more item: its region has used up its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A locked region. Dropping it unlocks.
pub struct Locked<'i> {
    pub(super) index: &'i Index,
    pub(super) region: usize,
}

/// What slots were before they were written to, if it is kept, so that it can be undone.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) writes: Option<Vec<(Place, u8, Location)>>,
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

    /// Finds a location at the place that a hint tells of.
    #[inline]
    pub fn find_at(&self, hint: u64, location: Location) -> Option<(Place, Location)> {
        let is_it = self.index.at(hint) == Some(location);
        Place::of(hint).filter(|_| is_it).map(|place| (place, location))
    }

    /// Puts another record into a place.
    #[inline]
    pub fn replace(&self, place: Place, location: Location) {
        self.bucket(place.bucket).locations[place.slot].store(location, Release);
    }

    /// Empties a place whose record has this sequence number.
    #[inline]
    pub fn remove(&self, place: Place, sequence: u64) {
        self.bucket(place.bucket).locations[place.slot].store(0, Release);
        let Region { items, removed, .. } = self.region();
        items.store(items.load(Relaxed) - 1, Relaxed);
        removed.store(removed.load(Relaxed).max(sequence), Relaxed);
    }

    /// The highest sequence number of a record that was removed from the region: an item that comes
    /// back has a higher one.
    #[inline]
    pub fn removed(&self) -> u64 {
        self.region().removed.load(Relaxed)
    }

    /// Adds a record that is not there yet. May grow the region, for which it asks `hashes`.
    pub fn insert(&self, hash: u64, location: Location, hashes: &impl Hashes) -> Result<(), Full> {
        self.go_on(hashes);
        while !self.place(hash, location, hashes, &mut Journal::default()) {
            self.make_room(hashes)?;
        }
        let items = &self.region().items;
        items.store(items.load(Relaxed) + 1, Relaxed);
        Ok(())
    }

    /// Every location in the region, with its place.
    pub fn each(&self, mut visit: impl FnMut(Place, Location)) {
        for bucket in self.buckets(self.extent().high.load(Relaxed)) {
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
        let mapping = self.extent().mapping();
        let mut half = within;
        for _ in 0..slots.div_ceil(SLOTS) {
            if half >= HALVES {
                break;
            }
            let bucket = self.bucket(self.at(mapping.bucket(half)));
            let locations = bucket.locations.iter().map(|it| it.load(Relaxed));
            found.extend(locations.filter(|&location| location != 0));
            half = mapping.next(half);
        }
        (half < HALVES).then_some(half)
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

    pub(super) fn region(&self) -> &Region {
        &self.index.regions[self.region]
    }

    pub(super) fn extent(&self) -> &Extent {
        &self.index.extents[self.region]
    }

    #[inline]
    pub(super) fn bucket(&self, bucket: usize) -> &Bucket {
        &self.index.buckets.as_ref()[bucket]
    }

    /// Where in the table the region's bucket of this number stands.
    #[inline]
    pub(super) fn at(&self, within: usize) -> usize {
        self.index.bucket_of(self.region, within)
    }

    /// Where in the table the region's first `count` buckets stand.
    pub(super) fn buckets(&self, count: u32) -> impl Iterator<Item = usize> {
        (0..count as usize).map(|within| self.at(within))
    }

    /// Puts a location into the emptier of its two buckets, moving others away if both are full.
    pub(super) fn place(
        &self,
        hash: u64,
        location: Location,
        hashes: &impl Hashes,
        journal: &mut Journal,
    ) -> bool {
        let buckets = self.index.candidates(hash);
        let [first, second] = buckets.map(|bucket| self.bucket(bucket).free_slots());
        let (bucket, free) =
            if first.0 >= second.0 { (buckets[0], first) } else { (buckets[1], second) };
        let place = if free.0 > 0 {
            Some(Place { bucket, slot: free.1 })
        } else {
            (0..MOVES_MAX).find_map(|moves| {
                buckets.into_iter().find_map(|bucket| {
                    let slot = self.move_one_away(bucket, moves, hashes, journal)?;
                    Some(Place { bucket, slot })
                })
            })
        };
        place.map(|place| self.write(place, tag_of(hash), location, journal)).is_some()
    }

    /// Moves one record of a full bucket to its other bucket, for which `moves` others may be
    /// moved on. Returns the slot that may be filled now.
    fn move_one_away(
        &self,
        bucket: usize,
        moves: usize,
        hashes: &impl Hashes,
        journal: &mut Journal,
    ) -> Option<usize> {
        (0..SLOTS).find(|&slot| {
            let location = self.bucket(bucket).locations[slot].load(Relaxed);
            let hash = hashes.hash_at(location);
            let [first, second] = self.index.candidates(hash);
            let other = if first == bucket { second } else { first };
            let (free, to) = self.bucket(other).free_slots();
            let to = match (other == bucket, free, moves) {
                (true, ..) | (_, 0, 0) => return false,
                (_, 0, _) => self.move_one_away(other, moves - 1, hashes, journal),
                _ => Some(to),
            };
            to.map(|slot| {
                self.write(Place { bucket: other, slot }, tag_of(hash), location, journal);
            })
            .is_some()
        })
    }

    /// Fills or empties a slot.
    #[inline]
    pub(super) fn write(&self, place: Place, tag: u8, location: Location, journal: &mut Journal) {
        let bucket = self.bucket(place.bucket);
        if let Some(writes) = &mut journal.writes {
            let before = bucket.locations[place.slot].load(Relaxed);
            writes.push((place, bucket.tag(place.slot), before));
        }
        bucket.set_tag(place.slot, tag);
        bucket.locations[place.slot].store(location, Release);
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let version = &self.region().version;
        version.store(version.load(Relaxed).wrapping_add(1), Release);
    }
}

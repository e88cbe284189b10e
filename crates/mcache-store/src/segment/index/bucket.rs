//! A bucket: twelve slots in one cache line, whose tags are compared eight at once.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::Location;
use crate::segment::memory::Cells;

/// Slots in a bucket: 12 locations and 12 tags fill a cache line but for 4 bytes.
pub(super) const SLOTS: usize = 12;

/// Tags in a word of a bucket, so that as many are compared at once.
const TAGS_IN_WORD: usize = 8;

/// One cache line of the table.
#[derive(Default)]
#[repr(C, align(64))]
pub struct Bucket {
    pub(super) locations: [AtomicU32; SLOTS],
    /// The slots' tags, the first in the lowest byte. The last four bytes are spare.
    tags: [AtomicU64; 2],
}

// SAFETY: a bucket is made of atomic integers.
unsafe impl Cells for Bucket {}

impl Bucket {
    /// A bit for each slot whose tag is `tag`, and perhaps for some that have others: slots 0 to 7
    /// in the lowest bits of the bytes, 8 to 11 in bit 4 of the first bytes.
    #[inline(always)]
    pub(super) fn marks(&self, tag: u8) -> u64 {
        let [low, high] = &self.tags;
        let (low, high) = (alike(low.load(Relaxed), tag), alike(high.load(Relaxed), tag));
        low >> 7 | u64::from(high as u32) >> 3
    }

    pub(super) fn tag(&self, slot: usize) -> u8 {
        let word = self.tags[slot / TAGS_IN_WORD].load(Relaxed);
        (word >> (slot % TAGS_IN_WORD * 8)) as u8
    }

    /// Changes a tag; the bucket's region is locked.
    pub(super) fn set_tag(&self, slot: usize, tag: u8) {
        let (word, shift) = (&self.tags[slot / TAGS_IN_WORD], slot % TAGS_IN_WORD * 8);
        let others = word.load(Relaxed) & !(0xff << shift);
        word.store(others | u64::from(tag) << shift, Relaxed);
    }

    /// Appends the slots as bytes.
    pub(super) fn save(&self, to: &mut Vec<u8>) {
        let locations = self.locations.iter().map(|it| it.load(Relaxed).to_le_bytes());
        to.extend(locations.flatten());
        to.extend(self.tags.iter().flat_map(|it| it.load(Relaxed).to_le_bytes()));
    }

    /// Makes the slots what they were when they were saved, if no location is `end` or behind it.
    /// Returns how many are filled.
    pub(super) fn load(&self, from: &[u8; size_of::<Self>()], end: Location) -> Option<u32> {
        let (locations, tags) = from.split_at(size_of_val(&self.locations));
        let mut filled = 0;
        for (to, from) in self.locations.iter().zip(locations.as_chunks::<4>().0) {
            let location = Location::from_le_bytes(*from);
            if location >= end && location > 0 {
                return None;
            }
            filled += u32::from(location > 0);
            to.store(location, Relaxed);
        }
        for (to, from) in self.tags.iter().zip(tags.as_chunks::<8>().0) {
            to.store(u64::from_le_bytes(*from), Relaxed);
        }
        Some(filled)
    }

    /// Empties all slots.
    pub(super) fn clear(&self) {
        self.locations.iter().for_each(|location| location.store(0, Relaxed));
    }

    /// How many slots are free, and one of them.
    pub(super) fn free_slots(&self) -> (usize, usize) {
        let free = |&slot: &usize| self.locations[slot].load(Relaxed) == 0;
        let count = (0..SLOTS).filter(free).count();
        (count, (0..SLOTS).find(free).unwrap_or(SLOTS))
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
pub(super) fn slot_of(bit: usize) -> usize {
    bit / 8 + bit % 8 * 2
}

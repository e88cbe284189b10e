//! Ghosts: what is remembered of items that have left, in 4 bytes each.
//!
//! A table of sets of 16 entries, one cache line a set. An entry is the fingerprint of a key's
//! hash (17 bits, 0 for none), its heat (4), its queue (1) and when it left (10, in parts of the
//! capacity by the byte clock). Entries are relaxed atomics: a lost one is a lost hint.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use super::segment::View;
use crate::segment::memory::CellArray;

const SET: usize = 16;
const FINGERPRINT: u32 = (1 << 17) - 1;
const HEAT_SHIFT: u32 = 17;
const QUEUE_SHIFT: u32 = 21;
const STAMP_SHIFT: u32 = 22;
const STAMPS: u32 = 1 << 10;

/// Stamps while one capacity is written.
const STAMPS_PER_CAPACITY: u64 = 128;

/// Share of the capacity that ghosts take at most: one part of so many.
const CAPACITY_DIVISOR: u64 = 50;

/// A ghost that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ghost {
    /// The level that the item left with.
    pub(super) heat: u32,
    /// The queue that it left.
    pub(super) queue: usize,
    /// Since then, in capacities written.
    pub(super) age: f64,
}

pub(super) struct Ghosts {
    entries: CellArray<AtomicU32>,
    sets: AtomicUsize,
    /// Bytes written from one stamp to the next.
    stamp_bytes: AtomicU64,
}

impl Ghosts {
    /// None yet, with address space for as many as a store of `reserve` bytes may have.
    pub(super) fn new(reserve: u64) -> io::Result<Self> {
        let entries = (reserve / CAPACITY_DIVISOR / size_of::<AtomicU32>() as u64) as usize;
        let entries = CellArray::new(entries.next_multiple_of(SET))?;
        Ok(Self { entries, sets: AtomicUsize::new(0), stamp_bytes: AtomicU64::new(u64::MAX) })
    }

    /// Gives as many ghosts room as there are items, within the ghosts' share of the capacity.
    /// Entries are lost when the table changes, so it changes seldom.
    pub(super) fn fit(&self, view: &View) {
        self.stamp_bytes.store((view.capacity / STAMPS_PER_CAPACITY).max(1), Relaxed);
        let most = view.capacity / CAPACITY_DIVISOR / size_of::<AtomicU32>() as u64;
        let wanted = view.items.min(most) as usize / SET;
        let wanted = wanted.min(self.entries.as_ref().len() / SET);
        let sets = self.sets.load(Relaxed);
        if wanted > sets + sets / 4 || wanted < sets / 2 {
            self.sets.store(wanted, Relaxed);
            self.entries.release(wanted * SET, sets * SET);
        }
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> u64 {
        (self.sets.load(Relaxed) * SET * size_of::<AtomicU32>()) as u64
    }

    /// Leaves a ghost, in the place of the oldest of its set.
    pub(super) fn leave(&self, hash: u64, heat: u32, queue: usize, written: u64) {
        let now = self.stamp(written);
        let age = |entry: u32| match entry & FINGERPRINT {
            0 => STAMPS, // an empty place is older than any
            _ => now.wrapping_sub(entry >> STAMP_SHIFT) % STAMPS,
        };
        if let Some(cell) = self.set(hash).iter().max_by_key(|cell| age(cell.load(Relaxed))) {
            let marks = heat << HEAT_SHIFT | (queue as u32) << QUEUE_SHIFT | now << STAMP_SHIFT;
            cell.store(fingerprint(hash) | marks, Relaxed);
        }
    }

    /// Takes a key's ghost, if there is one.
    pub(super) fn take(&self, hash: u64, written: u64) -> Option<Ghost> {
        let (cell, entry) = self.set(hash).iter().find_map(|cell| {
            let entry = cell.load(Relaxed);
            (entry & FINGERPRINT == fingerprint(hash)).then_some((cell, entry))
        })?;
        cell.compare_exchange(entry, 0, Relaxed, Relaxed).ok()?;
        let age = self.stamp(written).wrapping_sub(entry >> STAMP_SHIFT) % STAMPS;
        Some(Ghost {
            heat: entry >> HEAT_SHIFT & 15,
            queue: (entry >> QUEUE_SHIFT & 1) as usize,
            age: f64::from(age) / STAMPS_PER_CAPACITY as f64,
        })
    }

    fn stamp(&self, written: u64) -> u32 {
        (written / self.stamp_bytes.load(Relaxed)) as u32 % STAMPS
    }

    #[inline]
    fn set(&self, hash: u64) -> &[AtomicU32] {
        let sets = self.sets.load(Relaxed) as u64;
        let begin = (((hash >> 32) * sets) >> 32) as usize * SET;
        let end = if sets == 0 { begin } else { begin + SET };
        self.entries.as_ref().get(begin..end).unwrap_or_default()
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash as u32 & FINGERPRINT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 1 << 20;

    fn hash(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn view(items: u64) -> View {
        View { capacity: CAPACITY, written: 0, items, segment_size: 1 << 14, lengths: [0, 0] }
    }

    #[test]
    fn a_ghost_is_found_once_and_knows_its_past() {
        let ghosts = Ghosts::new(CAPACITY).unwrap();
        assert_eq!((ghosts.take(1, 0), ghosts.bytes()), (None, 0));
        ghosts.leave(1, 1, 1, 0); // nowhere to: lost
        ghosts.fit(&view(1000));
        for (number, heat, queue) in [(1, 0, 0), (2, 15, 1), (0, 7, 1)] {
            ghosts.leave(hash(number), heat, queue, 3 * CAPACITY);
            let found = ghosts.take(hash(number), 5 * CAPACITY);
            assert_eq!(found, Some(Ghost { heat, queue, age: 2.0 }));
            assert_eq!(ghosts.take(hash(number), 5 * CAPACITY), None);
        }
    }

    #[test]
    fn the_table_keeps_its_share_and_the_newest() {
        let ghosts = Ghosts::new(CAPACITY).unwrap();
        ghosts.fit(&view(u64::MAX));
        let most = CAPACITY / CAPACITY_DIVISOR;
        assert!(ghosts.bytes() <= most && ghosts.bytes() > most - 64, "{}", ghosts.bytes());
        let places = ghosts.bytes() / 4;
        (0..4 * places).for_each(|i| ghosts.leave(hash(i), 0, 0, i * CAPACITY / places));
        let found = |range: std::ops::Range<u64>| {
            range.filter(|&i| ghosts.take(hash(i), 4 * CAPACITY).is_some()).count() as u64
        };
        assert!(found(3 * places + places / 2..4 * places) * 10 > places / 2 * 9);
        assert!(found(0..places * 2) * 10 < places);
        ghosts.fit(&view(100));
        assert!(ghosts.bytes() <= 400);
    }
}

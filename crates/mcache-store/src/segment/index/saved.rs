//! The table as bytes, region by region: what a clean stop leaves to the next process.

use std::sync::atomic::Ordering::Relaxed;

use super::bucket::Bucket;
use super::{BUCKETS_MIN, HALVES, Index, Location, Locked};

/// Bytes of a region before its buckets.
const HEAD: usize = 24;

impl Locked<'_> {
    /// Appends all that the region is.
    pub fn save(&self, to: &mut Vec<u8>) {
        let (region, extent) = (self.region(), self.extent());
        let high = extent.high.load(Relaxed);
        for number in [extent.low.load(Relaxed), high, region.items.load(Relaxed)] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        to.extend_from_slice(&u32::from(region.shrinking.load(Relaxed)).to_le_bytes());
        to.extend_from_slice(&extent.border.load(Relaxed).to_le_bytes());
        for bucket in self.buckets(high) {
            self.bucket(bucket).save(to);
        }
    }

    /// Makes the region, which is new, what it was when it was saved. Returns whether the bytes can
    /// be one's, with no location from `end` on; it holds nothing otherwise.
    pub fn load(&self, from: &[u8], end: Location) -> bool {
        let done = self.load_all(from, end).is_some();
        if !done {
            self.clear();
        }
        done
    }

    /// Makes the region what it was when it was new.
    pub fn clear(&self) {
        let (region, extent) = (self.region(), self.extent());
        let buckets = self.buckets(extent.high.load(Relaxed));
        buckets.for_each(|bucket| self.bucket(bucket).clear());
        extent.low.store(BUCKETS_MIN, Relaxed);
        extent.high.store(BUCKETS_MIN, Relaxed);
        extent.border.store(0, Relaxed);
        region.items.store(0, Relaxed);
        region.shrinking.store(false, Relaxed);
    }

    fn load_all(&self, from: &[u8], end: Location) -> Option<()> {
        let (head, buckets) = from.split_at_checked(HEAD)?;
        let (numbers, border) = head.split_at_checked(HEAD - size_of::<u64>())?;
        let (numbers, _) = numbers.as_chunks::<4>();
        let &[low, high, items, shrinking] = numbers else { return None };
        let [low, high, items, shrinking] = [low, high, items, shrinking].map(u32::from_le_bytes);
        let border = u64::from_le_bytes(border.try_into().ok()?);
        let (buckets, rest) = buckets.as_chunks::<{ size_of::<Bucket>() }>();
        let is_sound = BUCKETS_MIN <= low
            && low <= high
            && high as usize <= self.index.window
            && border <= HALVES
            && buckets.len() == high as usize
            && rest.is_empty();
        if !is_sound {
            return None;
        }
        let (region, extent) = (self.region(), self.extent());
        extent.low.store(low, Relaxed);
        extent.high.store(high, Relaxed);
        extent.border.store(border, Relaxed);
        region.shrinking.store(shrinking != 0, Relaxed);
        let mut filled = 0;
        for (bucket, bytes) in self.buckets(high).zip(buckets) {
            filled += self.bucket(bucket).load(bytes, end)?;
        }
        region.items.store(filled, Relaxed);
        (filled == items).then_some(())
    }
}

impl Index {
    /// Visits the locations that a look for `hash` may come upon. The region may be changed
    /// meanwhile.
    pub fn each_candidate(&self, hash: u64, mut visit: impl FnMut(Location)) {
        for bucket in self.candidates(hash) {
            let _ = self.search(bucket, super::tag_of(hash), &mut |location| {
                visit(location);
                false
            });
        }
    }

    /// Gives the table, which holds nothing, the room for so many items.
    pub fn begin_with(&self, items: u64) {
        let each = items as f64 / self.regions() as f64;
        (0..self.regions()).for_each(|region| self.lock_region(region).begin_with(each));
    }

    /// Makes the table what it was when it was new.
    pub fn clear(&self) {
        (0..self.regions()).for_each(|region| self.lock_region(region).clear());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hashes;
    use super::*;

    struct Numbers;

    impl Hashes for Numbers {
        fn hash_at(&self, location: Location) -> u64 {
            let hash = u64::from(location).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        }
    }

    fn index() -> Index {
        Index::new(2, 4096).expect("memory")
    }

    #[test]
    fn a_region_is_what_was_saved_or_empty() {
        for items in [0, 5, 1_300, 9_000, 9_037] {
            let (one, other) = (index(), index());
            for number in 1..=items {
                let hash = Numbers.hash_at(number);
                one.lock(hash).insert(hash, number, &Numbers).expect("room");
            }
            for region in 0..2 {
                let mut bytes = Vec::new();
                one.lock_region(region).save(&mut bytes);
                for (bytes, end) in [
                    (&bytes[1..], items + 1),
                    (&bytes[..bytes.len() - 1], items + 1),
                    (&[&bytes[..], &[0; 64]].concat(), items + 1),
                    (&bytes[..HEAD], items + 1),
                ] {
                    assert!(!other.lock_region(region).load(bytes, end), "of {items}");
                }
                assert_eq!(other.lock_region(region).load(&bytes, 1), items == 0);
                assert!(other.lock_region(region).load(&bytes, items + 1));
                other.lock_region(region).check(&Numbers).expect("invariants");
            }
            let found = |number| {
                other.find(Numbers.hash_at(number), |location| location == number).is_some()
            };
            assert!((1..=items).all(found));
            assert_eq!(other.items(), u64::from(items));
            let (mut candidates, hash) = (Vec::new(), Numbers.hash_at(3));
            other.each_candidate(hash, |location| candidates.push(location));
            assert_eq!(candidates.contains(&3), items >= 3);
            other.clear();
            assert!(!(1..=items).any(found));
            assert_eq!(other.items(), 0);
        }
    }
}

//! The numbers of a memory file that change while it is used: its state, the points of flushes,
//! and how far sequence numbers and clocks have come. And the groups that were flushed.
//!
//! A number of 56 bits and a check of 8 are one word, which changes at once; it stands there twice.
//! Where a kill came between the two stores, nobody was answered yet: the higher number holds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use mcache_base::limits::{GROUPS_MAX, KEY_MAX};
use mcache_base::{Expiry, Now};

use super::super::checksum;
use super::super::memory::{Mapping, PAGE};
use super::super::record::{TIME, pack_expiry, unpack_expiry};
use super::layout::GROUPS_AT;
use crate::flush::FlushLog;

/// A number of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// [`IN_USE`] or [`STOPPED`].
    State,
    /// What was stored until here is flushed.
    Cutoff,
    /// The flush that is to come, as an expiry; never if there is none.
    Pending,
    /// Groups that were flushed.
    Groups,
    /// The last sequence number, as of late.
    Sequence,
    /// The cache's clock, as of late, in milliseconds.
    ClockMs,
    /// The wall clock at the same moment, in seconds.
    Unix,
    /// Where the index stands that was saved at a clean stop; 0 if none was.
    SavedAt,
    /// What `hash_power_level` says.
    HashLevel,
    /// Items, as of late: the next process makes an index for so many.
    Items,
}

/// A server works with the file, or died with it.
pub const IN_USE: u64 = 2;

/// A server stopped in order.
pub const STOPPED: u64 = 1;

/// The highest number.
const NUMBER_MAX: u64 = (1 << 56) - 1;

/// What makes checks of numbers.
const SCRAMBLE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Bytes of a group's place: cutoff, checksum, length of the prefix, prefix.
const GROUP_LEN: usize = 272;

/// Where in the place the prefix begins.
const PREFIX_AT: usize = 13;

/// Groups in a page: the system writes what lies in one page whole or not at all.
const GROUPS_IN_PAGE: usize = PAGE / GROUP_LEN;

/// Bytes of all groups' places.
pub const GROUPS_LEN: usize = GROUPS_MAX.div_ceil(GROUPS_IN_PAGE) * PAGE;

const _: () = assert!(PREFIX_AT + KEY_MAX <= GROUP_LEN);

/// The page, and the file for the groups.
pub struct Ledger {
    page: Mapping,
    file: Arc<File>,
}

impl Ledger {
    /// The ledger of a file, whose page is mapped.
    pub fn new(page: Mapping, file: Arc<File>) -> Self {
        Self { page, file }
    }

    /// Whether a file has a ledger there: known by its state.
    pub fn is_at(file: &File, at: u64) -> bool {
        [0, 1].iter().all(|&copy| {
            let mut word = [0; size_of::<u64>()];
            let place = at + Self::place(Cell::State, copy) as u64;
            let is_read = file.read_exact_at(&mut word, place).is_ok();
            let word = u64::from_le_bytes(word);
            is_read && [IN_USE, STOPPED].iter().any(|&it| word == Self::word(Cell::State, copy, it))
        })
    }

    /// Begins one that says nothing yet.
    pub fn begin(&self) {
        for cell in [Cell::Cutoff, Cell::Groups, Cell::Sequence, Cell::SavedAt] {
            self.set(cell, 0);
        }
        self.order_pending(None);
        self.set(Cell::State, IN_USE);
    }

    /// A number, if it is whole.
    pub fn get(&self, cell: Cell) -> Option<u64> {
        let [first, second] = [0, 1].map(|copy| {
            let word = self.page.u64(Self::place(cell, copy)).load(Relaxed);
            let number = word & NUMBER_MAX;
            (word == Self::word(cell, copy, number)).then_some(number)
        });
        Some(first?.max(second?))
    }

    /// Sets a number, which is less than 2^56.
    pub fn set(&self, cell: Cell, number: u64) {
        for copy in [0, 1] {
            let word = Self::word(cell, copy, number.min(NUMBER_MAX));
            self.page.u64(Self::place(cell, copy)).store(word, Release);
        }
    }

    /// Notes how far sequence numbers and clocks have come.
    pub fn note(&self, sequence: u64, now: Now) {
        self.set(Cell::Sequence, sequence);
        self.set(Cell::ClockMs, now.clock_ms);
        self.set(Cell::Unix, now.unix);
    }

    /// The flush that is to come.
    pub fn pending(&self) -> Option<Option<Expiry>> {
        let pending = self.get(Cell::Pending)?;
        Some((pending < NUMBER_MAX).then(|| unpack_expiry(pending)))
    }

    /// The flushed groups, each with its prefix and cutoff; an error if one is damaged.
    pub fn groups(&self) -> io::Result<Vec<(Box<[u8]>, u64)>> {
        let damaged = || io::Error::from(io::ErrorKind::InvalidData);
        let count = self.get(Cell::Groups).ok_or_else(damaged)? as usize;
        if count > GROUPS_MAX {
            return Err(damaged());
        }
        let mut groups = Vec::with_capacity(count);
        for number in 0..count {
            let mut place = [0; GROUP_LEN];
            self.file.read_exact_at(&mut place, Self::group_at(number))?;
            let Some((head, _)) = place.split_first_chunk::<PREFIX_AT>() else { break };
            let &[a, b, c, d, e, f, g, h, w, x, y, z, _] = head;
            let cutoff = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let len = usize::from(place[PREFIX_AT - 1]);
            let prefix = place.get(PREFIX_AT..PREFIX_AT + len).ok_or_else(damaged)?;
            if u32::from_le_bytes([w, x, y, z]) != Self::checksum_of(&place) {
                return Err(damaged());
            }
            groups.push((prefix.into(), cutoff));
        }
        Ok(groups)
    }

    fn place(cell: Cell, copy: usize) -> usize {
        // The copies lie far apart: what damages one may leave the other.
        (cell as usize + copy * PAGE / 2 / size_of::<u64>()) * size_of::<u64>()
    }

    /// A number with its check, which no zero has.
    fn word(cell: Cell, copy: usize, number: u64) -> u64 {
        let salted = number.wrapping_add((cell as u64) << 8 | copy as u64 | 1 << 60);
        let check = salted.wrapping_mul(SCRAMBLE).rotate_left(23).wrapping_mul(SCRAMBLE) >> 56;
        number | check << 56
    }

    fn group_at(number: usize) -> u64 {
        let (page, place) = (number / GROUPS_IN_PAGE, number % GROUPS_IN_PAGE);
        GROUPS_AT + (page * PAGE + place * GROUP_LEN) as u64
    }

    fn checksum_of(place: &[u8; GROUP_LEN]) -> u32 {
        checksum::append(checksum::append(0, &place[..8]), &place[12..])
    }
}

impl FlushLog for Ledger {
    fn cut(&self, cutoff: u64) {
        self.set(Cell::Cutoff, cutoff);
    }

    fn order_pending(&self, moment: Option<Expiry>) {
        self.set(Cell::Pending, moment.map_or(NUMBER_MAX, |it| pack_expiry(it) & TIME));
    }

    fn write_group(&self, number: usize, prefix: &[u8], cutoff: u64) -> io::Result<()> {
        let mut place = [0; GROUP_LEN];
        let Some(room) = place.get_mut(PREFIX_AT..PREFIX_AT + prefix.len()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        room.copy_from_slice(prefix);
        place[..8].copy_from_slice(&cutoff.to_le_bytes());
        place[PREFIX_AT - 1] = prefix.len() as u8;
        let sum = Self::checksum_of(&place);
        place[8..12].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&place, Self::group_at(number))
    }

    fn count_groups(&self, count: usize) {
        self.set(Cell::Groups, count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let file = rustix::fs::memfd_create("a ledger", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        Ledger::new(Mapping::new(PAGE).unwrap(), Arc::new(file.into()))
    }

    #[test]
    fn a_number_is_whole_or_none() {
        let ledger = ledger();
        assert_eq!(ledger.get(Cell::State), None, "zeros are no number");
        for number in [0, 1, 77, NUMBER_MAX] {
            for cell in [Cell::State, Cell::Cutoff, Cell::SavedAt] {
                ledger.set(cell, number);
                assert_eq!(ledger.get(cell), Some(number));
                let place = ledger.page.u64(Ledger::place(cell, 1));
                let whole = place.swap(number, Relaxed);
                assert_eq!(ledger.get(cell), None, "{number} without its check");
                place.store(Ledger::word(cell, 1, 3), Relaxed);
                assert_eq!(ledger.get(cell), Some(number.max(3)), "a kill between the stores");
                place.store(whole, Relaxed);
            }
        }
    }

    #[test]
    fn groups_and_pending_flushes_are_read_as_written() {
        let ledger = ledger();
        ledger.begin();
        assert_eq!(ledger.pending(), Some(None));
        for moment in [Expiry::Clock(5), Expiry::Unix(1_800_000_000)] {
            ledger.order_pending(Some(moment));
            assert_eq!(ledger.pending(), Some(Some(moment)));
        }
        let groups: Vec<(Box<[u8]>, u64)> =
            (0..40).map(|n| (vec![b'g'; n + 1].into(), u64::MAX - n as u64)).collect();
        for (number, (prefix, cutoff)) in groups.iter().enumerate() {
            ledger.write_group(number, prefix, *cutoff).unwrap();
            ledger.count_groups(number + 1);
        }
        assert_eq!(ledger.groups().unwrap(), groups);
        assert!(ledger.write_group(0, &[b'g'; 300], 1).is_err());
        ledger.file.write_all_at(b"x", Ledger::group_at(17) + 30).unwrap();
        assert!(ledger.groups().is_err());
    }
}

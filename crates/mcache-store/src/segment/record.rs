//! A record's bytes: header, key, value. Self-describing, checksummed, free of pointers.
//!
//! ```text
//!  0  u32  key length 8 | inline length 16 | fetched 1 | frequency 2 | has expiry, flags, extra 3
//!          | state 2
//!  4  u32  sequence number, as a distance from the segment's base
//!  8  u16  last access, in seconds modulo 65,536
//! 10  u32  CRC-32C, cut to 28 bits, of everything that does not change | heat 4, for eviction
//! 14  ...  extra u16, own cas u64, sequence u64, expiry u64 (8-aligned in memory), flags u32:
//!          each only if present
//!     ...  key, then the value, or for a fragmented one the list of its fragments
//! ```
//!
//! A key length of 0 makes it a fragment: length u32 at 4, CRC u32 at 8, owner's hash u64 at 12,
//! data from 20. With an inline length as well it is a filler: a dead place of so many granules,
//! of which word 0 says all, with a check of it where marks stand.
//!
//! Published bytes never change but for the cells: word 0's marks and state, last access, expiry,
//! and the checksum's first half (of a fragment all of it), which is inverted when the record dies:
//! so no few bits that flip in a memory file bring it back.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::Before;
use mcache_base::{Expiry, Now};

use super::checksum;
use super::layout::*;
pub use super::layout::{ALIGN, FRAGMENT_ENTRY, FRAGMENT_HEADER, INLINE_MAX};
use super::memory::Mapping;
use crate::eviction::FREQUENCY_MAX;
use crate::semantics::Attributes;

/// What a checksum that holds says of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sum {
    /// It is as it was completed with: the state tells whether the record is alive.
    AsWritten,
    /// The record is dead.
    Inverted,
}

/// A record that is complete.
#[derive(Clone, Copy)]
pub struct Record<'m> {
    memory: &'m Mapping,
    at: usize,
    word: u32,
    /// Where the key stands. Nearly everything that is asked stands right before or behind it.
    key: usize,
}

impl<'m> Record<'m> {
    /// The record at `at`.
    ///
    /// # Safety
    /// A complete record begins at `at`, and its memory is not used again during `'m`.
    #[inline]
    pub unsafe fn new(memory: &'m Mapping, at: usize) -> Self {
        let word = memory.u32(at).load(Acquire);
        let mut record = Self { memory, at, word, key: HEADER };
        if word & (HAS_EXTRA | HAS_EXPIRY | HAS_FLAGS) != 0 {
            record.key = record.layout().key;
        }
        record
    }

    /// The record at `at`, if one that is whole begins there and ends by `end`: what is there may
    /// be anything. `base` is that of its segment.
    ///
    /// # Safety
    /// Nobody else writes to the memory up to `end`, or uses it for anything else, during `'m`.
    pub unsafe fn whole(memory: &'m Mapping, at: usize, end: usize, base: u64) -> Option<Self> {
        let room = end.checked_sub(at).filter(|&room| room >= ALIGN)?;
        let word = memory.u32(at).load(Acquire);
        let least = match (key_len(word), inline_len(word), word & STATE) {
            (0, 0, LIVE | DEAD) => FRAGMENT_HEADER,
            (0, granules, DEAD) if word == filler(granules as u32) => ALIGN,
            (1..=KEY_MAX, _, LIVE | DEAD) => HEADER + size_of::<u16>(),
            _ => return None,
        };
        if room < least {
            return None;
        }
        // SAFETY: as the caller promised; what is read of it to know its size is there.
        let mut record = unsafe { Self::new(memory, at) };
        let sum = Some(&record).filter(|record| record.size() <= room)?.sum(base)?;
        if sum == Sum::Inverted && word & STATE == LIVE {
            memory.u32(at).fetch_or(DEAD, Release); // a bit has flipped
            record.word |= DEAD;
        }
        Some(record)
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'m [u8] {
        self.bytes(self.key, key_len(self.word))
    }

    /// The bytes behind the key: the value, or the list of its fragments.
    #[inline]
    pub fn inline(&self) -> &'m [u8] {
        self.bytes(self.key + key_len(self.word), inline_len(self.word))
    }

    /// Whether the inline bytes are a list of fragments.
    #[inline]
    pub fn is_fragmented(&self) -> bool {
        self.extra() & FRAGMENTED != 0
    }

    /// Whether this is a fragment rather than an item.
    pub fn is_fragment(&self) -> bool {
        key_len(self.word) == 0 && inline_len(self.word) == 0
    }

    /// Whether this is a dead place of which word 0 says all.
    fn is_filler(&self) -> bool {
        key_len(self.word) == 0 && inline_len(self.word) > 0
    }

    /// Whether the record's item was overwritten, deleted, moved or evicted.
    pub fn is_dead(&self) -> bool {
        // Who sees it dead sees what was done before: see `recycle`. Where a filler was seen a
        // record may stand by now, which is another.
        self.is_filler() || self.memory.u32(self.at).load(Acquire) & STATE == DEAD
    }

    /// Bytes it takes in the segment.
    #[inline]
    pub fn size(&self) -> usize {
        match (self.is_fragment(), self.is_filler()) {
            (true, _) => fragment_size(self.fragment_len()),
            (_, true) => inline_len(self.word) * ALIGN,
            _ => (self.key + key_len(self.word) + inline_len(self.word)).next_multiple_of(ALIGN),
        }
    }

    /// The sequence number, given the base of the record's segment.
    #[inline]
    pub fn sequence(&self, base: u64) -> u64 {
        if self.extra() & FULL_SEQUENCE != 0 {
            return self.number(self.layout().sequence);
        }
        base.wrapping_add(u64::from(self.memory.u32(self.at + 4).load(Relaxed)))
    }

    /// The attributes as they are at `now`.
    #[inline]
    pub fn attributes(&self, base: u64, now: Now) -> Attributes {
        let cas = self.cas(base);
        Attributes {
            flags: self.flags(),
            cas,
            expiry: self.expiry(),
            accessed_ms: self.accessed_ms(now),
            fetched: self.word & FETCHED != 0,
            stale: self.is_stale(),
            token_sent: self.is_token_sent(),
            binary_key: self.has_binary_key(),
        }
    }

    /// The cas unique, given the base of the record's segment.
    #[inline]
    pub fn cas(&self, base: u64) -> u64 {
        match self.has_own_cas() {
            false => self.sequence(base),
            true => self.number(self.layout().own_cas),
        }
    }

    /// Whether the key was given in base64.
    pub fn has_binary_key(&self) -> bool {
        self.extra() & BINARY_KEY != 0
    }

    /// Whether the item waits to be refilled.
    #[inline]
    pub fn is_stale(&self) -> bool {
        self.extra() & STALE != 0
    }

    /// Whether somebody won the right to refill the item.
    #[inline]
    pub fn is_token_sent(&self) -> bool {
        self.extra() & TOKEN_SENT != 0
    }

    /// What the item's past is before an operation touches it.
    #[inline(always)] // nothing, where nobody asks
    pub fn before(&self, now: Now) -> Before {
        let idle_s = now.clock_ms / 1000 - self.accessed_ms(now) / 1000;
        Before { fetched: self.is_fetched(), idle_s, expiry: self.expiry() }
    }

    /// Whether the item was fetched since it was stored.
    pub fn is_fetched(&self) -> bool {
        self.word & FETCHED != 0
    }

    /// Whether the cas unique is the client's own.
    pub fn has_own_cas(&self) -> bool {
        self.extra() & OWN_CAS != 0
    }

    /// When the item stops being served.
    #[inline]
    pub fn expiry(&self) -> Expiry {
        if self.word & HAS_EXPIRY == 0 {
            return Expiry::Never;
        }
        unpack_expiry(self.expiry_cell().load(Relaxed))
    }

    /// Changes the expiry in place. Returns whether the record has the room for it.
    pub fn set_expiry(&self, expiry: Expiry) -> bool {
        if self.word & HAS_EXPIRY == 0 {
            return expiry == Expiry::Never;
        }
        self.expiry_cell().store(pack_expiry(expiry), Relaxed);
        true
    }

    /// How often the item was fetched, as far as it is told apart.
    #[inline]
    pub fn frequency(&self) -> u32 {
        (self.word & FREQUENCY) / FREQUENCY_ONE
    }

    /// The heat that the record was written with.
    #[inline]
    pub fn heat(&self) -> u32 {
        u32::from(self.checksum_end()) >> (HEAT_SHIFT - u16::BITS)
    }

    /// The checksum that it was completed with.
    #[inline]
    pub fn checksum(&self) -> u32 {
        let begin = self.memory.u16(self.at + 10).load(Relaxed);
        (u32::from(begin) | u32::from(self.checksum_end()) << u16::BITS) & CHECKSUM
    }

    /// Notes a fetch. Writes only what changes, so that a hot item's line stays shared.
    #[inline(always)] // whoever fetches: calls cost as much as what they do
    pub fn note_fetch(&self, now: Now) {
        self.note_access(now);
        let marked = if self.frequency() < FREQUENCY_MAX {
            (self.word | FETCHED) + FREQUENCY_ONE
        } else {
            self.word | FETCHED
        };
        if marked != self.word && self.word & STATE == LIVE {
            // A lost race loses a mark, or meets a record that just died: both are harmless.
            let cell = self.memory.u32(self.at);
            let _ = cell.compare_exchange(self.word, marked, Relaxed, Relaxed);
        }
    }

    /// Notes an access that is no fetch.
    #[inline]
    pub fn note_access(&self, now: Now) {
        let seconds = (now.clock_ms / 1000) as u16;
        let cell = self.memory.u16(self.at + 8);
        if cell.load(Relaxed) != seconds {
            cell.store(seconds, Relaxed);
        }
    }

    /// Marks the record dead. Returns whether it was alive.
    pub fn kill(&self) -> bool {
        let was_alive = self.memory.u32(self.at).fetch_or(DEAD, Release) & STATE == LIVE;
        if was_alive {
            self.invert_checksum();
        }
        was_alive
    }

    /// Marks the checksum of a record that dies. Its memory is not used again meanwhile: who kills
    /// works in an epoch in which the record stood in the index, or has the segment for himself.
    #[inline]
    fn invert_checksum(&self) {
        if self.is_fragment() {
            self.memory.u32(self.at + 8).fetch_xor(u32::MAX, Relaxed);
        } else {
            let begin = self.memory.u16(self.at + 10);
            begin.store(!begin.load(Relaxed), Relaxed);
        }
    }

    /// Whether the checksum holds, given the base of the record's segment.
    pub fn is_intact(&self, base: u64) -> bool {
        self.sum(base).is_some()
    }

    /// What the checksum says, if it holds.
    fn sum(&self, base: u64) -> Option<Sum> {
        if self.is_filler() {
            return Some(Sum::Inverted); // it has none but word 0's
        }
        let (differs, inverted) = if self.is_fragment() {
            let checksum =
                fragment_checksum(self.memory, self.fragment_owner(), self.fragment_data());
            (self.memory.u32(self.at + 8).load(Relaxed) ^ checksum, u32::MAX)
        } else {
            (self.checksum() ^ self.computed_checksum(base), u32::from(u16::MAX))
        };
        match differs {
            0 => Some(Sum::AsWritten),
            differs if differs == inverted => Some(Sum::Inverted),
            _ => None,
        }
    }

    /// The checksum that an item's record has to have.
    fn computed_checksum(&self, base: u64) -> u32 {
        let layout = self.layout();
        let mut checksum = checksum::append(0, &(self.word & !MUTABLE).to_le_bytes());
        let mut add = |position: usize, len: usize| {
            checksum = checksum::append(checksum, self.bytes(position, len));
        };
        if self.word & HAS_EXTRA != 0 {
            add(HEADER, 2);
        }
        if self.has_own_cas() {
            add(layout.own_cas, 8);
        }
        if self.word & HAS_FLAGS != 0 {
            add(layout.flags, 4);
        }
        let value = if sums_values(self.memory) { inline_len(self.word) } else { 0 };
        add(layout.key, key_len(self.word) + value);
        checksum::append(checksum, &self.sequence(base).to_le_bytes()) & CHECKSUM
    }

    /// Whether the expiry, if it has one, is as it was set.
    pub fn has_whole_expiry(&self) -> bool {
        let is_whole = |packed| pack_expiry(unpack_expiry(packed)) == packed;
        self.word & HAS_EXPIRY == 0 || is_whole(self.expiry_cell().load(Relaxed))
    }

    /// The entries of the list of fragments: location and length of each.
    pub fn fragments(&self) -> impl Iterator<Item = (u32, usize)> + 'm {
        self.inline().as_chunks::<FRAGMENT_ENTRY>().0.iter().map(|&[a, b, c, d, e, f, g, h]| {
            (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]) as usize)
        })
    }

    /// A fragment's data.
    #[inline]
    pub fn fragment_data(&self) -> &'m [u8] {
        self.bytes(FRAGMENT_HEADER, self.fragment_len())
    }

    /// The hash of the key of the item that a fragment belongs to.
    pub fn fragment_owner(&self) -> u64 {
        self.number(12)
    }

    fn fragment_len(&self) -> usize {
        self.memory.u32(self.at + 4).load(Relaxed) as usize
    }

    /// Client flags.
    #[inline]
    pub fn flags(&self) -> u32 {
        if self.word & HAS_FLAGS == 0 {
            return 0;
        }
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.bytes(self.key - size_of::<u32>(), 4));
        u32::from_le_bytes(bytes)
    }

    /// The last access: the latest moment that its 16 bits can mean.
    #[inline]
    pub fn accessed_ms(&self, now: Now) -> u64 {
        let seconds = now.clock_ms / 1000;
        let noted = self.memory.u16(self.at + 8).load(Relaxed);
        seconds.saturating_sub(u64::from((seconds as u16).wrapping_sub(noted))) * 1000
    }

    #[inline]
    fn extra(&self) -> u16 {
        if self.word & HAS_EXTRA == 0 {
            return 0;
        }
        let mut bytes = [0; 2];
        bytes.copy_from_slice(self.bytes(HEADER, 2));
        u16::from_le_bytes(bytes)
    }

    fn number(&self, position: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.bytes(position, 8));
        u64::from_le_bytes(bytes)
    }

    /// The checksum's second half, and the heat.
    #[inline]
    fn checksum_end(&self) -> u16 {
        let mut bytes = [0; 2];
        bytes.copy_from_slice(self.bytes(12, 2));
        u16::from_le_bytes(bytes)
    }

    /// Of a record that has an expiry.
    #[inline]
    fn expiry_cell(&self) -> &'m AtomicU64 {
        let flags = if self.word & HAS_FLAGS != 0 { size_of::<u32>() } else { 0 };
        self.memory.u64(self.at + self.key - flags - size_of::<u64>())
    }

    /// Takes a copy: a record that nobody points to stays in the processor's registers.
    #[inline(never)] // what is asked often is known without it
    fn layout(self) -> Layout {
        Layout::of(self.at, self.word, self.extra())
    }

    #[inline]
    fn bytes(&self, position: usize, len: usize) -> &'m [u8] {
        // SAFETY: published bytes outside the cells do not change while `'m` lasts, as `new`
        // demanded.
        unsafe { self.memory.bytes(self.at + position, len) }
    }
}

/// Bytes that a fragment with so much data takes.
pub fn fragment_size(len: usize) -> usize {
    (FRAGMENT_HEADER + len).next_multiple_of(ALIGN)
}

/// Whether checksums in this memory are of values too.
///
/// Nobody but who recovers a file verifies them, and of a long value they cost half of what
/// receiving it does. Tests always do.
#[inline]
pub fn sums_values(memory: &Mapping) -> bool {
    memory.is_lasting() || cfg!(debug_assertions)
}

/// The checksum of a fragment in this memory; 0 if it has none.
pub fn fragment_checksum(memory: &Mapping, owner: u64, data: &[u8]) -> u32 {
    match sums_values(memory) {
        true => checksum::append(checksum::append(0, &owner.to_le_bytes()), data),
        false => 0,
    }
}

/// Bits of an expiry's cell that are the time and its kind; the others are a check of it, as the
/// cell is not under the record's checksum.
pub const TIME: u64 = (1 << 48) - 1;

/// The latest time that a cell can say.
const TIME_MAX: u64 = (TIME >> 1) - 1;

/// An expiry in a cell: even for the cache's clock, odd for Unix time, all ones for never.
#[inline]
pub fn pack_expiry(expiry: Expiry) -> u64 {
    let time = match expiry {
        Expiry::Never => TIME,
        Expiry::Clock(deadline_ms) => deadline_ms.min(TIME_MAX) << 1,
        Expiry::Unix(deadline) => deadline.min(TIME_MAX) << 1 | 1,
    };
    time | time.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !TIME
}

/// The expiry that a cell holds.
#[inline]
pub fn unpack_expiry(packed: u64) -> Expiry {
    match packed & TIME {
        TIME => Expiry::Never,
        time if time & 1 == 0 => Expiry::Clock(time >> 1),
        time => Expiry::Unix(time >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::draft::{Blueprint, Draft, FILLER_MAX, FragmentDraft, write_filler};
    use super::super::memory::PAGE;
    use super::*;

    const NOW: Now = Now { clock_ms: 100_000_000, unix: 1_800_000_000 };

    fn blueprint() -> Blueprint {
        let attributes = Attributes {
            flags: 0,
            cas: 0,
            expiry: Expiry::Never,
            accessed_ms: NOW.clock_ms,
            fetched: false,
            stale: false,
            token_sent: false,
            binary_key: false,
        };
        Blueprint {
            attributes,
            own_cas: false,
            full_sequence: false,
            fragmented: false,
            frequency: 0,
            heat: 0,
        }
    }

    /// Writes at every alignment, reads back, and flips each byte of the record in turn.
    fn round_trip(blueprint: &Blueprint, key: &[u8], value: &[u8]) {
        let form = blueprint.form(key.len(), value.len());
        for at in [4, 8, 12, 16] {
            let memory = Mapping::new(PAGE).unwrap();
            // SAFETY: the memory is this test's own.
            let draft = unsafe { Draft::write(&memory, at, &form, key, [value]) };
            draft.complete(77, 70);
            // SAFETY: the record is complete and stays.
            let record = unsafe { Record::new(&memory, at) };
            assert_eq!((record.key(), record.inline()), (key, value));
            assert_eq!(record.sequence(70), 77);
            let attributes = record.attributes(70, NOW);
            let cas = if blueprint.own_cas { blueprint.attributes.cas } else { 77 };
            assert_eq!(attributes, Attributes { cas, ..blueprint.attributes });
            assert!(record.is_intact(70) && !record.is_dead());
            assert_eq!(record.heat(), blueprint.heat);
            assert_eq!(record.size(), form.size_at(at));
            assert!(record.size() <= form.size_max());
        }
    }

    #[test]
    fn a_record_gives_back_what_was_written() {
        let plain = blueprint();
        let with = |change: fn(&mut Attributes)| {
            let mut other = plain;
            change(&mut other.attributes);
            other
        };
        for blueprint in [
            plain,
            with(|a| a.flags = u32::MAX),
            with(|a| a.expiry = Expiry::Clock(123)),
            with(|a| (a.expiry, a.flags) = (Expiry::Unix(1_900_000_000), 5)),
            with(|a| (a.stale, a.token_sent, a.binary_key, a.fetched) = (true, true, true, true)),
            Blueprint { own_cas: true, ..with(|a| (a.cas, a.expiry) = (9, Expiry::Clock(1))) },
            Blueprint { full_sequence: true, heat: 15, ..plain },
            Blueprint { full_sequence: true, own_cas: true, ..with(|a| (a.cas, a.flags) = (3, 1)) },
        ] {
            for value_len in [0, 1, 2, 3, 4, 100, 1000] {
                round_trip(&blueprint, b"k", &vec![b'v'; value_len]);
                round_trip(&blueprint, &[b'k'; 250], &vec![b'v'; value_len]);
            }
        }
        assert_eq!(plain.form(30, 10).size_max(), 56, "14 bytes and padding");
    }

    #[test]
    fn the_checksum_covers_every_byte_but_the_cells() {
        let memory = Mapping::new(PAGE).unwrap();
        let mut blueprint = blueprint();
        blueprint.attributes.flags = 7;
        let form = blueprint.form(8, 10);
        // SAFETY: the memory is this test's own.
        let draft = unsafe { Draft::write(&memory, 4, &form, b"some key", [&b"some value"[..]]) };
        draft.complete(5, 0);
        let size = form.size_at(4);
        for position in (4..8).chain(10..size) {
            let (cell, bit) = (4 + position / 4 * 4, 8 * (position % 4));
            memory.u32(cell).fetch_xor(1 << bit, Relaxed);
            // SAFETY: complete but for the flipped bit; nothing else uses the memory.
            let intact = unsafe { Record::new(&memory, 4) }.is_intact(0);
            memory.u32(cell).fetch_xor(1 << bit, Relaxed);
            let padding = position >= 14 + 4 + 8 + 10;
            assert_eq!(intact, padding, "byte {position} of {size}");
        }
    }

    #[test]
    fn marks_change_in_place_and_leave_the_checksum() {
        let memory = Mapping::new(PAGE).unwrap();
        let mut blueprint = blueprint();
        blueprint.attributes.expiry = Expiry::Clock(1);
        // SAFETY: the memory is this test's own.
        unsafe { Draft::write(&memory, 8, &blueprint.form(1, 1), b"k", [&b"v"[..]]) }
            .complete(5, 0);
        // SAFETY: the record is complete and stays.
        let record = || unsafe { Record::new(&memory, 8) };
        let later = Now { clock_ms: NOW.clock_ms + 30_000, ..NOW };
        for expected in [1, 2, 3, 3] {
            record().note_fetch(later);
            assert_eq!(record().frequency(), expected);
        }
        assert!(record().set_expiry(Expiry::Unix(9)));
        let attributes = record().attributes(0, Now { clock_ms: later.clock_ms + 5_000, ..NOW });
        assert_eq!(attributes.accessed_ms, later.clock_ms);
        assert_eq!((attributes.expiry, attributes.fetched), (Expiry::Unix(9), true));
        assert!(record().is_intact(0));
        assert!(record().kill() && record().is_dead() && !record().kill());
        record().note_fetch(later);
        assert!(record().is_dead(), "a fetch does not bring it back");
        assert!(record().is_intact(0));
    }

    #[test]
    fn no_two_bits_that_flip_bring_a_dead_record_back() {
        let (memory, base) = (Mapping::new(PAGE).unwrap(), 5);
        // SAFETY: the memory is this test's own.
        let draft =
            unsafe { Draft::write(&memory, 4, &blueprint().form(1, 4), b"k", [&b"some"[..]]) };
        draft.complete(7, base);
        // SAFETY: the memory is this test's own.
        let mut fragment = unsafe { FragmentDraft::begin(&memory, 64, 9, 4) };
        fragment.push(b"some");
        fragment.complete();
        for at in [4, 64] {
            // SAFETY: nobody else is at work.
            let whole = || unsafe { Record::whole(&memory, at, at + 32, base) };
            assert!(whole().is_some_and(|record| !record.is_dead() && record.kill()));
            let flip = |bit: usize| {
                memory.u32(at + bit / 32 * 4).fetch_xor(1 << (bit % 32), Relaxed);
            };
            for (one, other) in (0..128).flat_map(|one| (one..128).map(move |other| (one, other))) {
                let before = [0, 4, 8, 12].map(|word| memory.u32(at + word).load(Relaxed));
                flip(one);
                if other > one {
                    flip(other);
                }
                assert!(whole().is_none_or(|record| record.is_dead()), "{at}: {one} {other}");
                for (word, value) in (0..).zip(before) {
                    memory.u32(at + word * 4).store(value, Relaxed);
                }
            }
            assert!(whole().is_some_and(|record| record.is_dead() && !record.kill()));
        }
    }

    #[test]
    fn an_expiry_is_what_was_set_or_known_to_be_damaged() {
        for (expiry, read) in [
            (Expiry::Never, Expiry::Never),
            (Expiry::PAST, Expiry::PAST),
            (Expiry::Clock(123_456_789), Expiry::Clock(123_456_789)),
            (Expiry::Unix(1_900_000_000), Expiry::Unix(1_900_000_000)),
            (Expiry::Clock(u64::MAX), Expiry::Clock(TIME_MAX)),
            (Expiry::Unix(u64::MAX), Expiry::Unix(TIME_MAX)),
        ] {
            let packed = pack_expiry(expiry);
            assert_eq!(unpack_expiry(packed), read);
            for bit in 0..64 {
                let damaged = packed ^ 1 << bit;
                assert_ne!(pack_expiry(unpack_expiry(damaged)), damaged, "{expiry:?} {bit}");
            }
        }
    }

    #[test]
    fn a_filler_is_dead_and_knows_its_size() {
        let memory = Mapping::new(FILLER_MAX + PAGE).unwrap();
        for size in [ALIGN, 56, FILLER_MAX] {
            // SAFETY: the memory is this test's own; only word 0 is written.
            unsafe { write_filler(&memory, 4, size) };
            // SAFETY: the filler is complete.
            let filler = unsafe { Record::new(&memory, 4) };
            assert_eq!(
                (filler.size(), filler.is_fragment(), filler.is_dead()),
                (size, false, true)
            );
            assert!(filler.is_intact(7));
            // SAFETY: the memory is this test's own.
            let whole = || unsafe { Record::whole(&memory, 4, 4 + FILLER_MAX, 7) };
            assert_eq!(whole().map(|filler| filler.size()), Some(size));
            for bit in 0..u32::BITS {
                memory.u32(4).fetch_xor(1 << bit, Relaxed);
                assert!(whole().is_none(), "bit {bit} of a filler of {size}");
                memory.u32(4).fetch_xor(1 << bit, Relaxed);
            }
        }
    }

    #[test]
    fn fragments_carry_their_owner_and_data() {
        let memory = Mapping::new(PAGE).unwrap();
        // SAFETY: the memory is this test's own.
        let mut draft = unsafe { FragmentDraft::begin(&memory, 4, 0xfeed, 1001) };
        let taken = [3, 0, 900, 200].map(|len| draft.push(&vec![9; len]));
        assert_eq!((taken, draft.missing()), ([3, 0, 900, 98], 0));
        draft.complete();
        // SAFETY: the record is complete and stays.
        let fragment = unsafe { Record::new(&memory, 4) };
        assert!(fragment.is_fragment() && fragment.is_intact(0));
        assert_eq!((fragment.fragment_owner(), fragment.fragment_data()), (0xfeed, &[9; 1001][..]));
        assert_eq!(fragment.size(), fragment_size(1001));
    }
}

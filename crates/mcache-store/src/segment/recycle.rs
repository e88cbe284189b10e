//! Dead places that are used again, so that overwrites and counters burn no log space.
//!
//! Each thread remembers some of the records that it took out of the index, by size, and writes
//! the next record that fits into such a place, once nobody can look at it any more:
//!
//! - Readers: the places of a batch carry the epoch that was ended after the last of them was
//!   unlinked; it has to be over everywhere. Sends hold what they found in such an epoch by the
//!   segment's pins, which have to be gone.
//! - Whoever walks a segment (to empty it, to bury what expired) closes its gate; who writes into
//!   a place goes inside. A writer stays inside until its record stands in the index.
//! - Emptying ends a segment's life before it opens it again. A place remembers the life that it
//!   is of, which was read while its record stood in the index: emptying passes over all records
//!   that stand there before it ends the life, so the place is not taken for one of the next.
//!
//! A place is a filler while it is written to, so that a segment can be walked at any time.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};

use super::SegmentStorageEngine;
use super::access::{Class, SegmentAccess};
use super::arena::{Arena, Open, POISON, SegmentId};
use super::draft::{FILLER_MAX, write_filler};
use super::epoch::Epochs;
use super::gate::Writer;
use super::index::Location;
use super::publish::Forms;
use super::record::{ALIGN, Record};

/// Places that a thread remembers at most; it forgets the oldest. As many as it leaves while
/// another thread, which the system took the processor from, keeps an epoch from ending.
const PLACES: usize = 4096;

/// Places that it remembers at least.
const PLACES_MIN: usize = 4 * BATCH;

/// A thread's places take at most this part of the capacity, unless that is less than the least.
const CAPACITY_DIVISOR: u64 = 1024;

/// Places that share an epoch.
const BATCH: usize = 64;

/// A record leaves at most this part of its place unused.
const SLACK_DIVISOR: usize = 8;

/// Places that are tried for one record.
const TRIES: usize = 4;

/// Places that are passed by because of their epoch before the epochs are looked at again.
const PASSES: u32 = 8;

/// Times that a store which found no other room looks for a place that others do not look at.
const PATIENCE: usize = 256;

/// Bytes of a place's rest that is a place of its own.
pub(super) const REST_MIN: usize = 48;

/// Sizes, in granules of [`ALIGN`], that are told apart exactly; larger ones by 1/32.
const EXACT: usize = 256;

/// Classes of sizes: the exact ones, and 32 for each of the 8 powers of two up to 2^16 granules.
const CLASSES: usize = EXACT + 8 * 32;

/// The slot after a list's last.
const NONE: u16 = u16::MAX;

/// The epoch of a batch that is being filled.
const FILLING: u64 = u64::MAX;

/// A sequence number that is drawn soon lies at most so far from a segment's base.
const DISTANCE_MAX: u64 = 3 << 30;

/// A dead record's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DeadPlace {
    location: Location,
    /// The life of its segment that it is of.
    life: u32,
    /// In bytes, up to the next record.
    size: u32,
}

impl DeadPlace {
    /// One for tests, of a segment's first life.
    #[cfg(test)]
    pub(super) fn at(location: Location, size: usize) -> Self {
        Self { location, life: 0, size: size as u32 }
    }

    /// Where it is.
    pub(super) fn location(&self) -> Location {
        self.location
    }

    /// Its bytes, up to the next record.
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }
}

/// The dead places that a thread remembers: a ring in the order in which they died, whose slots
/// are linked by size, the oldest first.
pub(super) struct DeadPlaces {
    /// Grows to `places` as it is used.
    ring: Vec<Slot>,
    places: usize,
    lines: Box<[Line; CLASSES]>,
    /// Which lines have slots.
    filled: [u64; CLASSES / 64],
    /// Of each batch.
    epochs: [u64; PLACES / BATCH],
    cursor: usize,
    /// Every epoch before this one is over.
    over: u64,
    /// Whether a batch was finished since the epochs were looked at.
    news: bool,
    passes: u32,
    /// Bytes of all threads' rings, counted against the limit.
    held: Arc<AtomicU64>,
}

/// A slot of the ring; a place of no size is none.
#[derive(Clone, Copy, Default)]
struct Slot {
    place: DeadPlace,
    next: u16,
}

/// The slots of one class of sizes.
#[derive(Clone, Copy)]
struct Line {
    first: u16,
    last: u16,
}

impl DeadPlaces {
    /// None, of a store of `capacity` bytes.
    ///
    /// What the ring may come to take is added to `held` for as long as it lives: memory that was
    /// given to items could not be taken back from a store that evicts nothing.
    pub(super) fn new(capacity: u64, held: &Arc<AtomicU64>) -> Self {
        let places = (capacity / CAPACITY_DIVISOR) as usize / size_of::<Slot>() / BATCH * BATCH;
        let ring = Self {
            ring: Vec::new(),
            places: places.clamp(PLACES_MIN, PLACES),
            lines: Box::new([Line { first: NONE, last: NONE }; CLASSES]),
            filled: [0; CLASSES / 64],
            epochs: [FILLING; PLACES / BATCH],
            cursor: 0,
            over: 0,
            news: false,
            passes: 0,
            held: held.clone(),
        };
        held.fetch_add(ring.size(), Relaxed);
        ring
    }

    /// Remembers a place that was just unlinked.
    pub(super) fn add(&mut self, place: DeadPlace, epochs: &Epochs) {
        if place.size as usize > FILLER_MAX {
            return;
        }
        let slot = self.cursor;
        if slot.is_multiple_of(BATCH) {
            self.begin_batch(slot);
        }
        self.ring[slot] = Slot { place, next: NONE };
        self.epochs[slot / BATCH] = FILLING;
        let class = class_of(place.size as usize);
        let line = &mut self.lines[class];
        match line.last {
            NONE => line.first = slot as u16,
            last => self.ring[last as usize].next = slot as u16,
        }
        line.last = slot as u16;
        self.filled[class / 64] |= 1 << (class % 64);
        self.cursor = if slot + 1 == self.places { 0 } else { slot + 1 };
        if self.cursor.is_multiple_of(BATCH) {
            self.epochs[slot / BATCH] = epochs.advance();
            self.news = true;
        }
    }

    /// Forgets what the batch from `first` on still has, to be filled anew. All at once: what
    /// shared an epoch with it would stand in the way of all younger places of its size.
    fn begin_batch(&mut self, first: usize) {
        if first == self.ring.len() {
            if self.ring.is_empty() {
                self.ring.reserve_exact(self.places);
            }
            self.ring.resize(first + BATCH, Slot::default());
        }
        for slot in first..first + BATCH {
            let size = self.ring[slot].place.size as usize;
            if size > 0 {
                self.take_first(class_of(size)); // the oldest of all is the oldest of its class
            }
        }
    }

    /// Ends the epoch of the places that were added last, although their batch is not full. It
    /// ends anew for all of them when one more is added.
    fn close_batch(&mut self, epochs: &Epochs) {
        if !self.cursor.is_multiple_of(BATCH) {
            self.epochs[self.cursor / BATCH] = epochs.advance();
            self.news = true;
        }
    }

    /// Whether there is a place of at least `least` bytes, free to be written to or not.
    fn has(&self, least: usize) -> bool {
        self.filled_from(class_of(least.min(FILLER_MAX))).is_some()
    }

    /// Bytes of the ring once it is used, and of the lists' ends.
    fn size(&self) -> u64 {
        (self.places * size_of::<Slot>() + size_of::<[Line; CLASSES]>()) as u64
    }

    /// Takes a place of `least` to `most` bytes that nobody looks at and that `fits`.
    ///
    /// The caller works in an epoch that it announced.
    fn take(
        &mut self,
        (least, most): (usize, usize),
        epochs: &Epochs,
        fits: impl Fn(&DeadPlace) -> bool,
    ) -> Option<DeadPlace> {
        let last = class_of(most.min(FILLER_MAX));
        let mut class = class_of(least.min(FILLER_MAX));
        loop {
            class = self.filled_from(class).filter(|&class| class <= last)?;
            let slot = self.lines[class].first as usize;
            if fits(&self.ring[slot].place) && self.is_over(slot / BATCH, epochs) {
                return Some(self.take_first(class));
            }
            class += 1;
        }
    }

    /// Whether a batch's epoch is over everywhere.
    fn is_over(&mut self, batch: usize, epochs: &Epochs) -> bool {
        let epoch = self.epochs[batch];
        if epoch < self.over {
            return true;
        }
        self.passes += 1;
        if epoch == FILLING || (!self.news && self.passes < PASSES) {
            return false;
        }
        (self.news, self.passes) = (false, 0);
        self.over = epochs.oldest();
        epoch < self.over
    }

    /// The place that will be taken after one of `size` bytes, most likely.
    fn next(&self, size: usize) -> Option<Location> {
        let slot = self.lines[class_of(size)].first;
        self.ring.get(slot as usize).map(|slot| slot.place.location)
    }

    fn take_first(&mut self, class: usize) -> DeadPlace {
        let line = &mut self.lines[class];
        let slot = &mut self.ring[line.first as usize];
        let place = std::mem::take(&mut slot.place);
        line.first = slot.next;
        if line.first == NONE {
            line.last = NONE;
            self.filled[class / 64] &= !(1 << (class % 64));
        }
        place
    }

    /// The first class from `class` on that has places.
    fn filled_from(&self, class: usize) -> Option<usize> {
        let mut mask = u64::MAX << (class % 64);
        (class / 64..CLASSES / 64).find_map(|word| {
            let bits = self.filled[word] & std::mem::replace(&mut mask, u64::MAX);
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

impl Drop for DeadPlaces {
    fn drop(&mut self) {
        self.held.fetch_sub(self.size(), Relaxed);
    }
}

/// The class of a size of at most [`FILLER_MAX`] bytes.
fn class_of(size: usize) -> usize {
    let granules = size / ALIGN;
    if granules < EXACT {
        return granules;
    }
    let power = granules.ilog2() as usize;
    EXACT + (power - EXACT.ilog2() as usize) * 32 + (granules >> (power - 5)) % 32
}

impl SegmentAccess {
    /// A dead place for a change, in a segment of its class's queue. The caller is counted among
    /// the segment's writers: see [`Held`].
    #[inline]
    pub(super) fn claim(&mut self, class: Class, forms: &Forms) -> Option<DeadPlace> {
        let engine = &*self.engine;
        let (least, most) = forms.size_range();
        let range = (least, most + most / (SLACK_DIVISOR - 1));
        let fits = |place: &DeadPlace| {
            let at = engine.arena.offset(place.location);
            let size = forms.of(|| engine.arena.base_of(place.location)).size_at(at);
            let rest = (place.size as usize).checked_sub(engine.arena.rounded(size));
            rest.is_some_and(|rest| rest <= place.size as usize / SLACK_DIVISOR)
        };
        let place = (0..TRIES)
            .map_while(|_| self.dead_places.take(range, &engine.epochs, fits))
            .find(|place| engine.seize(place, class.queue(), &self.writer))?;
        if let Some(next) = self.dead_places.next(place.size as usize) {
            engine.arena.expect_write(next, place.size as usize); // it was unlinked a while ago
        }
        Some(place)
    }
}

impl SegmentAccess {
    /// A dead place for a change that found room nowhere else: any that is large enough. What the
    /// change does not need of it is another dead place. The caller holds nothing of the arena.
    #[cold]
    pub(super) fn claim_part(&mut self, forms: &Forms) -> Option<DeadPlace> {
        let engine = self.engine.clone();
        let arena = &engine.arena;
        let size_in = |place: &DeadPlace| {
            let at = arena.offset(place.location);
            arena.rounded(forms.of(|| arena.base_of(place.location)).size_at(at))
        };
        let fits = |place: &DeadPlace| size_in(place) <= place.size as usize;
        let (least, _) = forms.size_range();
        engine.fill_up(|open| self.dead_places.add(engine.end_of(open), &engine.epochs));
        for class in 0..self.open.len() {
            if let Some(open) = self.open[class].as_mut().filter(|open| open.rest() >= least) {
                self.dead_places.add(engine.end_of(open), &engine.epochs);
                self.give_up(Class::at(class));
            }
        }
        self.dead_places.close_batch(&engine.epochs);
        for _ in 0..PATIENCE {
            if !self.dead_places.has(least) {
                return None;
            }
            self.member.begin(&engine.epochs);
            match self.dead_places.take((least, FILLER_MAX), &engine.epochs, fits) {
                Some(place)
                    if engine.seize(&place, arena.queue_of(place.location), &self.writer) =>
                {
                    let (used, rest) = engine.split(place, size_in(&place));
                    if let Some(rest) = rest {
                        self.dead_places.add(rest, &engine.epochs);
                    }
                    return Some(used);
                }
                Some(_) => {}
                None => std::thread::yield_now(), // others still look at it
            }
        }
        None
    }
}

impl SegmentStorageEngine {
    /// Makes two of a place whose segment counts the caller among its writers: one of `size`
    /// bytes, and one of the rest if that is worth it.
    #[allow(unsafe_code)]
    fn split(&self, place: DeadPlace, size: usize) -> (DeadPlace, Option<DeadPlace>) {
        let rest = place.size as usize - size;
        if rest < REST_MIN {
            return (place, None);
        }
        let at = self.arena.offset(place.location) + size;
        // SAFETY: as for `Held::prepare`; until that is called, what stands at the place's
        // beginning is of the whole place's size.
        unsafe { write_filler(self.arena.memory(), at, rest) };
        let rest = DeadPlace { location: self.arena.location(at), size: rest as u32, ..place };
        (DeadPlace { size: size as u32, ..place }, Some(rest))
    }

    /// Makes a dead place of what an open segment has left, or of as much as one can have. The
    /// segment's end is the caller's alone.
    #[allow(unsafe_code)]
    fn end_of(&self, open: &mut Open) -> DeadPlace {
        let size = open.rest().min(FILLER_MAX);
        let segment = self.arena.segment(open.id);
        // SAFETY: the bytes up to the segment's end belong to whoever fills it.
        unsafe { write_filler(self.arena.memory(), open.at(), size) };
        let life = segment.life.load(Acquire);
        DeadPlace { location: open.advance(&self.arena, size), life, size: size as u32 }
    }

    /// The place that a record will leave. It stands in the index and its region is locked.
    pub(super) fn place_of(&self, location: Location, record: &Record<'_>) -> DeadPlace {
        let segment = self.arena.segment(self.arena.segment_of(location));
        let size = self.arena.rounded(record.size()) as u32;
        DeadPlace { location, life: segment.life.load(Acquire), size }
    }

    /// Counts the caller among the writers of a place's segment, if it may be written to.
    pub(super) fn seize(&self, place: &DeadPlace, queue: usize, writer: &Writer) -> bool {
        let id = self.arena.segment_of(place.location);
        let segment = self.arena.segment(id);
        let turns = self.arena.turnover.load(Relaxed);
        let turns = turns.wrapping_sub(segment.turnover.load(Relaxed));
        // What is written now should not leave with the segments that leave next. A segment that
        // was opened since the turnover was read has the later reading: its place is gone too.
        let is_old = self.evict && turns as usize > self.pool.allowed() / 2;
        let distance = self.sequence.last().saturating_sub(segment.base.load(Relaxed));
        if is_old || self.arena.queue_of(place.location) != queue || distance > DISTANCE_MAX {
            return false;
        }
        writer.enter(&segment.gate, id, || {
            segment.life.load(SeqCst) == place.life && segment.pins.load(Acquire) == 0
        })
    }
}

/// A dead place whose segment counts the thread among its writers until this is dropped.
pub(super) struct Held<'a> {
    arena: &'a Arena,
    writer: &'a Writer,
    place: DeadPlace,
}

impl<'a> Held<'a> {
    /// A place from [`SegmentAccess::claim`].
    pub(super) fn new(arena: &'a Arena, writer: &'a Writer, place: DeadPlace) -> Self {
        Self { arena, writer, place }
    }

    /// Where it is.
    pub(super) fn location(&self) -> Location {
        self.place.location
    }

    /// The place, to be remembered anew if it was not used after all.
    pub(super) fn place(&self) -> DeadPlace {
        self.place
    }

    /// Makes it ready for a record of `size` bytes: a filler, and behind the record another one.
    /// Returns whether the record fits.
    pub(super) fn prepare(&self, size: usize) -> bool {
        let (at, whole) = (self.arena.offset(self.place.location), self.place.size as usize);
        let Some(rest) = whole.checked_sub(self.arena.rounded(size)) else { return false };
        // SAFETY: the place was taken out of the only list that had it, and nobody looks at it:
        // its epoch is over, nothing pins its segment, and the segment is the one that it is of,
        // and is not walked, as it was seen open after this thread was counted as a writer.
        unsafe {
            write_filler(self.arena.memory(), at, whole);
            // Whoever recovers a memory file finds the filler before any byte of the next record.
            compiler_fence(SeqCst);
            if cfg!(debug_assertions) {
                self.arena.memory().write(at + ALIGN, &vec![POISON; whole - ALIGN]);
            }
            if rest > 0 {
                write_filler(self.arena.memory(), at + whole - rest, rest);
            }
        }
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.writer.leave();
    }
}

/// A segment whose dead places nobody writes to until this is dropped.
pub(super) struct Closed<'a> {
    arena: &'a Arena,
    id: SegmentId,
}

impl SegmentStorageEngine {
    /// Closes a segment, and waits for those who are writing. Only who holds the reclaimer does,
    /// and not while it holds a region of the index, for which a writer may wait.
    pub(super) fn close_segment(&self, id: SegmentId) -> Closed<'_> {
        self.writers.close(&self.arena.segment(id).gate, id);
        Closed { arena: &self.arena, id }
    }
}

impl Closed<'_> {
    /// Nothing is left in the segment: its places are none any more.
    pub(super) fn end_life(&self) {
        self.arena.segment(self.id).life.fetch_add(1, SeqCst);
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.arena.segment(self.id).gate.open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize, size: usize) -> DeadPlace {
        DeadPlace::at(number as Location + 1, size)
    }

    #[test]
    fn classes_are_in_order_of_size_and_exact_where_records_are_small() {
        let classes: Vec<_> = (0..=FILLER_MAX / ALIGN).map(|n| class_of(n * ALIGN)).collect();
        assert!(classes.is_sorted());
        assert_eq!((classes[EXACT - 1], classes[EXACT]), (EXACT - 1, EXACT));
        assert_eq!(classes.last(), Some(&(CLASSES - 1)));
        assert!(classes.windows(2).all(|pair| pair[1] - pair[0] <= 1));
    }

    #[test]
    fn a_place_is_given_once_when_its_epoch_is_over() {
        let (epochs, mut places) = (Epochs::default(), DeadPlaces::new(1 << 30, &Arc::default()));
        let (mut own, mut other) = (epochs.join(), epochs.join());
        own.begin(&epochs);
        other.begin(&epochs);
        (0..BATCH + 1).for_each(|number| places.add(place(number, 100), &epochs));
        own.begin(&epochs);
        let take = |places: &mut DeadPlaces| places.take((100, 112), &epochs, |_| true);
        assert!((0..100).all(|_| take(&mut places).is_none()), "another still looks");
        other.begin(&epochs);
        let first = (0..PASSES).find_map(|_| take(&mut places));
        assert_eq!(first, Some(place(0, 100)));
        for number in 1..BATCH {
            assert_eq!(take(&mut places), Some(place(number, 100)));
        }
        assert_eq!(take(&mut places), None, "its batch is not full");
    }

    #[test]
    fn the_oldest_are_forgotten_and_sizes_are_told_apart() {
        let (epochs, mut places) = (Epochs::default(), DeadPlaces::new(1 << 30, &Arc::default()));
        let mut own = epochs.join();
        for number in 0..3 * PLACES {
            places.add(place(number, 40 + number % 7 * 4), &epochs);
        }
        own.begin(&epochs);
        let mut found = Vec::new();
        for size in [40, 44, 48, 52, 56, 60, 64] {
            while let Some(place) = places.take((size, size), &epochs, |_| true) {
                assert_eq!(place.size as usize, size);
                found.push(place.location as usize - 1);
            }
        }
        found.sort_unstable();
        assert_eq!(found, (2 * PLACES..3 * PLACES).collect::<Vec<_>>());
        assert_eq!(places.filled, [0; CLASSES / 64]);
        places.add(place(0, FILLER_MAX + ALIGN), &epochs);
        assert_eq!(places.filled, [0; CLASSES / 64]);
    }

    #[test]
    fn what_a_ring_takes_is_counted_while_it_lives() {
        let (epochs, held) = (Epochs::default(), Arc::new(AtomicU64::new(7)));
        let mut sizes = Vec::new();
        for (capacity, places) in [(1, PLACES_MIN), (32 << 20, PLACES / 2), (1 << 40, PLACES)] {
            let mut ring = DeadPlaces::new(capacity, &held);
            let size = held.load(Relaxed) - 7;
            (0..2 * PLACES).for_each(|number| ring.add(place(number, 100), &epochs));
            assert_eq!((ring.ring.len(), ring.ring.capacity()), (places, places));
            assert_eq!(held.load(Relaxed), 7 + size, "all of it from the beginning");
            sizes.push(size - (places * size_of::<Slot>()) as u64);
            drop(ring);
            assert_eq!(held.load(Relaxed), 7);
        }
        assert_eq!(sizes, [size_of::<[Line; CLASSES]>() as u64; 3]);
    }

    #[test]
    fn the_oldest_are_given_while_the_ring_is_full() {
        let (epochs, mut places) = (Epochs::default(), DeadPlaces::new(1 << 30, &Arc::default()));
        let mut own = epochs.join();
        (0..PLACES + 1).for_each(|number| places.add(place(number, 100), &epochs));
        own.begin(&epochs);
        for number in BATCH..PLACES {
            let taken = places.take((100, 100), &epochs, |_| true);
            assert_eq!(taken, Some(place(number, 100)));
        }
        assert_eq!(places.take((100, 100), &epochs, |_| true), None, "its batch is not full");
    }
}

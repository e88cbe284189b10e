//! The arena: memory cut into segments, and what is known of each.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, compiler_fence};

use mcache_base::Expiry;

use super::arriving::PLACE_MAX;
use super::gate::Gate;
use super::index::Location;
use super::memory::{CellArray, Cells, Mapping, PAGE};
use super::record::{ALIGN, FRAGMENT_ENTRY, INLINE_MAX, Record, fragment_size};

use crate::eviction::QUEUES;

/// Smallest and largest size of a segment.
const SEGMENT_SIZE_MIN: u64 = 16 << 10;
const SEGMENT_SIZE_MAX: u64 = 1 << 20;

/// Segments that a store of the capacity it was built with has, if their size allows.
const SEGMENTS_AIM: u64 = 1024;

/// Segments of a memory limit below which larger ones than it needs are in the way.
const SEGMENTS_FEW: u64 = 32;

/// Address space is reserved for at least so much, so that the limit can be raised later.
const RESERVE_MIN: u64 = 16 << 30;

/// Values over a segment's size divided by this are cut into fragments.
const FRAGMENT_DIVISOR: usize = 32;

/// One in so many parts of a segment is left beside the longest list of fragments: for the other
/// fields of its record, which are 300 bytes at most.
const LIST_DIVISOR: usize = 16;

/// Fragments for each that fills a segment, and beside these, up to which moving cuts them.
const FRAGMENTS_FACTOR: usize = 2;
const FRAGMENTS_MORE: usize = 4;

/// A record's other fields and its key take less.
const KEY_AND_FIELDS_MAX: usize = 320;

/// Fewest bytes that are worth a fragment of their own at a segment's end.
const FRAGMENT_MIN: usize = 256;

/// Cache lines of a record that are brought nearer ahead of its use.
const LINES_AHEAD: usize = 3;

/// What freed memory is filled with in debug builds.
pub const POISON: u8 = 0xdb;

/// A segment's number.
pub type SegmentId = u32;

/// What is known of a segment.
#[repr(C, align(64))]
pub struct Segment {
    /// Its records' sequence numbers are distances from this.
    pub base: AtomicU64,
    /// When it was opened, a reading of the cache's clock in milliseconds.
    pub opened_ms: AtomicU64,
    /// When the next of its items may expire, in milliseconds; `u64::MAX` for never.
    pub expires_ms: AtomicU64,
    /// Offset behind the last record.
    pub written: AtomicU32,
    /// Bytes of records that are alive, beside what threads count for themselves: see `live`.
    pub live: AtomicU32,
    /// Sends under way that hold it still.
    pub pins: AtomicU32,
    /// The queue it belongs to.
    pub queue: AtomicU32,
    /// What the byte clock said when it was opened.
    pub born: AtomicU64,
    /// For those who write into dead places of it, and who walks it.
    pub gate: Gate,
    /// Times that it was emptied: a dead place is of one of its lives.
    pub life: AtomicU32,
    /// What [`Arena::turnover`] was when it was opened.
    pub turnover: AtomicU32,
    /// Values that are arriving in it.
    pub arriving: AtomicU32,
}

// SAFETY: a segment's entry is made of atomic integers.
unsafe impl Cells for Segment {}

/// The memory of all segments.
pub struct Arena {
    memory: Mapping,
    table: CellArray<Segment>,
    segment_shift: u32,
    granule_shift: u32,
    /// Segments that were emptied of items that could have stayed: the clock of eviction.
    pub turnover: AtomicU32,
    /// Segments from here on were never taken: nothing is known of them.
    used: AtomicU32,
}

/// The end of a segment that one thread appends to.
#[derive(Debug)]
pub struct Open {
    /// The segment.
    pub id: SegmentId,
    /// Its sequence base.
    pub base: u64,
    /// Where in the arena the next record begins.
    at: usize,
    end: usize,
}

/// How an arena is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a segment, as a power of two.
    pub segment_shift: u32,
    /// Bytes of a granule, as a power of two.
    pub granule_shift: u32,
    /// How many segments there is address space for.
    pub segments: usize,
}

impl Geometry {
    /// That for a store of `capacity` bytes.
    pub fn of(capacity: u64) -> Self {
        let wanted = (capacity / SEGMENTS_AIM).clamp(SEGMENT_SIZE_MIN, SEGMENT_SIZE_MAX);
        let segment_shift = wanted.ilog2();
        let reserve = (capacity.saturating_mul(2)).max(RESERVE_MIN).next_power_of_two();
        let segments = (reserve >> segment_shift) as usize;
        Self { segment_shift, granule_shift: granule_of(reserve), segments }
    }

    /// Whether [`Self::of`] cuts an arena like this: what a file says may be anything.
    pub fn is_sound(self) -> bool {
        let Self { segment_shift, granule_shift, segments } = self;
        let shifts = SEGMENT_SIZE_MIN.ilog2()..=SEGMENT_SIZE_MAX.ilog2();
        if !shifts.contains(&segment_shift) || !segments.is_power_of_two() {
            return false;
        }
        let len = u64::try_from(segments).ok().and_then(|count| count.checked_shl(segment_shift));
        len.is_some_and(|len| {
            len >> segment_shift == segments as u64
                && len >= RESERVE_MIN
                && (len == RESERVE_MIN || segment_shift == SEGMENT_SIZE_MAX.ilog2())
                && granule_shift == granule_of(len)
        })
    }

    /// Whether a store of `capacity` bytes can work in an arena that is cut like this; it reaches
    /// [`Self::len`] bytes at most.
    pub fn suits(self, capacity: u64) -> bool {
        capacity >> self.segment_shift >= SEGMENTS_FEW
    }

    /// Bytes of all segments.
    pub fn len(self) -> usize {
        self.segments << self.segment_shift
    }
}

/// The granule's bytes, as a power of two, of an arena of so many bytes: locations have 32 bits,
/// and a record is aligned at least to its header's cells.
fn granule_of(reserve: u64) -> u32 {
    reserve.ilog2().saturating_sub(u32::BITS).max(ALIGN.ilog2())
}

impl Arena {
    /// Reserves address space for a store of `capacity` bytes. Memory is taken as it is used.
    pub fn new(capacity: u64) -> io::Result<Self> {
        let geometry = Geometry::of(capacity);
        let (memory, table) = (Mapping::new(geometry.len())?, CellArray::new(geometry.segments)?);
        Ok(Self::on(geometry, memory, table))
    }

    /// An arena in this memory, which is as long as its geometry says.
    pub fn on(geometry: Geometry, memory: Mapping, table: CellArray<Segment>) -> Self {
        let Geometry { segment_shift, granule_shift, .. } = geometry;
        let (turnover, used) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { memory, table, segment_shift, granule_shift, turnover, used }
    }

    /// Has the system give a segment memory.
    pub fn take(&self, id: SegmentId) -> io::Result<()> {
        self.table.take(id as usize)?;
        self.memory.take((id as usize) << self.segment_shift, self.segment_size())?;
        self.used.fetch_max(id + 1, Relaxed);
        self.allow(id);
        Ok(())
    }

    /// Lets a segment be used that is not free any more: see [`Mapping::forbid`].
    pub fn allow(&self, id: SegmentId) {
        self.memory.allow((id as usize) << self.segment_shift, self.segment_size());
    }

    /// Has the system give the table memory for the first `segments` segments.
    pub fn take_table(&self, segments: usize) -> io::Result<()> {
        (0..segments).step_by(PAGE / size_of::<Segment>()).try_for_each(|id| self.table.take(id))
    }

    /// What the table says of a segment that nobody is at work in, as bytes.
    pub fn row(&self, id: SegmentId) -> [u8; 24] {
        let segment = self.segment(id);
        let mut row = [0; 24];
        let numbers = [segment.base.load(Relaxed), segment.born.load(Relaxed)];
        let halves = [&segment.written, &segment.queue];
        let halves = halves.map(|cell| cell.load(Relaxed).to_le_bytes());
        let numbers = numbers.map(u64::to_le_bytes);
        let bytes = numbers.iter().flatten().chain(halves.iter().flatten());
        row.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        row
    }

    /// Takes over a segment that another process left: nobody is at work in it.
    pub fn adopt(&self, id: SegmentId, clock_ms: u64) {
        let segment = self.segment(id);
        self.used.fetch_max(id + 1, Relaxed);
        segment.gate.open();
        for cell in [&segment.pins, &segment.life, &segment.turnover, &segment.arriving] {
            cell.store(0, Relaxed);
        }
        segment.expires_ms.store(u64::MAX, Relaxed);
        segment.opened_ms.fetch_min(clock_ms, Relaxed);
        segment.queue.fetch_min(QUEUES as u32 - 1, Relaxed);
    }

    /// The memory.
    #[inline]
    pub fn memory(&self) -> &Mapping {
        &self.memory
    }

    /// Bytes of a segment.
    pub fn segment_size(&self) -> usize {
        1 << self.segment_shift
    }

    /// Segments from this one on were never taken.
    pub fn used(&self) -> SegmentId {
        self.used.load(Relaxed)
    }

    /// How many segments there is address space for.
    pub fn segments_max(&self) -> usize {
        self.memory.len() >> self.segment_shift
    }

    /// What is known of a segment.
    #[inline]
    pub fn segment(&self, id: SegmentId) -> &Segment {
        &self.table.as_ref()[id as usize]
    }

    /// Whether a send, or a value that is being written or arrives, holds a segment still.
    pub fn is_pinned(&self, id: SegmentId) -> bool {
        self.segment(id).pins.load(Acquire) > 0 || self.is_arrived_in(id)
    }

    /// Whether values are arriving in a segment.
    pub fn is_arrived_in(&self, id: SegmentId) -> bool {
        self.segment(id).arriving.load(Acquire) > 0
    }

    /// Holds a segment still. Returns whether nobody else does.
    pub fn pin(&self, id: SegmentId) -> bool {
        self.segment(id).pins.fetch_add(1, Relaxed) == 0
    }

    /// Lets a segment go that [`Self::pin`] held. Returns whether nobody holds it any more.
    pub fn unpin(&self, id: SegmentId) -> bool {
        self.segment(id).pins.fetch_sub(1, Release) == 1
    }

    /// The segment of a location.
    #[inline]
    pub fn segment_of(&self, location: Location) -> SegmentId {
        (self.offset(location) >> self.segment_shift) as SegmentId
    }

    /// Longest value that is kept in its record; a longer one is cut into fragments.
    pub fn inline_max(&self) -> usize {
        (self.segment_size() / FRAGMENT_DIVISOR).max(1024)
    }

    /// Longest record of a value that is not cut, in bytes, and some.
    pub fn short_record_max(&self) -> usize {
        self.inline_max() + KEY_AND_FIELDS_MAX
    }

    /// The queue of a location's segment.
    pub fn queue_of(&self, location: Location) -> usize {
        self.segment(self.segment_of(location)).queue.load(Relaxed) as usize
    }

    /// Longest record, in bytes: it fills an empty segment.
    pub fn record_max(&self) -> usize {
        self.segment_size() - (1 << self.granule_shift)
    }

    /// Longest list of fragments, in bytes: it fits a record, and this an empty segment.
    pub fn list_max(&self) -> usize {
        let room = self.segment_size() / LIST_DIVISOR * (LIST_DIVISOR - 1);
        INLINE_MAX.min(room) / FRAGMENT_ENTRY * FRAGMENT_ENTRY
    }

    /// Longest value whose list of fragments surely fits a record: a fragment fills a segment but
    /// for the first and the last.
    pub fn fragmented_max(&self) -> usize {
        let entries = self.list_max() / FRAGMENT_ENTRY - 2;
        entries * (self.record_max() - fragment_size(0) - ALIGN)
    }

    /// Fragments that a value may be in when one of them is cut: however often a value is moved,
    /// they are twice as many, and some, as those that fill segments or longest places.
    pub fn fragments_max(&self, value_len: usize) -> usize {
        let full = (self.record_max() - fragment_size(0) - ALIGN).min(PLACE_MAX);
        let most = value_len / full * FRAGMENTS_FACTOR + FRAGMENTS_MORE;
        most.min(self.list_max() / FRAGMENT_ENTRY)
    }

    /// The record at a location.
    ///
    /// # Safety
    /// A complete record begins there, and the caller's epoch keeps its memory during `'a`.
    #[inline]
    pub unsafe fn record(&self, location: Location) -> Record<'_> {
        // SAFETY: as the caller promised.
        unsafe { Record::new(&self.memory, self.offset(location)) }
    }

    /// The sequence base that a location's record counts from.
    #[inline]
    pub fn base_of(&self, location: Location) -> u64 {
        self.segment(self.segment_of(location)).base.load(Relaxed)
    }

    /// Brings the first lines of a record nearer.
    #[inline]
    pub fn prefetch(&self, location: Location) {
        for line in 0..LINES_AHEAD {
            self.memory.prefetch(self.offset(location) + line * 64);
        }
    }

    /// Brings the first line of a record nearer that will be changed.
    #[inline]
    pub fn expect_change(&self, location: Location) {
        self.memory.prefetch_to_write(self.offset(location));
    }

    /// Brings the lines nearer that a record of `size` bytes will be written to.
    #[inline]
    pub fn expect_write(&self, location: Location, size: usize) {
        for line in 0..size.div_ceil(64).min(LINES_AHEAD) {
            self.memory.prefetch_to_write(self.offset(location) + line * 64);
        }
    }

    /// Notes that a segment holds no records.
    pub fn forget(&self, id: SegmentId) {
        let segment = self.segment(id);
        segment.expires_ms.store(u64::MAX, Relaxed);
        segment.written.store(0, Release);
    }

    /// Opens an empty segment that belongs to the caller alone.
    pub fn open(&self, id: SegmentId, queue: usize, base: u64, born: u64, clock_ms: u64) -> Open {
        let segment = self.segment(id);
        let granule = 1usize << self.granule_shift;
        // Who finds the segment in a file finds nothing written in it before anything changes.
        compiler_fence(SeqCst);
        segment.base.store(base, Relaxed);
        segment.opened_ms.store(clock_ms, Relaxed);
        segment.expires_ms.store(u64::MAX, Relaxed);
        segment.queue.store(queue as u32, Relaxed);
        segment.born.store(born, Relaxed);
        segment.turnover.store(self.turnover.load(Relaxed), Relaxed);
        // The first granule stays empty: location 0 is nowhere.
        segment.written.store(granule as u32, Release);
        let begin = (id as usize) << self.segment_shift;
        Open { id, base, at: begin + granule, end: begin + self.segment_size() }
    }

    /// Overwrites what was written to a segment, and forbids it until it is taken, so that tests
    /// see who still looks at it.
    ///
    /// # Safety
    /// As for [`Self::release`].
    pub unsafe fn poison(&self, id: SegmentId) {
        let begin = (id as usize) << self.segment_shift;
        let written = self.segment(id).written.swap(0, Relaxed) as usize;
        // SAFETY: as the caller promised.
        unsafe { self.memory.write(begin, &vec![POISON; written]) };
        self.memory.forbid(begin, self.segment_size());
    }

    /// Gives a segment's memory back to the system.
    ///
    /// # Safety
    /// No record in it can be reached, and no epoch in which one could is still worked in.
    pub unsafe fn release(&self, id: SegmentId) {
        self.forget(id); // who finds it in a file finds nothing
        let begin = (id as usize) << self.segment_shift;
        // SAFETY: as the caller promised.
        unsafe { self.memory.release(begin, self.segment_size()) };
        self.memory.forbid(begin, self.segment_size());
    }

    /// Notes that a record came alive.
    pub fn add_live(&self, location: Location, size: usize, expiry: Expiry) {
        let segment = self.segment(self.segment_of(location));
        segment.live.fetch_add(self.rounded(size) as u32, Relaxed);
        self.note_expiry(location, expiry);
    }

    /// Notes that a record's item may expire earlier than any other of its segment. The expiry
    /// stands in the record.
    pub fn note_expiry(&self, location: Location, expiry: Expiry) {
        let due_ms = match expiry {
            Expiry::Never => return,
            Expiry::Clock(deadline_ms) => deadline_ms,
            Expiry::Unix(_) => 0, // follows the wall clock, which may step: always worth a look
        };
        // Always a read-modify-write: either upkeep's comes later and sees what stands in the
        // record, or this one comes later and is kept.
        let expires_ms = &self.segment(self.segment_of(location)).expires_ms;
        expires_ms.fetch_min(due_ms, AcqRel);
    }

    /// Notes that a record died.
    pub fn remove_live(&self, location: Location, size: usize) {
        let size = self.rounded(size) as u32;
        self.segment(self.segment_of(location)).live.fetch_sub(size, Relaxed);
    }

    /// Bytes that a record of `size` takes, up to the next record.
    #[inline]
    pub fn rounded(&self, size: usize) -> usize {
        let below = (1 << self.granule_shift) - 1; // a power of two, which a division ignores
        (size + below) & !below
    }

    /// Visits every complete record of a segment, dead or alive.
    ///
    /// # Safety
    /// The segment is not taken into use again during the call, and it is closed (see `recycle`).
    pub unsafe fn walk(&self, id: SegmentId, mut visit: impl FnMut(Location, &Record<'_>)) {
        let begin = (id as usize) << self.segment_shift;
        let end = begin + self.segment(id).written.load(Acquire) as usize;
        let mut at = begin + (1 << self.granule_shift);
        while at < end {
            // SAFETY: records follow each other without a gap up to `written`.
            let record = unsafe { Record::new(&self.memory, at) };
            visit((at >> self.granule_shift) as Location, &record);
            at += self.rounded(record.size());
        }
    }

    /// Where in the memory a location is.
    #[inline]
    pub fn offset(&self, location: Location) -> usize {
        (location as usize) << self.granule_shift
    }

    /// The location of what begins here.
    #[inline]
    pub fn location(&self, offset: usize) -> Location {
        (offset >> self.granule_shift) as Location
    }
}

/// The addresses will be somebody else's.
#[cfg(asan)]
impl Drop for Arena {
    fn drop(&mut self) {
        self.memory.allow(0, (self.used() as usize) << self.segment_shift);
    }
}

impl Open {
    /// Whether a record of at most `size` bytes fits.
    #[inline]
    pub fn fits(&self, size: usize) -> bool {
        size <= self.end - self.at
    }

    /// Where the next record begins.
    #[inline]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes up to the segment's end.
    pub fn rest(&self) -> usize {
        self.end - self.at
    }

    /// How much data a fragment here could hold of `len`; `None` if it is not worth one.
    pub fn fragment_len(&self, len: usize) -> Option<usize> {
        let room = (self.end - self.at).checked_sub(fragment_size(0) + ALIGN)?;
        let taken = room.min(len) / ALIGN * ALIGN;
        let taken = if room >= len { len } else { taken };
        (taken == len || taken >= FRAGMENT_MIN).then_some(taken)
    }

    /// Takes the place of a record of exactly `size` bytes that is complete at [`Self::at`].
    #[inline]
    pub fn advance(&mut self, arena: &Arena, size: usize) -> Location {
        let location = arena.location(self.at);
        self.at += arena.rounded(size);
        debug_assert!(self.at <= self.end, "a record ends inside its segment");
        let begin = (self.id as usize) << arena.segment_shift;
        arena.segment(self.id).written.store((self.at - begin) as u32, Release);
        location
    }
}

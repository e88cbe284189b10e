//! What a reader holds: a record under its epoch's protection, or a value pinned for a send.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use mcache_base::{Expiry, Item, Pin};

use super::SegmentStorageEngine;
use super::arena::SegmentId;
use super::held_part::HeldPart;
use super::index::Location;
use super::record::Record;

/// Of all segments, one in so many may be held still for sends of whole values.
const PINNED_DIVISOR: usize = 4;

/// A value in more than one in so many of all segments is held part by part where it would be too
/// much as a whole.
const LARGE_DIVISOR: usize = 8;

/// A found item. Holding it keeps its thread's epoch, so it is read and let go.
#[derive(Clone, Copy)]
pub struct SegmentItem<'a> {
    engine: &'a Arc<SegmentStorageEngine>,
    location: Location,
    record: Record<'a>,
    expiry: Expiry,
    /// The value, as far as it lies in one piece: all of it, mostly.
    front: &'a [u8],
    value_len: usize,
}

impl<'a> SegmentItem<'a> {
    #[inline(always)] // so that what nobody asks is not worked out
    pub(super) fn new(
        engine: &'a Arc<SegmentStorageEngine>,
        location: Location,
        record: Record<'a>,
    ) -> Self {
        let (front, value_len) = match record.is_fragmented() {
            false => (record.inline(), record.inline().len()),
            true => (engine.value_at(&record, 0), engine.value_len(&record)),
        };
        Self { engine, location, record, expiry: record.expiry(), front, value_len }
    }
}

impl Item for SegmentItem<'_> {
    type Pin = SegmentPin;

    #[inline]
    fn key(&self) -> &[u8] {
        self.record.key()
    }

    #[inline]
    fn flags(&self) -> u32 {
        self.record.flags()
    }

    #[inline]
    fn cas(&self) -> u64 {
        self.record.cas(self.engine.arena.base_of(self.location))
    }

    #[inline]
    fn value_len(&self) -> usize {
        self.value_len
    }

    #[inline]
    fn value_at(&self, offset: usize) -> &[u8] {
        match offset {
            0 => self.front,
            _ => self.engine.value_at(&self.record, offset),
        }
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }

    fn binary_key(&self) -> bool {
        self.record.has_binary_key()
    }

    fn footprint(&self) -> usize {
        let own = self.engine.arena.rounded(self.record.size());
        if self.record.is_fragmented() { own + self.value_len() } else { own }
    }

    fn pin(&self) -> Option<SegmentPin> {
        let segments = self.engine.segments_of(self.location, &self.record);
        let engine = self.engine;
        let more = segments.iter().filter(|&&id| !engine.arena.is_pinned(id)).count();
        if engine.pinned.load(Relaxed) + more <= engine.pool.allowed() / PINNED_DIVISOR {
            segments.iter().for_each(|&id| engine.hold(id));
            let engine = engine.clone();
            return Some(SegmentPin::Whole(HeldWhole {
                engine,
                location: self.location,
                segments,
            }));
        }
        if segments.len() <= engine.pool.allowed() / LARGE_DIVISOR {
            return None; // so many stalled readers
        }
        HeldPart::new(engine, &self.record, self.location).map(SegmentPin::Part)
    }
}

impl SegmentStorageEngine {
    /// Holds a segment still, for a send or a value that is being written.
    pub(super) fn hold(&self, id: SegmentId) {
        if self.arena.pin(id) {
            self.pinned.fetch_add(1, Relaxed);
        }
    }

    /// Holds a segment still for a value that arrives in it.
    pub(super) fn hold_for_arrival(&self, id: SegmentId) {
        if self.arena.segment(id).arriving.fetch_add(1, Relaxed) == 0 {
            self.pinned.fetch_add(1, Relaxed);
        }
    }

    /// Lets a segment go that [`Self::hold_for_arrival`] held.
    pub(super) fn end_arrival(&self, id: SegmentId) {
        if self.arena.segment(id).arriving.fetch_sub(1, Release) == 1 {
            self.pinned.fetch_sub(1, Relaxed);
        }
    }

    /// Lets a segment go again.
    pub(super) fn let_go(&self, id: SegmentId) {
        if self.arena.unpin(id) {
            self.pinned.fetch_sub(1, Relaxed);
        }
    }
}

/// A value that is held still for a send.
pub enum SegmentPin {
    /// All of it.
    Whole(HeldWhole),
    /// A part of it, and then the next.
    Part(HeldPart),
}

impl Pin for SegmentPin {
    fn len(&self) -> usize {
        match self {
            Self::Whole(held) => held.engine.value_len(&held.engine.record(held.location)),
            Self::Part(held) => held.len(),
        }
    }

    fn value_at(&self, offset: usize) -> &[u8] {
        match self {
            // The pins keep every segment of the value as the epoch did when they were taken.
            Self::Whole(held) => held.engine.value_at(&held.engine.record(held.location), offset),
            Self::Part(held) => held.value_at(offset),
        }
    }

    fn is_partial(&self) -> bool {
        matches!(self, Self::Part(_))
    }

    fn move_to(&mut self, offset: usize) {
        if let Self::Part(held) = self {
            held.move_to(offset);
        }
    }
}

/// A value whose segments are held still.
pub struct HeldWhole {
    engine: Arc<SegmentStorageEngine>,
    location: Location,
    segments: Box<[SegmentId]>,
}

impl Drop for HeldWhole {
    fn drop(&mut self) {
        self.segments.iter().for_each(|&id| self.engine.let_go(id));
    }
}

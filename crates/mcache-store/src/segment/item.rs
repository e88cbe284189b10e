//! What a reader holds: a record under its epoch's protection, or a value pinned for a send.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};

use mcache_base::{Expiry, Item, Pin};

use super::SegmentStorageEngine;
use super::arena::SegmentId;
use super::index::Location;
use super::record::Record;

/// A found item. Holding it keeps its thread's epoch, so it is read and let go.
#[derive(Clone, Copy)]
pub struct SegmentItem<'a> {
    engine: &'a Arc<SegmentStorageEngine>,
    location: Location,
    record: Record<'a>,
    expiry: Expiry,
}

impl<'a> SegmentItem<'a> {
    pub(super) fn new(
        engine: &'a Arc<SegmentStorageEngine>,
        location: Location,
        record: Record<'a>,
    ) -> Self {
        Self { engine, location, record, expiry: record.expiry() }
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
        self.engine.value_len(&self.record)
    }

    #[inline]
    fn value_at(&self, offset: usize) -> &[u8] {
        self.engine.value_at(&self.record, offset)
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
        let engine = self.engine.clone();
        if engine.pinned.load(Relaxed) + segments.len() > engine.pool.allowed() / 4 {
            return None; // so many stalled readers: this one is given a copy
        }
        engine.pinned.fetch_add(segments.len(), Relaxed);
        for &id in &segments {
            engine.arena.segment(id).pins.fetch_add(1, Relaxed);
        }
        Some(SegmentPin { engine, location: self.location, segments })
    }
}

/// A value whose segments are held still for a send.
pub struct SegmentPin {
    engine: Arc<SegmentStorageEngine>,
    location: Location,
    segments: Box<[SegmentId]>,
}

impl Pin for SegmentPin {
    fn len(&self) -> usize {
        self.engine.value_len(&self.engine.record(self.location))
    }

    fn value_at(&self, offset: usize) -> &[u8] {
        // The pins keep every segment of the value as the epoch did when they were taken.
        self.engine.value_at(&self.engine.record(self.location), offset)
    }
}

impl Drop for SegmentPin {
    fn drop(&mut self) {
        for &id in &self.segments {
            self.engine.arena.segment(id).pins.fetch_sub(1, Release);
        }
        self.engine.pinned.fetch_sub(self.segments.len(), Relaxed);
    }
}

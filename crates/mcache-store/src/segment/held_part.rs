//! What a reader holds of a value that is a large part of the memory: one fragment at a time.
//!
//! Held whole, such a value would take the room that other clients' stores need for as long as its
//! reader pleases. So it is looked up again whenever the reader has taken a part, and if it is not
//! there any more, or not the same, its reader does without the rest: the connection ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::Key;

use super::SegmentStorageEngine;
use super::arena::SegmentId;
use super::index::Location;
use super::record::Record;

/// Of all segments, one in so many may be held still for values that are held part by part.
const PARTS_DIVISOR: usize = 4;

/// The segments that are held still for such values, and for how many readers.
#[derive(Default)]
pub(super) struct Parts(Mutex<HashMap<SegmentId, usize>>);

/// A value of which one fragment is held still.
pub struct HeldPart {
    engine: Arc<SegmentStorageEngine>,
    key: Box<[u8]>,
    hash: u64,
    /// Tells this version of the item from all others.
    sequence: u64,
    len: usize,
    /// `None` if the value is gone.
    part: Option<Part>,
}

/// A fragment that is held.
struct Part {
    /// Where in the value it begins.
    begin: usize,
    len: usize,
    location: Location,
    segment: SegmentId,
}

impl HeldPart {
    /// Holds the front of a value that was found in the caller's epoch, unless too much is held.
    pub(super) fn new(
        engine: &Arc<SegmentStorageEngine>,
        record: &Record<'_>,
        location: Location,
    ) -> Option<Self> {
        let mut held = Self {
            engine: engine.clone(),
            key: record.key().into(),
            hash: engine.hasher.key(record.key()).hash,
            sequence: record.sequence(engine.arena.base_of(location)),
            len: engine.value_len(record),
            part: None,
        };
        held.part = held.hold(record, 0);
        held.part.is_some().then_some(held)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn value_at(&self, offset: usize) -> &[u8] {
        let Some(part) = &self.part else { return &[] };
        let Some(from) = offset.checked_sub(part.begin) else { return &[] };
        self.engine.record(part.location).fragment_data().get(from..).unwrap_or_default()
    }

    /// Holds the fragment at `offset`, and no other.
    pub(super) fn move_to(&mut self, offset: usize) {
        if self.part.as_ref().is_some_and(|part| offset < part.begin + part.len) {
            return;
        }
        // The thread may be between turns, when it is in no epoch of its own.
        let engine = self.engine.clone();
        let mut member = engine.epochs.join();
        member.begin(&engine.epochs);
        let key = Key { bytes: &self.key, hash: self.hash, hint: 0 };
        let found = engine.find(key).filter(|(location, record)| {
            record.sequence(engine.arena.base_of(*location)) == self.sequence
        });
        self.let_go();
        self.part = found.and_then(|(_, record)| self.hold(&record, offset));
    }

    /// Holds the fragment of a record that `offset` is in.
    fn hold(&self, record: &Record<'_>, offset: usize) -> Option<Part> {
        if !record.is_fragmented() {
            return None;
        }
        let mut begin = 0;
        for (location, len) in record.fragments() {
            if offset < begin + len {
                let segment = self.engine.arena.segment_of(location);
                let is_held = self.engine.hold_part(segment);
                return is_held.then_some(Part { begin, len, location, segment });
            }
            begin += len;
        }
        None
    }

    fn let_go(&mut self) {
        if let Some(part) = self.part.take() {
            self.engine.let_part_go(part.segment);
        }
    }
}

impl SegmentStorageEngine {
    /// Holds a segment still for a part, unless too many are. The caller is in an epoch.
    fn hold_part(&self, id: SegmentId) -> bool {
        let mut parts = self.parts.lock();
        if parts.len() >= (self.pool.allowed() / PARTS_DIVISOR).max(1) && !parts.contains_key(&id) {
            return false;
        }
        *parts.entry(id).or_default() += 1;
        self.hold(id);
        true
    }

    fn let_part_go(&self, id: SegmentId) {
        let mut parts = self.parts.lock();
        if let Some(readers) = parts.get_mut(&id) {
            *readers -= 1;
            if *readers == 0 {
                parts.remove(&id);
            }
        }
        self.let_go(id);
    }
}

impl Parts {
    fn lock(&self) -> MutexGuard<'_, HashMap<SegmentId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldPart {
    fn drop(&mut self) {
        self.let_go();
    }
}

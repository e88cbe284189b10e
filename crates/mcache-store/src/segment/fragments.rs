//! Values that are cut into fragments: how they are written, read and buried.

use std::sync::Arc;

use mcache_base::operation::Refusal;
use mcache_base::{Expiry, Now};

use super::SegmentStorageEngine;
use super::access::{Class, SegmentAccess};
use super::arena::SegmentId;
use super::arriving::Placed;
use super::draft::FragmentDraft;
use super::index::Location;
use super::record::{FRAGMENT_ENTRY, Record, fragment_size};

/// Fragments that are written and belong to no item yet: their segments are held still, and if
/// no item takes them, they are buried.
pub(super) struct Fragments {
    engine: Arc<SegmentStorageEngine>,
    list: Vec<u8>,
    held: Vec<SegmentId>,
    /// What they arrived in, if they did.
    _placed: Option<Box<Placed>>,
    kept: bool,
}

impl Fragments {
    /// None yet.
    pub(super) fn new(engine: &Arc<SegmentStorageEngine>) -> Self {
        let (list, held) = (Vec::new(), Vec::new());
        Self { engine: engine.clone(), list, held, _placed: None, kept: false }
    }

    /// Has the segments that they arrived in held for as long.
    pub(super) fn hold(&mut self, placed: Box<Placed>) {
        self._placed = Some(placed);
    }

    /// The list as it stands in the item's record.
    pub(super) fn list(&self) -> &[u8] {
        &self.list
    }

    /// An item has taken them.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }

    /// Whether a record can list no more.
    fn is_full(&self) -> bool {
        self.list.len() + FRAGMENT_ENTRY > self.engine.arena.list_max()
    }

    /// Takes in the next one, which is complete and holds `len` bytes of data.
    pub(super) fn add(&mut self, location: Location, len: usize) {
        let id = self.engine.arena.segment_of(location);
        if self.held.last() != Some(&id) {
            self.held.push(id);
            self.engine.hold(id);
        }
        self.list.extend_from_slice(&location.to_le_bytes());
        self.list.extend_from_slice(&(len as u32).to_le_bytes());
    }
}

impl Drop for Fragments {
    fn drop(&mut self) {
        if !self.kept {
            self.engine.bury_list(&self.list);
        }
        self.held.iter().for_each(|&id| self.engine.let_go(id));
    }
}

/// A value whose segments are held still while another is made of it.
pub(super) struct HeldValue<'e> {
    engine: &'e SegmentStorageEngine,
    location: Location,
    segments: Box<[SegmentId]>,
}

impl HeldValue<'_> {
    /// The value, run by run.
    pub(super) fn runs(&self) -> Vec<&[u8]> {
        self.engine.value_runs(&self.engine.record(self.location))
    }
}

impl Drop for HeldValue<'_> {
    fn drop(&mut self) {
        self.segments.iter().for_each(|&id| self.engine.let_go(id));
    }
}

/// The pieces of a value as one run of bytes. Each is let go as soon as it is copied.
struct Source<P, I> {
    pieces: I,
    piece: Option<P>,
    /// Bytes of the piece that were copied.
    taken: usize,
}

impl<P: AsRef<[u8]>, I: Iterator<Item = P>> Source<P, I> {
    /// Copies as much as a fragment lacks.
    fn copy_to(&mut self, draft: &mut FragmentDraft<'_>) {
        while draft.missing() > 0 {
            let rest = self.piece.as_ref().map_or(&[][..], |piece| &piece.as_ref()[self.taken..]);
            if !rest.is_empty() {
                self.taken += draft.push(rest);
                continue;
            }
            (self.piece, self.taken) = (self.pieces.next(), 0);
            if self.piece.is_none() {
                return;
            }
        }
    }
}

impl SegmentAccess {
    /// Writes the `len` bytes that the pieces are together as fragments behind those that are
    /// there. However small the pieces: a fragment fills up what its open segment has left.
    ///
    /// The caller holds nothing of the arena: this may wait for readers.
    pub(super) fn write_fragments<P: AsRef<[u8]>>(
        &mut self,
        mut fragments: Fragments,
        class: Class,
        owner: u64,
        pieces: impl IntoIterator<Item = P>,
        len: usize,
        now: Now,
    ) -> Result<Fragments, Refusal> {
        let engine = self.engine.clone();
        let mut source = Source { pieces: pieces.into_iter(), piece: None, taken: 0 };
        let mut missing = len;
        while missing > 0 {
            if fragments.is_full() {
                return Err(Refusal::TooLarge);
            }
            let len = self.room_for_fragment(class, missing, now)?;
            let Some(open) = self.open_mut(class) else { return Err(Refusal::NoMemory) };
            let memory = engine.arena.memory();
            // SAFETY: the open segment's end is this thread's alone, and the fragment fits.
            let mut draft = unsafe { FragmentDraft::begin(memory, open.at(), owner, len) };
            source.copy_to(&mut draft);
            draft.complete();
            let size = fragment_size(len);
            let location = open.advance(&engine.arena, size);
            engine.arena.add_live(location, size, Expiry::Never);
            fragments.add(location, len);
            missing -= len;
        }
        Ok(fragments)
    }
}

impl SegmentStorageEngine {
    /// Holds a value still that was found in the caller's epoch, beyond it.
    pub(super) fn hold_value(&self, location: Location) -> HeldValue<'_> {
        let segments = self.segments_of(location, &self.record(location));
        segments.iter().for_each(|&id| self.hold(id));
        HeldValue { engine: self, location, segments }
    }

    /// Length of a record's value.
    #[inline]
    pub(super) fn value_len(&self, record: &Record<'_>) -> usize {
        match record.is_fragmented() {
            true => record.fragments().map(|(_, len)| len).sum(),
            false => record.inline().len(),
        }
    }

    /// The longest run of a record's value that begins at `offset`.
    #[inline]
    pub(super) fn value_at<'a>(&'a self, record: &Record<'a>, offset: usize) -> &'a [u8] {
        if !record.is_fragmented() {
            return record.inline().get(offset..).unwrap_or_default();
        }
        let mut begin = 0;
        for (location, len) in record.fragments() {
            if offset < begin + len {
                let data = self.record(location).fragment_data();
                return data.get(offset - begin..).unwrap_or_default();
            }
            begin += len;
        }
        &[]
    }

    /// The whole value, run by run.
    pub(super) fn value_runs<'a>(&'a self, record: &Record<'a>) -> Vec<&'a [u8]> {
        if !record.is_fragmented() {
            return vec![record.inline()];
        }
        record.fragments().map(|(location, _)| self.record(location).fragment_data()).collect()
    }

    /// The segments that hold an item: its record's first.
    pub(super) fn segments_of(&self, location: Location, record: &Record<'_>) -> Box<[SegmentId]> {
        let own = std::iter::once(self.arena.segment_of(location));
        if !record.is_fragmented() {
            return own.collect();
        }
        let mut all: Vec<_> =
            own.chain(record.fragments().map(|(at, _)| self.arena.segment_of(at))).collect();
        all.sort_unstable();
        all.dedup();
        all.into()
    }

    /// Takes the fragments of an item that is gone out of use.
    pub(super) fn bury_fragments(&self, record: &Record<'_>) {
        if !record.is_fragmented() {
            return;
        }
        for (location, _) in record.fragments() {
            self.retire(location, &self.record(location));
        }
    }

    fn bury_list(&self, list: &[u8]) {
        for entry in list.chunks_exact(FRAGMENT_ENTRY) {
            if let Some((location, _)) = entry.split_first_chunk::<4>() {
                let location = Location::from_le_bytes(*location);
                self.retire(location, &self.record(location));
            }
        }
    }
}

//! Values that arrive where they will stay.
//!
//! The next bytes of a long value have a place that another has left (`left`), or one at the end
//! of the open segment of the thread that they come to, so that they can be received there. While
//! a place is filled it is a filler, and its segment is held still; once the whole value has come
//! it is a fragment. Nobody but its value ever looks at a place: one whose value goes away before
//! stays a dead place.
//!
//! What is held still cannot be emptied: so values that stall hold few segments. Beyond these the
//! rest of a value is gathered aside (`staged`), as are values whose bytes end up elsewhere
//! anyway: short ones, those that are spliced, and all where nothing is evicted, which counts
//! every byte.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::compiler_fence;

use mcache_base::operation::{Store, StoreMode};
use mcache_base::{Expiry, Key, Now};

use super::SegmentStorageEngine;
use super::access::{Class, SegmentAccess};
use super::arena::SegmentId;
use super::draft::{FILLER_MAX, FragmentDraft, write_filler};
use super::fragments::Fragments;
use super::record::{FRAGMENT_HEADER, fragment_size};
use super::staged::{Piece, Staged};
use crate::engine::Reservation;
use crate::eviction::Standing;
use crate::tally::EngineCounters;

/// Of all segments, one in so many may be held still before values have no more places.
const HELD_DIVISOR: usize = 8;

/// Longest place, in bytes of data: a filler tells its size.
pub(super) const PLACE_MAX: usize = FILLER_MAX - 64;

/// A value that is still arriving.
pub struct Arriving {
    /// Where its first bytes are, if it has places.
    placed: Option<Box<Placed>>,
    /// Where the others are.
    aside: Option<Staged>,
    missing: usize,
}

/// Bytes that have come to where they will stay.
pub(super) struct Placed {
    engine: Arc<SegmentStorageEngine>,
    counters: Arc<EngineCounters>,
    now: Now,
    class: Class,
    standing: Standing,
    places: Vec<Place>,
    /// Its segments, held still.
    held: Vec<SegmentId>,
}

/// What will be a fragment.
pub(super) struct Place {
    /// Where it begins in the arena.
    at: usize,
    /// Bytes of data that it is for.
    len: usize,
    /// Bytes that have come.
    taken: usize,
}

impl Arriving {
    /// What has come: where it will stay, and aside. `None` if the room for it went to others.
    pub(super) fn into_parts(self) -> Option<(Option<Box<Placed>>, Vec<Piece>)> {
        assert!(self.placed.is_none() || self.missing == 0, "only a whole value is stored");
        let pieces = match self.aside {
            Some(aside) => aside.into_pieces()?,
            None => Vec::new(),
        };
        Some((self.placed, pieces))
    }

    /// The place that the next bytes go to; empty if they have none.
    fn room(&mut self) -> &mut [u8] {
        match &mut self.placed {
            Some(placed) if self.aside.is_none() => placed.room(),
            _ => &mut [],
        }
    }
}

impl Reservation for Arriving {
    fn missing(&self) -> usize {
        self.missing
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let bytes = &bytes[..bytes.len().min(self.missing)];
        if bytes.is_empty() {
            return 0;
        }
        let room = self.room();
        let taken = bytes.len().min(room.len());
        if taken > 0 {
            room[..taken].copy_from_slice(&bytes[..taken]);
            self.arrived(taken);
            return taken;
        }
        let missing = self.missing;
        let begin =
            |placed: &Placed| Staged::new(&placed.engine, &placed.counters, missing, placed.now);
        if self.aside.is_none() {
            self.aside = self.placed.as_deref().map(begin);
        }
        let taken = self.aside.as_mut().map_or(0, |aside| aside.fill(bytes));
        self.missing -= taken;
        taken
    }

    fn arrived(&mut self, bytes: usize) {
        assert!(bytes <= self.room().len(), "no more than there was a place for");
        if let Some(place) = self.placed.as_mut().and_then(|placed| placed.places.last_mut()) {
            place.taken += bytes;
        }
        self.missing -= bytes;
    }
}

impl Place {
    /// One for `len` bytes, of which none has come: a filler begins at `at`.
    pub(super) fn new(at: usize, len: usize) -> Self {
        Self { at, len, taken: 0 }
    }
}

impl Placed {
    /// The segments that its item belongs to.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Bytes that have come.
    pub(super) fn len(&self) -> usize {
        self.places.iter().map(|place| place.taken).sum()
    }

    /// What the item goes on with as far as eviction is concerned.
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    fn room(&mut self) -> &mut [u8] {
        let Some(place) = self.places.last() else { return &mut [] };
        let at = place.at + FRAGMENT_HEADER + place.taken;
        // SAFETY: the place is this value's alone, its segment is held still, and who walks that
        // looks at no more of a filler than its first word.
        unsafe { self.engine.arena.memory().bytes_mut(at, place.len - place.taken) }
    }

    /// Holds a segment still, unless too many are. Returns whether it is.
    pub(super) fn hold(&mut self, id: SegmentId) -> bool {
        if self.held.contains(&id) {
            return true;
        }
        if self.engine.pinned.load(Relaxed) >= self.engine.pool.allowed() / HELD_DIVISOR {
            return false;
        }
        self.engine.hold_for_arrival(id);
        self.held.push(id);
        true
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.held.iter().for_each(|&id| self.engine.end_arrival(id));
    }
}

impl SegmentAccess {
    /// Begins to take a value of `len` bytes in, which may be kept.
    pub(super) fn begin_arrival(
        &mut self,
        key: Key<'_>,
        store: &Store,
        len: usize,
        now: Now,
    ) -> Arriving {
        let engine = self.engine.clone();
        let is_spliced = matches!(store.mode, StoreMode::Append | StoreMode::Prepend);
        if is_spliced || !engine.evict || len <= engine.arena.inline_max() {
            let aside = Some(Staged::new(&engine, &self.counters, len, now));
            return Arriving { placed: None, aside, missing: len };
        }
        self.begin(now);
        let seen = engine.find(key).map(|(location, _)| location);
        let standing = engine.standing(key, seen, len, now);
        let class = Class::of(standing.queue, Expiry::from_exptime(store.exptime, now), now);
        let counters = self.counters.clone();
        let (places, held) = (Vec::new(), Vec::new());
        let placed = Placed { engine, counters, now, class, standing, places, held };
        Arriving { placed: Some(Box::new(placed)), aside: None, missing: len }
    }

    /// The place for the next bytes of a value; empty if they have none.
    #[inline(never)] // most requests have no such value
    pub(super) fn place_of_next<'v>(&mut self, value: &'v mut Arriving, now: Now) -> &'v mut [u8] {
        let missing = value.missing;
        if missing > 0
            && value.aside.is_none()
            && value.room().is_empty()
            && let Some(placed) = &mut value.placed
        {
            let place = self.new_place(placed, missing, now);
            placed.places.extend(place);
        }
        value.room()
    }

    /// A place for some of the `missing` bytes of a value.
    fn new_place(&mut self, placed: &mut Placed, missing: usize, now: Now) -> Option<Place> {
        let engine = self.engine.clone();
        self.begin(now);
        let left = self.claim_left(placed, missing);
        if left.is_some() {
            return left;
        }
        let len = self.room_for_fragment(placed.class, missing.min(PLACE_MAX), now).ok()?;
        let open = self.open_mut(placed.class)?;
        if !placed.hold(open.id) {
            return None;
        }
        let (at, size) = (open.at(), engine.arena.rounded(fragment_size(len)));
        // SAFETY: the open segment's end is this thread's alone, and the place fits.
        unsafe { write_filler(engine.arena.memory(), at, size) };
        // Whoever recovers a memory file finds the filler before any byte that arrives.
        compiler_fence(SeqCst);
        open.advance(&engine.arena, size);
        Some(Place::new(at, len))
    }

    /// Makes fragments of a value's places, which are full.
    pub(super) fn settle(&self, placed: Box<Placed>, owner: u64) -> Fragments {
        let arena = &self.engine.arena;
        let mut fragments = Fragments::new(&self.engine);
        for place in &placed.places {
            // SAFETY: the place is the value's alone, and all of it has been written to.
            let draft =
                unsafe { FragmentDraft::filled(arena.memory(), place.at, owner, place.taken) };
            draft.complete();
            let location = arena.location(place.at);
            arena.add_live(location, fragment_size(place.len), Expiry::Never);
            fragments.add(location, place.len);
        }
        // Who empties a segment has to see until the item has them that they are arriving.
        fragments.hold(placed);
        fragments
    }
}

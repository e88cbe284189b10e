//! Values that are still arriving and have no place where they will stay (`arriving`): held
//! outside the arena, as much of them as has come, and counted against the capacity.
//!
//! While they are held, segments have so much less: each piece evicts what it takes the room of.
//! What was held lately stays charged for a while, up to a small share of the capacity: where one
//! large value follows another, memory does not wander between segments and pieces. Beyond the
//! limit, it is the value whose bytes have been awaited longest that loses its room.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::Now;
use mcache_base::limits::STAGED_MIN;

use super::SegmentStorageEngine;
use super::memory::Buffer;
use crate::tally::EngineCounters;

/// Room is taken in pieces of this size, so that half a value does not hold room for all of it.
const PIECE: usize = 64 << 10;

/// Empty pieces that are kept for the next values, however few were held lately.
const SPARE_MIN: usize = 32;

/// Of a capacity, the part that stays charged for values that will arrive as others did lately.
const STANDING_DIVISOR: u64 = 32;

/// Of a capacity, the bytes that may be of values that are still arriving: three quarters if
/// items can make room for them, an eighth otherwise.
pub(super) fn share(capacity: u64, evict: bool) -> u64 {
    if evict { capacity / 4 * 3 } else { capacity / 8 }
}

/// What the values that are still arriving take together.
#[derive(Default)]
pub(super) struct Staging {
    held: AtomicU64,
    /// The most that was held lately.
    lately: AtomicU64,
    limit: AtomicU64,
    /// The most that stays charged although it is not held.
    standing_max: AtomicU64,
    spare: Mutex<Vec<Buffer>>,
    /// Counts what arrives: its readings tell which value has been silent longest.
    clock: AtomicU64,
    arriving: Mutex<BTreeMap<u64, Arc<Arriving>>>,
}

/// The part of an arriving value that others may take away.
struct Arriving {
    /// What the clock said when its first bytes came: tells it from all others.
    id: u64,
    /// What the clock said when its last bytes came.
    moved: AtomicU64,
    /// `None` once the room was needed for others.
    pieces: Mutex<Option<Vec<Piece>>>,
}

/// Bytes that have come, counted as long as they are held.
pub(super) struct Piece {
    staging: Arc<Staging>,
    /// `None` only while it is dropped.
    buffer: Option<Buffer>,
}

impl Staging {
    /// Sets the limit for a store of `capacity` bytes.
    pub(super) fn allow(&self, capacity: u64, evict: bool) {
        self.limit.store(share(capacity, evict).max(STAGED_MIN), Relaxed);
        self.standing_max.store(capacity / STANDING_DIVISOR, Relaxed);
    }

    /// Bytes that segments do without: those that have come, or those that came lately.
    pub(super) fn charged(&self) -> u64 {
        self.held().max(self.standing())
    }

    /// Bytes that stay charged, held or not.
    fn standing(&self) -> u64 {
        self.lately.load(Relaxed).min(self.standing_max.load(Relaxed))
    }

    /// Forgets half of what was held lately, and gives pieces back that are spare then. Called
    /// about once a second.
    pub(super) fn calm(&self) {
        let lately = self.lately.load(Relaxed) / 2;
        self.lately.store(lately.max(self.held()), Relaxed);
        let most = self.spare_max();
        lock(&self.spare).truncate(most);
    }

    /// Empty pieces that are kept: what is charged is there, held or not.
    fn spare_max(&self) -> usize {
        (self.standing().saturating_sub(self.held()) as usize / PIECE).max(SPARE_MIN)
    }

    /// Bytes that have come.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Counts `more` bytes for a value of which `own` have come, taking the room of others if it
    /// must. A value that is alone may be longer than the limit.
    fn admit(&self, more: u64, own: u64, id: u64) {
        let mut all = self.held.fetch_add(more, Relaxed) + more;
        while all > self.limit.load(Relaxed) && all > own + more && self.revoke(id) {
            all = self.held();
        }
        self.lately.fetch_max(all, Relaxed);
    }

    /// Takes the room of the value that has been silent longest, other than `id`. Returns whether
    /// there was one.
    fn revoke(&self, id: u64) -> bool {
        let mut arriving = self.arriving();
        let others = arriving.values().filter(|other| other.id != id);
        let Some(stalled) = others.min_by_key(|other| other.moved.load(Relaxed)) else {
            return false;
        };
        let stalled = stalled.id;
        let stalled = arriving.remove(&stalled);
        drop(arriving);
        drop(stalled.and_then(|stalled| stalled.pieces().take()));
        true
    }

    fn piece(self: &Arc<Self>) -> Option<Piece> {
        let spare = lock(&self.spare).pop();
        let buffer = spare.or_else(|| Buffer::new(PIECE).ok())?;
        Some(Piece { staging: self.clone(), buffer: Some(buffer) })
    }

    fn arriving(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Arriving>>> {
        lock(&self.arriving)
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }
}

impl Arriving {
    fn pieces(&self) -> MutexGuard<'_, Option<Vec<Piece>>> {
        lock(&self.pieces)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], Buffer::as_slice)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Some(mut buffer) = self.buffer.take() else { return };
        self.staging.held.fetch_sub(buffer.as_slice().len() as u64, Relaxed);
        let most = self.staging.spare_max();
        let mut spare = lock(&self.staging.spare);
        if spare.len() < most {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// A value that is still arriving. If its room is needed for others, or there is none, the rest
/// is taken and thrown away.
pub(super) struct Staged {
    room: Option<Room>,
    staging: Arc<Staging>,
    arriving: Arc<Arriving>,
    held: u64,
    missing: usize,
}

/// What it takes to make room: see [`SegmentStorageEngine::give_way`].
struct Room {
    engine: Arc<SegmentStorageEngine>,
    counters: Arc<EngineCounters>,
    now: Now,
}

impl Staged {
    /// A value of `len` bytes of which none has come, for which the engine makes room.
    pub(super) fn new(
        engine: &Arc<SegmentStorageEngine>,
        counters: &Arc<EngineCounters>,
        len: usize,
        now: Now,
    ) -> Self {
        let mut staged = Self::in_staging(&engine.staging, len);
        staged.room = Some(Room { engine: engine.clone(), counters: counters.clone(), now });
        staged
    }

    fn in_staging(staging: &Arc<Staging>, len: usize) -> Self {
        let id = staging.tick();
        let pieces = Mutex::new(Some(Vec::new()));
        let arriving = Arc::new(Arriving { id, moved: AtomicU64::new(id), pieces });
        staging.arriving().insert(id, arriving.clone());
        Self { room: None, staging: staging.clone(), arriving, held: 0, missing: len }
    }

    /// What has come, in order; `None` if its room went to others.
    pub(super) fn into_pieces(self) -> Option<Vec<Piece>> {
        self.arriving.pieces().take()
    }

    /// Takes bytes in. Returns whether a new piece was begun.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let more = bytes.len() as u64;
        self.arriving.moved.store(self.staging.tick(), Relaxed);
        if self.arriving.pieces().is_none() {
            return false;
        }
        self.staging.admit(more, self.held, self.arriving.id);
        self.held += more;
        let mut began = false;
        let mut pieces = self.arriving.pieces();
        while let Some(list) = pieces.as_mut()
            && !bytes.is_empty()
        {
            let taken = list.last_mut().map_or(0, |piece| piece.push(bytes));
            bytes = &bytes[taken..];
            if taken == 0 {
                match self.staging.piece() {
                    Some(piece) => list.push(piece),
                    None => *pieces = None,
                }
                began = true;
            }
        }
        // What did not get into a piece is not held.
        self.staging.held.fetch_sub(bytes.len() as u64, Relaxed);
        began
    }
}

impl Piece {
    fn push(&mut self, bytes: &[u8]) -> usize {
        self.buffer.as_mut().map_or(0, |buffer| buffer.push(bytes))
    }
}

impl Staged {
    /// Takes the next bytes of the value; at most as many as are missing. Returns how many.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.missing);
        self.missing -= taken;
        if self.take(&bytes[..taken])
            && let Some(Room { engine, counters, now }) = &self.room
        {
            let excess = engine.give_way(*now, counters);
            // Nothing makes room where nothing is evicted: no value waits beyond the limit.
            if excess > 0 && !engine.evict && self.staging.held() > STAGED_MIN {
                drop(self.arriving.pieces().take());
            }
        }
        taken
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.staging.arriving().remove(&self.arriving.id);
        drop(self.arriving.pieces().take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging() -> Arc<Staging> {
        let staging = Arc::new(Staging::default());
        staging.allow(0, true);
        staging
    }

    #[test]
    fn holds_what_has_come_and_no_more_than_its_length() {
        let staging = staging();
        let mut staged = Staged::in_staging(&staging, 3 * PIECE + 5);
        let bytes: Vec<u8> = (0..4 * PIECE).map(|n| n as u8).collect();
        assert_eq!(staged.fill(&bytes[..7]), 7);
        assert_eq!((staged.missing, staging.held()), (3 * PIECE - 2, 7));
        assert_eq!(staged.fill(&bytes[7..]), 3 * PIECE - 2);
        assert_eq!((staged.missing, staged.fill(b"more")), (0, 0));
        let pieces = staged.into_pieces().unwrap();
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.as_ref()).copied().collect();
        assert_eq!(whole, bytes[..3 * PIECE + 5]);
        assert_eq!((staging.held(), staging.arriving().len()), (whole.len() as u64, 0));
        drop(pieces);
        assert_eq!(staging.held(), 0);
    }

    #[test]
    fn what_was_held_lately_stays_charged_for_a_while() {
        let staging = Arc::new(Staging::default());
        let rows = [
            // the capacity in pieces, held, charged after it has gone, and seconds later
            (100 * STANDING_DIVISOR, 80, [80, 40, 20, 10]),
            (50 * STANDING_DIVISOR, 80, [50, 40, 20, 10]),
            (0, 80, [0, 0, 0, 0]),
        ];
        for (capacity, held, charged) in rows {
            staging.allow(capacity * PIECE as u64, true);
            let bytes = vec![1; held * PIECE];
            let mut staged = Staged::in_staging(&staging, bytes.len());
            staged.fill(&bytes);
            assert_eq!(staging.charged(), bytes.len() as u64);
            drop(staged);
            for pieces in charged {
                assert_eq!(staging.charged(), pieces * PIECE as u64, "of {capacity}");
                assert!(lock(&staging.spare).len() <= SPARE_MIN.max(pieces as usize));
                staging.calm();
            }
            (0..64).for_each(|_| staging.calm());
        }
    }

    #[test]
    fn beyond_the_limit_the_value_that_was_silent_longest_loses_its_room() {
        let staging = staging();
        let len = STAGED_MIN as usize;
        let half = vec![1; len / 2];
        let mut all: Vec<_> = (0..3).map(|_| Staged::in_staging(&staging, len)).collect();
        for (at, bytes) in [(0, &half[1..]), (1, &half), (0, &half[..1]), (2, &half)] {
            assert_eq!(all[at].fill(bytes), bytes.len());
        }
        assert!(staging.held() <= STAGED_MIN);
        let kept = all.iter().map(|staged| staged.arriving.pieces().is_some());
        assert_eq!(kept.collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(all[1].fill(&half), half.len(), "it is taken even if thrown away");
        assert!(all.remove(1).into_pieces().is_none());
        drop(all);
        assert_eq!(staging.held(), 0);
        let mut alone = Staged::in_staging(&staging, 2 * len);
        (0..4).for_each(|_| assert_eq!(alone.fill(&half), half.len()));
        assert_eq!(alone.into_pieces().map(|pieces| pieces.len() * PIECE), Some(2 * len));
    }
}

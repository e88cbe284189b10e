//! Values that are still arriving: held outside the arena, as much of them as has come, and
//! counted against the capacity.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::limits::STAGED_MIN;

use super::memory::Buffer;
use crate::engine::Reservation;

/// Room is taken in pieces of this size, so that half a value does not hold room for all of it.
const PIECE: usize = 64 << 10;

/// Of the capacity, one in so many bytes may be of values that are still arriving.
pub(super) const CAPACITY_DIVISOR: u64 = 8;

/// Empty pieces that are kept for the next values.
const SPARE_MAX: usize = 32;

/// What the values that are still arriving take together.
#[derive(Default)]
pub(super) struct Staging {
    held: AtomicU64,
    limit: AtomicU64,
    spare: Mutex<Vec<Buffer>>,
}

impl Staging {
    /// Sets the limit for a store of `capacity` bytes.
    pub(super) fn allow(&self, capacity: u64) {
        self.limit.store((capacity / CAPACITY_DIVISOR).max(STAGED_MIN), Relaxed);
    }

    /// Bytes that have come.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    /// Whether no further value may begin to arrive.
    pub(super) fn is_full(&self) -> bool {
        self.held() >= self.limit.load(Relaxed)
    }

    /// Counts `more` bytes for a value of which `own` have come. A value that is alone may be
    /// longer than the limit.
    fn admit(&self, more: u64, own: u64) -> bool {
        let all = self.held.fetch_add(more, Relaxed) + more;
        let admitted = all <= self.limit.load(Relaxed) || all == own + more;
        if !admitted {
            self.held.fetch_sub(more, Relaxed);
        }
        admitted
    }

    fn piece(&self) -> Option<Buffer> {
        let spare = self.spare().pop();
        spare.or_else(|| Buffer::new(PIECE).ok())
    }

    fn give_back(&self, pieces: Vec<Buffer>, bytes: u64) {
        let mut spare = self.spare();
        for mut piece in pieces {
            if spare.len() < SPARE_MAX {
                piece.clear();
                spare.push(piece);
            }
        }
        self.held.fetch_sub(bytes, Relaxed);
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that is still arriving. If there is no room for all of it, the rest is taken and
/// thrown away.
pub struct Staged {
    staging: Arc<Staging>,
    /// `None` once there was no room.
    pieces: Option<Vec<Buffer>>,
    held: u64,
    missing: usize,
}

impl Staged {
    /// A value of `len` bytes of which none has come.
    pub(super) fn new(staging: &Arc<Staging>, len: usize) -> Self {
        Self { staging: staging.clone(), pieces: Some(Vec::new()), held: 0, missing: len }
    }

    /// What has come, in order; `None` if there was no room for it.
    pub(super) fn pieces(&self) -> Option<Vec<&[u8]>> {
        Some(self.pieces.as_ref()?.iter().map(Buffer::as_slice).collect())
    }

    /// Takes bytes in. Returns `None` if there is no room.
    fn take(&mut self, mut bytes: &[u8]) -> Option<()> {
        let pieces = self.pieces.as_mut()?;
        let more = bytes.len() as u64;
        if !self.staging.admit(more, self.held) {
            return None;
        }
        self.held += more;
        while !bytes.is_empty() {
            let taken = pieces.last_mut().map_or(0, |piece| piece.push(bytes));
            bytes = &bytes[taken..];
            if taken == 0 {
                pieces.push(self.staging.piece()?);
            }
        }
        Some(())
    }

    fn let_go(&mut self) {
        let pieces = self.pieces.take().unwrap_or_default();
        self.staging.give_back(pieces, std::mem::take(&mut self.held));
    }
}

impl Reservation for Staged {
    fn missing(&self) -> usize {
        self.missing
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.missing);
        self.missing -= taken;
        if self.take(&bytes[..taken]).is_none() {
            self.let_go();
        }
        taken
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging() -> Arc<Staging> {
        let staging = Arc::new(Staging::default());
        staging.allow(0);
        staging
    }

    #[test]
    fn holds_what_has_come_and_no_more_than_its_length() {
        let staging = staging();
        let mut staged = Staged::new(&staging, 3 * PIECE + 5);
        let bytes: Vec<u8> = (0..4 * PIECE).map(|n| n as u8).collect();
        assert_eq!(staged.fill(&bytes[..7]), 7);
        assert_eq!((staged.missing(), staging.held()), (3 * PIECE - 2, 7));
        assert_eq!(staged.fill(&bytes[7..]), 3 * PIECE - 2);
        assert_eq!((staged.missing(), staged.fill(b"more")), (0, 0));
        assert_eq!(staged.pieces().unwrap().concat(), bytes[..3 * PIECE + 5]);
        drop(staged);
        assert_eq!(staging.held(), 0);
    }

    #[test]
    fn all_values_together_stay_within_the_limit_but_one_alone_need_not() {
        let staging = staging();
        let len = STAGED_MIN as usize;
        let half = vec![1; len / 2];
        let mut all: Vec<_> = (0..3).map(|_| Staged::new(&staging, len)).collect();
        for staged in &mut all {
            assert_eq!(staged.fill(&half), half.len(), "it is taken even if thrown away");
        }
        let kept: Vec<_> = all.iter().map(|staged| staged.pieces().is_some()).collect();
        assert_eq!((kept, staging.is_full()), (vec![true, true, false], true));
        drop(all);
        let mut alone = Staged::new(&staging, 2 * len);
        (0..4).for_each(|_| assert_eq!(alone.fill(&half), half.len()));
        assert_eq!(alone.pieces().unwrap().concat().len(), 2 * len);
    }
}

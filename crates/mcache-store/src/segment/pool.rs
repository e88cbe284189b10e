//! Which segments are free, which wait to become so, and in what order the others were filled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::arena::{Arena, SegmentId};
use super::epoch::{Epochs, Identity, Member};
use crate::eviction::{Place, QUEUES};

/// Free segments that only reclaiming may take: what it keeps has to go somewhere.
const RESERVE: usize = 2;

/// Who asks for a segment.
#[derive(Clone, Copy, Debug)]
pub enum Taker<'m> {
    /// A store, by this thread.
    Store(&'m Member),
    /// Reclaiming, for what it keeps.
    Reclaim,
}

/// The segments that nobody appends to.
pub struct Pool {
    inner: Mutex<Inner>,
    /// Segments that may have memory.
    allowed: AtomicUsize,
    /// Segments that had memory when the system last had no more; otherwise `usize::MAX`.
    had: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    /// With memory, empty.
    free: Vec<SegmentId>,
    /// Without memory.
    released: Vec<SegmentId>,
    /// From here on never used.
    unused: SegmentId,
    /// With memory.
    taken: usize,
    /// Emptied; free when the epoch is over everywhere.
    limbo: VecDeque<(u64, SegmentId)>,
    /// Being filled, by this thread or by the reclaimer.
    filling: Vec<(SegmentId, Option<Identity>)>,
    /// Full, the oldest first.
    queues: [VecDeque<SegmentId>; QUEUES],
}

impl Pool {
    /// All segments unused.
    pub fn new(allowed: usize) -> Self {
        let (allowed, had) = (AtomicUsize::new(allowed), AtomicUsize::new(usize::MAX));
        Self { inner: Mutex::default(), allowed, had }
    }

    /// Takes over the segments of a file: those in the queues are full, the oldest first; the
    /// others up to `used` are empty, and their memory is given back. Nobody is at work.
    pub fn restore(&self, queues: [VecDeque<SegmentId>; QUEUES], used: SegmentId, arena: &Arena) {
        let mut full = vec![false; used as usize];
        queues.iter().flatten().for_each(|&id| full[id as usize] = true);
        let empty = (0..used).filter(|&id| !full[id as usize]);
        let mut inner = self.lock();
        inner.released.clear();
        for id in empty {
            // SAFETY: nobody is at work, and nothing alive is in it.
            unsafe { arena.release(id) };
            inner.released.push(id);
        }
        inner.unused = used;
        inner.taken = queues.iter().map(VecDeque::len).sum();
        inner.queues = queues;
    }

    /// Sets how many segments may have memory.
    pub fn allow(&self, segments: usize) {
        self.allowed.store(segments.min(self.had.load(Relaxed)), Relaxed);
    }

    /// Asks the system again for more memory than it last had.
    pub fn hope(&self) {
        self.had.store(usize::MAX, Relaxed);
    }

    /// How many segments may have memory.
    pub fn allowed(&self) -> usize {
        self.allowed.load(Relaxed)
    }

    /// An empty segment, if there is one.
    pub fn take(&self, taker: Taker<'_>, arena: &Arena, epochs: &Epochs) -> Option<SegmentId> {
        let allowed = self.allowed();
        let mut inner = self.lock();
        inner.free_from_limbo(arena, epochs);
        let unused = arena.segments_max() - inner.unused as usize + inner.released.len();
        let fresh = allowed.saturating_sub(inner.taken).min(unused);
        let (kept_back, owner) = match taker {
            Taker::Store(member) => (RESERVE, Some(member.identity())),
            Taker::Reclaim => (0, None),
        };
        if inner.free.len() + fresh <= kept_back {
            return None;
        }
        let id = match inner.free.pop() {
            Some(id) => id,
            None => inner.take_fresh(arena).or_else(|| {
                // The file's volume is full: as if the limit were what there is.
                self.had.store(inner.taken, Relaxed);
                self.allow(allowed);
                None
            })?,
        };
        arena.allow(id);
        // What is being filled is walked: nobody may take what was here before for records.
        arena.forget(id);
        inner.filling.push((id, owner));
        Some(id)
    }

    /// Puts a full segment at its queue's end.
    pub fn seal(&self, id: SegmentId, queue: usize) {
        let mut inner = self.lock();
        inner.filling.retain(|(other, _)| *other != id);
        inner.queues[queue].push_back(id);
    }

    /// Puts a segment at its queue's end if this thread is still the one that fills it.
    pub fn seal_if_own(&self, id: SegmentId, queue: usize, member: &Member) {
        let own = (id, Some(member.identity()));
        let mut inner = self.lock();
        if let Some(at) = inner.filling.iter().position(|filling| *filling == own) {
            inner.filling.swap_remove(at);
            inner.queues[queue].push_back(id);
        }
    }

    /// Puts the segments at their queues' ends that threads were filling which rest now. Returns
    /// whether there were any.
    pub fn seal_of_resting(&self, arena: &Arena) -> bool {
        let Inner { filling, queues, .. } = &mut *self.lock();
        let before = filling.len();
        filling.retain(|(id, owner)| {
            let queue = || arena.segment(*id).queue.load(Relaxed) as usize;
            let seal = || queues[queue()].push_back(*id);
            !owner.as_ref().is_some_and(|owner| owner.visit(seal))
        });
        filling.len() < before
    }

    /// Whether threads other than this one are filling segments.
    pub fn others_fill(&self, member: &Member) -> bool {
        let own = member.identity();
        self.lock().filling.iter().any(|(_, owner)| owner.as_ref().is_some_and(|it| *it != own))
    }

    /// Takes a segment of a queue out, passing by those that `held` says are held.
    pub fn remove(
        &self,
        queue: usize,
        place: Place,
        held: impl Fn(SegmentId) -> bool,
    ) -> Option<SegmentId> {
        let queue = &mut self.lock().queues[queue];
        let is_free = |at: &usize| queue.get(*at).is_some_and(|&id| !held(id));
        let at = match place {
            Place::Oldest => (0..queue.len()).find(is_free),
            Place::Newest => (0..queue.len()).rev().find(is_free),
            Place::At(first) => (first..queue.len()).chain(0..queue.len()).find(is_free),
        };
        queue.remove(at?)
    }

    /// Takes at most `most` full segments out that are wanted.
    pub fn remove_some(&self, most: usize, wanted: impl Fn(SegmentId) -> bool) -> Vec<SegmentId> {
        let mut removed = Vec::new();
        for queue in &mut self.lock().queues {
            queue.retain(|&id| {
                let goes = removed.len() < most && wanted(id);
                removed.extend(goes.then_some(id));
                !goes
            });
        }
        removed
    }

    /// Takes the segment out for which `worth` is highest, if it is for any.
    pub fn best(&self, worth: impl Fn(SegmentId) -> Option<u32>) -> Option<SegmentId> {
        let mut inner = self.lock();
        let candidates =
            inner.queues.iter().enumerate().flat_map(|(queue, ids)| {
                ids.iter().enumerate().map(move |(at, &id)| (queue, at, id))
            });
        let (_, queue, at) =
            candidates.filter_map(|(queue, at, id)| Some((worth(id)?, queue, at))).max()?;
        inner.queues[queue].remove(at)
    }

    /// The sum of `worth` over the full segments for which there is any.
    pub fn total(&self, worth: impl Fn(SegmentId) -> Option<u32>) -> usize {
        let inner = self.lock();
        inner.queues.iter().flatten().filter_map(|&id| worth(id)).map(|worth| worth as usize).sum()
    }

    /// The segments that hold items.
    pub fn in_use(&self) -> Vec<SegmentId> {
        let inner = self.lock();
        let filling = inner.filling.iter().map(|(id, _)| *id);
        inner.queues.iter().flatten().copied().chain(filling).collect()
    }

    /// How many segments are being filled.
    pub fn filling(&self) -> usize {
        self.lock().filling.len()
    }

    /// How many full segments each queue has.
    pub fn lengths(&self) -> [usize; QUEUES] {
        let inner = self.lock();
        std::array::from_fn(|queue| inner.queues[queue].len())
    }

    /// Takes in a segment whose records can no longer be reached, but may still be read.
    pub fn empty(&self, id: SegmentId, epoch: u64) {
        self.lock().limbo.push_back((epoch, id));
    }

    /// Whether segments wait for threads that are at work, rather than for a send.
    pub fn waits(&self, arena: &Arena) -> bool {
        self.lock().limbo.iter().any(|&(_, id)| !arena.is_pinned(id))
    }

    /// Whether a store can have a segment at once.
    pub fn has_room(&self, arena: &Arena, epochs: &Epochs) -> bool {
        let mut inner = self.lock();
        inner.free_from_limbo(arena, epochs);
        inner.free.len() + self.allowed().saturating_sub(inner.taken) > RESERVE
    }

    /// Segments that have memory.
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    /// Segments that have memory and are empty.
    pub fn free(&self) -> usize {
        self.lock().free.len()
    }

    /// Gives the memory of free segments back while more have memory than may.
    /// Returns how many there still are too many.
    pub fn trim(&self, arena: &Arena, epochs: &Epochs) -> usize {
        let allowed = self.allowed();
        let mut inner = self.lock();
        inner.free_from_limbo(arena, epochs);
        while inner.taken > allowed {
            let Some(id) = inner.free.pop() else { break };
            // SAFETY: a free segment's records can't be reached, and its epoch is over.
            unsafe { arena.release(id) };
            inner.released.push(id);
            inner.taken -= 1;
        }
        inner.taken.saturating_sub(allowed)
    }

    /// Gives the memory of at most `most` free segments back, as long as more than `spare` are.
    pub fn release_idle(&self, spare: usize, most: usize, arena: &Arena, epochs: &Epochs) {
        let mut inner = self.lock();
        inner.free_from_limbo(arena, epochs);
        let kept = spare.max(inner.free.len().saturating_sub(most)).min(inner.free.len());
        let idle = inner.free.split_off(kept);
        drop(inner); // stores go on meanwhile
        for &id in &idle {
            // SAFETY: a free segment's records can't be reached, its epoch is over, and nobody
            // takes it, as no list has it.
            unsafe { arena.release(id) };
        }
        let mut inner = self.lock();
        inner.taken -= idle.len();
        inner.released.extend(idle);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A segment that had no memory and has some now.
    fn take_fresh(&mut self, arena: &Arena) -> Option<SegmentId> {
        let id = self.released.last().copied().unwrap_or(self.unused);
        arena.take(id).ok()?;
        if self.released.pop().is_none() {
            self.unused += 1;
        }
        self.taken += 1;
        Some(id)
    }

    /// A segment is free once its epoch is over and no send that began in it holds it.
    fn free_from_limbo(&mut self, arena: &Arena, epochs: &Epochs) {
        if self.limbo.is_empty() {
            return;
        }
        let oldest = epochs.oldest();
        let free = &mut self.free;
        self.limbo.retain(|&(epoch, id)| {
            let is_free = epoch < oldest && !arena.is_pinned(id);
            if is_free {
                if cfg!(debug_assertions) {
                    // SAFETY: its records can't be reached, and its epoch is over.
                    unsafe { arena.poison(id) };
                }
                free.push(id);
            }
            !is_free
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_is_taken_again_shows_no_records_of_its_past() {
        let arena = Arena::new(1 << 20).unwrap();
        let epochs = Epochs::default();
        let pool = Pool::new(4);
        let member = epochs.join();
        let store = Taker::Store(&member);
        let id = pool.take(store, &arena, &epochs).unwrap();
        arena.open(id, 0, 0, 0, 0).advance(&arena, 64);
        arena.segment(id).expires_ms.store(5, Relaxed);
        pool.seal(id, 0);
        let oldest = pool.remove(0, Place::Oldest, |_| false).unwrap();
        pool.empty(oldest, epochs.advance());
        assert_eq!(pool.take(store, &arena, &epochs), Some(id));
        assert_eq!(pool.in_use(), [id], "it can be walked before it is opened");
        let segment = arena.segment(id);
        assert_eq!(
            (segment.written.load(Relaxed), segment.expires_ms.load(Relaxed)),
            (0, u64::MAX)
        );
    }

    #[cfg(asan)]
    #[test]
    fn a_free_segment_is_forbidden() {
        let arena = Arena::new(1 << 20).unwrap();
        let epochs = Epochs::default();
        let pool = Pool::new(4);
        let member = epochs.join();
        let store = Taker::Store(&member);
        let id = pool.take(store, &arena, &epochs).unwrap();
        let begin = id as usize * arena.segment_size();
        let touch = || {
            // SAFETY: nothing writes.
            std::panic::catch_unwind(|| unsafe { arena.memory().bytes(begin + 64, 1) }.len())
        };
        assert!(touch().is_ok(), "taken");
        pool.empty(id, epochs.advance());
        assert!(touch().is_ok(), "in limbo");
        assert!(pool.has_room(&arena, &epochs));
        assert!(touch().is_err(), "free");
        assert_eq!(pool.take(store, &arena, &epochs), Some(id));
        assert!(touch().is_ok(), "taken again");
        pool.empty(id, epochs.advance());
        pool.allow(0);
        pool.trim(&arena, &epochs);
        assert!(touch().is_err(), "given back");
    }
}

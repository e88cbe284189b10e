//! Bytes of the records that are alive, by segment: each thread counts for itself what it adds and
//! takes, and who asks sums.
//!
//! Invariant: a segment's count in its table entry and the threads' changes together are the bytes
//! of its live records, modulo 2^32. While threads are at work a sum may miss a part of a change,
//! and even be below 0.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::arena::{Arena, SegmentId};
use super::index::Location;
use super::memory::{CellArray, PAGE};

/// The changes of all threads.
#[derive(Default)]
pub struct LiveBytes(Mutex<Vec<Arc<Changes>>>);

/// One thread's changes, or those of several that followed each other.
struct Changes(CellArray<AtomicU32>);

/// What one thread counts with.
pub struct LiveCounter {
    /// `None` if the system has no memory for it: the thread counts in the segments' table.
    own: Option<Arc<Changes>>,
}

/// All counts, to be summed. No thread begins or ends meanwhile.
pub struct LiveView<'a> {
    arena: &'a Arena,
    changes: MutexGuard<'a, Vec<Arc<Changes>>>,
}

impl LiveBytes {
    /// Takes a thread in. It goes on with the counts of one that has ended, if there is one.
    pub fn join(&self, arena: &Arena) -> LiveCounter {
        let mut all = self.all();
        let idle = all.iter().find(|changes| Arc::strong_count(changes) == 1).cloned();
        fence(Acquire); // sees what that one counted last
        let own = idle.or_else(|| {
            let changes = Arc::new(Changes(CellArray::new(arena.segments_max()).ok()?));
            all.push(changes.clone());
            Some(changes)
        });
        LiveCounter { own }
    }

    /// What is alive, to be asked for.
    pub fn view<'a>(&'a self, arena: &'a Arena) -> LiveView<'a> {
        LiveView { arena, changes: self.all() }
    }

    /// Bytes that the changes take, if so many segments are in use.
    pub fn bytes(&self, segments: usize) -> u64 {
        let each = (segments * size_of::<AtomicU32>()).next_multiple_of(PAGE);
        (self.all().len().max(1) * each) as u64 // the first thread will come
    }

    /// Has the count of a segment, which is the caller's alone and empty, begin at 0.
    pub fn begin(&self, arena: &Arena, id: SegmentId) {
        let changes = self.view(arena).changes_of(id);
        arena.segment(id).live.store(changes.wrapping_neg(), Relaxed);
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Changes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveView<'_> {
    /// Bytes of a segment's live records.
    pub fn of(&self, id: SegmentId) -> usize {
        let common = self.arena.segment(id).live.load(Relaxed);
        let sum = common.wrapping_add(self.changes_of(id)) as i32; // a segment is far smaller
        sum.max(0) as usize
    }

    fn changes_of(&self, id: SegmentId) -> u32 {
        let of = |changes: &Arc<Changes>| changes.0.as_ref()[id as usize].load(Acquire);
        self.changes.iter().map(of).fold(0, u32::wrapping_add)
    }
}

impl LiveCounter {
    /// Counts a record that came alive.
    #[inline]
    pub fn add(&self, arena: &Arena, location: Location, size: usize) {
        self.change(arena, location, arena.rounded(size) as u32);
    }

    /// Counts a record that died.
    #[inline]
    pub fn remove(&self, arena: &Arena, location: Location, size: usize) {
        self.change(arena, location, (arena.rounded(size) as u32).wrapping_neg());
    }

    #[inline]
    fn change(&self, arena: &Arena, location: Location, by: u32) {
        let id = arena.segment_of(location);
        match &self.own {
            Some(changes) => {
                let cell = &changes.0.as_ref()[id as usize];
                cell.store(cell.load(Relaxed).wrapping_add(by), Release); // nobody else changes it
            }
            None => _ = arena.segment(id).live.fetch_add(by, Relaxed),
        }
    }
}

//! A walk over a segment of a memory file, which may hold anything: every bound is checked, every
//! record verified, and the first that is not whole ends the walk.

use super::super::arena::{Arena, SegmentId};
use super::super::index::Location;
use super::super::record::Record;

/// How a walk over a segment went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Bytes of the segment up to the end of the last good record.
    pub written: usize,
    /// Something behind it is damaged.
    pub damaged: bool,
}

/// Visits the records, dead or alive, of a segment that says of itself that so much of it is
/// `written`.
///
/// # Safety
/// Nobody else writes to the segment meanwhile, which has memory.
pub unsafe fn walk(
    arena: &Arena,
    id: SegmentId,
    written: usize,
    mut visit: impl FnMut(Location, &Record<'_>),
) -> Walked {
    let begin = id as usize * arena.segment_size();
    let first = arena.rounded(1); // location 0 is nowhere
    let end = begin + written.min(arena.segment_size());
    let base = arena.segment(id).base.load(std::sync::atomic::Ordering::Relaxed);
    let mut at = begin + first;
    while at < end {
        // SAFETY: as the caller promised.
        let record = unsafe { Record::whole(arena.memory(), at, end, base) };
        let Some(record) = record else {
            return Walked { written: at - begin, damaged: true };
        };
        let next = at + arena.rounded(record.size());
        visit(arena.location(at), &record);
        at = next;
    }
    Walked { written: (at - begin).min(arena.segment_size()), damaged: false }
}

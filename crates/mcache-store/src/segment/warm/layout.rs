//! What stands where in a memory file: header, ledger, groups, table of segments, segments.

use super::super::arena::{Geometry, Segment};
use super::super::memory::PAGE;
use super::header::COPIES;
use super::ledger::GROUPS_LEN;

/// Where the ledger's page is.
pub const LEDGER_AT: u64 = (COPIES * PAGE) as u64;

/// Where the flushed groups are.
pub const GROUPS_AT: u64 = LEDGER_AT + PAGE as u64;

/// Where the table of segments is.
pub const TABLE_AT: u64 = GROUPS_AT + GROUPS_LEN as u64;

/// Segments begin at a multiple of this, so that huge pages fit them.
const HUGE_PAGE: u64 = 2 << 20;

/// Bytes of the table.
pub fn table_len(geometry: Geometry) -> usize {
    (geometry.segments * size_of::<Segment>()).next_multiple_of(PAGE)
}

/// Where the segments are.
pub fn segments_at(geometry: Geometry) -> u64 {
    (TABLE_AT + table_len(geometry) as u64).next_multiple_of(HUGE_PAGE)
}

/// Where so many segments end.
pub fn segments_end(geometry: Geometry, segments: usize) -> u64 {
    segments_at(geometry) + ((segments as u64) << geometry.segment_shift)
}

/// How many segments a file of `len` bytes reaches into.
pub fn segments_in(geometry: Geometry, len: u64) -> usize {
    let bytes = len.saturating_sub(segments_at(geometry));
    let segments = bytes.div_ceil(1 << geometry.segment_shift);
    usize::try_from(segments).unwrap_or(usize::MAX).min(geometry.segments)
}

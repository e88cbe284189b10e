//! A walk over the items for whoever wants to list them: by the index, a few buckets at a time.

use mcache_base::limits::WALK_STEP;
use mcache_base::{ItemView, Now};

use super::SegmentStorageEngine;

/// The part of a cursor that tells how far into its region the walk is.
const WITHIN: u64 = u32::MAX as u64;

impl SegmentStorageEngine {
    /// Shows some items; see [`crate::Access::walk`]. The caller has begun its epoch.
    ///
    /// A cursor is the region, and how far into it in parts of 2^32: a region that grows keeps
    /// its items in about the same order.
    pub(super) fn walk(
        &self,
        cursor: u64,
        now: Now,
        visit: &mut dyn FnMut(&ItemView<'_>),
    ) -> Option<u64> {
        let (mut region, within) = ((cursor >> 32) as usize, cursor & WITHIN);
        if region >= self.index.regions() {
            return None;
        }
        let mut found = Vec::with_capacity(WALK_STEP);
        let next = self.index.lock_region(region).part(within, WALK_STEP, &mut found);
        for location in found {
            let record = self.record(location);
            if self.death(location, &record, now).is_some() {
                continue;
            }
            let attributes = record.attributes(self.arena.base_of(location), now);
            visit(&ItemView {
                key: record.key(),
                flags: attributes.flags,
                cas: attributes.cas,
                value_len: self.value_len(&record),
                expiry: attributes.expiry,
                accessed_ms: attributes.accessed_ms,
                fetched: attributes.fetched,
                binary_key: attributes.binary_key,
            });
        }
        let within = next.unwrap_or_else(|| {
            region += 1;
            0
        });
        (region < self.index.regions()).then_some((region as u64) << 32 | within)
    }
}

//! What an item's record goes on with as far as eviction is concerned.

use std::sync::atomic::Ordering::Relaxed;

use mcache_base::{Key, Now};

use super::SegmentStorageEngine;
use super::index::Location;
use super::record::Record;
use crate::eviction::{Standing, View};

/// Bytes of a record beside key and value, about.
const BESIDE: usize = 16;

impl SegmentStorageEngine {
    /// What a record that is to be written begins with. An item that is there keeps what it has:
    /// an overwrite is not a new item. For any other the policy is asked, so this is called once
    /// a store. `seen` is where the item stood in the caller's epoch.
    #[inline]
    pub(super) fn standing(
        &self,
        key: Key<'_>,
        seen: Option<Location>,
        value_len: usize,
        now: Now,
    ) -> Standing {
        if let Some(location) = seen {
            let record = self.record(location);
            if self.death(location, &record, now).is_none() {
                return self.standing_of(location, &record);
            }
        }
        let size = key.bytes.len() + value_len + BESIDE;
        self.admission.admit(key.hash, size, self.written.load(Relaxed))
    }

    /// What a record says.
    #[inline]
    pub(super) fn standing_of(&self, location: Location, record: &Record<'_>) -> Standing {
        Standing {
            queue: self.arena.queue_of(location),
            frequency: record.frequency(),
            heat: record.heat(),
        }
    }

    /// By how much the byte clock went on since a location's segment was opened.
    pub(super) fn age(&self, location: Location) -> u64 {
        let segment = self.arena.segment(self.arena.segment_of(location));
        self.written.load(Relaxed).saturating_sub(segment.born.load(Relaxed))
    }

    /// The store as the policy sees it.
    pub(super) fn view(&self) -> View {
        View {
            capacity: self.capacity.load(Relaxed),
            written: self.written.load(Relaxed),
            items: self.index.items(),
            segment_size: self.arena.segment_size(),
            lengths: self.pool.lengths(),
        }
    }
}

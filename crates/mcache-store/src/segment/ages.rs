//! How long the items of each size class have not been used: what `stats items` tells of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mcache_base::{ClassStat, Now, slab_class};

use super::SegmentStorageEngine;
use crate::engine::StorageEngine;

/// Bytes of the oldest segments that are looked at in one run of upkeep, at most.
const LOOK_BYTES: usize = 4 << 20;

/// The oldest segments that may be looked at, however large they are.
const LOOK_MIN: usize = 4;

/// One for each id of a size class, from 0 on.
const CLASSES: usize = slab_class::CHUNK_SIZES.len() + 1;

/// Seconds for which items of each class had not been used.
#[derive(Default)]
pub struct Ages {
    /// The one that was evicted last.
    evicted: PerClass,
    /// The one that was used least recently, as far as upkeep saw.
    oldest: PerClass,
}

/// A number for each class.
struct PerClass([AtomicU64; CLASSES]);

impl Default for PerClass {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CLASSES])
    }
}

impl PerClass {
    fn set(&self, class: usize, seconds: u64) {
        if let Some(cell) = self.0.get(class) {
            cell.store(seconds, Relaxed);
        }
    }
}

impl Ages {
    /// Notes that an item of a class was evicted.
    pub fn note_evicted(&self, class: usize, idle_ms: u64) {
        self.evicted.set(class, idle_ms / 1000);
    }

    /// A statistic of a class, if it is one of these.
    pub fn read(&self, class: usize, stat: ClassStat) -> Option<u64> {
        let ages = match stat {
            ClassStat::evicted_time => &self.evicted,
            ClassStat::age => &self.oldest,
            _ => return None,
        };
        Some(ages.0.get(class).map_or(0, |cell| cell.load(Relaxed)))
    }

    /// Forgets what was evicted.
    pub fn reset(&self) {
        (0..CLASSES).for_each(|class| self.evicted.set(class, 0));
    }
}

impl SegmentStorageEngine {
    /// Looks at the items in the oldest segments, until every class has been met that has any.
    pub(super) fn note_ages(&self, now: Now) {
        let holds = |class: &usize| self.class_stat(*class, ClassStat::number) > 0;
        let classes: Vec<usize> = slab_class::ids().filter(holds).collect();
        let mut accessed_ms = [None; CLASSES];
        let mut limit_ms = now.clock_ms;
        // While the reclaimer is held no segment is emptied, so none is used again meanwhile.
        let mut reclaimer = self.reclaimer();
        reclaimer.begin(&self.epochs);
        for (opened_ms, id) in self.oldest() {
            if classes.iter().all(|&class| accessed_ms[class].is_some()) {
                break;
            }
            limit_ms = opened_ms;
            let _closed = self.close_segment(id);
            // SAFETY: the reclaimer is held, and the segment closed.
            unsafe {
                self.arena.walk(id, |_, record| {
                    if record.is_dead() || record.is_fragment() {
                        return;
                    }
                    let class = slab_class::of(self.size_of(record));
                    let seen = accessed_ms[class].unwrap_or(u64::MAX);
                    accessed_ms[class] = Some(record.accessed_ms(now).min(seen));
                });
            }
        }
        reclaimer.rest();
        drop(reclaimer);
        for class in classes {
            // What was not met was stored after all that was looked at.
            let accessed_ms = accessed_ms[class].unwrap_or(limit_ms);
            let seconds = (now.clock_ms / 1000).saturating_sub(accessed_ms / 1000);
            self.ages.oldest.set(class, seconds);
        }
    }

    /// The segments in use that were opened first and hold something, the oldest first.
    fn oldest(&self) -> Vec<(u64, super::arena::SegmentId)> {
        let most = (LOOK_BYTES / self.arena.segment_size()).max(LOOK_MIN);
        let mut segments: Vec<_> = self
            .pool
            .in_use()
            .into_iter()
            .map(|id| (self.arena.segment(id).opened_ms.load(Relaxed), id))
            .collect();
        let live = self.live();
        segments.retain(|&(_, id)| live.of(id) > 0);
        drop(live);
        if segments.len() > most {
            segments.select_nth_unstable(most);
            segments.truncate(most);
        }
        segments.sort_unstable();
        segments
    }
}

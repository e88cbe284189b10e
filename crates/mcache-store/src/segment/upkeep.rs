//! What is done about once a second, and what tests verify: expired and flushed items are buried,
//! sparse index pages, idle memory and memory over the limit given back.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use mcache_base::{ClassStat, Expiry, Now, Stat, slab_class};

use super::SegmentStorageEngine;
use super::arena::SegmentId;
use super::index::Location;
use super::reclaim::{Judge, Made};
use super::record::{FRAGMENT_ENTRY, Record};
use crate::engine::StorageEngine;
use crate::tally::{EngineCounters, Why};

/// A segment of which some items have expired is looked at again after this long at the
/// earliest, so that one with items of many times is not walked every second.
const WALK_AGAIN_MS: u64 = 1_000;

/// Bytes of segments that are walked, or given back, in one run at most; where the memory limit
/// is high, its [`RUN_DIVISOR`]th part.
const RUN_BYTES: usize = 128 << 20;

/// A run does at most this part of all segments, unless they are small.
const RUN_DIVISOR: usize = 8;

/// Segments that are walked before others may make room.
const BATCH: usize = 16;

/// This part of the segments keeps its memory while it is free.
const SPARE_DIVISOR: usize = 8;

/// What upkeep goes on with in its next run.
#[derive(Default)]
pub(super) struct Sweep {
    /// The flushes that all segments were marked for.
    marked: u64,
    /// The flushes to mark them for once an epoch is over, and the epoch.
    flushes: Option<(u64, u64)>,
    /// The segment to walk next, if its turn has come.
    next: SegmentId,
}

impl SegmentStorageEngine {
    /// Gives back what nobody can have any more.
    pub(super) fn upkeep(&self, now: Now) {
        let counters = self.upkeep_counters.clone();
        counters.add(Stat::lru_maintainer_juggles, 1);
        for region in 0..self.index.regions() {
            while self.index.lock_region(region).shrink(self) {}
        }
        while self.index.items() > 3 << (self.hash_level.load(Relaxed) - 1) {
            self.hash_level.fetch_add(1, Relaxed);
        }
        self.note_progress(now);
        self.mark_flushed();
        self.bury_dead(now, &counters);
        self.empty_dead(now, &counters);
        self.note_ages(now);
        self.staging.calm();
        self.pool.hope();
        self.balance();
        let spare = self.pool.allowed() / SPARE_DIVISOR;
        self.pool.release_idle(spare, self.run_max(), &self.arena, &self.epochs);
        while self.pool.trim(&self.arena, &self.epochs) > 0 {
            let mut reclaimer = self.reclaimer();
            let made = self.empty_one(&mut reclaimer, Judge::Policy, now, &counters);
            let more = match made {
                Made::Room => true,
                Made::Soon => false,
                Made::Nothing => self.evict && self.pool.seal_of_resting(&self.arena),
            };
            if !more {
                break;
            }
        }
    }

    /// Has every segment walked after a flush. A store that was numbered before the flush may
    /// still be writing: the segments are marked when all threads have gone on.
    fn mark_flushed(&self) {
        let sweep = &mut self.reclaimer().sweep;
        let flushes = self.flush.count();
        if sweep.flushes.is_none() && flushes > sweep.marked {
            sweep.flushes = Some((flushes, self.epochs.advance()));
        }
        let Some((flushes, epoch)) = sweep.flushes else { return };
        if epoch < self.epochs.oldest() {
            for id in self.pool.in_use() {
                self.arena.segment(id).expires_ms.store(0, Release);
            }
            (sweep.marked, sweep.flushes) = (flushes, None);
        }
    }

    /// Walks the segments in which an item may have expired or been flushed: each in its turn,
    /// as many as a run may.
    fn bury_dead(&self, now: Now, counters: &EngineCounters) {
        let mut left = self.run_max();
        while left > 0 {
            // While the reclaimer is held no segment is emptied, so none is used again meanwhile.
            let mut reclaimer = self.reclaimer();
            let due = self.due(reclaimer.sweep.next, BATCH.min(left), now);
            let Some(last) = due.last() else { return };
            reclaimer.sweep.next = last.wrapping_add(1);
            counters.add(Stat::lru_crawler_starts, u64::from(left == self.run_max()));
            reclaimer.begin(&self.epochs);
            due.iter().for_each(|&id| self.bury_dead_in(id, now, counters));
            reclaimer.rest();
            left -= due.len();
        }
    }

    /// At most `most` segments whose items may be dead, those from `first` on before others.
    fn due(&self, first: SegmentId, most: usize, now: Now) -> Vec<SegmentId> {
        let is_due =
            |id: &SegmentId| self.arena.segment(*id).expires_ms.load(Relaxed) <= now.clock_ms;
        let turn = |id: &SegmentId| id.wrapping_sub(first);
        let mut due = self.pool.in_use();
        due.retain(is_due);
        if due.len() > most {
            due.select_nth_unstable_by_key(most, turn);
            due.truncate(most);
        }
        due.sort_unstable_by_key(turn);
        due
    }

    /// How many segments one run does something with.
    fn run_max(&self) -> usize {
        (RUN_BYTES / self.arena.segment_size()).max(self.pool.allowed() / RUN_DIVISOR)
    }

    /// Empties the segments in which nothing is alive: their memory is free before it is needed.
    fn empty_dead(&self, now: Now, counters: &EngineCounters) {
        loop {
            let mut reclaimer = self.reclaimer();
            let live = self.live();
            let is_dead = |id| live.of(id) == 0 && !self.arena.is_pinned(id);
            let dead = self.pool.remove_some(BATCH, is_dead);
            drop(live);
            let mut go_on = !dead.is_empty();
            for id in dead {
                // Somebody may just have found a use for a place of it.
                go_on &= self.empty(&mut reclaimer, (id, Judge::Nobody), now, counters);
            }
            if !go_on {
                return;
            }
        }
    }

    fn bury_dead_in(&self, id: SegmentId, now: Now, counters: &EngineCounters) {
        let _closed = self.close_segment(id);
        let expires_ms = &self.arena.segment(id).expires_ms;
        expires_ms.swap(u64::MAX, AcqRel); // see `Arena::note_expiry`
        let mut next_ms = u64::MAX;
        // SAFETY: the reclaimer is held, see `bury_dead`, and the segment closed.
        unsafe {
            self.arena.walk(id, |location, record| {
                if record.is_dead() || record.is_fragment() {
                    return;
                }
                counters.add(Stat::crawler_items_checked, 1);
                let class = slab_class::of(self.size_of(record));
                counters.classes.add(class, ClassStat::crawler_items_checked, 1);
                if let Some(why) = self.death(location, record, now) {
                    let hash = self.hasher.key(record.key()).hash;
                    if self.unlink(hash, location) {
                        counters.leave(self.leaving(record, Why::WalkedOver(why)));
                    }
                    return;
                }
                next_ms = next_ms.min(match record.expiry() {
                    Expiry::Never => u64::MAX,
                    Expiry::Clock(deadline_ms) => deadline_ms,
                    // It may have been moved into the past since it was looked at.
                    Expiry::Unix(deadline) => {
                        now.clock_ms + deadline.saturating_sub(now.unix).min(60) * 1000
                    }
                });
            });
        }
        expires_ms.fetch_min(next_ms.max(now.clock_ms + WALK_AGAIN_MS), Relaxed);
    }

    /// Verifies that segments and index agree; nobody else may be at work.
    pub(super) fn check_segments(&self) {
        let mut reclaimer = self.reclaimer();
        reclaimer.begin(&self.epochs);
        let (mut items, mut bytes) = (0, 0);
        let (mut fragments, mut listed) = (Vec::new(), Vec::new());
        for id in self.pool.in_use().into_iter() {
            let _closed = self.close_segment(id);
            let mut live = 0;
            // SAFETY: the reclaimer is held, and nobody else is at work; the segment is closed.
            unsafe {
                self.arena.walk(id, |location, record| {
                    let base = self.arena.base_of(location);
                    assert!(record.is_intact(base), "the checksum of {location} holds");
                    if record.is_dead() {
                        return;
                    }
                    live += self.arena.rounded(record.size());
                    if record.is_fragment() {
                        fragments.push(location);
                    } else {
                        items += 1;
                        bytes += self.bytes_of(record) as u64;
                        let found = self.find(self.hasher.key(record.key())).map(|found| found.0);
                        assert_eq!(found, Some(location), "a live record stands in the index");
                        listed.extend(self.check_list(record));
                    }
                });
            }
            assert_eq!(live, self.live().of(id), "live bytes of segment {id}");
        }
        assert_eq!(items, self.index.items(), "items in segments and in the index");
        fragments.sort_unstable();
        listed.sort_unstable();
        assert_eq!(fragments, listed, "every fragment is of one item, and listed once");
        let sum = |stat| slab_class::ids().map(|id| self.class_stat(id, stat)).sum();
        let classes: [u64; 2] = [ClassStat::number, ClassStat::mem_requested].map(sum);
        assert_eq!(classes, [items, bytes], "what the size classes hold");
        reclaimer.rest();
    }

    /// Verifies a record's list of fragments, if it has one. Returns their places.
    fn check_list(&self, record: &Record<'_>) -> Vec<Location> {
        if !record.is_fragmented() {
            assert!(record.inline().len() <= self.arena.inline_max(), "a short value");
            return Vec::new();
        }
        let list = record.inline().len();
        assert!(list > 0 && list.is_multiple_of(FRAGMENT_ENTRY) && list <= self.arena.list_max());
        assert!(self.value_len(record) > self.arena.inline_max(), "only long values are cut");
        let hash = self.hasher.key(record.key()).hash;
        let check = |(at, len)| {
            let part = self.record(at);
            assert!(part.is_fragment() && !part.is_dead(), "a list is of live fragments");
            assert!(len > 0 && part.fragment_data().len() == len, "the length of {at}");
            assert_eq!(part.fragment_owner(), hash, "the owner of {at}");
            at
        };
        record.fragments().map(check).collect()
    }
}

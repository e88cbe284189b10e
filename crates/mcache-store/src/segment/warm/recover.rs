//! From the segments of a memory file to an engine: every record that is alive comes back into the
//! index, and nothing else.
//!
//! For a key with several records alive the highest sequence number wins: a kill came while the
//! others were being replaced. Between two with the same number nothing was answered yet.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use mcache_base::{Expiry, Now};

use super::super::SegmentStorageEngine;
use super::super::arena::SegmentId;
use super::super::index::Location;
use super::super::record::{FRAGMENT_ENTRY, Record};
use super::ledger::Cell;
use super::scan;
use crate::eviction::QUEUES;
use crate::tally::EngineCounters;

/// Threads that walk segments, at most.
const THREADS_MAX: usize = 16;

/// Segments that one thread walks at least.
const SEGMENTS_PER_THREAD: usize = 8;

/// Bytes that were written since a segment was opened, at most: more than a long life of it sees.
const AGE_MAX: u64 = 1 << 50;

/// What threads found in segments.
#[derive(Default)]
pub struct Findings {
    /// Items whose value is in fragments.
    long: Vec<Location>,
    fragments: Vec<Part>,
    /// The highest sequence number of any record.
    pub sequence: u64,
    /// Segments of which a part is damaged.
    pub segments_damaged: u64,
    /// Items that cannot come back although their records are whole.
    pub items_dropped: u64,
}

/// A fragment that is whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    location: Location,
    len: usize,
    owner: u64,
}

impl SegmentStorageEngine {
    /// Brings back what the first `segments` segments hold. The engine is new, and nobody else is
    /// at work.
    pub(super) fn recover(&self, segments: usize, now: Now) -> Findings {
        let noted = self.warm.as_ref().and_then(|warm| warm.ledger.get(Cell::Items));
        self.index.begin_with(noted.unwrap_or(0));
        let next = AtomicUsize::new(0);
        let walk_some = || {
            let (mut findings, counters) = (Findings::default(), self.new_counters());
            loop {
                let id = next.fetch_add(1, Relaxed);
                if id >= segments {
                    return findings;
                }
                self.recover_segment(id as SegmentId, now, &counters, &mut findings);
            }
        };
        let mut all = Findings::default();
        at_once(segments, walk_some).into_iter().for_each(|findings| all.add(findings));
        self.match_fragments(&mut all);
        self.line_up(segments);
        all
    }

    /// Brings back what a segment holds.
    fn recover_segment(
        &self,
        id: SegmentId,
        now: Now,
        counters: &EngineCounters,
        findings: &mut Findings,
    ) {
        let written = self.arena.segment(id).written.load(Relaxed) as usize;
        self.arena.adopt(id, now.clock_ms);
        self.live.begin(&self.arena, id);
        if written == 0 {
            return;
        }
        if self.arena.take(id).is_err() {
            findings.segments_damaged += 1; // a hole that the volume has no room to fill
            return;
        }
        // SAFETY: the engine is new, and one thread has this segment; it has memory.
        let walked = unsafe {
            scan::walk(&self.arena, id, written, |location, record| {
                self.recover_record(location, record, now, counters, findings);
            })
        };
        findings.segments_damaged += u64::from(walked.damaged);
        self.arena.segment(id).written.store(walked.written as u32, Relaxed);
    }

    fn recover_record(
        &self,
        location: Location,
        record: &Record<'_>,
        now: Now,
        counters: &EngineCounters,
        findings: &mut Findings,
    ) {
        let is_alive = !record.is_dead();
        if record.is_fragment() {
            if is_alive {
                self.arena.add_live(location, record.size(), Expiry::Never);
                let (len, owner) = (record.fragment_data().len(), record.fragment_owner());
                findings.fragments.push(Part { location, len, owner });
            }
            return;
        }
        if record.key().is_empty() {
            return; // a filler
        }
        let sequence = record.sequence(self.arena.base_of(location));
        findings.sequence = findings.sequence.max(sequence);
        if !is_alive {
            return;
        }
        if !record.has_whole_expiry() {
            record.kill();
            findings.items_dropped += 1;
            return;
        }
        if self.death(location, record, now).is_some() {
            record.kill();
            return;
        }
        self.arena.add_live(location, record.size(), record.expiry());
        match self.bring_back(location, record, sequence, counters) {
            Brought::Back if record.is_fragmented() => findings.long.push(location),
            Brought::Back | Brought::Older => {}
            Brought::NoRoom => findings.items_dropped += 1,
        }
    }

    /// Enters a record into the index, unless a newer one of its key is there.
    fn bring_back(
        &self,
        location: Location,
        record: &Record<'_>,
        sequence: u64,
        counters: &EngineCounters,
    ) -> Brought {
        let hash = self.hasher.key(record.key()).hash;
        let region = self.index.lock(hash);
        match region.find(hash, |at| self.is_key(at, record.key())) {
            Some((place, other)) => {
                let old = self.record(other);
                if sequence <= old.sequence(self.arena.base_of(other)) {
                    self.retire(location, record);
                    return Brought::Older;
                }
                region.replace(place, location);
                self.retire(other, &old);
                counters.classes.leave(self.size_of(&old), self.bytes_of(&old));
            }
            None if region.insert(hash, location, self).is_err() => {
                self.retire(location, record);
                return Brought::NoRoom;
            }
            None => {}
        }
        counters.classes.enter(self.size_of(record), self.bytes_of(record));
        Brought::Back
    }

    /// Drops the items that lack a fragment, and the fragments that no item has.
    fn match_fragments(&self, findings: &mut Findings) {
        let counters = self.upkeep_counters.clone();
        let parts = &mut findings.fragments;
        parts.sort_unstable();
        let mut is_owned = vec![false; parts.len()];
        for &location in &findings.long {
            let record = self.record(location);
            if record.is_dead() {
                continue; // a newer one was found
            }
            let owner = self.hasher.key(record.key()).hash;
            let find = |(location, len)| parts.binary_search(&Part { location, len, owner }).ok();
            let found: Option<Vec<_>> = record.fragments().map(find).collect();
            let is_whole = record.inline().len().is_multiple_of(FRAGMENT_ENTRY);
            match found.filter(|found| is_whole && !found.iter().any(|&at| is_owned[at])) {
                Some(found) => found.into_iter().for_each(|at| is_owned[at] = true),
                None => {
                    let left = (self.size_of(&record), self.bytes_of(&record));
                    let region = self.index.lock(owner);
                    if let Some((place, _)) = region.find(owner, |at| at == location) {
                        region.remove(place, record.sequence(self.arena.base_of(location)));
                        self.retire(location, &record);
                        counters.classes.leave(left.0, left.1);
                    }
                    findings.items_dropped += 1;
                }
            }
        }
        for (part, _) in parts.iter().zip(is_owned).filter(|(_, is_owned)| !is_owned) {
            self.retire(part.location, &self.record(part.location));
        }
    }

    /// Puts the segments that hold something into the queues, and gives back the others' memory.
    pub(super) fn line_up(&self, segments: usize) {
        let mut queues: [Vec<(u64, SegmentId)>; QUEUES] = Default::default();
        for id in 0..segments as SegmentId {
            let segment = self.arena.segment(id);
            if self.live().of(id) > 0 {
                let queue = segment.queue.load(Relaxed) as usize;
                queues[queue].push((segment.born.load(Relaxed), id));
            }
        }
        queues.iter_mut().for_each(|queue| queue.sort_unstable());
        self.set_byte_clock(queues.iter().flatten());
        let queues = queues.map(|queue| queue.into_iter().map(|(_, id)| id).collect());
        self.pool.restore(queues, segments as SegmentId, &self.arena);
    }

    /// Has the byte clock begin anew: segments keep their distances on it, of which no damage makes
    /// one that cannot be counted with.
    fn set_byte_clock<'q>(&self, segments: impl Iterator<Item = &'q (u64, SegmentId)> + Clone) {
        let newest = segments.clone().map(|(born, _)| *born).max().unwrap_or(0);
        let age = |born: u64| (newest - born).min(AGE_MAX);
        let oldest = segments.clone().map(|(born, _)| age(*born)).max().unwrap_or(0);
        for &(born, id) in segments {
            self.arena.segment(id).born.store(oldest - age(born), Relaxed);
        }
        self.written.store(oldest, Relaxed);
    }
}

/// Does the same on as many threads as so many segments are worth.
pub fn at_once<T: Send>(segments: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    let most = segments.div_ceil(SEGMENTS_PER_THREAD).clamp(1, THREADS_MAX);
    let threads = thread::available_parallelism().map_or(1, |count| count.get().min(most));
    thread::scope(|scope| {
        // A thread that the system does not have is no reason to stop.
        let more = (1..threads)
            .map_while(|_| thread::Builder::new().spawn_scoped(scope, &work).ok())
            .collect::<Vec<_>>();
        let own = work();
        let join = |thread: thread::ScopedJoinHandle<'_, T>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        more.into_iter().map(join).chain([own]).collect()
    })
}

/// What came of bringing a record back.
enum Brought {
    /// It is its key's.
    Back,
    /// There is a newer one.
    Older,
    /// The index has no place for it.
    NoRoom,
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.long.extend(other.long);
        self.fragments.extend(other.fragments);
        self.sequence = self.sequence.max(other.sequence);
        self.segments_damaged += other.segments_damaged;
        self.items_dropped += other.items_dropped;
    }
}

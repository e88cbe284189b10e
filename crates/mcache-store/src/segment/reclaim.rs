//! Making room: empties segments. Moves and unlinks; what is worth keeping the policy says.

mod fragments;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use mcache_base::operation::Miss;
use mcache_base::{ClassStat, Expiry, Now, Stat, slab_class};

use super::SegmentStorageEngine;
use super::arena::{Open, SegmentId};
use super::draft::{Blueprint, Draft};
use super::epoch::{Epochs, Member};
use super::index::Location;
use super::pool::Taker;
use super::publish::is_near;
use super::record::{Record, fragment_size};
use super::recycle::REST_MIN;
use super::upkeep::Sweep;
use crate::eviction::{Candidate, QUEUES, SegmentPolicy, Standing, Verdict};
use crate::observer::Evicted;
use crate::tally::{EngineCounters, Leaving, Why};

/// An item fetched in so many last milliseconds was still in use when it was evicted.
const ACTIVE_IDLE_MS_MAX: u64 = 60_000;

/// A segment is worth emptying for its dead bytes alone if this share of it, in percent, is dead.
const DEAD_SHARE_MIN: usize = 40;

/// Without evictions, a segment is emptied if this share of it, in percent, is dead.
const DEAD_SHARE_MIN_KEEPING: usize = 2;

/// Without evictions, none is emptied while less than this part of one is dead in all of these.
const TOTAL_DIVISOR: usize = 16;

/// Segments that are emptied at once for each that has memory beyond the limit.
const WAYS_MAX: usize = 4;

/// Items that are known to have been judged lately.
const SETTLED_MAX: usize = 32;

/// What came of an attempt to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A segment was emptied.
    Room,
    /// Emptied segments wait for other threads to go on.
    Soon,
    /// There is nothing that may go.
    Nothing,
}

/// Who says what becomes of the items that are alive in a segment that is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    /// Nobody: all are kept.
    Nobody,
    /// The policy.
    Policy,
    /// None is kept: the policy has kept too much for too long.
    Hangman,
}

/// Who empties segments: one thread at a time.
pub struct Reclaimer {
    member: Member,
    /// Where kept items go.
    open: [Option<Open>; QUEUES],
    policy: Box<dyn SegmentPolicy>,
    /// The last items that were kept for a fragment's sake, and how many others of their
    /// fragments stay too before they are judged again.
    settled: VecDeque<(u64, usize)>,
    /// What upkeep goes on with.
    pub(super) sweep: Sweep,
}

/// A segment that was taken out of the queues. It goes back whatever ends its emptying: a thread
/// that dies in it loses no memory.
struct Taken<'e> {
    engine: &'e SegmentStorageEngine,
    victim: SegmentId,
    queue: usize,
    emptied: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Self { engine, victim, queue, emptied } = *self;
        match emptied {
            true => engine.pool.empty(victim, engine.epochs.advance()),
            false => engine.pool.seal(victim, queue),
        }
    }
}

/// One segment's emptying.
struct Emptying<'e> {
    engine: &'e SegmentStorageEngine,
    reclaimer: &'e mut Reclaimer,
    counters: &'e EngineCounters,
    now: Now,
    judge: Judge,
    /// Bytes that were kept.
    kept: usize,
}

impl Reclaimer {
    /// Nothing kept yet.
    pub fn new(epochs: &Epochs, policy: Box<dyn SegmentPolicy>) -> Self {
        Self {
            member: epochs.join(),
            open: [const { None }; QUEUES],
            policy,
            settled: VecDeque::new(),
            sweep: Sweep::default(),
        }
    }

    /// Begins to look at records.
    pub fn begin(&mut self, epochs: &Epochs) {
        self.member.begin(epochs);
    }

    /// Looks at none any more.
    pub fn rest(&mut self) {
        self.member.rest();
    }
}

impl SegmentStorageEngine {
    /// Empties one segment, and keeps nothing that the policy is asked about if `must` is set.
    /// The caller holds nothing of the arena and no lock.
    pub(super) fn make_room(&self, now: Now, counters: &EngineCounters, must: bool) -> Made {
        let mut reclaimer = self.reclaimer();
        if self.pool.has_room(&self.arena, &self.epochs) {
            return Made::Room; // somebody else made it meanwhile
        }
        let judge = if must { Judge::Hangman } else { Judge::Policy };
        self.empty_one(&mut reclaimer, judge, now, counters)
    }

    /// Empties segments until no more have memory than may, now that values which are arriving
    /// take some. What other threads still look at is left to upkeep. Returns how many are over.
    #[cold]
    pub(super) fn give_way(&self, now: Now, counters: &EngineCounters) -> usize {
        self.balance();
        let mut excess = self.pool.trim(&self.arena, &self.epochs);
        // Emptying one may take the room of another for what it keeps.
        for _ in 0..excess * WAYS_MAX {
            let made = self.empty_one(&mut self.reclaimer(), Judge::Policy, now, counters);
            excess = self.pool.trim(&self.arena, &self.epochs);
            if made != Made::Room || excess == 0 {
                break;
            }
        }
        excess
    }

    /// Empties one segment, whether or not there is room.
    pub(super) fn empty_one(
        &self,
        reclaimer: &mut Reclaimer,
        judge: Judge,
        now: Now,
        counters: &EngineCounters,
    ) -> Made {
        if self.pool.waits(&self.arena) {
            return Made::Soon;
        }
        match self.victim(reclaimer, judge) {
            Some(victim) if self.empty(reclaimer, victim, now, counters) => Made::Room,
            Some((id, _)) if self.arena.is_arrived_in(id) => Made::Soon, // another one
            _ => Made::Nothing,
        }
    }

    /// Empties a segment, as [`Self::victim`] names it, unless a value arrives in it. Returns
    /// whether nothing is left in it.
    pub(super) fn empty(
        &self,
        reclaimer: &mut Reclaimer,
        (victim, judge): (SegmentId, Judge),
        now: Now,
        counters: &EngineCounters,
    ) -> bool {
        reclaimer.begin(&self.epochs);
        let queue = self.arena.segment(victim).queue.load(Relaxed) as usize;
        let mut taken = Taken { engine: self, victim, queue, emptied: false };
        let mut emptying = Emptying { engine: self, reclaimer, counters, now, judge, kept: 0 };
        let closed = self.close_segment(victim);
        // Whoever claims a place in it does so inside.
        let emptied = !self.arena.is_arrived_in(victim) && emptying.run(victim);
        let kept = emptying.kept;
        if emptied {
            closed.end_life();
        }
        drop(closed);
        reclaimer.rest();
        taken.emptied = emptied;
        if judge != Judge::Nobody {
            self.arena.turnover.fetch_add(u32::from(emptied), Relaxed);
            reclaimer.policy.emptied(&self.view(), queue, kept);
        }
        emptied
    }

    /// Takes the segments that kept items are moved to for full, once `use_end` has found a use for
    /// what each has left.
    pub(super) fn fill_up(&self, mut use_end: impl FnMut(&mut Open)) {
        let mut reclaimer = self.reclaimer();
        for (queue, open) in reclaimer.open.iter_mut().enumerate() {
            if let Some(mut full) = open.take_if(|open| open.rest() >= REST_MIN) {
                use_end(&mut full);
                self.pool.seal(full.id, queue);
            }
        }
    }

    /// The segment to be emptied next: nobody judges the items of one that is worth emptying for
    /// what is dead in it.
    fn victim(&self, reclaimer: &mut Reclaimer, judge: Judge) -> Option<(SegmentId, Judge)> {
        let least = if self.evict { DEAD_SHARE_MIN } else { DEAD_SHARE_MIN_KEEPING };
        let size = self.arena.segment_size();
        let live = self.live();
        let worth = |id| {
            let dead = self.gain(id, live.of(id));
            (dead * 100 >= least * size && !self.arena.is_pinned(id)).then_some(dead as u32)
        };
        // Without evictions, what is dead is left where it is while all of it together is little:
        // segments would be emptied for every store that is refused.
        let is_enough = || self.evict || self.pool.total(worth) >= size / TOTAL_DIVISOR;
        let is_asked = judge != Judge::Hangman && is_enough();
        let dead = is_asked.then(|| self.pool.best(worth));
        drop(live);
        // What the dead leave behind is moved, at worst with lists as long as what it frees: not if
        // something must be gained.
        if let Some(id) = dead.flatten() {
            return Some((id, Judge::Nobody));
        }
        if !self.evict {
            return None;
        }
        let choice = reclaimer.policy.choose(&self.view());
        let held = |id| self.arena.is_pinned(id);
        let take = |queue| self.pool.remove(queue, choice.place, held);
        let others = (0..QUEUES).filter(|&queue| queue != choice.queue);
        std::iter::once(choice.queue).chain(others).find_map(take).map(|id| (id, judge))
    }

    /// Bytes that may be gained by emptying a segment and keeping all that is alive in it, so many
    /// bytes.
    fn gain(&self, id: SegmentId, live: usize) -> usize {
        let segment = self.arena.segment(id);
        let written = segment.written.load(Relaxed) as usize;
        let dead = written.saturating_sub(live);
        // What was never written is not dead: nothing is gained by moving a large item. But where
        // nothing is evicted, segments are also taken for full before they are.
        match self.arena.segment_size() - written {
            end if !self.evict && end > self.arena.short_record_max() => dead + end,
            _ => dead,
        }
    }

    /// The record that has the fragment at a location in its list, if any still has.
    fn owner_of(&self, fragment: Location, hash: u64) -> Option<Location> {
        self.index.find(hash, |at| {
            let owner = self.record(at);
            owner.is_fragmented() && owner.fragments().any(|(part, _)| part == fragment)
        })
    }

    /// An item that leaves.
    pub(super) fn leaving(&self, record: &Record<'_>, why: Why) -> Leaving {
        let expires = record.expiry() != Expiry::Never;
        Leaving {
            size: self.size_of(record),
            bytes: self.bytes_of(record),
            fetched: record.is_fetched(),
            expires,
            why,
        }
    }

    /// The size of a record's item, as memcached has it.
    #[inline]
    pub(super) fn size_of(&self, record: &Record<'_>) -> usize {
        slab_class::item_size(record.key().len(), record.flags(), self.value_len(record))
    }

    /// Bytes that a record's item takes, its fragments' included.
    pub(super) fn bytes_of(&self, record: &Record<'_>) -> usize {
        self.arena.rounded(record.size()) + self.bytes_beside(record)
    }

    /// Bytes of a record's fragments.
    #[inline]
    pub(super) fn bytes_beside(&self, record: &Record<'_>) -> usize {
        match record.is_fragmented() {
            true => record.fragments().map(|(_, len)| self.arena.rounded(fragment_size(len))).sum(),
            false => 0,
        }
    }

    /// Takes an item out of the index if it still stands there. Returns whether it did.
    pub(super) fn unlink(&self, hash: u64, location: Location) -> bool {
        let region = self.index.lock(hash);
        let Some((place, _)) = region.find(hash, |at| at == location) else {
            return false;
        };
        let record = self.record(location);
        region.remove(place, record.sequence(self.arena.base_of(location)));
        self.retire(location, &record);
        drop(region);
        self.bury_fragments(&record);
        true
    }
}

impl Emptying<'_> {
    /// Counts an item that left to make room.
    fn count_leaving(&self, record: &Record<'_>, death: Option<Miss>) {
        let why = match death {
            Some(miss) => Why::Reclaimed(miss),
            None => {
                let idle_ms = self.now.clock_ms.saturating_sub(record.accessed_ms(self.now));
                self.engine.observed.evicted(|| Evicted {
                    key: record.key(),
                    fetched: record.is_fetched(),
                    expiry: record.expiry(),
                    idle_ms,
                    flags: record.flags(),
                    value_len: self.engine.value_len(record),
                    now: self.now,
                });
                Why::Evicted { active: record.is_fetched() && idle_ms < ACTIVE_IDLE_MS_MAX }
            }
        };
        let leaving = self.engine.leaving(record, why);
        if let Why::Evicted { .. } = why {
            let idle_ms = self.now.clock_ms.saturating_sub(record.accessed_ms(self.now));
            self.engine.ages.note_evicted(slab_class::of(leaving.size), idle_ms);
        }
        self.counters.leave(leaving);
    }

    /// Counts what an item takes more or less where it was moved to.
    fn count_move(&self, from: &Record<'_>, to: &Record<'_>) {
        let engine = self.engine;
        let (before, after) = (engine.bytes_of(from) as u64, engine.bytes_of(to) as u64);
        if before != after {
            let class = slab_class::of(engine.size_of(from));
            let more = after.wrapping_sub(before);
            self.counters.classes.add(class, ClassStat::mem_requested, more);
        }
    }

    /// Unlinks or moves everything in the segment. Returns whether nothing is left in it.
    fn run(&mut self, victim: SegmentId) -> bool {
        let mut empty = true;
        let engine = self.engine;
        // SAFETY: the victim was taken out of the pool: it is not used again before it is empty;
        // and it is closed.
        unsafe {
            engine.arena.walk(victim, |location, record| {
                if !record.is_dead() {
                    empty &= match record.is_fragment() {
                        true => self.fragment(location, record),
                        false => self.item(location, record),
                    };
                }
            });
        }
        empty
    }

    /// Returns whether the item is out of the segment.
    fn item(&mut self, location: Location, record: &Record<'_>) -> bool {
        let engine = self.engine;
        let hash = engine.hasher.key(record.key()).hash;
        let death = engine.death(location, record, self.now);
        let candidate = self.candidate(location, record, hash);
        let verdict = match death {
            Some(_) => Verdict::Drop,
            None => self.verdict(&candidate),
        };
        if let Verdict::Keep(standing) = verdict {
            match self.keep(location, record, hash, standing) {
                Kept::Moved | Kept::Gone => return true,
                Kept::NoRoom if !engine.evict => return false,
                Kept::NoRoom => {}
            }
        }
        if engine.unlink(hash, location) {
            self.count_leaving(record, death);
            self.forget(&candidate, death);
        }
        true
    }

    fn candidate(&self, location: Location, record: &Record<'_>, hash: u64) -> Candidate {
        let beside = match record.is_fragmented() {
            true => self.engine.value_len(record),
            false => 0,
        };
        let standing = self.engine.standing_of(location, record);
        Candidate { hash, standing, age: self.engine.age(location), size: record.size() + beside }
    }

    fn verdict(&mut self, candidate: &Candidate) -> Verdict {
        match self.judge {
            Judge::Policy => self.reclaimer.policy.judge(candidate),
            Judge::Nobody => Verdict::Keep(candidate.standing),
            Judge::Hangman => Verdict::Drop,
        }
    }

    /// Tells the policy of an item that left to make room.
    fn forget(&mut self, candidate: &Candidate, death: Option<Miss>) {
        if self.judge != Judge::Nobody && death.is_none() {
            self.reclaimer.policy.dropped(candidate);
        }
    }

    /// Copies an item's record to where the kept ones go.
    fn keep(
        &mut self,
        location: Location,
        record: &Record<'_>,
        hash: u64,
        standing: Standing,
    ) -> Kept {
        let (engine, now) = (self.engine, self.now);
        let base = engine.arena.base_of(location);
        let sequence = record.sequence(base);
        let attributes = record.attributes(base, self.now);
        let (key, inline) = (record.key(), record.inline());
        let mut blueprint = Blueprint {
            attributes,
            own_cas: record.has_own_cas(),
            full_sequence: true,
            fragmented: record.is_fragmented(),
            frequency: standing.frequency,
            heat: standing.heat,
        };
        let size_max = blueprint.form(key.len(), inline.len()).size_max();
        let Some(open) = self.room(standing.queue, size_max) else {
            return Kept::NoRoom;
        };
        blueprint.full_sequence = !is_near(sequence, open.base);
        let form = blueprint.form(key.len(), inline.len());
        let size = form.size_at(open.at());
        // SAFETY: the open segment's end is the reclaimer's alone, and the record fits.
        let draft = unsafe { Draft::write(engine.arena.memory(), open.at(), &form, key, [inline]) };
        let region = engine.index.lock(hash);
        let Some((place, _)) = region.find(hash, |at| at == location) else {
            return Kept::Gone;
        };
        // Its marks may have changed since they were read.
        let attributes = record.attributes(base, now);
        if !blueprint.has_room_for(attributes.expiry) {
            drop(region);
            return self.keep(location, record, hash, standing);
        }
        draft.mark(&attributes);
        draft.complete(sequence, open.base);
        let moved = open.advance(&engine.arena, size);
        engine.arena.add_live(moved, size, attributes.expiry);
        region.replace(place, moved);
        engine.retire(location, record);
        drop(region);
        self.count_move(record, &engine.record(moved));
        self.kept += size;
        if self.judge == Judge::Policy {
            let from = engine.arena.queue_of(location);
            let (stat, class_stat) = match standing.queue {
                queue if queue == from => (Stat::moves_within_lru, ClassStat::moves_within_lru),
                0 => (Stat::moves_to_cold, ClassStat::moves_to_cold),
                _ => (Stat::moves_to_warm, ClassStat::moves_to_warm),
            };
            self.counters.both(engine.size_of(record), stat, class_stat, 1);
        }
        Kept::Moved
    }

    /// The open segment for kept items of a queue, if `size` bytes fit it or a new one.
    fn room(&mut self, queue: usize, size: usize) -> Option<&mut Open> {
        let (engine, now) = (self.engine, self.now);
        let open = &mut self.reclaimer.open[queue];
        if !open.as_ref().is_some_and(|open| open.fits(size)) {
            let id = engine.pool.take(Taker::Reclaim, &engine.arena, &engine.epochs)?;
            let born = engine.written.load(Relaxed);
            let new = engine.open(id, queue, born, now);
            if let Some(full) = open.replace(new) {
                engine.pool.seal(full.id, queue);
            }
        }
        open.as_mut()
    }
}

/// What came of keeping an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// It was moved.
    Moved,
    /// It was overwritten or deleted meanwhile.
    Gone,
    /// There was nowhere to move it to.
    NoRoom,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;

    use mcache_base::operation::{Delete, Fetch, Store, Stored};

    use super::*;
    use crate::engine::{Access, EngineOptions, SizeLimit, StorageEngine};
    use crate::eviction::{self, Choice, Place, View};
    use crate::segment::SegmentAccess;

    const NOW: Now = Now { clock_ms: 1_000, unix: 1_800_000_000 };
    const LONG: &[u8] = b"long";
    const KEPT: Standing = Standing { queue: 1, frequency: 0, heat: 0 };

    /// While an item is being judged, it is marked stale: its record is written anew.
    struct Meddler {
        access: SegmentAccess,
        verdict: Verdict,
    }

    impl SegmentPolicy for Meddler {
        fn choose(&mut self, _view: &View) -> Choice {
            Choice { queue: 0, place: Place::Oldest }
        }

        fn judge(&mut self, _candidate: &Candidate) -> Verdict {
            let key = self.access.key(LONG);
            let invalidate = Delete { invalidate: true, ..Delete::default() };
            assert!(self.access.delete(key, &invalidate, NOW).is_deleted());
            self.access.rest();
            self.verdict
        }
    }

    /// A policy with a bug.
    struct Faulty;

    impl SegmentPolicy for Faulty {
        fn choose(&mut self, _view: &View) -> Choice {
            Choice { queue: 0, place: Place::Oldest }
        }

        fn judge(&mut self, _candidate: &Candidate) -> Verdict {
            panic!("a bug")
        }
    }

    /// Keeps everything.
    struct Hoarder;

    impl SegmentPolicy for Hoarder {
        fn choose(&mut self, _view: &View) -> Choice {
            Choice { queue: 0, place: Place::Oldest }
        }

        fn judge(&mut self, candidate: &Candidate) -> Verdict {
            Verdict::Keep(candidate.standing)
        }
    }

    #[test]
    fn a_thread_that_dies_while_it_empties_a_segment_gives_it_back() {
        let policy = eviction::policy("lru").expect("a row");
        let item_size = SizeLimit::Value(0);
        let options = EngineOptions { capacity: 4 << 20, item_size, evict: true, policy };
        let engine = Arc::new(SegmentStorageEngine::new(&options).unwrap());
        let mut access = engine.access();
        for number in 0..1000 {
            let key = format!("key {number}");
            access.store(access.key(key.as_bytes()), &Store::default(), &[b'v'; 100], NOW);
        }
        access.rest();
        let empty_one = || {
            engine.empty_one(&mut engine.reclaimer(), Judge::Policy, NOW, &engine.upkeep_counters)
        };
        let in_use = || engine.pool.in_use().into_iter().collect::<HashSet<_>>();
        let before = in_use();
        let sound = std::mem::replace(&mut engine.reclaimer().policy, Box::new(Faulty));
        for _ in 0..2 {
            assert!(std::panic::catch_unwind(AssertUnwindSafe(empty_one)).is_err());
            assert_eq!(in_use(), before, "no segment is lost");
        }
        engine.reclaimer().policy = sound;
        assert_eq!((engine.epochs.oldest(), empty_one()), (u64::MAX, Made::Room));
        engine.check();
    }

    #[test]
    fn a_store_finds_room_whatever_the_policy_wants_to_keep() {
        let policy = eviction::policy("s3fifo").expect("a row");
        let item_size = SizeLimit::Value(0);
        let options = EngineOptions { capacity: 4 << 20, item_size, evict: true, policy };
        let engine = Arc::new(SegmentStorageEngine::new(&options).unwrap());
        engine.reclaimer().policy = Box::new(Hoarder);
        let mut access = engine.access();
        for (count, len) in [(14_000, 300), (5, 400_000), (1_000, 10), (40, 9_000)] {
            let value = vec![b'v'; len];
            for number in 0..count {
                let name = format!("{len}:{number}");
                let key = access.key(name.as_bytes());
                let stored = access.store(key, &Store::default(), &value, NOW);
                assert!(matches!(stored, Stored::Stored { .. }), "{stored:?} {name}");
            }
        }
        engine.check();
    }

    #[test]
    fn a_value_that_is_moved_again_and_again_stays_in_few_pieces() {
        let policy = eviction::policy("lru").expect("a row");
        let item_size = SizeLimit::Value(0);
        let options = EngineOptions { capacity: 4 << 20, item_size, evict: true, policy };
        let engine = Arc::new(SegmentStorageEngine::new(&options).unwrap());
        engine.reclaimer().policy = Box::new(Hoarder);
        let mut access = engine.access();
        let values = (0..30).map(|number| (format!("value {number}"), 3_000 + number * 2_500));
        for (name, len) in values.clone() {
            let key = access.key(name.as_bytes());
            access.store(key, &Store::default(), &vec![b'v'; len], NOW);
        }
        access.rest();
        for _ in 0..5_000 {
            assert!(engine.pool.has_room(&engine.arena, &engine.epochs));
            let reclaimer = &mut engine.reclaimer();
            let made = engine.empty_one(reclaimer, Judge::Policy, NOW, &engine.upkeep_counters);
            assert_eq!(made, Made::Room);
        }
        for (name, len) in values {
            let (_, record) = engine.find(access.key(name.as_bytes())).expect("it was kept");
            let (pieces, most) = (record.fragments().count(), engine.arena.fragments_max(len));
            assert!(pieces <= most + 1, "{pieces} pieces of {len} bytes, at most {most}");
        }
        access.rest();
        engine.check();
    }

    #[test]
    fn a_fragment_whose_owner_is_written_anew_does_not_stay_behind() {
        for verdict in [Verdict::Keep(KEPT), Verdict::Drop] {
            let policy = eviction::policy("lru").expect("a row");
            let item_size = SizeLimit::Value(0);
            let options = EngineOptions { capacity: 4 << 20, item_size, evict: true, policy };
            let engine = Arc::new(SegmentStorageEngine::new(&options).unwrap());
            let mut access = engine.access();
            let key = access.key(LONG);
            let value = vec![b'v'; 2 * engine.arena.segment_size() + 1000];
            access.store(key, &Store::default(), &value, NOW);
            access.rest();
            let mut reclaimer = engine.reclaimer();
            reclaimer.policy = Box::new(Meddler { access: engine.access(), verdict });
            let counters = &engine.upkeep_counters;
            let made = engine.empty_one(&mut reclaimer, Judge::Policy, NOW, counters);
            assert_eq!(made, Made::Room);
            let used = engine.pool.in_use();
            let is_there = access.fetch(key, &Fetch::default(), NOW).is_ok();
            assert_eq!(is_there, verdict != Verdict::Drop);
            if let Some((_, record)) = engine.find(key) {
                for (part, _) in record.fragments() {
                    let id = engine.arena.segment_of(part);
                    assert!(used.contains(&id), "a fragment in {id}, which was emptied");
                }
            }
            let policy = (options.policy.by_segments)(1 << 20).unwrap();
            reclaimer.policy = policy; // the meddler holds the engine
        }
    }
}

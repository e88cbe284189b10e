//! Room to write: a thread's open segments, and what it does when one is full.

use std::sync::atomic::Ordering::Relaxed;

use mcache_base::operation::Refusal;
use mcache_base::{Key, Now};

use super::SegmentStorageEngine;
use super::access::{Class, SegmentAccess};
use super::arena::{Arena, Open};
use super::index::Location;
use super::pool::Taker;
use super::reclaim::Made;
use super::recycle::Held;

/// Times that a thread yields to others who still look at memory that was emptied, before it
/// gives up. They hold it for less than a request takes.
const YIELDS_MAX: usize = 1 << 20;

/// Times that a thread yields to others who fill all segments that there are: they rest after
/// each turn.
const TURNS_MAX: usize = 1 << 16;

/// How often a policy may look at all segments for the sake of one store. All use up marks of what
/// they keep; those of an item in many segments are used up slowly.
const POLICY_ROUNDS: usize = 4;

/// Of all segments, one in so many may be being filled before threads keep fewer of them open.
const OPEN_DIVISOR: usize = 8;

impl SegmentAccess {
    /// Makes sure that a record of `size` bytes fits the open segment of its class.
    ///
    /// The caller holds nothing of the arena: this may wait for others to go on, and begin the
    /// thread's epoch anew.
    #[inline]
    pub(super) fn ensure(&mut self, class: Class, size: usize, now: Now) -> Result<(), Refusal> {
        while !self.open_mut(class).is_some_and(|open| open.fits(size)) {
            if size > self.engine.arena.record_max() {
                return Err(Refusal::TooLarge);
            }
            self.open_segment(class, now)?;
        }
        Ok(())
    }

    /// How much of `len` bytes of data the next fragment takes.
    pub(super) fn room_for_fragment(
        &mut self,
        class: Class,
        len: usize,
        now: Now,
    ) -> Result<usize, Refusal> {
        loop {
            let open = self.open_mut(class);
            if let Some(len) = open.and_then(|open| open.fragment_len(len)) {
                return Ok(len);
            }
            self.open_segment(class, now)?;
        }
    }

    /// The open segment of a class.
    #[inline]
    pub(super) fn open_mut(&mut self, class: Class) -> Option<&mut Open> {
        self.open.get_mut(class.index())?.as_mut()
    }

    /// Takes all of the thread's open segments for full, as far as they are still its own.
    /// Returns whether it had any.
    #[cold]
    pub(super) fn give_up_all(&mut self) -> bool {
        let mut any = false;
        for (class, open) in self.open.iter_mut().enumerate() {
            if let Some(open) = open.take() {
                let queue = Class::at(class).queue();
                self.engine.pool.seal_if_own(open.id, queue, &self.member);
                any = true;
            }
        }
        any
    }

    /// Where segments are few and all are being filled: lets go of what this thread fills and of
    /// what resting ones do. Returns whether there was any, or others will rest soon.
    #[cold]
    fn gather(&mut self) -> Gathered {
        let pool = &self.engine.pool;
        if !self.engine.evict {
            // What this thread fills itself it has other uses for, see `claim_part`.
            return match pool.seal_of_resting(&self.engine.arena) {
                true => Gathered::Some,
                false => Gathered::Nothing,
            };
        }
        if pool.seal_of_resting(&self.engine.arena) | self.give_up_all() {
            return Gathered::Some;
        }
        match self.engine.pool.others_fill(&self.member) {
            true => Gathered::Soon,
            false => Gathered::Nothing,
        }
    }

    /// Takes a class's open segment for full.
    #[cold]
    pub(super) fn give_up(&mut self, class: Class) {
        if let Some(open) = self.open[class.index()].take() {
            self.engine.pool.seal(open.id, class.queue());
        }
    }

    /// Where segments are few and most are being filled, gives a class that has none another's
    /// of the same queue, although its items live longer or shorter. Returns whether it did.
    fn take_over(&mut self, class: Class) -> bool {
        let pool = &self.engine.pool;
        let is_open = self.open[class.index()].is_some();
        if is_open || pool.filling() <= pool.allowed() / OPEN_DIVISOR {
            return false;
        }
        let open = self.open[class.siblings()].iter_mut().find_map(Option::take);
        let found = open.is_some();
        self.open[class.index()] = open;
        found
    }

    /// Puts a new segment into the place of a full one.
    #[cold]
    fn open_segment(&mut self, class: Class, now: Now) -> Result<(), Refusal> {
        let engine = self.engine.clone();
        engine.balance();
        if self.take_over(class) {
            return Ok(());
        }
        engine.pool.trim(&engine.arena, &engine.epochs);
        let (mut yields, mut emptied) = (0, 0);
        let id = loop {
            self.member.begin(&engine.epochs);
            if let Some(id) =
                engine.pool.take(Taker::Store(&self.member), &engine.arena, &engine.epochs)
            {
                break id;
            }
            let patience = POLICY_ROUNDS * engine.pool.allowed();
            match engine.make_room(now, &self.counters, emptied > patience) {
                Made::Room if emptied < 2 * patience => emptied += 1,
                Made::Soon if yields < YIELDS_MAX => {
                    yields += 1;
                    std::thread::yield_now();
                }
                Made::Nothing => match self.gather() {
                    Gathered::Some => {}
                    Gathered::Soon if yields < TURNS_MAX => {
                        yields += 1;
                        std::thread::yield_now();
                    }
                    Gathered::Soon | Gathered::Nothing => return Err(Refusal::NoMemory),
                },
                Made::Room | Made::Soon => return Err(Refusal::NoMemory),
            }
        };
        self.direct_reclaims += u64::from(emptied > 0);
        let written = engine.arena.segment_size() as u64;
        let born = engine.written.fetch_add(written, Relaxed) + written;
        let open = engine.open(id, class.queue(), born, now);
        if let Some(full) = self.open[class.index()].replace(open) {
            engine.pool.seal(full.id, class.queue());
        }
        Ok(())
    }
}

/// What came of looking for segments that are being filled.
enum Gathered {
    /// Some are not any more.
    Some,
    /// Others are at work on theirs.
    Soon,
    /// There are none.
    Nothing,
}

/// Where a record goes.
pub(super) enum Room<'a> {
    /// The end of an open segment.
    End(&'a mut Open),
    /// The place of a dead one.
    Dead(Held<'a>),
}

impl Room<'_> {
    /// Where in the memory it begins.
    pub(super) fn at(&self, arena: &Arena) -> usize {
        match self {
            Self::End(open) => open.at(),
            Self::Dead(held) => arena.offset(held.location()),
        }
    }

    /// The sequence base of its segment.
    pub(super) fn base(&self, arena: &Arena) -> u64 {
        match self {
            Self::End(open) => open.base,
            Self::Dead(held) => arena.base_of(held.location()),
        }
    }

    /// Makes it ready for a record of exactly `size` bytes. Returns whether that fits.
    pub(super) fn prepare(&self, size: usize) -> bool {
        match self {
            Self::End(open) => open.fits(size),
            Self::Dead(held) => held.prepare(size),
        }
    }

    /// Takes it for a record of exactly `size` bytes that is complete there.
    pub(super) fn take(&mut self, arena: &Arena, size: usize) -> Location {
        match self {
            Self::End(open) => open.advance(arena, size),
            Self::Dead(held) => held.location(),
        }
    }
}

impl SegmentStorageEngine {
    /// Whether an item like this may be kept at all.
    #[inline]
    pub(super) fn admits(&self, key: Key<'_>, flags: u32, value_len: usize) -> bool {
        let room = self.pool.allowed() * self.arena.segment_size() + self.staged() as usize;
        let most = (room / 4 * 3).min(self.arena.fragmented_max());
        self.item_size.admits(key.bytes.len(), flags, value_len) && value_len <= most
    }
}

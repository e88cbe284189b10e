//! The default, heat density: what is kept is what is hit most for the bytes it takes.
//!
//! Two queues and ghosts, as S3-FIFO has (SOSP '23): a small queue that new items pass through,
//! and the main one. An item's heat is the number of visits that found it fetched, ageing as
//! bytes are written. At each visit it stays if its heat per byte reaches a threshold, which
//! steers itself so that [`KEEP`] of what the main queue is asked about is kept.
//! docs/decisions/0005-default-eviction.md has the reasons and the figures.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use super::ghosts::Ghosts;
use super::scale::{self, Chance};
use super::segment::{Admission, Candidate, Choice, Place, SegmentPolicy, Standing, Verdict, View};
use super::threshold::Threshold;

const SMALL: usize = 0;
const MAIN: usize = 1;

/// Heat of an item that was never found fetched.
const EPSILON: f64 = 0.25;

/// What heat counts in the small queue.
const SMALL_WEIGHT: f64 = 0.3;

/// Capacities written until heat has halved.
const HALF_LIFE: f64 = 4.0;

/// Share of the main queue's bytes that is kept at a visit.
const KEEP: f64 = 0.7;

const GAIN: f64 = 0.05;
const THRESHOLD_START: f64 = 0.001;

/// An item that comes back so soon after it left, in capacities written, would have been hit if
/// its queue had been a little longer.
const WINDOW: f64 = 0.02;

/// The small queue's share of the capacity.
const SHARE_START: f64 = 0.1;
const SHARE_MIN: f64 = 0.02;
const SHARE_MAX: f64 = 0.5;

/// How far the share moves for an item that came back: this part of an item's own share.
const SHARE_STEP: f64 = 0.5;

/// The main queue is not full if it has less than this part of what the small one leaves.
const FULL: f64 = 0.7;

/// What the threshold is multiplied by, for each segment, while the main queue is not full.
const RELAX: f64 = 0.99;

const INFLOW_START: f64 = 0.3;
const INFLOW_MIN: f64 = 0.02;

/// The inflow is measured so many times while one capacity is written.
const MEASURES: u64 = 16;

/// How much of the mean a new measure is.
const MEASURE_WEIGHT: f64 = 0.2;

pub(super) struct Heat {
    shared: Arc<Shared>,
    threshold: Threshold,
    /// The small queue's share of the capacity.
    share: f64,
    /// Bytes that enter the main queue for each byte written.
    inflow: f64,
    /// Bytes moved from the small to the main queue since the last measure, and when that was.
    promoted: u64,
    measured: u64,
    chance: Chance,
    capacity: f64,
    written: u64,
    /// The age that was asked for last, and what is left of heat after it.
    decay: (u64, f64),
    /// The heat of the item that was judged last.
    judged: u32,
}

/// What the threads that store share with the judge.
struct Shared {
    ghosts: Ghosts,
    /// Bytes of items that came back, since the last measure.
    returned: AtomicU64,
    /// Items that would have been hit in a longer small queue, less those in a longer main one.
    credit: AtomicI64,
    /// [`WINDOW`] for the main queue, in parts of 2^32.
    window: AtomicU64,
    /// Counts what came back: rounds its heat by chance.
    returns: AtomicU64,
}

impl Heat {
    pub(super) fn new(reserve: u64) -> io::Result<Self> {
        let shared = Shared {
            ghosts: Ghosts::new(reserve)?,
            returned: AtomicU64::new(0),
            credit: AtomicI64::new(0),
            window: AtomicU64::new(fixed(window(INFLOW_START))),
            returns: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
            threshold: Threshold::new(THRESHOLD_START, KEEP, GAIN),
            share: SHARE_START,
            inflow: INFLOW_START,
            promoted: 0,
            measured: 0,
            chance: Chance::default(),
            capacity: 1.0,
            written: 0,
            decay: (0, 1.0),
            judged: 0,
        })
    }

    /// Moves the border between the queues towards where a little more would have been hit.
    fn move_border(&mut self, items: u64) {
        let credit = self.shared.credit.swap(0, Relaxed) as f64;
        let share = self.share + SHARE_STEP * credit / items.max(1) as f64;
        self.share = share.clamp(SHARE_MIN, SHARE_MAX);
    }

    fn measure_inflow(&mut self, view: &View) {
        let written = view.written - self.measured;
        if written * MEASURES < view.capacity {
            return;
        }
        let entered = self.promoted + self.shared.returned.swap(0, Relaxed);
        let inflow = entered as f64 / written as f64;
        self.inflow += MEASURE_WEIGHT * (inflow - self.inflow);
        self.shared.window.store(fixed(window(self.inflow)), Relaxed);
        (self.promoted, self.measured) = (0, view.written);
    }

    /// What is left of heat after so many bytes written.
    fn decay(&mut self, age: u64) -> f64 {
        if self.decay.0 != age {
            self.decay = (age, libm::exp2(-(age as f64) / self.capacity / HALF_LIFE));
        }
        self.decay.1
    }
}

impl SegmentPolicy for Heat {
    fn admission(&self) -> Arc<dyn Admission> {
        self.shared.clone()
    }

    fn choose(&mut self, view: &View) -> Choice {
        self.shared.ghosts.fit(view);
        (self.capacity, self.written) = (view.capacity.max(1) as f64, view.written);
        self.decay = (0, 1.0);
        self.move_border(view.items);
        self.measure_inflow(view);
        let small = (view.lengths[SMALL] * view.segment_size) as f64;
        let over = small > self.share * self.capacity;
        let queue = if over || view.lengths[MAIN] == 0 { SMALL } else { MAIN };
        Choice { queue, place: Place::Oldest }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        let Standing { queue, frequency, heat } = candidate.standing;
        let hit = if frequency > 0 { 1.0 } else { 0.0 };
        let heat = scale::heat(heat) * self.decay(candidate.age) + hit;
        self.judged = scale::level(heat, self.chance.draw());
        let weight = if queue == SMALL { SMALL_WEIGHT } else { 1.0 };
        let density = (scale::heat(self.judged) * weight + EPSILON) / candidate.size.max(1) as f64;
        match self.threshold.admits(density) {
            true => Verdict::Keep(Standing { queue: MAIN, frequency: 0, heat: self.judged }),
            false => Verdict::Drop,
        }
    }

    fn dropped(&mut self, candidate: &Candidate) {
        let queue = candidate.standing.queue;
        self.shared.ghosts.leave(candidate.hash, self.judged, queue, self.written);
    }

    fn emptied(&mut self, view: &View, queue: usize, kept: usize) {
        if queue == MAIN {
            self.threshold.steer(view, kept);
            return;
        }
        self.promoted += kept as u64;
        let main = (view.lengths[MAIN] * view.segment_size) as f64;
        if main < FULL * (1.0 - self.share) * self.capacity {
            self.threshold.relax(RELAX);
        }
    }
}

impl Admission for Shared {
    fn admit(&self, hash: u64, size: usize, written: u64) -> Standing {
        let Some(ghost) = self.ghosts.take(hash, written) else {
            return Standing::default();
        };
        let (credit, window) = match ghost.queue {
            SMALL => (1, fixed(WINDOW)),
            _ => (-1, self.window.load(Relaxed)),
        };
        if fixed(ghost.age) < window {
            self.credit.fetch_add(credit, Relaxed);
        }
        self.returned.fetch_add(size as u64, Relaxed);
        let left = scale::heat(ghost.heat) * libm::exp2(-ghost.age / HALF_LIFE);
        let number = self.returns.fetch_add(1, Relaxed);
        let bits = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let heat = scale::level(1.0 + left, scale::fraction(bits));
        Standing { queue: MAIN, frequency: 0, heat }
    }

    fn bytes(&self) -> u64 {
        self.ghosts.bytes()
    }
}

/// [`WINDOW`] for the main queue: as long as one in which as many bytes leave it as leave the
/// small one in its own.
fn window(inflow: f64) -> f64 {
    WINDOW * (1.0 - KEEP) / inflow.max(INFLOW_MIN)
}

/// A small number in parts of 2^32.
fn fixed(number: f64) -> u64 {
    (number * (1_u64 << 32) as f64) as u64
}

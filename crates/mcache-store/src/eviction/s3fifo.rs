//! S3-FIFO (SOSP '23) by segments: new items pass through a small queue, those that were fetched
//! there live in the main one, and so do those that come back soon after they left.

use std::io;
use std::sync::Arc;

use super::ghosts::Ghosts;
use super::segment::{Admission, Candidate, Choice, Place, SegmentPolicy, Standing, Verdict, View};

const SMALL: usize = 0;
const MAIN: usize = 1;

/// The small queue's share of the capacity: one part of so many.
const SMALL_DIVISOR: u64 = 10;

pub(super) struct S3Fifo {
    ghosts: Arc<Returns>,
    written: u64,
}

struct Returns(Ghosts);

impl S3Fifo {
    pub(super) fn new(reserve: u64) -> io::Result<Self> {
        Ok(Self { ghosts: Arc::new(Returns(Ghosts::new(reserve)?)), written: 0 })
    }
}

impl SegmentPolicy for S3Fifo {
    fn admission(&self) -> Arc<dyn Admission> {
        self.ghosts.clone()
    }

    fn choose(&mut self, view: &View) -> Choice {
        self.ghosts.0.fit(view);
        self.written = view.written;
        let small = (view.lengths[SMALL] * view.segment_size) as u64;
        let over = small > view.capacity / SMALL_DIVISOR;
        let queue = if over || view.lengths[MAIN] == 0 { SMALL } else { MAIN };
        Choice { queue, place: Place::Oldest }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        let Standing { queue, frequency, .. } = candidate.standing;
        match frequency {
            0 => Verdict::Drop,
            _ => {
                let frequency = if queue == SMALL { 0 } else { frequency - 1 };
                Verdict::Keep(Standing { queue: MAIN, frequency, heat: 0 })
            }
        }
    }

    fn dropped(&mut self, candidate: &Candidate) {
        if candidate.standing.queue == SMALL {
            self.ghosts.0.leave(candidate.hash, 0, SMALL, self.written);
        }
    }
}

impl Admission for Returns {
    fn admit(&self, hash: u64, _size: usize, written: u64) -> Standing {
        let queue = if self.0.take(hash, written).is_some() { MAIN } else { SMALL };
        Standing { queue, ..Standing::default() }
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

//! SIEVE (NSDI '24) by segments: a hand goes from the oldest item to the newest, drops what was
//! not fetched since it passed last, and leaves what was at its place.
//!
//! One queue is what lies before the hand, the other what lies behind it. New items are put before
//! the hand, at the far end. When nothing is left there, the hand begins at the oldest again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::segment::{Admission, Candidate, Choice, Place, SegmentPolicy, Standing, Verdict, View};

#[derive(Default)]
pub(super) struct Sieve {
    before: Arc<Before>,
}

/// The queue before the hand.
#[derive(Default)]
struct Before(AtomicUsize);

impl SegmentPolicy for Sieve {
    fn admission(&self) -> Arc<dyn Admission> {
        self.before.clone()
    }

    fn choose(&mut self, view: &View) -> Choice {
        let mut queue = self.before.0.load(Relaxed);
        if view.lengths[queue] == 0 {
            queue = 1 - queue;
            self.before.0.store(queue, Relaxed);
        }
        Choice { queue, place: Place::Oldest }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        match candidate.standing.frequency {
            0 => Verdict::Drop,
            _ => {
                let queue = 1 - self.before.0.load(Relaxed);
                Verdict::Keep(Standing { queue, ..Standing::default() })
            }
        }
    }
}

impl Admission for Before {
    fn admit(&self, _hash: u64, _size: usize, _written: u64) -> Standing {
        Standing { queue: self.0.load(Relaxed), ..Standing::default() }
    }
}

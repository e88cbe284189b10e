//! The most recently used leaves first: for scans that come round again.
//!
//! By segments it is the newest that leaves.

use super::segment::{Candidate, Choice, Place, SegmentPolicy, Verdict, View};
use super::{EvictionPolicy, Life};

pub(super) struct Mru;

impl EvictionPolicy for Mru {
    fn rank(&self, life: &Life) -> u64 {
        u64::MAX - life.accessed
    }
}

impl SegmentPolicy for Mru {
    fn choose(&mut self, _view: &View) -> Choice {
        Choice { queue: 0, place: Place::Newest }
    }

    fn judge(&mut self, _candidate: &Candidate) -> Verdict {
        Verdict::Drop
    }
}

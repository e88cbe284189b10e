//! The one stored first leaves first. A key that is stored again is stored last, unless it keeps
//! its place.

use super::segment::{Candidate, Choice, Place, SegmentPolicy, Verdict, View};
use super::{EvictionPolicy, Life};

pub(super) struct Fifo;

impl EvictionPolicy for Fifo {
    fn rank(&self, life: &Life) -> u64 {
        life.stored
    }
}

impl SegmentPolicy for Fifo {
    fn choose(&mut self, _view: &View) -> Choice {
        Choice { queue: 0, place: Place::Oldest }
    }

    fn judge(&mut self, _candidate: &Candidate) -> Verdict {
        Verdict::Drop
    }
}

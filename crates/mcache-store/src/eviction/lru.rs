//! The least recently used leaves first.
//!
//! By segments it is the clock (Corbató 1968): what was fetched since it was written is written
//! anew, as the latest; what was not leaves.

use super::segment::{Candidate, Choice, Place, SegmentPolicy, Standing, Verdict, View};
use super::{EvictionPolicy, Life};

pub(super) struct Lru;

impl EvictionPolicy for Lru {
    fn rank(&self, life: &Life) -> u64 {
        life.accessed
    }
}

impl SegmentPolicy for Lru {
    fn choose(&mut self, _view: &View) -> Choice {
        Choice { queue: 0, place: Place::Oldest }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        match candidate.standing.frequency {
            0 => Verdict::Drop,
            _ => Verdict::Keep(Standing::default()),
        }
    }
}

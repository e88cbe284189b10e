//! A segment at random leaves with all that is in it.

use super::scale::Chance;
use super::segment::{Candidate, Choice, Place, SegmentPolicy, Verdict, View};

#[derive(Default)]
pub(super) struct Random(Chance);

impl SegmentPolicy for Random {
    fn choose(&mut self, view: &View) -> Choice {
        let number = self.0.bits() % view.lengths[0].max(1) as u64;
        Choice { queue: 0, place: Place::At(number as usize) }
    }

    fn judge(&mut self, _candidate: &Candidate) -> Verdict {
        Verdict::Drop
    }
}

//! The one stored first leaves first. A key that is stored again is stored last.

use super::{EvictionPolicy, Life};

pub(super) struct Fifo;

impl EvictionPolicy for Fifo {
    fn rank(&self, life: &Life) -> u64 {
        life.stored
    }
}

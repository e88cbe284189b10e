//! The most recently used leaves first: for scans that come round again.

use super::{EvictionPolicy, Life, RANK_MAX};

pub(super) struct Mru;

impl EvictionPolicy for Mru {
    fn rank(&self, life: &Life) -> u64 {
        RANK_MAX - 1 - life.accessed
    }
}

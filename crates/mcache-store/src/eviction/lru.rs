//! The least recently used leaves first.

use super::{EvictionPolicy, Life};

pub(super) struct Lru;

impl EvictionPolicy for Lru {
    fn rank(&self, life: &Life) -> u64 {
        life.accessed
    }
}

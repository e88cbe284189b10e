//! Groups of keys that are invalidated together: all keys with a prefix up to a delimiter.
//!
//! A flush of a group is one number, as a flush of everything is: what was stored until then is
//! gone. Memory comes back as the engine meets the items.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use mcache_base::limits::{GROUP_DELIMITER, GROUP_LEVELS_MAX, GROUPS_MAX};

/// There are so many flushed groups that no more can be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGroups;

/// Until which store each flushed group is gone.
#[derive(Debug, Default)]
pub struct Groups {
    any: AtomicBool,
    cutoffs: RwLock<HashMap<Box<[u8]>, u64>>,
}

impl Groups {
    /// Flushes the keys that begin with `prefix`, which ends with the delimiter, as of the store
    /// `newest`.
    pub fn flush(&self, prefix: &[u8], newest: u64) -> Result<(), TooManyGroups> {
        let mut cutoffs = self.cutoffs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cutoff) = cutoffs.get_mut(prefix) {
            *cutoff = newest.max(*cutoff);
            return Ok(());
        }
        if cutoffs.len() >= GROUPS_MAX {
            return Err(TooManyGroups);
        }
        cutoffs.insert(prefix.into(), newest);
        self.any.store(true, Relaxed);
        Ok(())
    }

    /// Forgets the groups that say nothing more: everything stored until `cutoff` is gone.
    pub fn forget(&self, cutoff: u64) {
        if self.any.load(Relaxed) {
            let mut cutoffs = self.cutoffs.write().unwrap_or_else(PoisonError::into_inner);
            cutoffs.retain(|_, own| *own > cutoff);
            self.any.store(!cutoffs.is_empty(), Relaxed);
        }
    }

    /// Whether any group was flushed.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Whether a flush of one of its groups took the item that was stored as `stored`.
    #[inline]
    pub fn took(&self, key: &[u8], stored: u64) -> bool {
        self.any() && self.look(key, stored)
    }

    #[cold]
    fn look(&self, key: &[u8], stored: u64) -> bool {
        let cutoffs = self.cutoffs.read().unwrap_or_else(PoisonError::into_inner);
        let ends = key.iter().enumerate().filter(|&(_, &byte)| byte == GROUP_DELIMITER);
        ends.take(GROUP_LEVELS_MAX)
            .any(|(end, _)| cutoffs.get(&key[..=end]).is_some_and(|&cutoff| stored <= cutoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_begins_with_the_prefix_and_was_stored_before() {
        let groups = Groups::default();
        assert!(!groups.took(b"a:1", 1));
        groups.flush(b"a:", 5).unwrap();
        groups.flush(b"b:c:", 7).unwrap();
        for (key, stored, gone) in [
            ("a:1", 5, true),
            ("a:1", 6, false),
            ("a:", 5, true),
            ("a", 5, false),
            ("aa:1", 5, false),
            ("b:1", 5, false),
            ("b:c:d:e", 7, true),
            ("b:c", 7, false),
            ("x:a:1", 5, false),
        ] {
            assert_eq!(groups.took(key.as_bytes(), stored), gone, "{key} of {stored}");
        }
        groups.flush(b"a:", 3).unwrap();
        assert!(groups.took(b"a:1", 5), "an earlier flush takes nothing back");
        groups.forget(5);
        assert!(!groups.took(b"a:1", 5) && groups.took(b"b:c:d", 7));
        groups.forget(7);
        assert!(!groups.any());
    }

    #[test]
    fn there_is_a_most_of_groups() {
        let groups = Groups::default();
        for number in 0..GROUPS_MAX {
            groups.flush(format!("{number}:").as_bytes(), 1).unwrap();
        }
        assert_eq!(groups.flush(b"more:", 1), Err(TooManyGroups));
        assert_eq!(groups.flush(b"7:", 2), Ok(()));
        assert!(groups.took(b"7:x", 2));
    }
}

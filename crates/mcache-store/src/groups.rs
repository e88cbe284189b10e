//! Groups of keys that are invalidated together: all keys with a prefix up to a delimiter.
//!
//! A flush of a group is one number, as a flush of everything is: what was stored until then is
//! gone. Memory comes back as the engine meets the items.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use mcache_base::limits::{GROUP_LEVELS_MAX, GROUPS_MAX};

use crate::flush::FlushLog;

/// There are so many flushed groups that no more can be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyGroups;

/// Until which store each flushed group is gone.
#[derive(Debug, Default)]
pub struct Groups {
    any: AtomicBool,
    flushed: RwLock<Flushed>,
}

/// The flushed groups.
#[derive(Debug, Default)]
struct Flushed {
    /// The bytes that their prefixes end with: one, unless the delimiter was changed.
    delimiters: Vec<u8>,
    cutoffs: HashMap<Box<[u8]>, Group>,
    /// Where the next group is noted.
    next: usize,
}

/// A flushed group.
#[derive(Clone, Copy, Debug)]
struct Group {
    cutoff: u64,
    /// Its place where flushes are noted: those of all groups follow each other.
    number: usize,
}

impl Flushed {
    fn note_delimiter(&mut self, delimiter: u8) {
        if !self.delimiters.contains(&delimiter) {
            self.delimiters.push(delimiter);
        }
    }

    /// Numbers the groups that are left and notes them, each at the place that it had or one before
    /// it: no place of one that is still to be noted is written over. What cannot be noted keeps
    /// all places as they are.
    fn number_anew(&mut self, log: Option<&dyn FlushLog>) {
        let mut groups: Vec<_> = self.cutoffs.iter_mut().collect();
        groups.sort_unstable_by_key(|(_, group)| group.number);
        for (number, (prefix, group)) in groups.into_iter().enumerate() {
            if log.is_some_and(|log| log.write_group(number, prefix, group.cutoff).is_err()) {
                return;
            }
            group.number = number;
        }
        self.next = self.cutoffs.len();
        log.into_iter().for_each(|log| log.count_groups(self.next));
    }
}

impl Groups {
    /// These groups, as they were noted.
    pub fn resume(groups: Vec<(Box<[u8]>, u64)>) -> Self {
        let mut flushed = Flushed::default();
        for (number, (prefix, cutoff)) in groups.into_iter().enumerate() {
            prefix.last().into_iter().for_each(|&delimiter| flushed.note_delimiter(delimiter));
            flushed.cutoffs.insert(prefix, Group { cutoff, number });
            flushed.next = number + 1;
        }
        let any = AtomicBool::new(!flushed.cutoffs.is_empty());
        Self { any, flushed: RwLock::new(flushed) }
    }

    /// Flushes the keys that begin with `prefix`, which ends with a delimiter, as of the store
    /// `newest`. No key has a group without a name.
    pub fn flush(
        &self,
        prefix: &[u8],
        newest: u64,
        log: Option<&dyn FlushLog>,
    ) -> Result<(), TooManyGroups> {
        let Some(&delimiter) = prefix.last() else { return Ok(()) };
        let mut flushed = self.flushed.write().unwrap_or_else(PoisonError::into_inner);
        let before = flushed.cutoffs.get(prefix).copied();
        let number = before.map_or(flushed.next, |group| group.number);
        if number >= GROUPS_MAX {
            return Err(TooManyGroups);
        }
        let cutoff = newest.max(before.map_or(0, |group| group.cutoff));
        if let Some(log) = log {
            log.write_group(number, prefix, cutoff).map_err(|_| TooManyGroups)?;
        }
        flushed.cutoffs.insert(prefix.into(), Group { cutoff, number });
        if before.is_none() {
            flushed.note_delimiter(delimiter);
            flushed.next = number + 1;
            log.into_iter().for_each(|log| log.count_groups(number + 1));
        }
        self.any.store(true, Relaxed);
        Ok(())
    }

    /// Forgets the groups that say nothing more: everything stored until `cutoff` is gone.
    pub fn forget(&self, cutoff: u64, log: Option<&dyn FlushLog>) {
        if self.any.load(Relaxed) {
            let mut flushed = self.flushed.write().unwrap_or_else(PoisonError::into_inner);
            flushed.cutoffs.retain(|_, own| own.cutoff > cutoff);
            flushed.number_anew(log);
            self.any.store(!flushed.cutoffs.is_empty(), Relaxed);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.flushed.read().unwrap_or_else(PoisonError::into_inner).cutoffs.len()
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
        let flushed = self.flushed.read().unwrap_or_else(PoisonError::into_inner);
        let Flushed { delimiters, cutoffs, .. } = &*flushed;
        let ends = key.iter().enumerate().filter(|(_, byte)| delimiters.contains(byte));
        ends.take(GROUP_LEVELS_MAX)
            .any(|(end, _)| cutoffs.get(&key[..=end]).is_some_and(|own| stored <= own.cutoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_begins_with_the_prefix_and_was_stored_before() {
        let groups = Groups::default();
        assert!(!groups.took(b"a:1", 1));
        groups.flush(b"a:", 5, None).unwrap();
        groups.flush(b"b:c:", 7, None).unwrap();
        groups.flush(b"p/", 5, None).unwrap();
        groups.flush(b"", 9, None).unwrap();
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
            ("p/a:1", 5, true),
            ("p/a:1", 6, false),
            ("p:1", 5, false),
            ("", 5, false),
        ] {
            assert_eq!(groups.took(key.as_bytes(), stored), gone, "{key} of {stored}");
        }
        groups.flush(b"a:", 3, None).unwrap();
        assert!(groups.took(b"a:1", 5), "an earlier flush takes nothing back");
        groups.forget(5, None);
        assert!(!groups.took(b"a:1", 5) && groups.took(b"b:c:d", 7));
        groups.forget(7, None);
        assert!(!groups.any());
    }

    #[test]
    fn there_is_a_most_of_groups() {
        let groups = Groups::default();
        for number in 0..GROUPS_MAX {
            groups.flush(format!("{number}:").as_bytes(), 1, None).unwrap();
        }
        assert_eq!(groups.flush(b"more:", 1, None), Err(TooManyGroups));
        assert_eq!(groups.flush(b"7:", 2, None), Ok(()));
        assert!(groups.took(b"7:x", 2));
    }
}

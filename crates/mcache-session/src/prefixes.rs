//! `stats detail`: what is asked about keys that begin alike, up to a delimiter.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcache_base::limits::{GROUP_LEVELS_MAX, PREFIXES_MAX};
use mcache_protocol::WireError;

/// Counts by prefix, of a whole server. Off, it costs a look at a flag.
#[derive(Debug)]
pub struct Prefixes {
    delimiter: u8,
    counting: AtomicBool,
    counts: Mutex<HashMap<Box<[u8]>, Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    gets: u64,
    hits: u64,
    sets: u64,
    deletes: u64,
}

/// What was asked about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To be looked up; whether it was there.
    Get(bool),
    /// To be stored.
    Set,
    /// To be deleted.
    Delete,
}

impl Prefixes {
    /// No counts yet. A prefix ends before the first `delimiter`; keys without one have none.
    pub fn new(delimiter: u8, counting: bool) -> Self {
        Self { delimiter, counting: counting.into(), counts: Mutex::default() }
    }

    /// Counts, or counts no more.
    pub fn count(&self, on: bool) {
        self.counting.store(on, Relaxed);
    }

    /// Forgets what was counted.
    pub fn reset(&self) {
        self.counts().clear();
    }

    /// Whether a prefix can be flushed: it ends with the delimiter, and keys are looked at so far.
    pub(crate) fn can_flush(&self, prefix: &[u8]) -> Result<(), WireError> {
        let levels = prefix.iter().filter(|byte| **byte == self.delimiter).count();
        match prefix.last() == Some(&self.delimiter) {
            false => Err(WireError::BadPrefix),
            true if levels > GROUP_LEVELS_MAX => Err(WireError::DeepPrefix),
            true => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn note(&self, key: &[u8], asked: Asked) {
        if self.counting.load(Relaxed) {
            self.note_now(key, asked);
        }
    }

    /// The lines of `stats detail dump`.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (prefix, counts) in &*self.counts() {
            let Counts { gets, hits, sets, deletes } = counts;
            lines.extend_from_slice(b"PREFIX ");
            lines.extend_from_slice(prefix);
            let _ = write!(lines, " get {gets} hit {hits} set {sets} del {deletes}\r\n");
        }
        lines.extend_from_slice(b"END\r\n");
        lines
    }

    #[cold]
    fn note_now(&self, key: &[u8], asked: Asked) {
        let end = key.iter().position(|byte| *byte == self.delimiter || *byte == 0);
        let Some(prefix) = end.filter(|&end| key[end] != 0).map(|end| &key[..end]) else { return };
        let mut all = self.counts();
        if !all.contains_key(prefix) {
            // A line of the dump has to stay a line, and its words have to stay its words.
            if all.len() >= PREFIXES_MAX
                || prefix.iter().any(|byte| byte.is_ascii_control() || *byte == b' ')
            {
                return;
            }
            all.insert(prefix.into(), Counts::default());
        }
        let Some(counts) = all.get_mut(prefix) else { return };
        match asked {
            Asked::Get(hit) => {
                counts.gets += 1;
                counts.hits += u64::from(hit);
            }
            Asked::Set => counts.sets += 1,
            Asked::Delete => counts.deletes += 1,
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(prefixes: &Prefixes) -> String {
        String::from_utf8(prefixes.dump()).unwrap()
    }

    #[test]
    fn a_prefix_ends_at_the_delimiter() {
        let prefixes = Prefixes::new(b'/', true);
        for key in ["a/1", "a/2/3", "b", "b:1", "a\0/1", "\r\n/1", "a get 9/1"] {
            prefixes.note(key.as_bytes(), Asked::Get(key == "a/1"));
        }
        prefixes.note(b"a/", Asked::Set);
        prefixes.note(b"a/", Asked::Delete);
        prefixes.count(false);
        prefixes.note(b"a/", Asked::Delete);
        assert_eq!(dumped(&prefixes), "PREFIX a get 2 hit 1 set 1 del 1\r\nEND\r\n");
        prefixes.reset();
        assert_eq!(dumped(&prefixes), "END\r\n");
    }

    #[test]
    fn prefixes_over_the_bound_are_not_counted() {
        let prefixes = Prefixes::new(b':', true);
        for number in 0..=PREFIXES_MAX {
            prefixes.note(format!("{number}:").as_bytes(), Asked::Set);
        }
        assert_eq!(dumped(&prefixes).lines().count(), PREFIXES_MAX + 1);
    }
}

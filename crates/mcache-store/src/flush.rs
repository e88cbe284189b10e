//! flush_all: everything that was stored until a moment is gone, without a walk over the items.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mcache_base::{Expiry, Now};

use crate::groups::{Groups, TooManyGroups};

/// Which items a flush has taken: those whose store sequence is at most the cutoff.
///
/// The sequence is the engine's own count of stores, not the cas unique: clients choose those.
#[derive(Debug, Default)]
pub struct Flush {
    cutoff: AtomicU64,
    is_pending: AtomicBool,
    pending: Mutex<Option<Expiry>>,
    groups: Groups,
    /// Flushes that have happened, of everything or of a group.
    count: AtomicU64,
}

impl Flush {
    /// Flushes at the moment that `delay` means as an exptime; 0 and the past mean now.
    /// `newest` tells the sequence of the newest store. A pending flush is replaced.
    pub fn order(&self, delay: i64, newest: impl FnOnce() -> u64, now: Now) {
        let mut pending = self.pending();
        *pending = match delay {
            ..=0 => None,
            _ => Some(Expiry::from_exptime(delay, now)).filter(|moment| !moment.is_past(now)),
        };
        self.is_pending.store(pending.is_some(), Relaxed);
        if pending.is_none() {
            self.cut(newest());
        }
    }

    /// Flushes the keys that begin with `prefix`, now.
    pub fn order_group(
        &self,
        prefix: &[u8],
        newest: impl FnOnce() -> u64,
    ) -> Result<(), TooManyGroups> {
        self.groups.flush(prefix, newest())?;
        self.count.fetch_add(1, Release);
        Ok(())
    }

    /// Turns a pending flush whose moment has come into an immediate one. Every operation has to
    /// call this before it looks at an item.
    #[inline]
    pub fn ripen(&self, newest: impl FnOnce() -> u64, now: Now) {
        if self.is_pending.load(Relaxed) {
            self.look_at_pending(newest, now);
        }
    }

    #[cold]
    fn look_at_pending(&self, newest: impl FnOnce() -> u64, now: Now) {
        let mut pending = self.pending();
        if pending.is_some_and(|moment| moment.is_past(now)) {
            *pending = None;
            self.is_pending.store(false, Relaxed);
            self.cut(newest());
        }
    }

    /// Whether the item with this key and store sequence is gone.
    #[inline]
    pub fn took(&self, key: &[u8], stored: u64) -> bool {
        stored <= self.cutoff.load(Relaxed) || self.groups.took(key, stored)
    }

    /// Whether any flush has happened.
    #[inline]
    pub fn took_any(&self) -> bool {
        self.cutoff.load(Relaxed) > 0 || self.groups.any()
    }

    /// How many flushes have happened. Who sees one counted sees what it took.
    pub fn count(&self) -> u64 {
        self.count.load(Acquire)
    }

    fn cut(&self, newest: u64) {
        self.cutoff.fetch_max(newest, Relaxed);
        self.groups.forget(newest);
        self.count.fetch_add(1, Release);
    }

    fn pending(&self) -> MutexGuard<'_, Option<Expiry>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Now {
        Now { clock_ms: s * 1000, unix: 1_800_000_000 + s }
    }

    #[test]
    fn takes_what_was_stored_until_its_moment() {
        let absolute = at(5).unix as i64;
        // delay, and the cutoff right then, a second before and at five seconds
        for (delay, now, before, then) in [
            (0, 3, 3, 3),
            (-1, 3, 3, 3),
            (i64::MIN, 3, 3, 3),
            (5, 0, 0, 9),
            (absolute, 0, 0, 9),
            (absolute - 5, 3, 3, 3),
            (1_700_000_000, 3, 3, 3),
        ] {
            let flush = Flush::default();
            flush.order(delay, || 3, at(0));
            assert_eq!(flush.cutoff.load(Relaxed), now, "{delay} now");
            flush.ripen(|| 8, at(4));
            assert_eq!(flush.cutoff.load(Relaxed), before, "{delay} before");
            flush.ripen(|| 9, at(5));
            flush.ripen(|| 10, at(6));
            assert_eq!(flush.cutoff.load(Relaxed), then, "{delay} then");
        }
    }

    #[test]
    fn a_later_order_replaces_a_pending_one() {
        let flush = Flush::default();
        flush.order(5, || 3, at(0));
        flush.order(9, || 3, at(0));
        flush.ripen(|| 4, at(8));
        assert!(!flush.took(b"k", 1));
        flush.order(0, || 4, at(8));
        flush.ripen(|| 5, at(20));
        assert!(flush.took(b"k", 4) && !flush.took(b"k", 5));
    }
}

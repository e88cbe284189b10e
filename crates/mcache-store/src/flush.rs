//! flush_all: everything that was stored until a moment is gone, without a walk over the items.

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcache_base::{Expiry, Now};

use crate::groups::{Groups, TooManyGroups};

/// A flush is to come.
const PENDING: u32 = 1;

/// Something else is awaited.
const HELD: u32 = 2;

/// Where flushes are noted so that they outlive the process. Each is noted before it is answered.
pub trait FlushLog: Send + Sync {
    /// What was stored until `cutoff` is gone.
    fn cut(&self, cutoff: u64);

    /// The flush that is to come at a moment, or none.
    fn order_pending(&self, moment: Option<Expiry>);

    /// The group at this place was flushed. Fails if it cannot be noted.
    fn write_group(&self, number: usize, prefix: &[u8], cutoff: u64) -> io::Result<()>;

    /// There are so many groups.
    fn count_groups(&self, count: usize);
}

/// Which items a flush has taken: those whose store sequence is at most the cutoff.
///
/// The sequence is the engine's own count of stores, not the cas unique: clients choose those.
#[derive(Default)]
pub struct Flush {
    log: Option<Arc<dyn FlushLog>>,
    cutoff: AtomicU64,
    /// Why operations are to look here first: [`PENDING`], [`HELD`], or not.
    awaited: AtomicU32,
    pending: Mutex<Option<Expiry>>,
    groups: Groups,
    /// Flushes that have happened, of everything or of a group.
    count: AtomicU64,
}

impl Flush {
    /// What flushes were noted, to be gone on with.
    pub fn resume(
        log: Arc<dyn FlushLog>,
        cutoff: u64,
        pending: Option<Expiry>,
        groups: Vec<(Box<[u8]>, u64)>,
    ) -> Self {
        Self {
            cutoff: AtomicU64::new(cutoff),
            awaited: AtomicU32::new(if pending.is_some() { PENDING } else { 0 }),
            pending: Mutex::new(pending),
            groups: Groups::resume(groups),
            count: AtomicU64::new(1), // so that what they took is looked for
            log: Some(log),
        }
    }

    /// Flushes at the moment that `delay` means as an exptime; 0 and the past mean now.
    /// `newest` tells the sequence of the newest store. A pending flush is replaced.
    pub fn order(&self, delay: i64, newest: impl FnOnce() -> u64, now: Now) {
        let mut pending = self.pending();
        *pending = match delay {
            ..=0 => None,
            _ => Some(Expiry::from_exptime(delay, now)).filter(|moment| !moment.is_past(now)),
        };
        self.await_flush(pending.is_some());
        self.note(|log| log.order_pending(*pending));
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
        self.groups.flush(prefix, newest(), self.log.as_deref())?;
        self.count.fetch_add(1, Release);
        Ok(())
    }

    /// Turns a pending flush whose moment has come into an immediate one. Every operation has to
    /// call this before it looks at an item.
    #[inline]
    pub fn ripen(&self, newest: impl FnOnce() -> u64, now: Now) {
        if self.is_awaited() {
            self.look_at_pending(newest, now);
        }
    }

    /// Whether something has to be looked at before an operation looks at an item: a flush that is
    /// to come, or what [`Self::hold`] was called for.
    #[inline]
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Relaxed) != 0
    }

    /// From now on something else than a flush is awaited too, until [`Self::let_go`].
    pub fn hold(&self) {
        self.awaited.fetch_or(HELD, Relaxed);
    }

    /// Nothing but a flush is awaited any more.
    pub fn let_go(&self) {
        self.awaited.fetch_and(!HELD, Relaxed);
    }

    #[cold]
    fn look_at_pending(&self, newest: impl FnOnce() -> u64, now: Now) {
        let mut pending = self.pending();
        if pending.is_some_and(|moment| moment.is_past(now)) {
            *pending = None;
            self.await_flush(false);
            self.cut(newest());
            self.note(|log| log.order_pending(None));
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

    /// Groups that are remembered.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many flushes have happened. Who sees one counted sees what it took.
    pub fn count(&self) -> u64 {
        self.count.load(Acquire)
    }

    fn cut(&self, newest: u64) {
        let cutoff = self.cutoff.fetch_max(newest, Relaxed).max(newest);
        self.note(|log| log.cut(cutoff));
        self.groups.forget(newest, self.log.as_deref());
        self.count.fetch_add(1, Release);
    }

    fn await_flush(&self, pending: bool) {
        match pending {
            true => self.awaited.fetch_or(PENDING, Relaxed),
            false => self.awaited.fetch_and(!PENDING, Relaxed),
        };
    }

    fn note(&self, note: impl FnOnce(&dyn FlushLog)) {
        if let Some(log) = &self.log {
            note(&**log);
        }
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

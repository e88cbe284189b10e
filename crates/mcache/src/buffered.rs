//! What connections hold in memory of their own: requests that wait, and answers that their peers
//! do not take.
//!
//! Each worker's connections have an equal share of the server's limit. Once a quarter of it is
//! held, sessions stop serving after fewer answers. Once all of it is, connections that hold
//! nothing wait until those that do have had their turns. And when three quarters are held for
//! peers that leave it there, the connection that did nothing for longest is closed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mcache_base::limits::{OUTPUT_HIGH_WATER, OUTPUT_LOW_WATER};

/// What a worker's connections hold, written by the worker alone.
#[repr(align(128))]
pub struct Buffered {
    waiting: AtomicUsize,
    moving: AtomicUsize,
    share: usize,
}

/// What a connection holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// In bytes.
    pub bytes: usize,
    /// Until its peer sends or reads; otherwise until its next turn.
    pub waits: bool,
}

impl Buffered {
    /// For connections that may hold so many bytes together.
    pub fn new(share: usize) -> Self {
        Self { waiting: AtomicUsize::new(0), moving: AtomicUsize::new(0), share }
    }

    /// Notes that a connection that held `before` holds `now`. Only the worker may call this.
    pub fn note(&self, before: Held, now: Held) {
        let take = |from: &AtomicUsize, bytes| from.store(from.load(Relaxed) - bytes, Relaxed);
        let give = |to: &AtomicUsize, bytes| to.store(to.load(Relaxed) + bytes, Relaxed);
        take(self.of(before), before.bytes);
        give(self.of(now), now.bytes);
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.waiting.load(Relaxed) + self.moving.load(Relaxed)
    }

    /// Bytes of answers at which a session stops serving.
    #[inline]
    pub fn high_water(&self) -> usize {
        if self.bytes() < self.share / 4 { OUTPUT_HIGH_WATER } else { OUTPUT_LOW_WATER }
    }

    /// Whether connections that hold nothing have to wait for those whose turn comes anyway.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.bytes() >= self.share && self.moving.load(Relaxed) > 0
    }

    /// Whether too much is held for peers that leave it there.
    pub fn is_stuck(&self) -> bool {
        self.waiting.load(Relaxed) > self.share - self.share / 4
    }

    fn of(&self, held: Held) -> &AtomicUsize {
        if held.waits { &self.waiting } else { &self.moving }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_decides_who_has_to_wait() {
        let held = |bytes, waits| Held { bytes, waits };
        let rows = [
            (0, 0, (OUTPUT_HIGH_WATER, false, false)),
            (1000, 0, (OUTPUT_LOW_WATER, false, false)),
            (3000, 0, (OUTPUT_LOW_WATER, false, false)),
            (3001, 0, (OUTPUT_LOW_WATER, false, true)),
            (5000, 0, (OUTPUT_LOW_WATER, false, true)),
            (0, 4000, (OUTPUT_LOW_WATER, true, false)),
            (3000, 1000, (OUTPUT_LOW_WATER, true, false)),
        ];
        for (waiting, moving, expected) in rows {
            let buffered = Buffered::new(4000);
            buffered.note(Held::default(), held(waiting, true));
            buffered.note(Held::default(), held(moving, false));
            let found = (buffered.high_water(), buffered.is_full(), buffered.is_stuck());
            assert_eq!(found, expected, "{waiting} wait, {moving} move");
            buffered.note(held(waiting, true), held(5, false));
            assert_eq!(buffered.bytes(), moving + 5);
        }
    }
}

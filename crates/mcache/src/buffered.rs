//! What connections hold in memory of their own: requests that wait, and answers that their peers
//! do not take.
//!
//! What a driver has received that nobody took yet is part of it.
//!
//! Each worker's connections have an equal share of the server's limit. Once a quarter of it is
//! held, sessions stop serving after fewer answers, and less is received. Once all of it is,
//! connections that hold nothing wait until those that do have had their turns. And when three
//! quarters are held for peers that leave it there, the connection whose peer has not got on for
//! longest is closed.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mcache_base::limits::{OUTPUT_HIGH_WATER, OUTPUT_LOW_WATER};

/// What a worker's connections hold, written by the worker alone.
#[repr(align(128))]
pub struct Buffered {
    waiting: AtomicUsize,
    moving: AtomicUsize,
    /// What the driver received for connections that will have their turns.
    queued: AtomicUsize,
    share: usize,
}

/// What a connection holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// In bytes.
    pub bytes: usize,
    /// Bytes that the driver holds for it until its next turn.
    pub ahead: usize,
    /// Until its peer sends or reads; otherwise until its next turn.
    pub waits: bool,
}

impl Buffered {
    /// For connections that may hold so many bytes together.
    pub fn new(share: usize) -> Self {
        let [waiting, moving, queued] = [const { AtomicUsize::new(0) }; 3];
        Self { waiting, moving, queued, share }
    }

    /// Notes that a connection that held `before` holds `now`. Only the worker may call this.
    pub fn note(&self, before: Held, now: Held) {
        let counts = [&self.waiting, &self.moving, &self.queued];
        for (count, (before, now)) in counts.into_iter().zip(before.parts().zip(now.parts())) {
            count.store(count.load(Relaxed) - before + now, Relaxed);
        }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.waiting.load(Relaxed) + self.moving.load(Relaxed) + self.queued.load(Relaxed)
    }

    /// Bytes of answers at which a session stops serving.
    #[inline]
    pub fn high_water(&self) -> usize {
        if self.is_short() { OUTPUT_LOW_WATER } else { OUTPUT_HIGH_WATER }
    }

    /// Whether a quarter of the share is held.
    #[inline]
    pub fn is_short(&self) -> bool {
        self.bytes() >= self.share / 4
    }

    /// Whether connections that hold nothing have to wait for those whose turn comes anyway. What
    /// was received for these is no reason to: it was not asked for.
    #[inline]
    pub fn is_full(&self) -> bool {
        let moving = self.moving.load(Relaxed);
        moving > 0 && self.waiting.load(Relaxed) + moving >= self.share
    }

    /// Whether too much is held for peers that leave it there.
    pub fn is_stuck(&self) -> bool {
        self.waiting.load(Relaxed) > self.share - self.share / 4
    }
}

impl Held {
    /// What it adds to those that wait, to those that move and to what is queued for them.
    fn parts(self) -> impl Iterator<Item = usize> {
        let Self { bytes, ahead, waits } = self;
        if waits { [bytes, 0, ahead] } else { [0, bytes, ahead] }.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_decides_who_has_to_wait() {
        let held = |bytes, ahead, waits| Held { bytes, ahead, waits };
        let rows = [
            ((0, 0), (0, 0), (OUTPUT_HIGH_WATER, false, false)),
            ((1000, 0), (0, 0), (OUTPUT_LOW_WATER, false, false)),
            ((0, 0), (0, 1000), (OUTPUT_LOW_WATER, false, false)),
            ((2000, 1000), (0, 0), (OUTPUT_LOW_WATER, false, false)),
            ((3001, 0), (0, 0), (OUTPUT_LOW_WATER, false, true)),
            ((0, 5000), (0, 0), (OUTPUT_LOW_WATER, false, false)),
            ((0, 0), (4000, 0), (OUTPUT_LOW_WATER, true, false)),
            ((3000, 0), (1000, 1), (OUTPUT_LOW_WATER, true, false)),
            ((3000, 0), (999, 1), (OUTPUT_LOW_WATER, false, false)),
            ((0, 0), (0, 4000), (OUTPUT_LOW_WATER, false, false)),
        ];
        for (waiting, moving, expected) in rows {
            let buffered = Buffered::new(4000);
            buffered.note(Held::default(), held(waiting.0, waiting.1, true));
            buffered.note(Held::default(), held(moving.0, moving.1, false));
            let found = (buffered.high_water(), buffered.is_full(), buffered.is_stuck());
            assert_eq!(found, expected, "{waiting:?} wait, {moving:?} move");
            buffered.note(held(waiting.0, waiting.1, true), held(5, 2, false));
            assert_eq!(buffered.bytes(), moving.0 + moving.1 + 7);
        }
    }
}

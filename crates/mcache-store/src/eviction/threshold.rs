//! A threshold that steers itself so that a given share of what is judged is kept.

use super::segment::View;

/// A segment of which more than this share is kept gains next to nothing.
const KEPT_TOO_MUCH: f64 = 0.9;

/// By how much steps have grown when all segments were visited and nothing was gained.
const STRETCH: f64 = 16.0;

#[derive(Debug)]
pub(super) struct Threshold {
    value: f64,
    /// The share that is to be kept.
    keep: f64,
    /// How much the logarithm moves at most for one segment.
    gain: f64,
    /// Segments in a row of which too much was kept.
    streak: f64,
}

impl Threshold {
    pub(super) fn new(value: f64, keep: f64, gain: f64) -> Self {
        Self { value, keep, gain, streak: 0.0 }
    }

    pub(super) fn admits(&self, score: f64) -> bool {
        score >= self.value
    }

    /// So many bytes of a segment were kept. Steps get longer while nothing is gained, so that
    /// room is found in a few rounds of the store however far off the threshold is.
    pub(super) fn steer(&mut self, view: &View, kept: usize) {
        let kept = kept as f64 / view.segment_size as f64;
        let segments = view.capacity as f64 / view.segment_size as f64;
        self.streak = if kept > KEPT_TOO_MUCH { self.streak + 1.0 } else { 0.0 };
        let steps = 1.0 + self.streak * STRETCH / segments;
        self.value *= libm::exp(self.gain * steps * (kept - self.keep));
        self.value = self.value.clamp(f64::MIN_POSITIVE, f64::MAX);
    }

    /// Lets a little more in.
    pub(super) fn relax(&mut self, factor: f64) {
        self.value = (self.value * factor).max(f64::MIN_POSITIVE);
    }
}

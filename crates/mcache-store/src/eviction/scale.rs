//! Heat in 4 bits: 0, and from 1/8 to 16 in steps of the square root of 2.

use std::f64::consts::SQRT_2;

const LEVELS: [f64; 16] = {
    let mut levels = [0.0; 16];
    let mut level = 1;
    while level < levels.len() {
        levels[level] = match level {
            1 => 0.125,
            2 => 0.125 * SQRT_2,
            _ => levels[level - 2] * 2.0,
        };
        level += 1;
    }
    levels
};

/// Highest level.
pub(super) const LEVEL_MAX: u32 = LEVELS.len() as u32 - 1;

/// The heat that a level stands for.
pub(super) fn heat(level: u32) -> f64 {
    LEVELS.get(level as usize).copied().unwrap_or(LEVELS[LEVELS.len() - 1])
}

/// The level next to a heat. `chance` in 0..1 decides between the one below and the one above, so
/// that the mean stays.
pub(super) fn level(heat: f64, chance: f64) -> u32 {
    let above = LEVELS.partition_point(|&level| level <= heat).max(1);
    let below = above - 1;
    let Some(&upper) = LEVELS.get(above) else { return LEVEL_MAX };
    let up = chance < (heat - LEVELS[below]) / (upper - LEVELS[below]);
    (if up { above } else { below }) as u32
}

/// Numbers in 0..1 that look random (xorshift, Marsaglia 2003).
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Chance {
    /// The next.
    pub(super) fn draw(&mut self) -> f64 {
        fraction(self.bits())
    }

    /// The next as 64 bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Random bits as a number in 0..1.
pub(super) fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_their_own_and_the_mean_stays() {
        for number in 0..=LEVEL_MAX {
            assert_eq!(level(heat(number), 0.999), number, "{}", heat(number));
        }
        assert_eq!((heat(1), heat(7), heat(LEVEL_MAX)), (0.125, 1.0, 16.0));
        assert_eq!((level(1e9, 0.0), level(-1.0, 0.5)), (LEVEL_MAX, 0));
        let mut chance = Chance::default();
        for wanted in [0.03, 0.2, 1.1, 7.0, 15.9] {
            let sum: f64 = (0..20_000).map(|_| heat(level(wanted, chance.draw()))).sum();
            assert!((sum / 20_000.0 / wanted - 1.0).abs() < 0.05, "{wanted}: {sum}");
        }
    }
}

//! Values that are functions of their key and version.

use crate::numbers::mix;

/// The longest value, in bytes.
const LEN_MAX: f64 = 900_000.0;

/// Places at which values begin.
const PLACES: u64 = 1 << 20;

/// One run of random bytes, of which every value is a part.
pub struct Values(Vec<u8>);

impl Values {
    /// Always the same.
    pub fn new() -> Self {
        let words = (PLACES + LEN_MAX as u64).div_ceil(8);
        Self((0..words).flat_map(|word| mix(word).to_le_bytes()).collect())
    }

    /// The value of a key's version.
    pub fn of(&self, key: u64, version: u64) -> &[u8] {
        let place = (mix(key << 32 ^ version ^ 0x7e57) % PLACES) as usize;
        &self.0[place..place + value_len(key, version)]
    }
}

/// Its length: 1 B to 900 KB, every magnitude as often as any other.
pub fn value_len(key: u64, version: u64) -> usize {
    let share = mix(key << 32 ^ version) as f64 / u64::MAX as f64;
    LEN_MAX.powf(share).round() as usize
}

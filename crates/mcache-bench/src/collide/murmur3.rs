//! Keys that all have one value under MurmurHash3 (x86, 32 bits, seed 0), the hash of memcached.
//!
//! A block of four bytes changes the state by a bijection, so for any five blocks there is a
//! sixth that leads to a given state. Only text is taken: about one in fifty-five.

use crate::store::work::{KEY_LEN, KeyBytes, random_key};

/// The state after the last block that all keys have.
const STATE: u32 = 0x1234_5678;

const MULTIPLIERS: [u32; 2] = [0xcc9e_2d51, 0x1b87_3593];
const ADDEND: u32 = 0xe654_6b64;

/// So many keys of one hash.
pub fn colliding(count: usize) -> Vec<KeyBytes> {
    (0..).filter_map(complete).take(count).collect()
}

/// The key that begins like the random one of `number` and collides with the others, if it is
/// text.
fn complete(number: u64) -> Option<KeyBytes> {
    let mut key = random_key(number);
    let (blocks, _) = key.as_chunks_mut::<4>();
    let (last, first) = blocks.split_last_mut()?;
    let state = first.iter().fold(0, |state, block| mixed(state, u32::from_le_bytes(*block)));
    *last = block_between(state, STATE).to_le_bytes();
    last.iter().all(|byte| (0x21..0x7f).contains(byte)).then_some(key)
}

/// The state after a block.
fn mixed(state: u32, block: u32) -> u32 {
    let block = block.wrapping_mul(MULTIPLIERS[0]).rotate_left(15).wrapping_mul(MULTIPLIERS[1]);
    (state ^ block).rotate_left(13).wrapping_mul(5).wrapping_add(ADDEND)
}

/// The block that leads from one state to another.
fn block_between(from: u32, to: u32) -> u32 {
    let state = to.wrapping_sub(ADDEND).wrapping_mul(inverse(5)).rotate_right(13);
    let block = (state ^ from).wrapping_mul(inverse(MULTIPLIERS[1])).rotate_right(15);
    block.wrapping_mul(inverse(MULTIPLIERS[0]))
}

/// The number that takes an odd number to 1, modulo 2^32.
fn inverse(odd: u32) -> u32 {
    (0..5).fold(odd, |it, _| it.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(it))))
}

const _: () = assert!(KEY_LEN.is_multiple_of(4), "a key is made of whole blocks");

#[cfg(test)]
mod tests {
    use super::*;

    /// MurmurHash3 of whole blocks.
    fn hash(key: &[u8]) -> u32 {
        let blocks = key.as_chunks::<4>().0.iter();
        let state = blocks.fold(0, |state, block| mixed(state, u32::from_le_bytes(*block)));
        let state = state ^ key.len() as u32;
        let state = (state ^ state >> 16).wrapping_mul(0x85eb_ca6b);
        let state = (state ^ state >> 13).wrapping_mul(0xc2b2_ae35);
        state ^ state >> 16
    }

    #[test]
    fn all_collide_and_are_distinct() {
        assert_eq!(hash(b"test"), 0xba6b_d213); // of the published test vectors
        let keys = colliding(1000);
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), 1000);
        assert!(keys.iter().all(|key| hash(key) == hash(&keys[0])));
        assert!(keys.iter().flatten().all(u8::is_ascii_graphic));
    }
}

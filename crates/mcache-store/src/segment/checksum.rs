//! CRC-32C of what records are made of: short runs of bytes, one after the other.
//!
//! The crate that computes it cuts every run in three and aligns it, which is what long ones
//! gain by. A short one is done sooner as it lies, eight bytes an instruction.

/// Longest run, in bytes, that is short: the crate takes it in one piece too.
#[cfg(target_arch = "x86_64")]
const SHORT_MAX: usize = 768;

/// The checksum of bytes behind those that `checksum` is of; that of none is 0.
#[inline]
pub fn append(checksum: u32, bytes: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() < SHORT_MAX && is_x86_feature_detected!("sse4.2") {
        // SAFETY: the processor has the instructions, as was just asked.
        return unsafe { append_short(checksum, bytes) };
    }
    crc32c::crc32c_append(checksum, bytes)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn append_short(checksum: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let state = words
        .iter()
        .fold(u64::from(!checksum), |state, &word| _mm_crc32_u64(state, u64::from_le_bytes(word)));
    let (halves, rest) = rest.as_chunks::<4>();
    let state = halves
        .iter()
        .fold(state as u32, |state, &half| _mm_crc32_u32(state, u32::from_le_bytes(half)));
    !rest.iter().fold(state, |state, &byte| _mm_crc32_u8(state, byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_crc_32c_whatever_the_length_and_place() {
        assert_eq!(append(0, b"123456789"), 0xe306_9283, "the published check value");
        let bytes: Vec<u8> = (0..2000u32).map(|number| (number * 7 % 251) as u8).collect();
        for len in (0..80).chain([255, 256, 767, 768, 769, 1900]) {
            for begin in 0..9 {
                let (first, second) = bytes[begin..begin + len].split_at(len / 3);
                let whole = crc32c::crc32c(&bytes[begin..begin + len]);
                assert_eq!(append(append(0, first), second), whole, "{len} from {begin}");
            }
        }
    }
}

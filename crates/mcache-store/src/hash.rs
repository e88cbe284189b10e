//! The hash of a key: keyed with a secret, so that nobody can choose keys that collide.

use std::hash::{BuildHasher, RandomState};

use mcache_base::Key;
use siphasher::sip::SipHasher13;

/// Hashes keys with SipHash-1-3 under a secret of 128 bits.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(SipHasher13);

impl KeyHasher {
    /// Under a secret of its own, drawn from the randomness that std keys its maps with.
    pub fn random() -> Self {
        Self::with_secret(Self::draw_secret())
    }

    /// A secret that nobody knows.
    pub fn draw_secret() -> [u64; 2] {
        let source = RandomState::new();
        [source.hash_one(0), source.hash_one(1)]
    }

    /// Under this secret.
    pub fn with_secret([low, high]: [u64; 2]) -> Self {
        Self(SipHasher13::new_with_keys(low, high))
    }

    /// The key with its hash.
    #[inline(always)] // so that only a number comes back from a call
    pub fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, hash: self.hash(bytes), hint: 0 }
    }

    #[inline(never)]
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_decides() {
        let hash = |secret| KeyHasher::with_secret(secret).key(b"key").hash;
        assert_eq!(hash([1, 2]), hash([1, 2]));
        assert_ne!(hash([1, 2]), hash([1, 3]));
        assert_ne!(hash([1, 2]), hash([0, 2]));
        assert_ne!(KeyHasher::random().key(b"key").hash, KeyHasher::random().key(b"key").hash);
    }

    #[test]
    fn is_siphash_1_3() {
        // The first row of the reference vectors: secret 00 01 .. 0f, empty input.
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(KeyHasher::with_secret(secret).key(b"").hash, 0xabac_0158_050f_c4dc);
    }
}

//! A key with its hash: hashed once, by the engine that owns the secret.

/// Whether a key can stand in a line of text as it is: nothing in it would end a word or the line.
pub fn fits_line(key: &[u8]) -> bool {
    !key.iter().any(|byte| byte.is_ascii_control() || *byte == b' ')
}

/// A key on its way through the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'k> {
    /// The bytes, 1 to [`crate::limits::KEY_MAX`] of them.
    pub bytes: &'k [u8],
    /// The engine's keyed hash of `bytes`.
    pub hash: u64,
    /// Where the engine, having looked ahead, expects the item to be; 0 if it did not, or expects
    /// none. A hint: only the engine knows what it means, and it is verified.
    pub hint: u64,
}

//! A key with its hash: hashed once, by the engine that owns the secret.

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

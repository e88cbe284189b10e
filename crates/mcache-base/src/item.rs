//! What both wings agree an item is: the store implements it, the protocol writes it out.

use crate::{Expiry, slab_class};

/// A value held still, so that it can be sent by reference after the engine moved on.
///
/// The bytes never change while the pin lives, whatever other clients do to the key. Of a value
/// that is a large part of the memory only a part is held at a time: its rest may be gone when it
/// is wanted.
pub trait Pin: Send + 'static {
    /// Length of the value in bytes.
    fn len(&self) -> usize;

    /// Whether the value is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The longest run of value bytes that begins at `offset` and lies in one piece.
    ///
    /// An engine may keep a large value in several pieces. Empty when `offset >= len()`, or when
    /// that part is not held.
    fn value_at(&self, offset: usize) -> &[u8];

    /// Whether only a part of the value is held at a time.
    fn is_partial(&self) -> bool {
        false
    }

    /// Wants the part at `offset` instead of those before it, which were sent. If the value is
    /// gone, none is held from now on.
    fn move_to(&mut self, _offset: usize) {}
}

/// An item as a reader sees it: one consistent version of key, value and attributes. It is a
/// handle, whose copy is another handle on the same version.
pub trait Item: Clone {
    /// What [`Item::pin`] hands out.
    type Pin: Pin;

    /// The key as stored (decoded, if it arrived in base64).
    fn key(&self) -> &[u8];

    /// Client flags: 32 opaque bits that belong to the client.
    fn flags(&self) -> u32;

    /// The cas unique: a 64-bit id that changes with every mutation, never 0.
    fn cas(&self) -> u64;

    /// Length of the value in bytes.
    fn value_len(&self) -> usize;

    /// The longest run of value bytes that begins at `offset` and lies in one piece.
    fn value_at(&self, offset: usize) -> &[u8];

    /// When the item stops being served.
    fn expiry(&self) -> Expiry;

    /// Whether the item was stored under a key given in base64 (meta flag `b`).
    fn binary_key(&self) -> bool;

    /// Bytes that the item takes in the engine, overhead included.
    fn footprint(&self) -> usize;

    /// Holds the value still for a send by reference. `None` if so much is held already that the
    /// value has to be copied.
    fn pin(&self) -> Option<Self::Pin>;
}

/// An item as a walk over the items shows it: all but its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemView<'a> {
    /// The key as stored.
    pub key: &'a [u8],
    /// Client flags.
    pub flags: u32,
    /// The cas unique.
    pub cas: u64,
    /// Length of the value in bytes.
    pub value_len: usize,
    /// When the item stops being served.
    pub expiry: Expiry,
    /// Last access, a reading of the cache's clock in milliseconds.
    pub accessed_ms: u64,
    /// Fetched at least once since it was stored.
    pub fetched: bool,
    /// Stored under a key given in base64.
    pub binary_key: bool,
}

impl ItemView<'_> {
    /// The size that memcached would give the item, in bytes.
    pub fn size(&self) -> usize {
        slab_class::item_size(self.key.len(), self.flags, self.value_len)
    }
}

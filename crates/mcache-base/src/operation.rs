//! What can be asked of a cache, and what can come of it, in no protocol's words.
//!
//! Meta-shaped: the classic and binary commands fill in few fields, meta commands many.
//! Exptimes are as on the wire; [`crate::Expiry::from_exptime`] says what they mean.

/// Look an item up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetch {
    /// On a hit, give the item this exptime (touch, gat, meta `T`). An item that `vivify` creates
    /// has that exptime, not this one.
    pub touch: Option<i64>,
    /// On a miss, create an empty item with this exptime and let the caller win the right to
    /// fill it (meta `N`).
    pub vivify: Option<i64>,
    /// If fewer seconds than this are left, let one caller win the right to refill it (meta `R`).
    pub recache: Option<i64>,
    /// The seconds left are those that `touch` gives, not those that were left before: like
    /// memcached, if `T` stands before `R`.
    pub touch_first: bool,
    /// Take part in the race for a stale item: the first such caller wins the right to refill it
    /// (meta gets do, classic gets don't).
    pub compete: bool,
    /// Cas unique for an item that `vivify` creates (meta `E`).
    pub new_cas: Option<u64>,
    /// Leave no trace: no access time, no fetched mark, no promotion (meta `u`, `me`).
    pub unseen: bool,
    /// `vivify` creates the item under a key that was given in base64.
    pub binary_key: bool,
}

/// How a store treats what is already there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreMode {
    /// Store, whatever is there.
    #[default]
    Set,
    /// Store only if the key is absent.
    Add,
    /// Store only if the key is present.
    Replace,
    /// Put the data behind the existing value.
    Append,
    /// Put the data before the existing value.
    Prepend,
}

/// Store a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// What must be there for the store to happen.
    pub mode: StoreMode,
    /// Client flags (append and prepend keep the old ones).
    pub flags: u32,
    /// Exptime (append and prepend keep the old one).
    pub exptime: i64,
    /// Store only if the item's cas unique is this one. A set or replace that compares finds
    /// [`Stored::NotFound`] on a missing key; add ignores it.
    pub compare: Option<u64>,
    /// With `compare`: accept a cas unique lower than the item's, and mark the result stale
    /// (meta `I`).
    pub invalidate: bool,
    /// Append and prepend on a missing key create it with this exptime (meta `N`) and `flags`.
    pub vivify: Option<i64>,
    /// Cas unique to give the item instead of the engine's next (meta `E`).
    pub new_cas: Option<u64>,
    /// The key was given in base64 (meta `b`).
    pub binary_key: bool,
}

/// Take an item away, or make it less than it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// Delete only if the item's cas unique is this one.
    pub compare: Option<u64>,
    /// Keep the item but mark it stale, so that one reader wins the right to refill it (meta `I`).
    pub invalidate: bool,
    /// Keep the item but drop its value, giving it these client flags (meta `x`).
    pub clear: Option<u32>,
    /// With `invalidate` or `clear`: give the item this exptime. Without it, `invalidate` keeps
    /// the one it has and `clear` makes it last for ever.
    pub exptime: Option<i64>,
    /// With `invalidate` or `clear`: cas unique to give the item (meta `E`).
    pub new_cas: Option<u64>,
}

/// Add to, or take from, a value that is a decimal number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How much.
    pub delta: u64,
    /// Take away (stopping at 0) instead of adding (wrapping at 2^64).
    pub down: bool,
    /// On a miss, create the item with this value and exptime.
    pub create: Option<(u64, i64)>,
    /// Count only if the item's cas unique is this one.
    pub compare: Option<u64>,
    /// Cas unique to give the item instead of the engine's next (meta `E`).
    pub new_cas: Option<u64>,
    /// Give the item this exptime (meta `T`).
    pub touch: Option<i64>,
    /// `create` creates the item under a key that was given in base64.
    pub binary_key: bool,
}

/// Why a key was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// No item under that key.
    Absent,
    /// There was one; its time had passed.
    Expired,
    /// There was one; a flush_all took it.
    Flushed,
}

/// A found item and what the operation saw and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<I> {
    /// The item, after the operation.
    pub item: I,
    /// The item's past, as it was before the operation.
    pub before: Before,
    /// The caller won the right to refill the item (meta `W`).
    pub won: bool,
    /// The item is stale (meta `X`).
    pub stale: bool,
    /// Somebody else won that right earlier (meta `Z`).
    pub token_sent: bool,
    /// The item was not there: `vivify` made it.
    pub created: bool,
}

impl<I> Hit<I> {
    /// The same hit with another handle on the item.
    pub fn with<J>(self, item: J) -> Hit<J> {
        Hit {
            item,
            before: self.before,
            won: self.won,
            stale: self.stale,
            token_sent: self.token_sent,
            created: self.created,
        }
    }
}

/// What an item's past was before this operation touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Fetched at least once since it was stored (meta `h`).
    pub fetched: bool,
    /// Whole seconds since the last access (meta `l`).
    pub idle_s: u64,
    /// The deadline it had.
    pub expiry: crate::Expiry,
}

/// What came of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Stored.
    Stored {
        /// The item's cas unique now.
        cas: u64,
        /// The length of the whole value now.
        value_len: usize,
    },
    /// The mode's condition did not hold.
    NotStored,
    /// The cas unique was another.
    Exists,
    /// There was nothing to compare with.
    NotFound,
    /// It could not be kept.
    Refused(Refusal),
}

/// Why the engine would not take a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The item is over the size limit.
    TooLarge,
    /// There is no memory for it, and evictions are off or found nothing to evict.
    NoMemory,
}

/// What came of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// Gone, or invalidated or cleared as asked.
    Deleted {
        /// Client flags that it had.
        flags: u32,
        /// Bytes of the value that it had.
        value_len: usize,
    },
    /// No such item.
    NotFound,
    /// The cas unique was another.
    Exists,
}

impl Deleted {
    /// Whether there was an item to delete.
    pub fn is_deleted(&self) -> bool {
        matches!(self, Self::Deleted { .. })
    }
}

/// What came of arithmetic. `I` is the engine's handle on the item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted<I> {
    /// Counted or created.
    Number {
        /// The number now.
        value: u64,
        /// The item, after the operation, and its past.
        hit: Hit<I>,
    },
    /// No such item.
    NotFound,
    /// The cas unique was another.
    Exists,
    /// The value is not a decimal number of 64 bits.
    NotNumeric,
    /// It could not be kept.
    Refused(Refusal),
}

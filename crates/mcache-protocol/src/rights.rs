//! What a user may be allowed: three rights and their sets.

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None: what everybody may ask who is let in at all.
    pub const NONE: Self = Self(0);
    /// To be told of items.
    pub const READ: Self = Self(1);
    /// To change them.
    pub const WRITE: Self = Self(2);
    /// To command the server, and to be told of keys or of other peers.
    pub const ADMIN: Self = Self(4);

    /// Each right by its name.
    pub const NAMES: &[(&str, Self)] =
        &[("read", Self::READ), ("write", Self::WRITE), ("admin", Self::ADMIN)];

    /// Those of both sets.
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    #[inline]
    pub const fn contain(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of those in the set, in the order of [`Self::NAMES`].
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(_, right)| self.contain(*right)).map(|(name, _)| *name)
    }
}

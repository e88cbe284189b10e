//! The bits of a record's header, and where its parts stand. `record` draws it.

pub(super) const FETCHED: u32 = 1 << 24;
pub(super) const FREQUENCY_ONE: u32 = 1 << 25;
pub(super) const FREQUENCY: u32 = 3 << 25;
pub(super) const HAS_EXPIRY: u32 = 1 << 27;
pub(super) const HAS_FLAGS: u32 = 1 << 28;
pub(super) const HAS_EXTRA: u32 = 1 << 29;
pub(super) const STATE: u32 = 3 << 30;
pub(super) const LIVE: u32 = 1 << 30;
pub(super) const DEAD: u32 = 3 << 30;
/// What of word 0 changes, and so is not under the checksum.
pub(super) const MUTABLE: u32 = FETCHED | FREQUENCY | STATE;

pub(super) const FRAGMENTED: u16 = 1;
pub(super) const STALE: u16 = 2;
pub(super) const TOKEN_SENT: u16 = 4;
pub(super) const BINARY_KEY: u16 = 8;
pub(super) const OWN_CAS: u16 = 16;
pub(super) const FULL_SEQUENCE: u16 = 32;

/// Bytes before the optional fields.
pub(super) const HEADER: usize = 14;

/// Bytes of a fragment before its data.
pub const FRAGMENT_HEADER: usize = 20;

/// Longest value, or list of fragments, that stands in the record itself.
pub const INLINE_MAX: usize = u16::MAX as usize;

/// Bytes of one entry of a list of fragments: location and length.
pub const FRAGMENT_ENTRY: usize = 8;

/// Records begin at multiples of this.
pub const ALIGN: usize = 4;

/// Bits of the checksum's word that are the checksum; the others are the heat.
pub(super) const CHECKSUM: u32 = (1 << 28) - 1;
pub(super) const HEAT_SHIFT: u32 = 28;

/// Where a record's parts stand, from its begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) own_cas: usize,
    pub(super) sequence: usize,
    pub(super) expiry: usize,
    pub(super) flags: usize,
    pub(super) key: usize,
    pub(super) inline: usize,
    pub(super) end: usize,
}

impl Layout {
    #[inline]
    pub(super) fn of(at: usize, word: u32, extra: u16) -> Self {
        match word & HAS_EXTRA {
            0 => Self::behind(at, word, [HEADER; 3]),
            _ => Self::with_extra(at, word, extra),
        }
    }

    fn with_extra(at: usize, word: u32, extra: u16) -> Self {
        let own_cas = HEADER + 2;
        let sequence = own_cas + if extra & OWN_CAS != 0 { 8 } else { 0 };
        let position = sequence + if extra & FULL_SEQUENCE != 0 { 8 } else { 0 };
        Self::behind(at, word, [own_cas, sequence, position])
    }

    /// With what stands behind the sequence number.
    #[inline]
    fn behind(at: usize, word: u32, [own_cas, sequence, position]: [usize; 3]) -> Self {
        let (expiry, flags) = match word & HAS_EXPIRY {
            0 => (position, position),
            _ => {
                let expiry = (at + position).next_multiple_of(8) - at;
                (expiry, expiry + 8)
            }
        };
        let key = flags + if word & HAS_FLAGS != 0 { 4 } else { 0 };
        let inline = key + key_len(word);
        let end = (inline + inline_len(word)).next_multiple_of(ALIGN);
        Self { own_cas, sequence, expiry, flags, key, inline, end }
    }
}

/// Word 0 of a filler of so many granules. Nothing else says how long it is, so where a record has
/// marks it has a check, which every bit that flips in the number changes.
#[inline]
pub(super) fn filler(granules: u32) -> u32 {
    let folded = granules ^ granules >> 9;
    let folded = folded ^ folded >> 3 ^ folded >> 6;
    DEAD | (folded << 24 & (FETCHED | FREQUENCY)) | granules << 8
}

#[inline]
pub(super) fn key_len(word: u32) -> usize {
    (word & 0xff) as usize
}

#[inline]
pub(super) fn inline_len(word: u32) -> usize {
    (word >> 8 & 0xffff) as usize
}

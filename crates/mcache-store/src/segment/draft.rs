//! Writing records: a draft becomes a record with the one store that completes it.

use std::sync::atomic::Ordering::{Relaxed, Release};

use mcache_base::Expiry;

use super::checksum;
use super::layout::*;
use super::memory::Mapping;
use super::record::{fragment_checksum, pack_expiry, sums_values};
use crate::eviction::FREQUENCY_MAX;
use crate::semantics::Attributes;

/// What a record is to be: everything but its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Blueprint {
    /// The item's attributes; `cas` only if `own_cas`.
    pub attributes: Attributes,
    /// The client's own cas unique, instead of the sequence number.
    pub own_cas: bool,
    /// The sequence number is too far from the segment's base to be written as a distance.
    pub full_sequence: bool,
    /// The inline bytes are a list of fragments.
    pub fragmented: bool,
    /// Frequency mark to begin with.
    pub frequency: u32,
    /// Heat, 0 to 15. Not under the checksum: it only steers eviction.
    pub heat: u32,
}

impl Blueprint {
    #[inline]
    fn word(&self, key_len: usize, inline_len: usize) -> u32 {
        debug_assert!(inline_len <= INLINE_MAX, "the length fits its 16 bits");
        let mut word = key_len as u32 | (inline_len as u32) << 8;
        word |= FREQUENCY_ONE * self.frequency.min(FREQUENCY_MAX);
        if self.attributes.fetched {
            word |= FETCHED;
        }
        if self.attributes.expiry != Expiry::Never {
            word |= HAS_EXPIRY;
        }
        if self.attributes.flags != 0 {
            word |= HAS_FLAGS;
        }
        if self.extra() != 0 {
            word |= HAS_EXTRA;
        }
        word
    }

    #[inline]
    fn extra(&self) -> u16 {
        let bit = |on: bool, bit: u16| if on { bit } else { 0 };
        bit(self.fragmented, FRAGMENTED)
            | bit(self.attributes.stale, STALE)
            | bit(self.attributes.token_sent, TOKEN_SENT)
            | bit(self.attributes.binary_key, BINARY_KEY)
            | bit(self.own_cas, OWN_CAS)
            | bit(self.full_sequence, FULL_SEQUENCE)
    }

    /// The record's form with a key and inline bytes of these lengths.
    #[inline]
    pub fn form(&self, key_len: usize, inline_len: usize) -> Form {
        let (word, extra) = (self.word(key_len, inline_len), self.extra());
        Form { blueprint: *self, word, extra, aligned: Layout::of(0, word, extra).end }
    }

    /// Whether the record can be given this expiry in place.
    pub fn has_room_for(&self, expiry: Expiry) -> bool {
        self.attributes.expiry != Expiry::Never || expiry == Expiry::Never
    }
}

/// A blueprint with the lengths that its header will tell: what every place and size follows from.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    blueprint: Blueprint,
    word: u32,
    extra: u16,
    /// Bytes that the record takes at a multiple of 8.
    aligned: usize,
}

impl Form {
    /// Bytes that the record takes at least and at most, wherever it begins.
    #[inline]
    pub fn size_range(&self) -> (usize, usize) {
        // The expiry's padding is largest where the optional fields end right behind a multiple
        // of 8: the two alignments that a record can have cover it.
        let other = self.size_at(ALIGN);
        (self.aligned.min(other), self.aligned.max(other))
    }

    /// Bytes that the record takes at most, wherever it begins.
    pub fn size_max(&self) -> usize {
        self.size_range().1
    }

    /// Bytes that the record takes at `at`.
    #[inline]
    pub fn size_at(&self, at: usize) -> usize {
        // Nothing but an expiry is aligned to more than the record's begin.
        match self.word & HAS_EXPIRY {
            0 => self.aligned,
            _ => Layout::of(at, self.word, self.extra).end,
        }
    }

    /// Length of the bytes behind the key.
    #[inline]
    pub fn inline_len(&self) -> usize {
        inline_len(self.word)
    }

    /// The same record with its sequence number in full.
    pub fn in_full(&self) -> Self {
        let blueprint = Blueprint { full_sequence: true, ..self.blueprint };
        blueprint.form(key_len(self.word), self.inline_len())
    }
}

/// A record that is being written, seen by nobody else.
pub struct Draft<'m> {
    memory: &'m Mapping,
    at: usize,
    layout: Layout,
    word: u32,
    full_sequence: bool,
    heat: u32,
    checksum: u32,
}

impl<'m> Draft<'m> {
    /// Writes a record's bytes, all but its sequence number. Key and inline bytes have the lengths
    /// that the form was made with.
    ///
    /// # Safety
    /// The `form.size_at(at)` bytes at `at` belong to the caller alone until
    /// [`Draft::complete`] is called, and nothing writes to them afterwards.
    pub unsafe fn write<'i>(
        memory: &'m Mapping,
        at: usize,
        form: &Form,
        key: &[u8],
        inline: impl IntoIterator<Item = &'i [u8]>,
    ) -> Self {
        let &Form { ref blueprint, word, extra, .. } = form;
        let attributes = &blueprint.attributes;
        let layout = Layout::of(at, word, extra);
        let mut checksum = checksum::append(0, &(word & !MUTABLE).to_le_bytes());
        // SAFETY: inside the range that is the caller's.
        let put = |position: usize, bytes: &[u8]| unsafe { memory.write(at + position, bytes) };
        let mut field = |position: usize, bytes: &[u8]| {
            checksum = checksum::append(checksum, bytes);
            put(position, bytes);
        };
        if extra != 0 {
            field(HEADER, &extra.to_le_bytes());
        }
        if blueprint.own_cas {
            field(layout.own_cas, &attributes.cas.to_le_bytes());
        }
        if attributes.flags != 0 {
            field(layout.flags, &attributes.flags.to_le_bytes());
        }
        debug_assert_eq!(key.len(), key_len(word), "the form is that of this key");
        put(layout.key, key);
        let mut position = layout.inline;
        for piece in inline {
            put(position, piece);
            position += piece.len();
        }
        debug_assert_eq!(position, layout.inline + inline_len(word), "and of these bytes");
        let summed = if sums_values(memory) { position - layout.key } else { key.len() };
        // SAFETY: written just now, and nobody else's.
        let bytes = unsafe { memory.bytes(at + layout.key, summed) };
        let checksum = checksum::append(checksum, bytes);
        let full_sequence = blueprint.full_sequence;
        let heat = blueprint.heat;
        let draft = Self { memory, at, layout, word, full_sequence, heat, checksum };
        draft.mark(attributes);
        draft
    }

    /// Gives the record its last access and expiry anew: they may have changed since.
    #[inline]
    pub fn mark(&self, attributes: &Attributes) {
        let seconds = (attributes.accessed_ms / 1000) as u16;
        self.memory.u16(self.at + 8).store(seconds, Relaxed);
        if self.word & HAS_EXPIRY != 0 {
            let cell = self.memory.u64(self.at + self.layout.expiry);
            cell.store(pack_expiry(attributes.expiry), Relaxed);
        }
    }

    /// Completes the record with its sequence number: from here on it is valid.
    #[inline]
    pub fn complete(self, sequence: u64, base: u64) {
        let checksum = checksum::append(self.checksum, &sequence.to_le_bytes());
        let distance = sequence.wrapping_sub(base) as u32;
        self.memory.u32(self.at + 4).store(distance, Relaxed);
        // SAFETY: still the caller's alone, as `write` demanded.
        unsafe {
            if self.full_sequence {
                let at = self.at + self.layout.sequence;
                self.memory.write(at, &sequence.to_le_bytes());
            }
            let checksum = checksum & CHECKSUM | self.heat << HEAT_SHIFT;
            self.memory.write(self.at + 10, &checksum.to_le_bytes());
        }
        self.memory.u32(self.at).store(self.word | LIVE, Release);
    }
}

/// A fragment that is being written, piece by piece, seen by nobody else.
pub struct FragmentDraft<'m> {
    memory: &'m Mapping,
    at: usize,
    owner: u64,
    len: usize,
    written: usize,
}

impl<'m> FragmentDraft<'m> {
    /// A fragment of `len` bytes of data, of which none is there yet.
    ///
    /// # Safety
    /// The `fragment_size(len)` bytes at `at` belong to the caller alone until
    /// [`Self::complete`] is called, and nothing writes to them afterwards.
    pub unsafe fn begin(memory: &'m Mapping, at: usize, owner: u64, len: usize) -> Self {
        Self { memory, at, owner, len, written: 0 }
    }

    /// A fragment whose `len` bytes of data are there.
    ///
    /// # Safety
    /// As for [`Self::begin`].
    pub unsafe fn filled(memory: &'m Mapping, at: usize, owner: u64, len: usize) -> Self {
        Self { memory, at, owner, len, written: len }
    }

    /// Takes as much of the data as is missing. Returns how many bytes.
    pub fn push(&mut self, data: &[u8]) -> usize {
        let data = &data[..data.len().min(self.missing())];
        // SAFETY: the caller's alone, as `begin` demanded, and inside.
        unsafe { self.memory.write(self.at + FRAGMENT_HEADER + self.written, data) };
        self.written += data.len();
        data.len()
    }

    /// Bytes of data still to come.
    pub fn missing(&self) -> usize {
        self.len - self.written
    }

    /// Completes the fragment, of which nothing is missing: from here on it is valid.
    pub fn complete(self) {
        assert_eq!(self.missing(), 0, "a fragment is complete");
        self.memory.u32(self.at + 4).store(self.len as u32, Relaxed);
        // SAFETY: still the caller's alone, as `begin` demanded.
        unsafe {
            let data = self.memory.bytes(self.at + FRAGMENT_HEADER, self.len);
            let checksum = fragment_checksum(self.memory, self.owner, data);
            self.memory.write(self.at + 8, &checksum.to_le_bytes());
            self.memory.write(self.at + 12, &self.owner.to_le_bytes());
        }
        self.memory.u32(self.at).store(LIVE, Release);
    }
}

/// Longest filler, in bytes.
pub const FILLER_MAX: usize = INLINE_MAX * ALIGN;

/// Makes a filler of a dead place, or of a part of one, with one store: `size` is a multiple of
/// [`ALIGN`] and at most [`FILLER_MAX`].
///
/// # Safety
/// The `size` bytes at `at` belong to the caller alone.
pub unsafe fn write_filler(memory: &Mapping, at: usize, size: usize) {
    memory.u32(at).store(filler((size / ALIGN) as u32), Release);
}

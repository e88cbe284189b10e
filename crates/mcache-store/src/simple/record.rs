//! An item in an allocation of its own.

use std::sync::Arc;

use mcache_base::number::Digits;
use mcache_base::{Expiry, Item, ItemView, Now, Pin};

use super::ledger::Claim;
use crate::engine::Reservation;
use crate::eviction::{EvictionPolicy, Life};
use crate::observer::Evicted;
use crate::semantics::{Attributes, Splice, Write};
use crate::sequence::Sequence;
use crate::tally::{Leaving, Why};

/// An item fetched in so many last milliseconds was still in use when it was evicted.
const ACTIVE_IDLE_MS_MAX: u64 = 60_000;

/// A key and its value in one allocation that many may hold and nobody changes.
#[derive(Clone, Debug)]
pub struct Blob {
    bytes: Arc<[u8]>,
    key_len: u8, // limits::KEY_MAX fits
}

impl Blob {
    /// Room for a key and `value_len` bytes, the key filled in.
    fn with_room(key: &[u8], value_len: usize) -> Self {
        let bytes = std::iter::repeat_n(0, key.len() + value_len).collect();
        let key_len = u8::try_from(key.len()).expect("the protocol bounds keys");
        let mut blob = Self { bytes, key_len };
        blob.unshared()[..key.len()].copy_from_slice(key);
        blob
    }

    fn new(key: &[u8], pieces: [&[u8]; 2]) -> Self {
        let [first, second] = pieces;
        let mut blob = Self::with_room(key, first.len() + second.len());
        let (front, back) = blob.unshared()[key.len()..].split_at_mut(first.len());
        front.copy_from_slice(first);
        back.copy_from_slice(second);
        blob
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len)]
    }

    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.bytes[usize::from(self.key_len)..]
    }

    fn unshared(&mut self) -> &mut [u8] {
        Arc::get_mut(&mut self.bytes).expect("only a new blob is written, before it is shared")
    }
}

impl Pin for Blob {
    fn len(&self) -> usize {
        self.value().len()
    }

    fn value_at(&self, offset: usize) -> &[u8] {
        self.value().get(offset..).unwrap_or_default()
    }
}

/// The bytes that an operation brings.
#[derive(Clone, Debug)]
pub enum Incoming<'v> {
    /// They lie in somebody's buffer.
    Borrowed(&'v [u8]),
    /// They arrived in the engine's memory, behind their key.
    Arrived(Blob),
    /// They are a number.
    Number(Digits),
}

impl Incoming<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Arrived(blob) => blob.value(),
            Self::Number(digits) => digits.as_bytes(),
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// The length of the value that they make, put to the present one like this.
    pub fn spliced_len(&self, splice: Splice, current: Option<&Record>) -> usize {
        match splice {
            Splice::Whole => self.len(),
            Splice::Append | Splice::Prepend => {
                self.len() + current.map_or(0, |record| record.blob.value().len())
            }
        }
    }

    /// The value that they make, put to the present one like this.
    fn spliced(self, splice: Splice, key: &[u8], current: Option<&Record>) -> Blob {
        let present = current.map_or(&[][..], |record| record.blob.value());
        match (splice, self) {
            (Splice::Whole, Self::Arrived(blob)) => blob,
            (Splice::Whole, other) => Blob::new(key, [other.bytes(), b""]),
            (Splice::Append, other) => Blob::new(key, [present, other.bytes()]),
            (Splice::Prepend, other) => Blob::new(key, [other.bytes(), present]),
        }
    }
}

/// The counts that an engine numbers its items by.
#[derive(Debug, Default)]
pub struct Sequences {
    /// Cas uniques.
    pub cas: Sequence,
    /// Stores.
    pub stores: Sequence,
    /// Stores and fetches.
    pub accesses: Sequence,
}

/// An item as it lies in an engine.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its bytes.
    pub blob: Blob,
    /// The rest of it.
    pub attributes: Attributes,
    /// Its past, for the policy. `stored` also says whether a flush took it.
    pub life: Life,
    /// What the policy made of its past at its last access.
    pub rank: u64,
}

impl Record {
    /// What is told of it when it is evicted.
    pub fn as_evicted(&self, now: Now) -> Evicted<'_> {
        let attributes = &self.attributes;
        Evicted {
            key: self.blob.key(),
            fetched: attributes.fetched,
            expiry: attributes.expiry,
            idle_ms: now.clock_ms.saturating_sub(attributes.accessed_ms),
            flags: attributes.flags,
            value_len: self.blob.value().len(),
            now,
        }
    }

    /// The record that `write` makes of `incoming` and the present one.
    pub fn written(
        key: &[u8],
        write: &Write,
        incoming: Incoming<'_>,
        current: Option<&Self>,
        overhead: usize,
        sequences: &Sequences,
    ) -> Self {
        let blob = incoming.spliced(write.splice, key, current);
        let (stored, fetches) = match current {
            Some(current) if !write.fresh => (current.life.stored, current.life.fetches),
            _ => (sequences.stores.next(), 0),
        };
        let footprint = (overhead + blob.bytes.len()) as u32;
        let life = Life { stored, fetches, footprint, ..Life::default() };
        Self { blob, attributes: write.attributes, life, rank: 0 }
    }

    /// Counts an access.
    pub fn promote(&mut self, policy: &dyn EvictionPolicy, sequences: &Sequences) {
        self.life.accessed = sequences.accesses.next();
        self.rank = policy.rank(&self.life);
    }

    /// Bytes that the item takes, overhead included.
    pub fn footprint(&self) -> u64 {
        u64::from(self.life.footprint)
    }

    /// As [`Self::footprint`], for a thread's counters.
    pub fn bytes(&self) -> usize {
        self.life.footprint as usize
    }

    /// The item as a walk shows it.
    pub fn view(&self) -> ItemView<'_> {
        let attributes = &self.attributes;
        ItemView {
            key: self.blob.key(),
            flags: attributes.flags,
            cas: attributes.cas,
            value_len: self.blob.value().len(),
            expiry: attributes.expiry,
            accessed_ms: attributes.accessed_ms,
            fetched: attributes.fetched,
            binary_key: attributes.binary_key,
        }
    }

    /// Whether the item was still in use when it had to leave.
    pub fn was_active(&self, now: Now) -> bool {
        let idle_ms = now.clock_ms.saturating_sub(self.attributes.accessed_ms);
        self.attributes.fetched && idle_ms < ACTIVE_IDLE_MS_MAX
    }

    /// The item as it leaves.
    pub fn leaving(&self, why: Why) -> Leaving {
        Leaving {
            size: self.view().size(),
            bytes: self.bytes(),
            fetched: self.attributes.fetched,
            expires: self.attributes.expiry != Expiry::Never,
            why,
        }
    }

    /// A handle on the item as it is now.
    pub fn hold(&self) -> Held {
        Held {
            blob: self.blob.clone(),
            attributes: self.attributes,
            footprint: self.life.footprint,
        }
    }
}

/// A handle on one version of an item. Holds no lock and keeps nobody from writing the next one.
#[derive(Clone, Debug)]
pub struct Held {
    blob: Blob,
    attributes: Attributes,
    footprint: u32,
}

impl Item for Held {
    type Pin = Blob;

    fn key(&self) -> &[u8] {
        self.blob.key()
    }

    fn flags(&self) -> u32 {
        self.attributes.flags
    }

    fn cas(&self) -> u64 {
        self.attributes.cas
    }

    fn value_len(&self) -> usize {
        self.blob.len()
    }

    fn value_at(&self, offset: usize) -> &[u8] {
        self.blob.value_at(offset)
    }

    fn expiry(&self) -> Expiry {
        self.attributes.expiry
    }

    fn binary_key(&self) -> bool {
        self.attributes.binary_key
    }

    fn footprint(&self) -> usize {
        self.footprint as usize
    }

    fn pin(&self) -> Option<Blob> {
        Some(self.blob.clone())
    }
}

/// A value that is still arriving, in the memory where it will stay.
#[derive(Debug)]
pub struct Arriving {
    blob: Blob,
    filled: usize,
    claim: Claim,
}

impl Arriving {
    /// Room for `len` bytes under `key`, accounted for by `claim`.
    pub fn new(key: &[u8], len: usize, claim: Claim) -> Self {
        Self { blob: Blob::with_room(key, len), filled: 0, claim }
    }

    /// Where what is missing goes.
    pub fn place(&mut self) -> &mut [u8] {
        let start = usize::from(self.blob.key_len) + self.filled;
        &mut self.blob.unshared()[start..]
    }

    /// The value, whole, and its claim.
    pub fn arrived(self, key: &[u8]) -> (Incoming<'static>, Claim) {
        assert_eq!(self.missing(), 0, "only a whole value is stored");
        assert_eq!(self.blob.key(), key, "a value is stored under the key it was reserved for");
        (Incoming::Arrived(self.blob), self.claim)
    }
}

impl Reservation for Arriving {
    fn missing(&self) -> usize {
        self.blob.len() - self.filled
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.missing());
        self.place()[..taken].copy_from_slice(&bytes[..taken]);
        self.arrived(taken);
        taken
    }

    fn arrived(&mut self, bytes: usize) {
        assert!(bytes <= self.missing(), "no more than is missing");
        self.filled += bytes;
    }
}

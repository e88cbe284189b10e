//! The limits, and the clockwork of sequences and flushes.

use std::sync::Arc;

use mcache_base::operation::{Miss, Refusal};
use mcache_base::{Key, Now};

use super::ledger::Ledger;
use super::record::{Incoming, Record, Sequences};
use crate::engine::{EngineOptions, SizeLimit};
use crate::eviction::EvictionPolicy;
use crate::flush::Flush;
use crate::hash::KeyHasher;
use crate::observer::Observed;
use crate::semantics::Write;

/// All of an engine but its items and its locks.
pub struct Common {
    pub policy: Box<dyn EvictionPolicy>,
    pub hasher: KeyHasher,
    pub ledger: Arc<Ledger>,
    pub flush: Flush,
    pub sequences: Sequences,
    pub evict: bool,
    pub observed: Observed,
    item_size: SizeLimit,
    overhead: usize,
}

impl Common {
    /// For an engine that needs `overhead` bytes for an item beside its key and value.
    pub fn new(options: &EngineOptions, overhead: usize) -> Self {
        Self {
            policy: (options.policy.by_rank)(),
            hasher: KeyHasher::random(),
            ledger: Arc::new(Ledger::new(options.capacity)),
            flush: Flush::default(),
            sequences: Sequences::default(),
            evict: options.evict,
            observed: Observed::default(),
            item_size: options.item_size,
            overhead,
        }
    }

    /// Lets a pending flush happen whose moment has come.
    #[inline]
    pub fn begin(&self, now: Now) {
        self.flush.ripen(|| self.sequences.stores.last(), now);
    }

    /// The footprint of an item like this, unless it is too large to ever be kept.
    pub fn footprint(&self, key: Key<'_>, flags: u32, value_len: usize) -> Result<u64, Refusal> {
        let footprint = (self.overhead + key.bytes.len()) as u64 + value_len as u64;
        let admitted = self.item_size.admits(key.bytes.len(), flags, value_len);
        if admitted && footprint <= self.ledger.capacity() {
            Ok(footprint)
        } else {
            Err(Refusal::TooLarge)
        }
    }

    /// The record that `write` makes of `incoming` and the present one.
    pub fn record(
        &self,
        key: Key<'_>,
        write: &Write,
        incoming: Incoming<'_>,
        current: Option<&Record>,
    ) -> Record {
        let Self { overhead, ref sequences, ref policy, .. } = *self;
        let mut record = Record::written(key.bytes, write, incoming, current, overhead, sequences);
        record.promote(policy.as_ref(), sequences);
        record
    }

    /// Counts an access.
    pub fn promote(&self, record: &mut Record) {
        record.promote(self.policy.as_ref(), &self.sequences);
    }

    /// Why nobody can have the item any more, if so.
    #[inline]
    pub fn death(&self, record: &Record, now: Now) -> Option<Miss> {
        if self.flush.took(record.blob.key(), record.life.stored) {
            Some(Miss::Flushed)
        } else if record.attributes.expiry.is_past(now) {
            Some(Miss::Expired)
        } else {
            None
        }
    }

    /// Gives back the room of a record that was taken out of the engine.
    pub fn release(&self, record: &Record) {
        self.ledger.give_back(record.footprint());
    }
}

//! Who is told of evictions.

use std::sync::{Arc, OnceLock};

use mcache_base::{Expiry, Now};

/// Somebody who may want to know which items are evicted.
pub trait Observer: Send + Sync {
    /// Whether evictions are to be told at the moment. Asked for every one of them.
    fn wants_evictions(&self) -> bool;

    /// An item was evicted. The engine holds locks: this must not wait, nor call the engine.
    fn evicted(&self, item: &Evicted<'_>);
}

/// An item that was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted<'i> {
    /// Its key.
    pub key: &'i [u8],
    /// It was fetched since it was stored.
    pub fetched: bool,
    /// Its deadline.
    pub expiry: Expiry,
    /// Milliseconds since it was fetched or stored.
    pub idle_ms: u64,
    /// Its client flags.
    pub flags: u32,
    /// Length of its value in bytes.
    pub value_len: usize,
    /// When.
    pub now: Now,
}

/// The one observer that an engine may have.
#[derive(Default)]
pub struct Observed(OnceLock<Arc<dyn Observer>>);

impl Observed {
    /// From now on tells `observer`. Only the first one counts.
    pub fn set(&self, observer: Arc<dyn Observer>) {
        let _ = self.0.set(observer);
    }

    /// Tells of an eviction, if anybody wants to know.
    #[inline]
    pub fn evicted<'i>(&self, item: impl FnOnce() -> Evicted<'i>) {
        if let Some(observer) = self.0.get()
            && observer.wants_evictions()
        {
            observer.evicted(&item());
        }
    }
}

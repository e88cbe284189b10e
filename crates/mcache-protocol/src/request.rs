//! What a peer asks for, in no protocol's words. Keys and texts are borrowed from the bytes.

use mcache_base::operation::{Count, Delete, Fetch, Store};

/// One request. A multiget is as many [`Request::Fetch`]es as it has keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'b> {
    /// Look an item up: get gets gat gats touch mg, binary Get, Touch, GAT.
    Fetch {
        /// The item's key.
        key: &'b [u8],
        /// How.
        fetch: Fetch,
    },
    /// Look at an item without leaving a trace: me.
    Inspect {
        /// The item's key.
        key: &'b [u8],
    },
    /// Store a value. The value itself travels beside the request: see [`crate::Decoded::Body`].
    Store {
        /// The item's key.
        key: &'b [u8],
        /// How.
        store: Store,
    },
    /// Take an item away: delete md, binary Delete.
    Delete {
        /// The item's key.
        key: &'b [u8],
        /// How.
        delete: Delete,
    },
    /// Arithmetic: incr decr ma, binary Increment and Decrement.
    Count {
        /// The item's key.
        key: &'b [u8],
        /// How.
        count: Count,
    },
    /// Invalidate everything stored so far, now or after `delay` (an exptime).
    FlushAll {
        /// When.
        delay: i64,
    },
    /// Invalidate what is stored under keys that begin with `prefix`.
    FlushGroup {
        /// Has to end with the delimiter of groups, which is a setting.
        prefix: &'b [u8],
    },
    /// Which memcached level is spoken.
    Version,
    /// How much to log.
    Verbosity {
        /// 0 to 3.
        level: u32,
    },
    /// A report.
    Stats {
        /// The words after `stats`, as they came; empty for the general report.
        args: &'b [u8],
    },
    /// Follow what happens.
    Watch {
        /// The words after `watch`, as they came: what to follow.
        args: &'b [u8],
    },
    /// A command for the server rather than the cache.
    Admin {
        /// Which.
        verb: Admin,
        /// The words after the verb, as they came.
        args: &'b [u8],
    },
    /// A step of logging in.
    Sasl(Sasl<'b>),
    /// Answer, and nothing else: mn, binary Noop.
    Noop,
    /// Send what is owed and close.
    Quit,
}

impl Request<'_> {
    /// Whether it is for the server rather than the cache.
    #[inline]
    pub fn is_to_server(&self) -> bool {
        matches!(self, Self::Stats { .. } | Self::Watch { .. } | Self::Admin { .. } | Self::Sasl(_))
    }
}

/// A step of SASL (RFC 4422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sasl<'b> {
    /// Tell which mechanisms there are.
    Mechanisms,
    /// Begin.
    Begin {
        /// The mechanism's name.
        mechanism: &'b [u8],
        /// Its first message; empty if it is still to come.
        message: &'b [u8],
    },
    /// Go on.
    Step {
        /// The mechanism's next message.
        message: &'b [u8],
    },
}

/// Commands for the server rather than the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Stop the server.
    Shutdown,
    /// Move the memory limit.
    CacheMemlimit,
    /// Walk over the items.
    LruCrawler,
    /// memcached's LRU tuning.
    Lru,
    /// memcached's slab tuning.
    Slabs,
    /// memcached's flash tier tuning.
    Extstore,
    /// Read the TLS certificates again.
    RefreshCerts,
    /// Move the clock (tests only).
    Debugtime,
    /// Try what the sandbox forbids (tests only).
    Misbehave,
}

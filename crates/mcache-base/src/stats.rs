//! THE TABLE OF STATISTICS: name, kind, who knows it, one sentence.
//!
//! The rows are memcached's general `stats` report, in its order. A row feeds the report, the
//! worker's counters, `stats reset` and docs/stats.md; a new statistic is a row and its bump.

/// What a statistic's value does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; `stats reset` sets it to 0.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Not a whole number.
    Text,
}

/// Who knows a statistic's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The workers count it; a reader sums.
    Worker,
    /// The storage engine knows it.
    Engine,
    /// The server around the session knows it.
    Host,
    /// memcached has it and mcache has nothing to count: always 0, so that its readers find it.
    Absent,
}

/// What has to be in force for a row to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing.
    Always,
    /// `maxconns_fast`.
    RefuseAtOnce,
    /// `lru_crawler`.
    Crawler,
    /// `lru_maintainer`.
    Maintainer,
    /// `-Z`.
    Tls,
    /// `-Z` and `-o ssl_session_cache`.
    TlsSessions,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct StatInfo {
    /// The name on the wire.
    pub name: &'static str,
    /// How the value behaves.
    pub kind: Kind,
    /// Who knows the value.
    pub source: Source,
    /// What has to be in force for the row to be reported.
    pub part: Part,
    /// One sentence.
    pub about: &'static str,
}

macro_rules! stats {
    ($( $(#[doc = $about:literal])+ $name:ident: $kind:ident from $source:ident
            $(with $part:ident)?; )+) => {
        /// A statistic of the general report.
        #[allow(non_camel_case_types)] // the variants are the wire's names
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Stat { $( $(#[doc = $about])+ $name, )+ }

        impl Stat {
            /// Every row, in the order of the report.
            pub const ALL: &'static [Stat] = &[ $( Stat::$name, )+ ];

            /// The row.
            pub const fn info(self) -> StatInfo {
                match self { $(
                    Stat::$name => StatInfo {
                        name: stringify!($name),
                        kind: Kind::$kind,
                        source: Source::$source,
                        part: [$( Part::$part, )? Part::Always][0],
                        about: concat!($($about),+),
                    },
                )+ }
            }
        }
    };
}

stats! {
    /// Process id.
    pid: Gauge from Host;
    /// Seconds since the server started.
    uptime: Gauge from Host;
    /// The wall clock, in Unix seconds.
    time: Gauge from Host;
    /// The memcached level that is spoken.
    version: Text from Host;
    /// The event loop: the driver in use, where memcached names libevent's version.
    libevent: Text from Host;
    /// Width of a pointer, in bits.
    pointer_size: Gauge from Host;
    /// CPU seconds spent in user mode, as seconds.microseconds.
    rusage_user: Text from Host;
    /// CPU seconds spent in the kernel, as seconds.microseconds.
    rusage_system: Text from Host;
    /// Connections that may be open at once.
    max_connections: Gauge from Host;
    /// Connections open now.
    curr_connections: Gauge from Host;
    /// Connections accepted since the start.
    total_connections: Counter from Host;
    /// Connections refused at the connection limit.
    rejected_connections: Counter from Host with RefuseAtOnce;
    /// Connections held in memory now.
    connection_structures: Gauge from Host;
    /// Connections closed because their answers could not be held.
    response_obj_oom: Counter from Worker;
    /// memcached's response objects; mcache has none.
    response_obj_count: Gauge from Absent;
    /// Bytes of memcached's response objects; mcache has none.
    response_obj_bytes: Gauge from Absent;
    /// Receive buffers held by workers.
    read_buf_count: Gauge from Host;
    /// Bytes of receive buffers held by workers.
    read_buf_bytes: Gauge from Host;
    /// Bytes of receive buffers not in use.
    read_buf_bytes_free: Gauge from Host;
    /// Requests refused because no receive buffer could be had.
    read_buf_oom: Counter from Worker;
    /// File descriptors kept back from connections.
    reserved_fds: Gauge from Host;
    /// Keys asked for by get, gets, mg and their binary forms.
    cmd_get: Counter from Worker;
    /// Values sent to be stored.
    cmd_set: Counter from Worker;
    /// flush_all and flush_prefix commands.
    cmd_flush: Counter from Worker;
    /// Keys given a new exptime by touch, gat and gats.
    cmd_touch: Counter from Worker;
    /// Meta commands: mg, ms, md, ma, me and mn.
    cmd_meta: Counter from Worker;
    /// Keys asked for and found.
    get_hits: Counter from Worker;
    /// Keys asked for and not found.
    get_misses: Counter from Worker;
    /// Misses whose item had expired.
    get_expired: Counter from Worker;
    /// Misses whose item had been flushed.
    get_flushed: Counter from Worker;
    /// Deletes of keys that were not there.
    delete_misses: Counter from Worker;
    /// Deletes of keys that were there.
    delete_hits: Counter from Worker;
    /// incr of keys that were not there.
    incr_misses: Counter from Worker;
    /// incr of keys that were there.
    incr_hits: Counter from Worker;
    /// decr of keys that were not there.
    decr_misses: Counter from Worker;
    /// decr of keys that were there.
    decr_hits: Counter from Worker;
    /// Compare-and-swaps of keys that were not there.
    cas_misses: Counter from Worker;
    /// Compare-and-swaps that stored.
    cas_hits: Counter from Worker;
    /// Compare-and-swaps that found another cas unique.
    cas_badval: Counter from Worker;
    /// Touches of keys that were there.
    touch_hits: Counter from Worker;
    /// Touches of keys that were not there.
    touch_misses: Counter from Worker;
    /// Values refused because they are over the size limit.
    store_too_large: Counter from Worker;
    /// Values refused because there was no memory for them.
    store_no_memory: Counter from Worker;
    /// Attempts to authenticate.
    auth_cmds: Counter from Worker;
    /// Attempts to authenticate that failed.
    auth_errors: Counter from Worker;
    /// Connections closed because they were idle.
    idle_kicks: Counter from Worker;
    /// Bytes received.
    bytes_read: Counter from Worker;
    /// Bytes sent.
    bytes_written: Counter from Worker;
    /// The memory limit, in bytes.
    limit_maxbytes: Gauge from Engine;
    /// 1 while new connections are accepted.
    accepting_conns: Gauge from Host;
    /// Times that accepting was suspended at the connection limit.
    listen_disabled_num: Counter from Host;
    /// Microseconds in which accepting was suspended.
    time_in_listen_disabled_us: Counter from Host;
    /// Worker threads.
    threads: Gauge from Host;
    /// Times that a connection used up its requests per turn.
    conn_yields: Counter from Worker;
    /// log2 of the hash table that memcached would have for the most items that there were;
    /// mcache's own index is `hash_bytes`.
    hash_power_level: Gauge from Engine;
    /// Bytes of the index.
    hash_bytes: Gauge from Engine;
    /// 1 while the index grows.
    hash_is_expanding: Gauge from Engine;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_rescues: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_chunk_rescues: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_inline_reclaim: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_busy_items: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_busy_deletes: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_busy_nomem: Counter from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_last_busy_status: Text from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slab_reassign_running: Gauge from Absent;
    /// memcached's page mover; mcache has no pages to move.
    slabs_moved: Counter from Absent;
    /// 1 while a walk over the items is under way.
    lru_crawler_running: Gauge from Engine with Crawler;
    /// Walks over the items that were begun.
    lru_crawler_starts: Counter from Engine with Crawler;
    /// Rounds of background maintenance.
    lru_maintainer_juggles: Counter from Engine with Maintainer;
    /// memcached's failed allocations; mcache counts refusals under store_no_memory.
    malloc_fails: Counter from Absent;
    /// watch lines dropped by a worker because its buffer was full.
    log_worker_dropped: Counter from Host;
    /// watch lines written by workers.
    log_worker_written: Counter from Host;
    /// watch lines skipped for watchers that read too slowly.
    log_watcher_skipped: Counter from Host;
    /// watch lines sent to watchers.
    log_watcher_sent: Counter from Host;
    /// Watchers connected now.
    log_watchers: Gauge from Host;
    /// TLS connections that began with new keys rather than those of an earlier one.
    ssl_new_sessions: Counter from Worker with TlsSessions;
    /// TLS handshakes that failed or took too long.
    ssl_handshake_errors: Counter from Worker with Tls;
    /// TLS connections closed after their handshake because of what came.
    ssl_proto_errors: Counter from Worker with Tls;
    /// Seconds since the certificates were read.
    time_since_server_cert_refresh: Gauge from Host with Tls;
    /// memcached's NIC queue mapping; mcache has none.
    unexpected_napi_ids: Counter from Absent;
    /// memcached's NIC queue mapping; mcache has none.
    round_robin_fallback: Counter from Absent;
    /// Bytes that the items take, overhead included.
    bytes: Gauge from Engine;
    /// Items held now.
    curr_items: Gauge from Engine;
    /// Items stored since the start.
    total_items: Counter from Engine;
    /// memcached's free pages; mcache has none.
    slab_global_page_pool: Gauge from Absent;
    /// Items that expired without having been fetched.
    expired_unfetched: Counter from Engine;
    /// Items evicted without having been fetched.
    evicted_unfetched: Counter from Engine;
    /// Items evicted that had been fetched, and were last used less than 60 seconds before.
    evicted_active: Counter from Engine with Maintainer;
    /// Items evicted to make room.
    evictions: Counter from Engine;
    /// Stores that took the memory of an expired item.
    reclaimed: Counter from Engine;
    /// Expired items found by a walk over the items.
    crawler_reclaimed: Counter from Engine;
    /// Items looked at by walks over the items.
    crawler_items_checked: Counter from Engine;
    /// memcached's locked LRU tails; mcache has none.
    lrutail_reflocked: Counter from Absent;
    /// Items moved to the queue of those that have still to prove their worth.
    moves_to_cold: Counter from Engine with Maintainer;
    /// Items moved to the queue of those that were worth keeping.
    moves_to_warm: Counter from Engine with Maintainer;
    /// Items that stayed in their queue when their turn to leave had come.
    moves_within_lru: Counter from Engine with Maintainer;
    /// Stores that had to make room themselves.
    direct_reclaims: Counter from Engine with Maintainer;
    /// memcached's asynchronous LRU bumps; mcache has none.
    lru_bumps_dropped: Counter from Absent with Maintainer;
}

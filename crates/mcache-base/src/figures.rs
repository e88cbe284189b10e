//! THE TABLE OF MCACHE'S OWN FIGURES: name, kind, unit, who knows it, one sentence.
//!
//! The rows are the lines of `stats mcache`, in their order. The values stay where they are known,
//! in the server's `figures` and the engine's; a test holds that these report what stands here.

use crate::stats::{Kind, Source};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// The name on the wire.
    pub name: &'static str,
    /// How the value behaves.
    pub kind: Kind,
    /// What it counts: bytes, segments; empty for a text.
    pub unit: &'static str,
    /// The host, or the engine: only `segment` has figures.
    pub source: Source,
    /// One sentence.
    pub about: &'static str,
}

const fn of_host(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    about: &'static str,
) -> Figure {
    Figure { name, kind, unit, source: Source::Host, about }
}

const fn of_engine(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    about: &'static str,
) -> Figure {
    Figure { name, kind, unit, source: Source::Engine, about }
}

/// Every row, in the order of the report.
#[rustfmt::skip] // one row each, aligned
pub const FIGURES: &[Figure] = &[
    of_host("version", Kind::Text, "",
        "mcache's own version; `version` of `stats` is the memcached level that is spoken."),
    of_host("engine", Kind::Text, "",
        "Where items live: what `--engine` says."),
    of_host("eviction", Kind::Text, "",
        "Which items go when room is needed: what `--eviction` says."),
    of_host("io_driver", Kind::Text, "",
        "How sockets are served: what `--io` came to on this system."),
    of_host("buffered_bytes", Kind::Gauge, "bytes",
        "Memory that connections hold for requests that wait and answers that are not taken."),
    of_host("buffered_bytes_max", Kind::Gauge, "bytes",
        "The most that they may hold: what `-o read_buf_mem_limit` says."),
    of_host("recovery_us", Kind::Gauge, "microseconds",
        "Time that it took to have the items of `--memory-file` back."),
    of_host("panics", Kind::Counter, "connections",
        "Connections closed because serving them hit a bug: anything but 0 is worth a report."),
    of_host("idle_kicks", Kind::Counter, "connections",
        "Connections closed because they were idle, by `--timeout`, or to make room for others."),
    of_host("request_timeouts", Kind::Counter, "connections",
        "Connections closed because a login, or a request that had begun, took too long to come."),
    of_host("framing_errors", Kind::Counter, "requests",
        "Stores whose length or line end was wrong, so that what had arrived was thrown away."),
    of_host("denials", Kind::Counter, "requests",
        "Requests that were refused because their user may not ask them, or not of that key."),
    of_host("tls_connections", Kind::Gauge, "connections",
        "Connections that speak TLS, their handshakes done."),
    of_host("tls_handshake_timeouts", Kind::Counter, "connections",
        "Connections whose TLS handshakes took longer than `--tls-handshake-timeout` says."),
    of_engine("segment_size", Kind::Gauge, "bytes",
        "Bytes of a segment, the unit in which memory is taken, evicted and given back."),
    of_engine("segments_allowed", Kind::Gauge, "segments",
        "Segments that may have memory under the limit, beside the index and the tables."),
    of_engine("segments_taken", Kind::Gauge, "segments",
        "Segments that have memory of the system now."),
    of_engine("segments_free", Kind::Gauge, "segments",
        "Those of them that hold nothing and are ready to be filled."),
    of_engine("segments_pinned", Kind::Gauge, "segments",
        "Segments with a value in them that is being sent or moved: they cannot be emptied yet."),
    of_engine("threads_died", Kind::Counter, "threads",
        "Threads that panicked in the engine; what they held was given back."),
    of_engine("staged_bytes", Kind::Gauge, "bytes",
        "Memory of values that are still arriving outside segments, which have so much less."),
    of_engine("index_regions", Kind::Gauge, "regions",
        "Parts that the index is cut into, each with a lock for its writers."),
    of_engine("index_bytes", Kind::Gauge, "bytes",
        "Memory of the index."),
    of_engine("policy_bytes", Kind::Gauge, "bytes",
        "Memory in which the eviction policy remembers items that have left."),
    of_engine("dead_places_bytes", Kind::Gauge, "bytes",
        "Memory in which threads remember places of dead records, to write there again."),
    of_engine("flushed_prefixes", Kind::Gauge, "prefixes",
        "Prefixes that flush_prefix has to remember until the next flush_all: 65,536 at most."),
    of_engine("recovered_items", Kind::Gauge, "items",
        "Items that came back from `--memory-file` at the start."),
    of_engine("recovered_bytes", Kind::Gauge, "bytes",
        "Bytes that they took."),
    of_engine("recovery_segments_damaged", Kind::Gauge, "segments",
        "Segments of the file of which a part was damaged; what was behind it is gone."),
    of_engine("recovery_items_dropped", Kind::Gauge, "items",
        "Items of the file that lacked a part, or a place in the index."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_sentence_and_its_unit() {
        for figure in FIGURES {
            assert!(figure.about.ends_with('.'), "{}", figure.name);
            assert_eq!(figure.unit.is_empty(), figure.kind == Kind::Text, "{}", figure.name);
        }
    }
}

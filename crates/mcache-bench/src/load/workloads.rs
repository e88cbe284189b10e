//! The workloads: what the connections ask for, and of what.

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What it is called on the command line.
    pub name: &'static str,
    /// How requests are spelled.
    pub protocol: Protocol,
    /// Of a hundred requests so many are gets; the others are sets.
    pub gets: u64,
    /// Requests that are sent together before their answers are awaited.
    pub pipeline: usize,
    /// Keys that a get asks for. Each counts as a request.
    pub keys_per_get: usize,
    /// Connections that ask.
    pub connections: usize,
    /// Keys there are; all are stored first.
    pub keys: u64,
    /// Values' lengths.
    pub values: Values,
    /// The exponent of the keys' popularity; 0 if all are alike.
    pub zipf: f64,
    /// Over a Unix socket; otherwise over TCP.
    pub unix: bool,
    /// The servers' memory limit.
    pub megabytes: u64,
}

/// How requests are spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `get`, `set`.
    Text,
    /// `mg`, `ms`.
    Meta,
    /// memcached's binary protocol.
    Binary,
}

/// Values' lengths.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// All alike.
    Of(usize),
    /// From 1 byte to so many, every magnitude as often as any other.
    UpTo(usize),
}

/// Length of a key.
pub const KEY_LEN: usize = 24;

const PLAIN: Row = Row {
    name: "",
    protocol: Protocol::Text,
    gets: 100,
    pipeline: 1,
    keys_per_get: 1,
    connections: 50,
    keys: 100_000,
    values: Values::Of(100),
    zipf: 0.0,
    unix: false,
    megabytes: 1024,
};

/// Values of so many bytes.
const fn large(name: &'static str, gets: u64, len: usize, keys: u64, connections: usize) -> Row {
    Row { name, gets, keys, connections, values: Values::Of(len), ..PLAIN }
}

/// The workloads.
pub const ROWS: &[Row] = &[
    Row { name: "get", ..PLAIN },
    Row { name: "get-500", connections: 500, ..PLAIN },
    Row { name: "get-unix", unix: true, ..PLAIN },
    Row { name: "get-x16", pipeline: 16, ..PLAIN },
    Row { name: "get-x128", pipeline: 128, ..PLAIN },
    Row { name: "multiget", pipeline: 2, keys_per_get: 50, ..PLAIN },
    Row { name: "set", gets: 0, ..PLAIN },
    Row { name: "set-x128", gets: 0, pipeline: 128, ..PLAIN },
    Row { name: "meta-x16", protocol: Protocol::Meta, gets: 90, pipeline: 16, ..PLAIN },
    Row { name: "binary-x16", protocol: Protocol::Binary, gets: 90, pipeline: 16, ..PLAIN },
    Row {
        name: "mixed-x16",
        gets: 90,
        pipeline: 16,
        values: Values::UpTo(4096),
        zipf: 0.99,
        ..PLAIN
    },
    Row { name: "cold-x16", pipeline: 16, keys: 3_000_000, ..PLAIN },
    Row { name: "evict-x16", gets: 70, pipeline: 16, keys: 3_000_000, megabytes: 64, ..PLAIN },
    Row { name: "evict", gets: 70, keys: 3_000_000, megabytes: 64, ..PLAIN },
    large("get-10k", 100, 10_000, 1000, 50),
    large("get-100k", 100, 100_000, 100, 16),
    large("get-1m", 100, 1_000_000, 20, 8),
    large("set-10k", 0, 10_000, 1000, 50),
    large("set-100k", 0, 100_000, 100, 16),
    large("set-500k", 0, 500_000, 40, 8),
    large("set-1m", 0, 1_000_000, 20, 8),
];

impl Row {
    /// Whether every get finds its key.
    pub fn fits(&self) -> bool {
        self.megabytes >= PLAIN.megabytes
    }

    /// Whether the same answer fits all requests, so that a server that does no work can give it.
    pub fn floor(&self) -> Option<usize> {
        match self.values {
            Values::Of(len)
                if self.protocol == Protocol::Text
                    && (self.gets, self.keys_per_get) == (100, 1)
                    && self.keys <= PLAIN.keys =>
            {
                Some(len)
            }
            _ => None,
        }
    }
}

//! What a server's threads share: counts, clock, options and the sign to stop.

use std::io;
use std::os::fd::RawFd;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed},
};
use std::time::Instant;

use mcache_base::{ClassCounters, Counters};
use mcache_net::ListenAddress;
use mcache_protocol::StatLine;
use mcache_session::{EventLog, Kinds, Prefixes, events};
use mcache_store::{Evicted, Observer};

use crate::buffered::Buffered;
use crate::clock::Clock;
use crate::logins::Logins;
use crate::options::ServerOptions;
use crate::roster::{Entry, Roster};
use crate::stop::Stop;
use crate::watch::Watch;

/// What a server's threads share.
pub struct Shared {
    /// What the server was told.
    pub options: ServerOptions,
    /// The kernel interface that the workers use.
    pub io: &'static str,
    /// The server's clock.
    pub clock: Clock,
    /// The workers' counters, each written by its worker alone, and the UDP thread's.
    pub counters: Vec<Counters>,
    /// The workers' counters of the size classes, likewise.
    pub classes: Vec<ClassCounters>,
    /// Counts by prefix.
    pub prefixes: Prefixes,
    /// What `stats settings` reports.
    pub settings: Mutex<Vec<StatLine>>,
    /// Requests that panicked; each cost its connection.
    pub panics: AtomicU64,
    /// Requests after which nobody could tell where the next one begins.
    pub framing_errors: AtomicU64,
    /// Requests of users who may not ask them.
    pub denials: AtomicU64,
    /// Connections closed because a request took too long to arrive.
    pub request_timeouts: AtomicU64,
    /// TLS handshakes that took too long.
    pub handshake_timeouts: AtomicU64,
    /// What the workers' connections hold.
    pub buffered: Vec<Buffered>,
    /// What the sockets are doing.
    pub roster: Roster,
    /// Who watches.
    pub watch: Watch,
    /// Who has to log in.
    pub logins: Logins,
    /// The connections.
    pub connections: Connections,
    /// The sign to stop.
    pub stop: Stop,
}

/// How many connections there are and were.
#[derive(Default)]
pub struct Connections {
    /// Open now. Only the acceptor adds, so its check against the limit cannot be overtaken.
    pub open: AtomicUsize,
    /// Over the limit, waiting for a worker to make room.
    pub waiting: AtomicUsize,
    /// Admitted since the start or the last reset.
    pub total: AtomicU64,
    /// Refused at the limit.
    pub rejected: AtomicU64,
    /// Whether none is accepted any more, not even from now on.
    pub over: AtomicBool,
    /// Whether the process has descriptors to accept with.
    pub suspended: AtomicBool,
    /// Times that it had none.
    pub suspensions: AtomicU64,
    /// Microseconds in which it had none.
    pub suspended_us: AtomicU64,
}

impl Shared {
    /// The state of a server that is about to start, whose workers use `io`.
    ///
    /// `found`: the sockets that it is found at, by their descriptors.
    pub fn new(
        options: ServerOptions,
        io: &'static str,
        found: Vec<(RawFd, ListenAddress)>,
    ) -> io::Result<Self> {
        let clock = options.clock_origin_ms.map_or_else(Clock::start, Clock::since);
        let now_ms = clock.now().clock_ms;
        let found = found.into_iter().map(|(socket, at)| Entry::found(socket, at, now_ms));
        Ok(Self {
            io,
            buffered: (0..options.threads)
                .map(|_| Buffered::new(options.buffered_max / options.threads))
                .collect(),
            roster: Roster::new(options.threads, found),
            watch: Watch::new(
                options.threads,
                options.watch_log_bytes,
                options.watcher_buffer_bytes,
            ),
            logins: Logins::new(options.authentication, options.users.clone())?,
            clock,
            counters: (0..=options.threads).map(|_| Counters::default()).collect(),
            classes: (0..=options.threads).map(|_| ClassCounters::default()).collect(),
            prefixes: Prefixes::new(options.prefix_delimiter, options.count_prefixes),
            settings: Mutex::new(options.settings_report.clone()),
            panics: AtomicU64::new(0),
            framing_errors: AtomicU64::new(0),
            denials: AtomicU64::new(0),
            request_timeouts: AtomicU64::new(0),
            handshake_timeouts: AtomicU64::new(0),
            options,
            connections: Connections::default(),
            stop: Stop::default(),
        })
    }

    /// The counters that the UDP thread writes.
    pub fn udp_counters(&self) -> &Counters {
        &self.counters[self.options.threads]
    }

    /// Its counters of the size classes.
    pub fn udp_classes(&self) -> &ClassCounters {
        &self.classes[self.options.threads]
    }
}

impl Observer for Shared {
    fn wants_evictions(&self) -> bool {
        self.watch.wanted().meet(Kinds::EVICTIONS)
    }

    fn evicted(&self, item: &Evicted<'_>) {
        let log = self.watch.log(self.options.threads + 1);
        log.log(Kinds::EVICTIONS, &mut |line| events::eviction(item, line));
    }
}

impl Connections {
    /// Whether there is none, and none will come.
    pub fn are_over(&self) -> bool {
        self.over.load(Acquire) && self.open.load(Relaxed) + self.waiting.load(Relaxed) == 0
    }

    /// Notes that none is accepted from now on.
    pub fn suspend(&self) -> Instant {
        self.suspended.store(true, Relaxed);
        self.suspensions.fetch_add(1, Relaxed);
        Instant::now()
    }

    /// Notes that they are accepted again, as they were until `since`.
    pub fn resume(&self, since: Instant) {
        self.suspended.store(false, Relaxed);
        self.suspended_us.fetch_add(since.elapsed().as_micros() as u64, Relaxed);
    }

    /// Sets what counts events to 0.
    pub fn reset(&self) {
        for counter in [&self.total, &self.rejected, &self.suspensions, &self.suspended_us] {
            counter.store(0, Relaxed);
        }
    }
}

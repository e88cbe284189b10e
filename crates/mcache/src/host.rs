//! What sessions may ask of the server around them.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use mcache_base::limits::{CONNECTIONS_STEP, RECEIVE_CHUNK};
use mcache_base::stats::Source;
use mcache_base::{ClassStat, MEMCACHED_LEVEL, Now, Stat};
use mcache_protocol::StatLine;
use mcache_session::{ClockMove, Host};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::buffered::Buffered;
use crate::options::IdlePolicy;
use crate::shared::Shared;

impl Host for Shared {
    fn stat(&self, stat: Stat) -> Option<String> {
        // Like memcached: its own tests count the lines of the report.
        let kicks = !matches!(self.options.idle, IdlePolicy::Keep);
        (kicks || stat != Stat::idle_kicks).then(|| self.value(stat))
    }

    fn class_stat(&self, class: usize, stat: ClassStat) -> u64 {
        self.classes.iter().map(|counters| counters.read(class, stat)).sum()
    }

    /// The rows of [`mcache_base::figures`] that are the host's.
    fn figures(&self) -> Vec<StatLine> {
        let (panics, kicks) = (self.panics.load(Relaxed), self.value(Stat::idle_kicks));
        let speaking = self.options.tls.as_ref().map_or(0, |tls| tls.connections());
        let timeouts = self.handshake_timeouts.load(Relaxed);
        let held: usize = self.buffered.iter().map(Buffered::bytes).sum();
        [
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("engine", self.options.engine.to_owned()),
            ("eviction", self.options.eviction.to_owned()),
            ("io_driver", self.io.to_owned()),
            ("buffered_bytes", held.to_string()),
            ("buffered_bytes_max", self.options.buffered_max.to_string()),
            ("recovery_us", self.options.recovery_us.to_string()),
            ("panics", panics.to_string()),
            ("idle_kicks", kicks),
            ("request_timeouts", self.request_timeouts.load(Relaxed).to_string()),
            ("framing_errors", self.framing_errors.load(Relaxed).to_string()),
            ("denials", self.denials.load(Relaxed).to_string()),
            ("tls_connections", speaking.to_string()),
            ("tls_handshake_timeouts", timeouts.to_string()),
        ]
        .map(|(name, value)| StatLine { name: name.to_owned(), value })
        .into()
    }

    fn connections(&self, after: i32, now: Now) -> (Vec<StatLine>, Option<i32>) {
        let mut lines = Vec::new();
        let next = self.roster.report(after, CONNECTIONS_STEP, now.clock_ms, &mut lines);
        (lines, next)
    }

    fn settings(&self) -> Vec<StatLine> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_setting(&self, name: &str, value: String) {
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = settings.iter_mut().find(|line| line.name == name) {
            line.value = value;
        }
    }

    fn reset_stats(&self) {
        self.counters.iter().for_each(mcache_base::Counters::reset);
        self.classes.iter().for_each(mcache_base::ClassCounters::reset);
        self.connections.reset();
    }

    fn set_verbosity(&self, level: u32) {
        (self.options.set_verbosity)(level);
        self.watch.heed_log();
    }

    fn watch_allowed(&self) -> bool {
        self.options.watch_allowed
    }

    fn flush_allowed(&self) -> bool {
        self.options.flush_allowed
    }

    fn goes_on_unframed(&self) -> bool {
        self.framing_errors.fetch_add(1, Relaxed);
        !self.options.strict_framing
    }

    fn note_denial(&self) {
        self.denials.fetch_add(1, Relaxed);
    }

    fn stop(&self) {
        tracing::info!("stopping: the command shutdown");
        self.stop.ask(); // the worker that sees it wakes the others as it ends
    }

    fn refresh_certificates(&self) -> Option<Result<(), String>> {
        Some(self.options.tls.as_ref()?.refresh())
    }

    fn move_clock(&self, how: ClockMove) -> bool {
        if self.options.for_tests {
            self.clock.shift(how);
        }
        self.options.for_tests
    }

    fn misbehave(&self) -> bool {
        !self.options.for_tests || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok()
    }
}

impl Shared {
    /// The value of a statistic of the workers or of the server itself.
    fn value(&self, stat: Stat) -> String {
        if stat.info().source == Source::Worker {
            return self
                .counters
                .iter()
                .map(|counters| counters.read(stat))
                .sum::<u64>()
                .to_string();
        }
        let threads = self.options.threads;
        let connections = &self.connections;
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        let number = match stat {
            Stat::version => return MEMCACHED_LEVEL.to_owned(),
            Stat::libevent => return self.io.to_owned(),
            Stat::rusage_user => return seconds(usage.map(|usage| usage.user_time())),
            Stat::rusage_system => return seconds(usage.map(|usage| usage.system_time())),
            Stat::pid => u64::from(std::process::id()),
            Stat::uptime => self.clock.uptime(),
            Stat::time => self.clock.now().unix,
            Stat::pointer_size => u64::from(usize::BITS),
            Stat::max_connections => self.options.connections_max as u64,
            Stat::curr_connections | Stat::connection_structures => {
                connections.open.load(Relaxed) as u64
            }
            Stat::total_connections => connections.total.load(Relaxed),
            Stat::rejected_connections => connections.rejected.load(Relaxed),
            Stat::read_buf_count => threads as u64,
            Stat::read_buf_bytes => (threads * RECEIVE_CHUNK) as u64,
            // The buffer of the worker that answers is in use.
            Stat::read_buf_bytes_free => (threads.saturating_sub(1) * RECEIVE_CHUNK) as u64,
            Stat::reserved_fds => self.options.descriptors() as u64,
            Stat::accepting_conns => u64::from(!connections.suspended.load(Relaxed)),
            Stat::listen_disabled_num => connections.suspensions.load(Relaxed),
            Stat::time_in_listen_disabled_us => connections.suspended_us.load(Relaxed),
            Stat::threads => threads as u64,
            Stat::log_worker_written => self.watch.figures.written.load(Relaxed),
            Stat::log_worker_dropped => self.watch.figures.dropped.load(Relaxed),
            Stat::log_watcher_sent => self.watch.figures.sent.load(Relaxed),
            Stat::log_watcher_skipped => self.watch.figures.skipped.load(Relaxed),
            Stat::time_since_server_cert_refresh => {
                self.options.tls.as_ref().map_or(0, |certificates| certificates.age().as_secs())
            }
            Stat::log_watchers => self.watch.watchers() as u64,
            _ => 0,
        };
        number.to_string()
    }
}

/// CPU time as memcached prints it.
fn seconds(time: nix::Result<TimeVal>) -> String {
    time.map_or_else(
        |_| "0.000000".to_owned(),
        |time| format!("{}.{:06}", time.tv_sec(), time.tv_usec()),
    )
}

//! What sessions may ask of the server around them.

use std::sync::atomic::Ordering::Relaxed;

use mcache_base::limits::RECEIVE_CHUNK;
use mcache_base::stats::Source;
use mcache_base::{MEMCACHED_LEVEL, Stat};
use mcache_protocol::StatLine;
use mcache_session::Host;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::options::IdlePolicy;
use crate::shared::Shared;

impl Host for Shared {
    fn stat(&self, stat: Stat) -> Option<String> {
        // Like memcached: its own tests count the lines of the report.
        let kicks = !matches!(self.options.idle, IdlePolicy::Keep);
        (kicks || stat != Stat::idle_kicks).then(|| self.value(stat))
    }

    fn settings(&self) -> Vec<StatLine> {
        self.options.settings_report.clone()
    }

    fn reset_stats(&self) {
        self.counters.iter().for_each(mcache_base::Counters::reset);
        self.connections.reset();
    }

    fn set_verbosity(&self, level: u32) {
        (self.options.set_verbosity)(level);
    }

    fn flush_allowed(&self) -> bool {
        self.options.flush_allowed
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
            Stat::libevent => return "epoll".to_owned(),
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

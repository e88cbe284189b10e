//! What only the server around a session knows or can do.

use mcache_base::Stat;
use mcache_protocol::StatLine;

/// The server around a session.
pub trait Host: Sync {
    /// The value of a statistic whose source is the host or the workers, as it is to be printed;
    /// `None` for one that is not reported because what it counts is switched off.
    fn stat(&self, stat: Stat) -> Option<String>;

    /// The settings in force, under memcached's names, in its order.
    fn settings(&self) -> Vec<StatLine>;

    /// Sets the host's and the workers' counters to 0.
    fn reset_stats(&self);

    /// Sets how much is logged: 0, 1 or 2.
    fn set_verbosity(&self, level: u32);

    /// Whether flush_all is allowed.
    fn flush_allowed(&self) -> bool;
}

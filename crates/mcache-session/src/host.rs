//! What only the server around a session knows or can do.

use mcache_base::{ClassStat, Now, Stat};
use mcache_protocol::StatLine;

/// The server around a session.
pub trait Host: Sync {
    /// The value of a statistic whose source is the host or the workers, as it is to be printed;
    /// `None` for one that is not reported because what it counts is switched off.
    fn stat(&self, stat: Stat) -> Option<String>;

    /// The workers' part of a statistic of a size class.
    fn class_stat(&self, class: usize, stat: ClassStat) -> u64;

    /// What the server says of itself in `stats mcache`.
    fn figures(&self) -> Vec<StatLine>;

    /// Lines of `stats conns`: of some connections whose numbers are higher than `after`, in the
    /// order of their numbers; and the last one's number, unless that was all.
    fn connections(&self, after: i32, now: Now) -> (Vec<StatLine>, Option<i32>);

    /// The settings in force, under memcached's names, in its order.
    fn settings(&self) -> Vec<StatLine>;

    /// A setting's value, as `stats settings` shows it; empty if there is none of this name.
    fn setting(&self, name: &str) -> String {
        let line = self.settings().into_iter().find(|line| line.name == name);
        line.map(|line| line.value).unwrap_or_default()
    }

    /// Changes a setting's value in `stats settings`, and nothing else.
    fn change_setting(&self, name: &str, value: String);

    /// Sets the host's and the workers' counters to 0.
    fn reset_stats(&self);

    /// Sets how much is logged: 0, 1 or 2.
    fn set_verbosity(&self, level: u32);

    /// Whether flush_all is allowed.
    fn flush_allowed(&self) -> bool;

    /// Whether watch is allowed.
    fn watch_allowed(&self) -> bool;

    /// Notes that a peer's next command could not be told from its data. Whether the conversation
    /// goes on with what it sends after that; otherwise its connection is closed.
    fn goes_on_unframed(&self) -> bool;

    /// Notes that a user asked what it may not.
    fn note_denial(&self) {}

    /// Stops the server: answers that are owed are still sent.
    fn stop(&self);

    /// Reads the TLS certificates again, or says why that did not work, in memcached's words.
    /// `None` without TLS.
    fn refresh_certificates(&self) -> Option<Result<(), String>> {
        None
    }

    /// Moves the cache's clocks. False if that is not allowed.
    fn move_clock(&self, how: ClockMove) -> bool;

    /// Tries what a sandbox forbids, if tests may. Whether that went, or may not be tried.
    fn misbehave(&self) -> bool {
        true
    }
}

/// How a test moves the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMove {
    /// They stand still.
    Pause,
    /// They go on.
    Resume,
    /// They jump by so many seconds.
    By(i64),
}

/// Whether a setting that is shown as yes or no is on.
pub(crate) fn is_on(host: &dyn Host, name: &str) -> bool {
    host.setting(name) == "yes"
}

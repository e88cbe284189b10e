//! The server's clocks: the only place where time is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcache_base::Now;
use rustix::time::{ClockId, clock_gettime};

/// The cache's clock starts here, so that 0 is in the past from the first moment on.
const START_MS: u64 = 1000;

/// The clock of one server.
#[derive(Debug)]
pub struct Clock {
    /// Time since the machine was started, when this clock was.
    started: Duration,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: since_boot() }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let running = since_boot().saturating_sub(self.started);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { clock_ms: START_MS + running.as_millis() as u64, unix: unix.as_secs() }
    }

    /// Whole seconds since the clock was started.
    pub fn uptime(&self) -> u64 {
        since_boot().saturating_sub(self.started).as_secs()
    }
}

/// Time since the machine was started, including time asleep.
fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_after_zero_and_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!(first.clock_ms >= START_MS);
        assert!(second.clock_ms >= first.clock_ms);
        assert!(first.unix > 1_700_000_000, "the wall clock counts from 1970");
        assert_eq!(clock.uptime(), 0);
    }
}

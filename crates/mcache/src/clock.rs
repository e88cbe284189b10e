//! The server's clocks: the only place where time is read.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use mcache_base::Now;
use mcache_base::time::CLOCK_START_MS;
use mcache_session::ClockMove;
use mcache_store::Boot;
use rustix::time::{ClockId, clock_gettime};

/// Tells a run of the machine from all others.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clock of one server.
#[derive(Debug)]
pub struct Clock {
    /// What the machine's clock since its start was when this one was 0, in milliseconds.
    origin_ms: i64,
    moved: Moved,
}

/// How far tests have moved a clock. Nobody moves a server's clocks in earnest.
#[derive(Debug, Default)]
struct Moved {
    at_all: AtomicBool,
    by_s: AtomicI64,
    /// Milliseconds that the clock had run for when it was stopped; [`u64::MAX`] while it runs.
    paused_ms: AtomicU64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self::since(since_boot_ms() - CLOCK_START_MS as i64)
    }

    /// A clock that goes on: it was 0 when the machine's clock since its start was this, in
    /// milliseconds.
    pub fn since(origin_ms: i64) -> Self {
        let moved = Moved { paused_ms: AtomicU64::new(u64::MAX), ..Moved::default() };
        Self { origin_ms, moved }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let running_ms = self.running_ms();
        let now = Now { clock_ms: running_ms, unix: unix_time() };
        if self.moved.at_all.load(Relaxed) { self.moved.applied(now, running_ms) } else { now }
    }

    /// Whole seconds since the clock was started.
    pub fn uptime(&self) -> u64 {
        self.now().clock_ms.saturating_sub(CLOCK_START_MS) / 1000
    }

    /// Moves the clock, for tests.
    pub fn shift(&self, how: ClockMove) {
        let Moved { at_all, by_s, paused_ms } = &self.moved;
        match how {
            ClockMove::Pause => paused_ms.store(self.running_ms(), Relaxed),
            ClockMove::Resume => paused_ms.store(u64::MAX, Relaxed),
            ClockMove::By(seconds) => {
                let _ = by_s.fetch_update(Relaxed, Relaxed, |by| Some(by.saturating_add(seconds)));
            }
        }
        at_all.store(true, Relaxed);
    }

    fn running_ms(&self) -> u64 {
        since_boot_ms().saturating_sub(self.origin_ms).max(CLOCK_START_MS as i64) as u64
    }
}

impl Moved {
    fn applied(&self, now: Now, running_ms: u64) -> Now {
        let stood_ms = running_ms.saturating_sub(self.paused_ms.load(Relaxed));
        let by_s = self.by_s.load(Relaxed);
        let clock_ms = now.clock_ms.saturating_sub(stood_ms);
        Now {
            clock_ms: clock_ms.saturating_add_signed(by_s.saturating_mul(1000)).max(CLOCK_START_MS),
            unix: now.unix.saturating_sub(stood_ms / 1000).saturating_add_signed(by_s),
        }
    }
}

/// The machine and the moment, for a memory file. A machine that does not tell its runs apart is
/// never the same.
pub fn boot() -> Boot {
    let since_ms = since_boot_ms();
    let text = fs::read_to_string(BOOT_ID).unwrap_or_default().replace('-', "");
    let id = u128::from_str_radix(text.trim(), 16).unwrap_or_else(|_| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
    });
    Boot { id: id.to_be_bytes(), since_ms, unix: unix_time() }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Time since the machine was started, including time asleep, in milliseconds.
fn since_boot_ms() -> i64 {
    let since = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    since.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_after_zero_and_never_goes_back() {
        let clock = Clock::start();
        let first = clock.now();
        let second = clock.now();
        assert!(first.clock_ms >= CLOCK_START_MS);
        assert!(second.clock_ms >= first.clock_ms);
        assert!(first.unix > 1_700_000_000, "the wall clock counts from 1970");
        assert_eq!(clock.uptime(), 0);
    }

    #[test]
    fn tests_move_it_and_hold_it() {
        let clock = Clock::start();
        let before = clock.now();
        clock.shift(ClockMove::Pause);
        clock.shift(ClockMove::By(100));
        let held = clock.now();
        assert!(held.clock_ms >= before.clock_ms + 100_000 && held.unix >= before.unix + 100);
        clock.shift(ClockMove::By(i64::MIN));
        assert_eq!(clock.now(), Now { clock_ms: CLOCK_START_MS, unix: 0 });
        clock.shift(ClockMove::Resume);
        assert_eq!(clock.uptime(), 0);
    }
}

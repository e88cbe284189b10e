//! Moments and deadlines. Time is an argument everywhere below the server.

/// Relative exptimes reach this far (30 days); a larger number is an absolute Unix time.
pub const RELATIVE_EXPTIME_MAX: i64 = 60 * 60 * 24 * 30;

/// The cache's clock starts here, in milliseconds, so that 0 is in the past from the first moment
/// on.
pub const CLOCK_START_MS: u64 = 1000;

/// A reading of both clocks, taken once per turn of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The cache's own clock in milliseconds: never steps, counts time asleep. 0 is in the past.
    pub clock_ms: u64,
    /// The wall clock, in Unix seconds. May step either way.
    pub unix: u64,
}

/// When an item stops being served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    Never,
    /// At a reading of the cache's own clock, in milliseconds, which a step of the wall clock does
    /// not move.
    Clock(u64),
    /// At a Unix time, in seconds: follows the wall clock.
    Unix(u64),
}

impl Expiry {
    /// A deadline that has always passed.
    pub const PAST: Self = Self::Clock(0);

    /// memcached's rules for an exptime: 0 never, negative at once, up to 30 days relative,
    /// above that a Unix time.
    pub fn from_exptime(exptime: i64, now: Now) -> Self {
        match exptime {
            0 => Self::Never,
            ..0 => Self::PAST,
            1..=RELATIVE_EXPTIME_MAX => {
                Self::Clock(now.clock_ms.saturating_add(exptime.unsigned_abs() * 1000))
            }
            _ => Self::Unix(exptime.unsigned_abs()),
        }
    }

    /// Whether the deadline has passed.
    pub fn is_past(self, now: Now) -> bool {
        match self {
            Self::Never => false,
            Self::Clock(deadline_ms) => deadline_ms <= now.clock_ms,
            Self::Unix(deadline) => deadline <= now.unix,
        }
    }

    /// Whole seconds left, rounded up; `None` for never. 0 once past.
    pub fn seconds_left(self, now: Now) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Clock(deadline_ms) => {
                Some(deadline_ms.saturating_sub(now.clock_ms).div_ceil(1000))
            }
            Self::Unix(deadline) => Some(deadline.saturating_sub(now.unix)),
        }
    }

    /// The deadline as a Unix time in seconds; `None` for never.
    pub fn unix(self, now: Now) -> Option<u64> {
        match self {
            Self::Unix(deadline) => Some(deadline),
            _ => self.seconds_left(now).map(|left| now.unix + left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { clock_ms: 5_500, unix: 1_800_000_000 };

    #[test]
    fn exptimes_mean_what_memcached_means() {
        let rows = [
            (0, Expiry::Never),
            (-1, Expiry::PAST),
            (i64::MIN, Expiry::PAST),
            (1, Expiry::Clock(6_500)),
            (RELATIVE_EXPTIME_MAX, Expiry::Clock(5_500 + 2_592_000_000)),
            (RELATIVE_EXPTIME_MAX + 1, Expiry::Unix(2_592_001)),
        ];
        for (exptime, expected) in rows {
            assert_eq!(Expiry::from_exptime(exptime, NOW), expected, "exptime {exptime}");
        }
    }

    #[test]
    fn a_deadline_is_past_from_its_own_moment_on() {
        for (expiry, past) in [
            (Expiry::Never, false),
            (Expiry::PAST, true),
            (Expiry::Clock(5_500), true),
            (Expiry::Clock(5_501), false),
            (Expiry::Unix(1_800_000_000), true),
            (Expiry::Unix(1_800_000_001), false),
        ] {
            assert_eq!(expiry.is_past(NOW), past, "{expiry:?}");
        }
    }

    #[test]
    fn seconds_left_round_up() {
        assert_eq!(Expiry::Never.seconds_left(NOW), None);
        assert_eq!(Expiry::Clock(5_501).seconds_left(NOW), Some(1));
        assert_eq!(Expiry::Clock(35_499).seconds_left(NOW), Some(30));
        assert_eq!(Expiry::PAST.seconds_left(NOW), Some(0));
        assert_eq!(Expiry::Unix(1_800_000_007).seconds_left(NOW), Some(7));
    }
}

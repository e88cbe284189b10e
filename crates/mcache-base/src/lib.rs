//! The ground floor: the few words that protocol, store and net agree on.
//!
//! Imports nothing of ours. What stands here is vocabulary (an item, an operation, a moment,
//! a limit, a statistic), never mechanism.

pub mod class_stats;
pub mod counters;
pub mod figures;
pub mod item;
pub mod key;
pub mod limits;
pub mod number;
pub mod operation;
pub mod outgoing;
pub mod slab_class;
pub mod stats;
pub mod time;

pub use class_stats::{ClassCounters, ClassStat};
pub use counters::Counters;
pub use item::{Item, ItemView, Pin};
pub use key::{Key, fits_line};
pub use outgoing::Outgoing;
pub use stats::Stat;
pub use time::{Expiry, Now};

/// The level of memcached that is spoken. Clients parse it: digits and dots only.
pub const MEMCACHED_LEVEL: &str = "1.6.45";

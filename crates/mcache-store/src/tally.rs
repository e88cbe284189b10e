//! What one thread counts in an engine: events, and what each size class holds.

use mcache_base::operation::Miss;
use mcache_base::{ClassCounters, ClassStat, Counters, Stat, slab_class};

/// One thread's counters.
#[derive(Default)]
pub struct EngineCounters {
    /// Those of the general report.
    pub general: Counters,
    /// Those of the size classes.
    pub classes: ClassCounters,
}

/// An item that is held no more, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// Its size as [`slab_class::item_size`] has it.
    pub size: usize,
    /// Bytes that it took.
    pub bytes: usize,
    /// Fetched since it was stored.
    pub fetched: bool,
    /// It had an exptime.
    pub expires: bool,
    /// Why.
    pub why: Why,
}

/// Why an item is held no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// An operation found it dead.
    Found(Miss),
    /// Dead, it made room.
    Reclaimed(Miss),
    /// A walk over the items found it dead.
    WalkedOver(Miss),
    /// Alive, it made room.
    Evicted {
        /// It was fetched recently.
        active: bool,
    },
}

impl EngineCounters {
    /// Adds to a statistic of the general report.
    #[inline]
    pub fn add(&self, stat: Stat, n: u64) {
        self.general.add(stat, n);
    }

    /// Counts an item that left for another reason than that a client said so.
    pub fn leave(&self, leaving: Leaving) {
        self.classes.leave(leaving.size, leaving.bytes);
        match leaving.why {
            Why::Found(miss) => self.count_dead(leaving, miss),
            Why::Reclaimed(miss) => {
                self.count_dead(leaving, miss);
                self.both(leaving.size, Stat::reclaimed, ClassStat::reclaimed, 1);
            }
            Why::WalkedOver(miss) => {
                self.count_dead(leaving, miss);
                let expired = u64::from(miss == Miss::Expired);
                self.both(
                    leaving.size,
                    Stat::crawler_reclaimed,
                    ClassStat::crawler_reclaimed,
                    expired,
                );
            }
            Why::Evicted { active } => {
                let (size, unfetched) = (leaving.size, u64::from(!leaving.fetched));
                self.both(size, Stat::evictions, ClassStat::evicted, 1);
                self.both(size, Stat::evicted_unfetched, ClassStat::evicted_unfetched, unfetched);
                let active = u64::from(active);
                self.both(size, Stat::evicted_active, ClassStat::evicted_active, active);
                let class = slab_class::of(leaving.size);
                self.classes.add(class, ClassStat::evicted_nonzero, u64::from(leaving.expires));
            }
        }
    }

    /// Sets what counts events to 0.
    pub fn reset(&self) {
        self.general.reset();
        self.classes.reset();
    }

    fn count_dead(&self, leaving: Leaving, miss: Miss) {
        let unfetched = u64::from(miss == Miss::Expired && !leaving.fetched);
        self.both(leaving.size, Stat::expired_unfetched, ClassStat::expired_unfetched, unfetched);
    }

    /// Adds to a statistic in both reports, for an item of this size.
    pub fn both(&self, size: usize, stat: Stat, class_stat: ClassStat, n: u64) {
        self.general.add(stat, n);
        self.classes.add(slab_class::of(size), class_stat, n);
    }
}

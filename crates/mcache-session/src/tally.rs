//! What each outcome counts as, in memcached's statistics.

use mcache_base::operation::{
    Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{ClassCounters, ClassStat, Counters, Item, Stat, slab_class};

/// A fetch that leaves no trace.
pub(crate) const UNSEEN: Fetch = Fetch {
    touch: None,
    vivify: None,
    recache: None,
    touch_first: false,
    compete: false,
    new_cas: None,
    unseen: true,
    binary_key: false,
};

/// Where a worker counts.
#[derive(Clone, Copy)]
pub(crate) struct Tally<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) classes: &'a ClassCounters,
}

impl Tally<'_> {
    /// A fetch counts as a touch if it touches, else as a get. Like memcached, one that makes what
    /// it did not find counts as a hit.
    #[inline(always)] // half of it falls away where the fetch is known
    pub(crate) fn fetch<I: Item>(
        self,
        key_len: usize,
        fetch: &Fetch,
        found: &Result<Hit<I>, Miss>,
    ) {
        let (command, hits, misses, class_hits) = match fetch.touch {
            None => (Stat::cmd_get, Stat::get_hits, Stat::get_misses, ClassStat::get_hits),
            Some(_) => {
                (Stat::cmd_touch, Stat::touch_hits, Stat::touch_misses, ClassStat::touch_hits)
            }
        };
        self.add(command);
        match found {
            Ok(hit) => {
                self.add(hits);
                self.add_class(class_of(key_len, &hit.item), class_hits);
            }
            Err(Miss::Absent) => self.add(misses),
            Err(Miss::Expired) => {
                self.add(misses);
                self.add(Stat::get_expired);
            }
            Err(Miss::Flushed) => {
                self.add(misses);
                self.add(Stat::get_flushed);
            }
        }
    }

    /// A store of `sent` bytes counts as a set; one that compares counts as a cas too.
    #[inline]
    pub(crate) fn store(self, key_len: usize, how: &Store, sent: usize, stored: Stored) {
        self.add(Stat::cmd_set);
        let value_len = match stored {
            Stored::Stored { value_len, .. } => value_len,
            _ => sent,
        };
        let class = slab_class::of(slab_class::item_size(key_len, how.flags, value_len));
        self.add_class(class, ClassStat::cmd_set);
        if how.compare.is_none() || how.mode == StoreMode::Add {
            return;
        }
        match stored {
            Stored::Stored { .. } => {
                self.add(Stat::cas_hits);
                self.add_class(class, ClassStat::cas_hits);
            }
            Stored::Exists => {
                self.add(Stat::cas_badval);
                self.add_class(class, ClassStat::cas_badval);
            }
            Stored::NotFound => self.add(Stat::cas_misses),
            Stored::NotStored | Stored::Refused(_) => {}
        }
    }

    /// A value of `sent` bytes that could not be kept.
    pub(crate) fn refused(self, key_len: usize, flags: u32, sent: usize, refusal: Refusal) {
        match refusal {
            Refusal::TooLarge => self.add(Stat::store_too_large),
            Refusal::NoMemory => {
                self.add(Stat::store_no_memory);
                let class = slab_class::of(slab_class::item_size(key_len, flags, sent));
                self.add_class(class, ClassStat::outofmemory);
            }
        }
    }

    /// A delete. Like memcached, one that only makes stale is not counted, and one whose cas
    /// unique was another is a miss in meta, and nothing in binary.
    pub(crate) fn delete(self, key_len: usize, how: &Delete, deleted: Deleted, meta: bool) {
        match deleted {
            Deleted::Deleted { .. } if how.invalidate => {}
            Deleted::Deleted { flags, value_len } => {
                self.add(Stat::delete_hits);
                let class = slab_class::of(slab_class::item_size(key_len, flags, value_len));
                self.add_class(class, ClassStat::delete_hits);
            }
            Deleted::NotFound => self.add(Stat::delete_misses),
            Deleted::Exists if meta => self.add(Stat::delete_misses),
            Deleted::Exists => {}
        }
    }

    /// Arithmetic. A number that it made is neither a hit nor a miss.
    pub(crate) fn count<I: Item>(self, key_len: usize, down: bool, counted: &Counted<I>) {
        let (hits, misses, class_hits) = match down {
            false => (Stat::incr_hits, Stat::incr_misses, ClassStat::incr_hits),
            true => (Stat::decr_hits, Stat::decr_misses, ClassStat::decr_hits),
        };
        match counted {
            Counted::Number { hit, .. } if !hit.created => {
                self.add(hits);
                self.add_class(class_of(key_len, &hit.item), class_hits);
            }
            Counted::NotFound => self.add(misses),
            Counted::Refused(refusal) => self.refused(key_len, 0, DIGITS_MAX, *refusal),
            Counted::Number { .. } | Counted::Exists | Counted::NotNumeric => {}
        }
    }

    /// A meta command, whatever comes of it.
    #[inline]
    pub(crate) fn meta(self) {
        self.add(Stat::cmd_meta);
    }

    /// A flush_all, allowed or not.
    pub(crate) fn flush(self) {
        self.add(Stat::cmd_flush);
    }

    #[inline]
    fn add(self, stat: Stat) {
        self.counters.add(stat, 1);
    }

    #[inline]
    fn add_class(self, class: usize, stat: ClassStat) {
        self.classes.add(class, stat, 1);
    }
}

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

#[inline(always)]
fn class_of(key_len: usize, item: &impl Item) -> usize {
    slab_class::of(slab_class::item_size(key_len, item.flags(), item.value_len()))
}

//! What each outcome counts as, in memcached's statistics.

use mcache_base::operation::{
    Counted, Deleted, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Counters, Stat};

/// A fetch that leaves no trace.
pub(crate) const UNSEEN: Fetch = Fetch {
    touch: None,
    vivify: None,
    recache: None,
    compete: false,
    new_cas: None,
    unseen: true,
    binary_key: false,
};

/// A fetch counts as a touch if it touches, else as a get.
#[inline]
pub(crate) fn fetch<I>(counters: &Counters, fetch: &Fetch, found: &Result<Hit<I>, Miss>) {
    let (command, hits, misses) = match fetch.touch {
        None => (Stat::cmd_get, Stat::get_hits, Stat::get_misses),
        Some(_) => (Stat::cmd_touch, Stat::touch_hits, Stat::touch_misses),
    };
    counters.add(command, 1);
    match found {
        Ok(hit) if !hit.created => counters.add(hits, 1),
        Ok(_) | Err(Miss::Absent) => counters.add(misses, 1),
        Err(Miss::Expired) => {
            counters.add(misses, 1);
            counters.add(Stat::get_expired, 1);
        }
        Err(Miss::Flushed) => {
            counters.add(misses, 1);
            counters.add(Stat::get_flushed, 1);
        }
    }
}

/// A store counts as a set; one that compares counts as a cas too.
#[inline]
pub(crate) fn store(counters: &Counters, how: &Store, stored: Stored) {
    counters.add(Stat::cmd_set, 1);
    if how.compare.is_none() || how.mode == StoreMode::Add {
        return;
    }
    match stored {
        Stored::Stored { .. } => counters.add(Stat::cas_hits, 1),
        Stored::Exists => counters.add(Stat::cas_badval, 1),
        Stored::NotFound => counters.add(Stat::cas_misses, 1),
        Stored::NotStored | Stored::Refused(_) => {}
    }
}

/// A value that could not be kept.
pub(crate) fn refused(counters: &Counters, refusal: Refusal) {
    counters.add(
        match refusal {
            Refusal::TooLarge => Stat::store_too_large,
            Refusal::NoMemory => Stat::store_no_memory,
        },
        1,
    );
}

/// A delete.
pub(crate) fn delete(counters: &Counters, deleted: Deleted) {
    match deleted {
        Deleted::Deleted => counters.add(Stat::delete_hits, 1),
        Deleted::NotFound => counters.add(Stat::delete_misses, 1),
        Deleted::Exists => {}
    }
}

/// Arithmetic.
pub(crate) fn count<I>(counters: &Counters, down: bool, counted: &Counted<I>) {
    let (hits, misses) = match down {
        false => (Stat::incr_hits, Stat::incr_misses),
        true => (Stat::decr_hits, Stat::decr_misses),
    };
    match counted {
        Counted::Number { hit, .. } if !hit.created => counters.add(hits, 1),
        Counted::Number { .. } | Counted::NotFound => counters.add(misses, 1),
        Counted::Refused(refusal) => refused(counters, *refusal),
        Counted::Exists | Counted::NotNumeric => {}
    }
}

/// A flush_all, allowed or not.
pub(crate) fn flush(counters: &Counters) {
    counters.add(Stat::cmd_flush, 1);
}

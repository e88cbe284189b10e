//! One workload through one engine.

use std::sync::Arc;

use mcache_base::Now;
use mcache_base::operation::{Delete, Fetch, Store, Stored};
use mcache_store::eviction::PolicyEntry;
use mcache_store::{Access, EngineOptions, SegmentStorageEngine, SizeLimit, StorageEngine};

use crate::trace::{Operation, VALUE_LEN_MAX, Workload};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A reading of the wall clock to begin with.
const UNIX: u64 = 1_800_000_000;

/// The miss ratio of the gets of the second half.
pub fn miss_ratio(
    workload: &Workload,
    policy: &'static PolicyEntry,
    capacity: u64,
) -> Result<f64, String> {
    let options =
        EngineOptions { capacity, item_size: SizeLimit::Item(1 << 20), evict: true, policy };
    let engine = SegmentStorageEngine::new(&options).map_err(|error| error.to_string())?;
    let engine = Arc::new(engine);
    let mut access = engine.access();
    let value = vec![b'v'; VALUE_LEN_MAX];
    let mut name = Vec::new();
    let (mut gets, mut misses, mut second) = (0_u64, 0_u64, 0);
    for number in 0..workload.len() {
        let request = workload.request(number);
        let sizes = workload.sizes(request.key);
        let seconds = request.time_ms / 1000;
        let now = Now { clock_ms: 1_000 + request.time_ms, unix: UNIX + seconds };
        if seconds != second {
            second = seconds;
            access.rest();
            engine.maintain(now);
        }
        write_key(request.key, sizes.key_len, &mut name);
        let key = access.key(&name);
        if request.operation == Operation::Delete {
            access.delete(key, &Delete::default(), now);
            continue;
        }
        if request.operation == Operation::Get {
            let hit = access.fetch(key, &Fetch::default(), now).is_ok();
            if number * 2 >= workload.len() {
                gets += 1;
                misses += u64::from(!hit);
            }
            if hit {
                continue;
            }
        }
        let store = Store { exptime: sizes.ttl.into(), ..Store::default() };
        let stored = access.store(key, &store, &value[..sizes.value_len], now);
        if !matches!(stored, Stored::Stored { .. }) {
            return Err(format!("{stored:?} at request {number}"));
        }
    }
    Ok(misses as f64 / gets.max(1) as f64)
}

/// Writes a key of this length that no other number has: its digits, behind letters.
fn write_key(number: u64, len: usize, key: &mut Vec<u8>) {
    key.clear();
    key.resize(len, b'k');
    let mut rest = number;
    for place in key.iter_mut().rev().take(11) {
        *place = DIGITS[(rest & 63) as usize];
        rest >>= 6;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_their_length_and_distinct() {
        let key = |number, len| {
            let mut key = Vec::new();
            write_key(number, len, &mut key);
            key
        };
        assert_eq!(key(5, 6).len(), 6);
        assert_eq!(key(u64::MAX, 250).len(), 250);
        let distinct: std::collections::HashSet<_> = (0..70_000).map(|n| key(n, 6)).collect();
        assert_eq!(distinct.len(), 70_000);
    }
}

//! The fewest misses that any policy could have, even one that knows what is to come.
//!
//! To hit, an item must stay from one access to the next: so many bytes for so many requests. All
//! the memory there is, over all requests, pays for the cheapest of these stays, and no more than
//! those can be hits. The bound is PFOO-L (Berger, Beckmann, Harchol-Balter: Practical bounds on
//! optimal caching with variable object sizes, SIGMETRICS '18). Items cost their key and value
//! only.

use crate::trace::{Operation, Request, Workload};

/// Where a key was last seen.
#[derive(Clone, Copy)]
struct Seen {
    number: u32,
    time_ms: u64,
}

/// A lower bound on the miss ratio of the gets of the second half.
pub fn miss_ratio(workload: &Workload, capacity: u64) -> f64 {
    let (gets, mut stays) = stays(workload);
    stays.sort_unstable();
    let half = (workload.len() - second_half(workload)) as u64;
    let mut room = u128::from(capacity) * u128::from(half);
    let affordable = stays.iter().take_while(|&&cost| {
        let fits = u128::from(cost) <= room;
        room = room.saturating_sub(cost.into());
        fits
    });
    (gets - affordable.count()) as f64 / gets.max(1) as f64
}

/// How many gets the second half has, and what each of those that could be a hit costs: bytes
/// times requests, as far as they lie in the second half.
fn stays(workload: &Workload) -> (usize, Vec<u64>) {
    let begin = second_half(workload);
    let mut seen: Vec<Option<Seen>> = vec![None; workload.keys()];
    let (mut gets, mut stays) = (0, Vec::new());
    for number in 0..workload.len() {
        let request = workload.request(number);
        let last = &mut seen[request.key as usize];
        let before = last.take();
        if request.operation == Operation::Delete {
            continue;
        }
        *last = Some(Seen { number: number as u32, time_ms: request.time_ms });
        if request.operation == Operation::Get && number >= begin {
            gets += 1;
            stays.extend(before.and_then(|before| stay(workload, before, &request, number, begin)));
        }
    }
    (gets, stays)
}

/// What it costs to keep an item from one access to the next, if it lives for so long.
fn stay(workload: &Workload, from: Seen, to: &Request, number: usize, begin: usize) -> Option<u64> {
    let sizes = workload.sizes(to.key);
    if sizes.ttl > 0 && to.time_ms >= from.time_ms + u64::from(sizes.ttl) * 1000 {
        return None;
    }
    let bytes = (sizes.key_len + sizes.value_len) as u64;
    Some(bytes * (number - begin.max(from.number as usize)) as u64)
}

fn second_half(workload: &Workload) -> usize {
    workload.len().div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    /// Requests for keys of 6 bytes, with values of 94 and without end.
    fn workload(keys: &[u32]) -> Workload {
        let count = keys.iter().max().unwrap() + 1;
        let words = [0, count, 0, keys.len() as u32, 0, 1, 1, 1];
        let mut bytes = b"MCT1".to_vec();
        words.iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        bytes.push(6);
        [94_u32, 0].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        keys.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        Workload::new(Trace::parse(&bytes).unwrap(), 1, 0)
    }

    #[test]
    fn the_cheapest_stays_are_hits() {
        // Of the stays that end in the second half, 0, 1, 2 and 3 requests lie in it.
        let keys = workload(&[0, 1, 2, 3, 0, 0, 1, 2]);
        let rows = [(0, 0.75), (24, 0.75), (25, 0.5), (75, 0.25), (149, 0.25), (150, 0.0)];
        for (capacity, expected) in rows {
            assert_eq!(miss_ratio(&keys, capacity), expected, "{capacity} bytes");
        }
        assert_eq!(miss_ratio(&workload(&[0, 1, 2, 3]), 1 << 20), 1.0, "nothing comes again");
    }
}

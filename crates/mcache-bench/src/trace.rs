//! Traces in the MCT1 format, and workloads made of several copies of one.
//!
//! ```text
//! "MCT1" | flags u32: operations 1, times 2, a size for each key 4 | keys u32 | 0 u32
//! requests u64
//! counts of the three tables of sizes, u32 each, unless there is a size for each key
//! key lengths u8... | value lengths u32... | times to live in seconds u32...
//! the key of each request u32... | its operation u8... | its time in ms u32...
//! ```

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use ruzstd::decoding::StreamingDecoder;

const MAGIC: &[u8] = b"MCT1";
const HAS_OPERATIONS: u32 = 1;
const HAS_TIMES: u32 = 2;
const HAS_SIZE_PER_KEY: u32 = 4;

const KEY_LEN_MIN: usize = 6;
const KEY_LEN_MAX: usize = 250;

/// Longest value that is replayed.
pub const VALUE_LEN_MAX: usize = 512 << 10;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A get, and on a miss a set.
    Get,
    /// A set.
    Set,
    /// A delete.
    Delete,
}

/// A trace.
#[derive(Debug)]
pub struct Trace {
    keys: u32,
    requests: Vec<u32>,
    operations: Vec<u8>,
    times_ms: Vec<u32>,
    size_per_key: bool,
    key_lens: Vec<u8>,
    value_lens: Vec<u32>,
    ttls: Vec<u32>,
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The key's number.
    pub key: u64,
    /// What is done.
    pub operation: Operation,
    /// When, in milliseconds since the beginning.
    pub time_ms: u64,
}

/// What is stored under a key.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Length of the key.
    pub key_len: usize,
    /// Length of the value.
    pub value_len: usize,
    /// Seconds to live; 0 for ever.
    pub ttl: u32,
}

/// Copies of a trace, each with keys of its own, a request of each in turn. Copy `j` of `n`
/// begins at `j/n` of the trace and goes round.
#[derive(Debug)]
pub struct Workload {
    trace: Trace,
    copies: usize,
    limit: usize,
}

impl Trace {
    /// Reads a `.mct` or `.mct.zst` file.
    pub fn open(path: &Path) -> Result<Self, String> {
        let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(path).map_err(|error| fault(&error))?;
        let mut bytes = Vec::new();
        let mut file = BufReader::new(file);
        if path.extension().is_some_and(|extension| extension == "zst") {
            let mut decoder = StreamingDecoder::new(&mut file).map_err(|error| fault(&error))?;
            decoder.read_to_end(&mut bytes).map_err(|error| fault(&error))?;
        } else {
            file.read_to_end(&mut bytes).map_err(|error| fault(&error))?;
        }
        Self::parse(&bytes).ok_or_else(|| fault(&"no whole MCT1 trace"))
    }

    /// Reads a trace; `None` if it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let [flags, keys, _] = [(); 3].map(|()| number(&mut rest));
        let (flags, keys) = (flags?, keys?);
        let requests = u64::from(number(&mut rest)?) | u64::from(number(&mut rest)?) << 32;
        let requests = usize::try_from(requests).ok()?;
        let size_per_key = flags & HAS_SIZE_PER_KEY != 0;
        let counts = match size_per_key {
            true => [keys; 3],
            false => [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?],
        };
        let present = |flag| if flags & flag != 0 { requests } else { 0 };
        let trace = Self {
            keys,
            size_per_key,
            key_lens: rest.split_off(..counts[0] as usize)?.to_vec(),
            value_lens: numbers(&mut rest, counts[1] as usize)?,
            ttls: numbers(&mut rest, counts[2] as usize)?,
            requests: numbers(&mut rest, requests)?,
            operations: rest.split_off(..present(HAS_OPERATIONS))?.to_vec(),
            times_ms: numbers(&mut rest, present(HAS_TIMES))?,
        };
        let is_sound = counts.iter().all(|&count| count > 0)
            && trace.requests.iter().all(|&key| key < keys)
            && !trace.requests.is_empty();
        is_sound.then_some(trace)
    }
}

impl Workload {
    /// `copies` copies of the first `limit` requests; of all if it is 0.
    pub fn new(trace: Trace, copies: usize, limit: usize) -> Self {
        let len = trace.requests.len();
        let limit = if limit == 0 { len } else { limit.min(len) };
        Self { trace, copies, limit }
    }

    /// How many keys there can be: they are numbered from 0.
    pub fn keys(&self) -> usize {
        self.trace.keys as usize * self.copies
    }

    /// How many requests.
    pub fn len(&self) -> usize {
        self.limit * self.copies
    }

    /// The request with this number.
    pub fn request(&self, number: usize) -> Request {
        let (position, copy) = (number / self.copies, number % self.copies);
        let trace = &self.trace;
        let len = trace.requests.len();
        let at = (position + copy * len / self.copies) % len;
        Request {
            key: copy as u64 * u64::from(trace.keys) + u64::from(trace.requests[at]),
            operation: match trace.operations.get(at) {
                Some(1) => Operation::Set,
                Some(2) => Operation::Delete,
                _ => Operation::Get,
            },
            time_ms: trace.times_ms.get(position).copied().unwrap_or_default().into(),
        }
    }

    /// What is stored under a key.
    pub fn sizes(&self, key: u64) -> Sizes {
        let trace = &self.trace;
        let hash = mix(key ^ 0x7368_7a65);
        let [of_key, of_value, of_ttl] = match trace.size_per_key {
            true => [key % u64::from(trace.keys); 3],
            false => [hash & 0xffff, hash >> 16 & 0xff_ffff, hash >> 44],
        };
        let key_len = usize::from(trace.key_lens[of_key as usize % trace.key_lens.len()]);
        let value_len = trace.value_lens[of_value as usize % trace.value_lens.len()] as usize;
        Sizes {
            key_len: key_len.clamp(KEY_LEN_MIN, KEY_LEN_MAX),
            value_len: value_len.min(VALUE_LEN_MAX),
            ttl: trace.ttls[of_ttl as usize % trace.ttls.len()],
        }
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let bytes: &[u8; 4] = rest.split_off(..4)?.try_into().ok()?;
    Some(u32::from_le_bytes(*bytes))
}

fn numbers(rest: &mut &[u8], count: usize) -> Option<Vec<u32>> {
    let bytes = rest.split_off(..count.checked_mul(4)?)?;
    Some(bytes.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect())
}

/// The finaliser of splitmix64 (Steele et al. 2014).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys, three requests, with operations, times and sizes.
    fn bytes() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        [7, 2, 0, 3, 0].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        bytes.extend([3, 20]);
        [100, 200, 0, 60, 0, 1, 1].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        bytes.extend([0, 1, 2]);
        [0, 10, 20].iter().for_each(|word: &u32| bytes.extend(word.to_le_bytes()));
        bytes
    }

    #[test]
    fn a_trace_is_read_and_copied() {
        let workload = Workload::new(Trace::parse(&bytes()).unwrap(), 2, 0);
        let keys: Vec<_> = (0..workload.len()).map(|i| workload.request(i).key).collect();
        assert_eq!(keys, [0, 3, 1, 3, 1, 2], "the second copy begins in the middle");
        assert_eq!(workload.request(2).operation, Operation::Set);
        assert_eq!(workload.request(2).time_ms, 10);
        let sizes = workload.sizes(3);
        assert_eq!((sizes.key_len, sizes.value_len, sizes.ttl), (20, 200, 60));
        assert_eq!(workload.sizes(0).key_len, KEY_LEN_MIN);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let whole = bytes();
        for len in 0..whole.len() {
            assert!(Trace::parse(&whole[..len]).is_none(), "{len} bytes");
        }
        let mut wrong = whole.clone();
        wrong[42] = 9; // a request for a key that there is not
        assert!(Trace::parse(&whole).is_some() && Trace::parse(&wrong).is_none());
    }
}

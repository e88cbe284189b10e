//! Words of the tests that press the segment engine hard.

use mcache_base::Now;
use mcache_base::operation::Stored;
use mcache_store::{EngineOptions, SegmentStorageEngine, SizeLimit};

use super::{Bench, at, options};

pub const NOW: Now = at(0);

pub fn engine(capacity: u64, evict: bool) -> Bench<SegmentStorageEngine> {
    let item_size = SizeLimit::Value(0);
    let options = EngineOptions { evict, item_size, ..options(capacity) };
    Bench::new(SegmentStorageEngine::new(&options).unwrap())
}

/// Numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// A value that says which key it belongs to, which version it is and how long.
pub fn value(key: &str, version: u64, len: usize) -> String {
    let word = format!("{key}/{version}/{len};");
    word.repeat(len / word.len() + 1)[..len].to_owned()
}

pub fn is_whole(key: &str, found: &str) -> bool {
    let Some((word, _)) = found.split_once(';') else { return true };
    let mut parts = word.split('/');
    let (name, version, len) = (parts.next(), parts.next(), parts.next());
    let version = version.and_then(|version| version.parse().ok());
    let len = len.and_then(|len| len.parse().ok());
    name == Some(key)
        && version.zip(len).is_some_and(|(version, len)| found == value(key, version, len))
}

pub fn is_stored(stored: Stored) -> bool {
    matches!(stored, Stored::Stored { .. })
}

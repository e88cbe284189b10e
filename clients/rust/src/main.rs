//! The clients of the field that are written in Rust: `ADDRESS memcache-text|memcache-binary|
//! async-memcached`.

mod async_memcached;
mod memcache;

use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, address, client] = words.as_slice() else { panic!("usage: ADDRESS CLIENT") };
    match client.as_str() {
        "memcache-text" => memcache::run(&format!("memcache://{address}?protocol=ascii")),
        "memcache-binary" => memcache::run(&format!("memcache://{address}?protocol=binary")),
        "async-memcached" => async_memcached::run(address),
        other => panic!("no client `{other}`"),
    }
}

/// How long an item of one second may be there.
struct Deadline(Instant);

impl Deadline {
    const PATIENCE: Duration = Duration::from_secs(10);
    const PAUSE: Duration = Duration::from_millis(100);

    fn new() -> Self {
        Self(Instant::now() + Self::PATIENCE)
    }

    fn check(&self) {
        assert!(Instant::now() < self.0, "an item of one second is still there");
    }
}

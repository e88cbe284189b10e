//! Measures what the simple engine's items take beside their keys and values: resident memory
//! against what is counted.
//! `cargo run --release -p mcache-store --example overhead 1000000 100`

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use mcache_base::operation::Store;
use mcache_base::{Now, Stat};
use mcache_store::{
    Access, EngineOptions, SimpleStorageEngine, SizeLimit, StorageEngine, eviction,
};

const NOW: Now = Now { clock_ms: 1, unix: 1 };

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [items, value_len] = &arguments[..] else {
        return Err("arguments: ITEMS VALUE_LEN".into());
    };
    let options = EngineOptions {
        capacity: 1 << 40,
        item_size: SizeLimit::Value(0),
        evict: true,
        policy: eviction::policy("lru").ok_or("no policy of that name")?,
    };
    let (items, value_len) = (items.parse()?, value_len.parse()?);
    measure(SimpleStorageEngine::new(&options), items, value_len)
}

fn measure<E: StorageEngine>(engine: E, items: u64, value_len: u64) -> Result<(), Box<dyn Error>> {
    let value = vec![b'x'; value_len as usize];
    let key = |item: u64| format!("key-{item:016}").into_bytes();
    let engine = Arc::new(engine);
    let mut access = engine.access();
    let before = resident()?;
    let start = Instant::now();
    for item in 0..items {
        access.store(access.key(&key(item)), &Store::default(), &value, NOW);
    }
    let (set, start) = (start.elapsed(), Instant::now());
    let far_apart = |item: u64| item.wrapping_mul(7919) % items;
    let mut fetch = |item| access.fetch(access.key(&key(item)), &Default::default(), NOW).is_ok();
    let found = (0..items).filter(|&item| fetch(far_apart(item))).count();
    let get = start.elapsed();
    let beside =
        |bytes: u64| bytes as f64 / items as f64 - (key(0).len() as u64 + value_len) as f64;
    println!("bytes per item beside key and value: {:.0}", beside(resident()? - before));
    println!("counted: {:.0}", beside(engine.stat(Stat::bytes)));
    println!(
        "found {found} of {items}; {:?} a set, {:?} a get",
        set / items as u32,
        get / items as u32
    );
    Ok(())
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

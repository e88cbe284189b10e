//! Real memory of servers, side by side: what an item takes, how far the resident memory goes over
//! the limit, and whether tiny items get the memory that large ones had.
//!
//! `memory --servers PATH,PATH [--mb 256] [--only held,shift,tiny,churn]`: each server is started
//! for each row on a port that is free. Items are those of the last server by those of the first.

mod process;

use crate::arguments::Arguments;
use crate::numbers::{Numbers, mix};
use process::Process;

/// Length of a key.
const KEY_LEN: usize = 30;

/// Lengths of the values whose items are counted.
const VALUES: [usize; 7] = [10, 50, 100, 200, 500, 1_000, 5_000];

/// Requests that are sent before their answers are read, and about how many bytes.
const BATCH: u64 = 256;
const BATCH_BYTES: u64 = 128 << 10;

/// Tiny items that are set, and bytes that are written in the churn.
const TINY_SETS: u64 = 8_900_000;
const CHURN_BYTES: u64 = 2 << 30;

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words, &["--servers", "--mb", "--only"])?;
    let servers = arguments.list("--servers");
    if servers.is_empty() {
        return Err("--servers PATH,.. is missing".to_owned());
    }
    let limit = arguments.number("--mb", 256_u64)?;
    let only = arguments.list("--only");
    let parts: [(&str, Part); 4] =
        [("held", held), ("shift", shift), ("tiny", tiny), ("churn", churn)];
    for (name, part) in parts {
        if only.is_empty() || only.iter().any(|it| it == name) {
            part(&servers, limit).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(())
}

/// A part of the program: of these servers, at so many megabytes.
type Part = fn(&[String], u64) -> std::io::Result<()>;

/// Real bytes of an item, its key and value among them, when evictions have begun.
fn held(servers: &[String], limit: u64) -> std::io::Result<()> {
    println!("held: real bytes an item (beyond key and value) at {limit} MB");
    for len in VALUES {
        let mut each = Vec::new();
        for server in servers {
            let mut process = Process::start(server, limit)?;
            fill(&mut process, "k", len, limit << 20)?;
            each.push(process.resident()? as f64 / process.stat("curr_items")? as f64);
        }
        let own = (KEY_LEN + len) as f64;
        let figures = each.iter().map(|each| format!("{each:.1} ({:.1})  ", each - own));
        let ratio = each[0] / each[each.len() - 1];
        println!("  {len:5}  {}items as a ratio {ratio:.2}", figures.collect::<String>());
    }
    Ok(())
}

/// Stores items of one size until they have been evicted for a fifth of the items that fit.
/// Returns how many were stored before the first left.
fn fill(process: &mut Process, prefix: &str, len: usize, limit: u64) -> std::io::Result<u64> {
    let value = vec![b'v'; len];
    let step = (limit / (len as u64 + 200) / 100).max(100);
    let (mut stored, mut first) = (0, None);
    while first.is_none_or(|first| stored < first + first / 5) {
        set_all(process, stored..stored + step, |number| (key(prefix, number), &value))?;
        stored += step;
        if first.is_none() && process.stat("evictions")? > 0 {
            first = Some(stored);
        }
    }
    Ok(first.unwrap_or_default())
}

/// Tiny values after a mixed fill, when as many bytes as the limit have been written, by those
/// of a server that never had others.
fn shift(servers: &[String], limit: u64) -> std::io::Result<()> {
    println!("shift: tiny items after a mixed fill, by those of a fresh server, at {limit} MB");
    for server in servers {
        let mut fresh = Process::start(server, limit)?;
        fill(&mut fresh, "t", 10, limit << 20)?;
        let mut mixed = Process::start(server, limit)?;
        mix_in(&mut mixed, 3 * (limit << 20))?;
        let value = [b'v'; 10];
        let sets = (limit << 20) / (KEY_LEN + value.len()) as u64;
        set_all(&mut mixed, 0..sets, |number| (key("t", number), &value))?;
        let (now, most) = (mixed.stat("curr_items")?, fresh.stat("curr_items")?);
        println!("  {server}: {now} of {most}, {:.1} %", 100.0 * now as f64 / most as f64);
    }
    Ok(())
}

/// The most resident memory in very many sets of tiny items.
fn tiny(servers: &[String], limit: u64) -> std::io::Result<()> {
    println!("tiny: the most resident memory in {TINY_SETS} sets of tiny items, by {limit} MB");
    for server in servers {
        let mut process = Process::start(server, limit)?;
        let value = [b'v'; 10];
        set_all(&mut process, 0..TINY_SETS, |number| (key("t", number), &value))?;
        print_peak(&process, limit)?;
    }
    Ok(())
}

/// The most resident memory while values of all sizes come and go.
fn churn(servers: &[String], limit: u64) -> std::io::Result<()> {
    println!(
        "churn: the most resident memory in {CHURN_BYTES} bytes of 1 B to 1 MB, by {limit} MB"
    );
    for server in servers {
        let mut process = Process::start(server, limit)?;
        mix_in(&mut process, CHURN_BYTES)?;
        print_peak(&process, limit)?;
    }
    Ok(())
}

fn print_peak(process: &Process, limit: u64) -> std::io::Result<()> {
    let (peak, limit) = (process.peak()?, (limit << 20) as f64);
    let allowed = limit * 1.02 + (8 << 20) as f64;
    println!(
        "  {}: {} MB, {:.3} of the limit, {:.3} of 1.02 limits and 8 MB; {} sets refused",
        process.name(),
        peak >> 20,
        peak as f64 / limit,
        peak as f64 / allowed,
        process.refused()
    );
    Ok(())
}

/// Stores so many bytes of values of 1 B to 1 MB, every magnitude as often as any other.
fn mix_in(process: &mut Process, bytes: u64) -> std::io::Result<()> {
    const LEN_MAX: f64 = 1_000_000.0;
    let value = vec![b'v'; LEN_MAX as usize];
    let mut numbers = Numbers::new(1);
    let (mut written, mut number) = (0, 0);
    while written < bytes {
        let share = numbers.next() as f64 / u64::MAX as f64;
        let len = LEN_MAX.powf(share) as usize;
        process.send_set(&key("m", number), &value[..len])?;
        written += len as u64;
        number += 1;
        if process.unanswered() >= BATCH || process.unanswered_bytes() >= BATCH_BYTES {
            process.read_answers()?;
        }
    }
    process.read_answers()
}

fn set_all<'v>(
    process: &mut Process,
    numbers: std::ops::Range<u64>,
    item: impl Fn(u64) -> (String, &'v [u8]),
) -> std::io::Result<()> {
    for number in numbers {
        let (key, value) = item(number);
        process.send_set(&key, value)?;
        if process.unanswered() >= BATCH || process.unanswered_bytes() >= BATCH_BYTES {
            process.read_answers()?;
        }
    }
    process.read_answers()
}

/// A key of [`KEY_LEN`] characters that no other number has.
fn key(prefix: &str, number: u64) -> String {
    format!("{prefix}{:0width$x}", mix(number), width = KEY_LEN - prefix.len())
}

//! Servers that take over from each other while clients ask them: what was refused, cut off or
//! wrong, and how long the longest request took.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::{Known, PATIENCE, Plan, Running, value_of};
use crate::integrity::client::{Answer, Client};
use crate::numbers::mix;

/// Clients at once, each with keys of its own.
const CLIENTS: u64 = 8;

/// Of so many requests one is a set.
const SETS: u64 = 5;

/// What clients saw.
#[derive(Debug, Default)]
struct Seen {
    answers: u64,
    /// Connections that could not be made.
    refused: u64,
    /// Requests without an answer: they were asked again on another connection.
    cut: u64,
    wrong: u64,
    longest: Duration,
}

/// Where a server of the plan is found by the next one.
pub fn control(plan: &Plan) -> PathBuf {
    plan.file.with_extension("takeover")
}

/// Has servers take over from each other, each after so long a time. Returns how many answers were
/// wrong and how many connections refused.
pub fn run(
    plan: &Plan,
    server: &mut Running,
    known: &[Known],
    rounds: u64,
    load: Duration,
) -> io::Result<u64> {
    let over = AtomicBool::new(false);
    let address = server.address;
    let (ends, seen) = std::thread::scope(|scope| {
        let (over, start) = (&over, |client| converse(plan, client, address, known, &over));
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || start(client))).collect();
        let mut ends = Vec::new();
        for _ in 0..rounds {
            std::thread::sleep(load);
            ends.push(take_over(plan, server));
        }
        std::thread::sleep(load);
        over.store(true, Relaxed);
        let seen: Vec<_> = clients.into_iter().filter_map(|client| client.join().ok()).collect();
        (ends, seen)
    });
    let ends = ends.into_iter().collect::<io::Result<Vec<_>>>()?;
    let all = seen.into_iter().fold(Seen::default(), |all, seen| Seen {
        answers: all.answers + seen.answers,
        refused: all.refused + seen.refused,
        cut: all.cut + seen.cut,
        wrong: all.wrong + seen.wrong,
        longest: all.longest.max(seen.longest),
    });
    println!(
        "take-overs: from the start of one process to the end of the other {ends:.1?}; {all:?}"
    );
    Ok(all.wrong + all.refused)
}

/// Starts the next server; returns how long it took until the one before had ended.
fn take_over(plan: &Plan, server: &mut Running) -> io::Result<Duration> {
    let began = Instant::now();
    let mut before = std::mem::replace(server, Running::start_at(plan, server.address)?);
    while before.child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other("the server before does not end"));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(began.elapsed())
}

fn converse(
    plan: &Plan,
    client: u64,
    address: std::net::SocketAddr,
    known: &[Known],
    over: &AtomicBool,
) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    for number in 2.. {
        if over.load(Relaxed) {
            break;
        }
        let random = mix(number ^ client << 40);
        let key = random % (plan.items / CLIENTS) * CLIENTS + client;
        let version = 1 << 50 | number;
        let began = Instant::now();
        while connection.is_none() && !over.load(Relaxed) {
            connection = Client::connect(address).ok();
            seen.refused += u64::from(connection.is_none());
        }
        let Some(client) = &mut connection else { break };
        let Known { version: last, is_open } = &known[key as usize];
        let answer = if (random >> 40).is_multiple_of(SETS) {
            is_open.store(true, Relaxed);
            let is_stored = client.set(key, &value_of(key, version, plan.value));
            match is_stored {
                Ok(true) => {
                    last.store(version, Relaxed);
                    is_open.store(false, Relaxed);
                    Ok(false)
                }
                Ok(false) => Err(io::ErrorKind::UnexpectedEof.into()), // the end is no answer
                Err(error) => Err(error),
            }
        } else {
            fetch(client, plan, key).map(|found| {
                let is_either = is_open.swap(false, Relaxed); // it was cut off: either is right
                let is_wrong = found != Some(last.load(Relaxed)) && (!is_either || found.is_none());
                last.store(found.unwrap_or(0), Relaxed);
                is_wrong
            })
        };
        match answer {
            Ok(is_wrong) => {
                seen.answers += 1;
                seen.wrong += u64::from(is_wrong);
            }
            Err(_) => {
                seen.cut += 1;
                connection = None;
            }
        }
        seen.longest = seen.longest.max(began.elapsed());
    }
    seen
}

/// The version of a key's value: 0 if it is not there, none if it is damaged.
fn fetch(client: &mut Client, plan: &Plan, key: u64) -> io::Result<Option<u64>> {
    client.ask(&[key])?;
    let mut version = Some(0);
    while let Answer::Value { value, .. } = client.next()? {
        let found = value.get(8..16).and_then(|bytes| bytes.try_into().ok());
        let found = found.map_or(0, u64::from_le_bytes);
        version = (value == value_of(key, found, plan.value)).then_some(found);
    }
    Ok(version)
}

//! Peers that guess names and passwords: whether the time an answer takes tells how near they were.
//!
//! Four guesses of one length, in an order that looks random, each answered before the next. Two
//! that are told apart have means that differ by many times what chance does: Welch's t. It fails
//! if that is 5 or more for any two.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use mcache_conformance::frame::{answer, frame};

use super::target::Client;
use crate::arguments::Arguments;
use crate::numbers::Numbers;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// From which on two guesses are told apart.
const TOLD_APART: f64 = 5.0;

/// Rounds of guesses over a connection: it has 30 seconds to log in, and a failure takes 5 ms.
const ROUNDS: u64 = 500;

/// Those who may log in.
const USERS: &str = "neighbour:hedgehogs\nnextdoors:woodlouse\nsomebody:else\n";

/// What is guessed: a name and a password.
const GUESSES: [(&str, &str, &str); 4] = [
    ("neither is right", "strangers", "elephants"),
    ("the name is right", "neighbour", "elephants"),
    ("all but the last letter is", "neighbour", "hedgehogz"),
    ("all but the name's last is", "neighbouq", "hedgehogs"),
];

/// The command of the binary protocol that begins a login.
const SASL: u8 = 0x21;

/// A way to log in.
struct Way {
    name: &'static str,
    /// The options of a server that wants it so, without the file.
    options: &'static str,
    request: fn(name: &str, password: &str) -> Vec<u8>,
    refusal: fn() -> Vec<u8>,
}

const WAYS: [Way; 2] = [
    Way {
        name: "text",
        options: "-Y",
        request: |name, password| {
            let said = format!("{name} {password}");
            format!("set k 0 0 {}\r\n{said}\r\n", said.len()).into_bytes()
        },
        refusal: || b"CLIENT_ERROR authentication failure\r\n".to_vec(),
    },
    Way {
        name: "SASL",
        options: "-S --sasl-users",
        request: |name, password| {
            frame(SASL, b"", b"PLAIN", format!("\0{name}\0{password}").as_bytes())
        },
        refusal: || answer(SASL, 0x20, b"Auth failure."),
    },
];

/// How long the answers to a guess took.
#[derive(Clone, Copy, Default)]
struct Times {
    count: f64,
    mean: f64,
    /// The sum of the squares of what they are off the mean.
    squares: f64,
}

/// A file of users, removed at the end.
struct Users(PathBuf);

impl Drop for Users {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Runs it: in text, and with a server that has a file for SASL (which memcached has not) in that.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let inputs = arguments.number("--inputs", 4000_u64)?;
    let seed = arguments.number("--seed", 1_u64)?;
    let told = |error: io::Error| error.to_string();
    let path = std::env::temp_dir().join(format!("mcache-siege-users-{}", std::process::id()));
    fs::write(&path, USERS).map_err(told)?;
    let users = Users(path);
    let ways = if arguments.value("--against").is_some() { &WAYS[..1] } else { &WAYS[..] };
    let most = thread::scope(|scope| {
        let one = |way: &'static Way| {
            let options = arguments.value("--options").unwrap_or_default();
            let options = format!("{options} {} {}", way.options, users.0.display());
            let target = super::start_with(arguments, &options)?;
            guess(target.address, way, inputs, seed).map_err(told)
        };
        let threads: Vec<_> = ways.iter().map(|way| scope.spawn(move || (way, one(way)))).collect();
        threads.into_iter().try_fold(0.0, |most: f64, thread| {
            let (way, times) = thread.join().map_err(|_| "a client panicked")?;
            Ok::<_, String>(most.max(report(way, &times?)))
        })
    })?;
    if most < TOLD_APART { Ok(()) } else { Err("two guesses are told apart".to_owned()) }
}

/// Guesses so many times each, over one connection after the other.
fn guess(address: SocketAddr, way: &Way, inputs: u64, seed: u64) -> io::Result<[Times; 4]> {
    let (mut times, mut numbers) = ([Times::default(); 4], Numbers::new(seed));
    let requests = GUESSES.map(|(_, name, password)| (way.request)(name, password));
    let refusal = (way.refusal)();
    let mut client = Client::connect(address, PATIENCE)?;
    for round in 0..inputs {
        if round % ROUNDS == ROUNDS - 1 {
            client = Client::connect(address, PATIENCE)?;
        }
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            order.swap(last, numbers.below(last as u64 + 1) as usize);
        }
        for at in order {
            let begun = Instant::now();
            client.ask(&requests[at], &refusal)?;
            times[at].note(begun.elapsed().as_nanos() as f64 / 1000.0);
        }
    }
    Ok(times)
}

/// Prints what was found; the largest t of any two.
fn report(way: &Way, times: &[Times; 4]) -> f64 {
    println!("{}:", way.name);
    for ((what, ..), times) in GUESSES.iter().zip(times) {
        let Times { count, mean, .. } = times;
        println!("  {what}: {count} answers, {mean:.2} us, +- {:.2}", times.error().sqrt());
    }
    let pairs = (0..times.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
    let most =
        pairs.map(|(one, other)| welch(&times[one], &times[other]).abs()).fold(0.0, f64::max);
    println!("  the largest t of any two: {most:.2}");
    most
}

/// Welch's t: the difference of the means, in what chance makes of it.
fn welch(one: &Times, other: &Times) -> f64 {
    (one.mean - other.mean) / (one.error() + other.error()).sqrt()
}

impl Times {
    fn note(&mut self, time: f64) {
        self.count += 1.0;
        let off = time - self.mean;
        self.mean += off / self.count;
        self.squares += off * (time - self.mean);
    }

    /// The variance of the mean.
    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0).max(1.0) / self.count.max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_is_welchs() {
        let times = |all: &[f64]| {
            let mut times = Times::default();
            all.iter().for_each(|time| times.note(*time));
            times
        };
        let (one, other) = (times(&[1.0, 2.0, 3.0, 4.0]), times(&[3.0, 5.0, 7.0, 9.0, 11.0]));
        // Means 2.5 and 7, variances 5/3 and 10: (2.5 - 7) / sqrt(5/12 + 2).
        assert!((welch(&one, &other) + 4.5 / (5.0_f64 / 12.0 + 2.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn guesses_are_as_long_as_each_other_and_wrong() {
        for (_, name, password) in GUESSES {
            assert_eq!((name.len(), password.len()), (9, 9));
            assert!(!USERS.lines().any(|line| line == format!("{name}:{password}")));
        }
    }
}

//! Servers under load, side by side: the CPU time that the system charges a server per request,
//! its throughput and its latencies, for every workload of a table.
//!
//! Each server runs alone on the first processor with one worker, the load on the second; the
//! servers take turns, so that what else the machine does touches all of them. Ratios are to the
//! server of `--against`, taken round by round; figures are medians over the rounds.

mod floor;
mod generator;
mod idle;
mod requests;
mod server;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::Arguments;
use generator::{Generator, Pace};
use idle::Idle;
use requests::{Batch, Requests};
use server::{Kind, Server};
use workloads::{ROWS, Row};

const OPTIONS: &[&str] = &[
    "--ours",
    "--against",
    "--also",
    "--only",
    "--rounds",
    "--seconds",
    "--rate",
    "--drivers",
    "--idle",
];

/// The name of the server that the others are compared with.
const AGAINST: &str = "memcached";

/// The name of the server that does no work.
const FLOOR: &str = "floor";

/// What a server does in a round.
struct Round {
    cpu_ns: f64,
    per_second: f64,
    /// The latencies' median, 99th and 99.9th percentile, in microseconds.
    latencies_us: [f64; 3],
}

/// A server, and what it did.
struct Measured {
    name: String,
    server: Server,
    rounds: Vec<Round>,
}

/// How it is measured.
struct Plan {
    kinds: Vec<Kind>,
    rounds: usize,
    /// Of a round.
    length: Duration,
    rate: Option<String>,
    /// Idle connections beside those that ask.
    idle: usize,
}

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    if let [word, rest @ ..] = words
        && word == "--floor"
    {
        return floor::serve(rest);
    }
    let arguments = Arguments::parse(words, OPTIONS)?;
    let plan = Plan {
        kinds: kinds(&arguments)?,
        rounds: arguments.number("--rounds", 5)?,
        length: Duration::from_secs_f64(arguments.number("--seconds", 1.0)?),
        rate: arguments.value("--rate").map(str::to_owned),
        idle: arguments.number("--idle", 0)?,
    };
    let only = arguments.list("--only");
    if let Some(unknown) = only.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("no workload `{unknown}`; there are {}", names.join(" ")));
    }
    Idle::allow().map_err(|error| error.to_string())?;
    println!("| workload | server | CPU ns | ratio | 1000/s | p50 us | p99 us | p99.9 us |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|it| it == row.name)) {
        let measured = plan.measure(row).map_err(|error| format!("{}: {error}", row.name))?;
        print(row, &measured);
    }
    Ok(())
}

/// The servers that are asked for.
fn kinds(arguments: &Arguments) -> Result<Vec<Kind>, String> {
    let ours = match arguments.value("--ours") {
        Some(path) => PathBuf::from(path),
        None => this()?.with_file_name("mcache"),
    };
    let mut drivers = arguments.list("--drivers");
    if drivers.is_empty() {
        drivers = ["uring", "epoll"].map(str::to_owned).to_vec();
    }
    let mut kinds: Vec<_> = drivers
        .into_iter()
        .map(|io| {
            let command =
                format!("{} {{listen}} -t 1 -c 20000 -m {{mb}} --io {io}", ours.display());
            Kind { name: io, command }
        })
        .collect();
    if let Some(path) = arguments.value("--against") {
        let command = format!("{path} -u root {{listen}} -U 0 -t 1 -c 20000 -m {{mb}}");
        kinds.push(Kind { name: AGAINST.to_owned(), command });
    }
    if let Some(also) = arguments.value("--also") {
        let (name, command) = also.split_once('=').ok_or("--also NAME=COMMAND")?;
        kinds.push(Kind { name: name.to_owned(), command: command.to_owned() });
    }
    Ok(kinds)
}

impl Plan {
    /// Starts the servers, and measures them in turns.
    fn measure(&self, row: &Row) -> Result<Vec<Measured>, String> {
        let mut all = Vec::new();
        for kind in &self.kinds {
            all.extend(self.start(row, kind).map_err(|error| format!("{}: {error}", kind.name))?);
        }
        if let Some(len) = row.floor() {
            let command = format!("{} load --floor {{listen}} --len {len}", this()?.display());
            let kind = Kind { name: FLOOR.to_owned(), command };
            let server = Server::start(&kind, row).map_err(|error| error.to_string())?;
            let floor = |server| Measured { name: kind.name, server, rounds: Vec::new() };
            all.extend(server.map(floor));
        }
        let batches = Requests::new(row, 1).prepared();
        let pace = self.pace(row, &batches, &all)?;
        for turn in 0..self.rounds {
            for measured in &mut all {
                let _idle = self.idle(row, measured, turn).map_err(|error| error.to_string())?;
                let round = one_round(row, &measured.server, &batches, pace, self.length)
                    .map_err(|error| format!("{}: {error}", measured.name))?;
                measured.rounds.push(round);
            }
        }
        Ok(all)
    }

    /// Starts a server and stores every key; `None` if it cannot do without TCP.
    fn start(&self, row: &Row, kind: &Kind) -> std::io::Result<Option<Measured>> {
        let Some(server) = Server::start(kind, row)? else { return Ok(None) };
        fill(row, &server)?;
        Ok(Some(Measured { name: kind.name.clone(), server, rounds: Vec::new() }))
    }

    /// The idle connections of a round. The first ones tell what one costs.
    fn idle(&self, row: &Row, measured: &Measured, turn: usize) -> std::io::Result<Option<Idle>> {
        if self.idle == 0 || measured.name == FLOOR {
            return Ok(None);
        }
        let idle = Idle::open(&measured.server, self.idle)?;
        if turn == 0 {
            let (name, count, bytes) = (&measured.name, self.idle, idle.bytes_each);
            println!("| {} | {name} | {count} idle, {bytes:.0} bytes each |", row.name);
        }
        Ok(Some(idle))
    }

    /// When batches are sent: `half` is half of what the server of `--against` can do.
    fn pace(&self, row: &Row, batches: &[Batch], all: &[Measured]) -> Result<Pace, String> {
        let keys: u64 = batches.iter().map(|batch| batch.keys).sum();
        let keys_per_batch = keys as f64 / batches.len() as f64;
        let rate = match self.rate.as_deref() {
            None => return Ok(Pace::Closed),
            Some("half") => {
                let against = all.iter().find(|it| it.name == AGAINST).ok_or("--against PATH")?;
                let rounds = (0..3)
                    .map(|_| one_round(row, &against.server, batches, Pace::Closed, self.length));
                let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
                median(rounds.iter().map(|round| round.per_second).collect()) / 2.0
            }
            Some(text) => text.parse().map_err(|_| "--rate half or requests a second")?,
        };
        println!("| {} | asked for | | | {:.0} |", row.name, rate / 1000.0);
        Ok(Pace::Open(rate / keys_per_batch))
    }
}

fn fill(row: &Row, server: &Server) -> std::io::Result<()> {
    let mut generator = Generator::new(row, server.address(), 1)?;
    let tally = generator.fill(&mut Requests::new(row, 0))?;
    if row.fits() && tally.stored < row.keys {
        return Err(std::io::Error::other(format!("{} of {} stored", tally.stored, row.keys)));
    }
    Ok(())
}

fn one_round(
    row: &Row,
    server: &Server,
    batches: &[Batch],
    pace: Pace,
    length: Duration,
) -> Result<Round, String> {
    let text = |error: std::io::Error| error.to_string();
    let generator = Generator::new(row, server.address(), row.connections).map_err(text)?;
    let before = server.cpu_ns().map_err(text)?;
    let outcome = generator.run(batches, pace, length).map_err(text)?;
    let cpu_ns = server.cpu_ns().map_err(text)? - before;
    let tally = outcome.tally;
    let done = (tally.hits + tally.stored) as f64;
    if tally.failed > 0 || done == 0.0 || (row.fits() && done < 0.9 * outcome.keys as f64) {
        return Err(format!("{tally:?} of {} requests", outcome.keys));
    }
    let keys = outcome.keys as f64;
    let quantile = |share| outcome.latencies.value_at_quantile(share) as f64 / 1000.0;
    Ok(Round {
        cpu_ns: cpu_ns as f64 / keys,
        per_second: keys / outcome.elapsed.as_secs_f64(),
        latencies_us: [0.5, 0.99, 0.999].map(quantile),
    })
}

fn print(row: &Row, all: &[Measured]) {
    let against = all.iter().find(|it| it.name == AGAINST);
    for Measured { name, rounds, .. } in all {
        let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let ratio = against.map_or(f64::NAN, |against| {
            let pairs = rounds.iter().zip(&against.rounds);
            median(pairs.map(|(own, other)| own.cpu_ns / other.cpu_ns).collect())
        });
        println!(
            "| {} | {name} | {:.0} | {ratio:.2} | {:.0} | {:.0} | {:.0} | {:.0} |",
            row.name,
            of(|it| it.cpu_ns),
            of(|it| it.per_second) / 1000.0,
            of(|it| it.latencies_us[0]),
            of(|it| it.latencies_us[1]),
            of(|it| it.latencies_us[2]),
        );
    }
}

/// The middle one of some figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// This program.
fn this() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

//! Miss ratios of the segment store: every policy on every trace, cache-aside (get; on a miss,
//! set), of the second half. The engine is the real one, in this process.
//!
//! `hit-ratio --traces DIRECTORY [--only web12,c52] [--policy heat,lru] [--mb 12,41] [--shrink 8]`
//!
//! A trace is a file of the directory with the name of a row of `workloads.rs`, as `.mct` or
//! `.mct.zst`. With `--shrink` there are so many times fewer copies, in so many times less memory.

mod replay;
mod trace;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use mcache_store::eviction::{POLICIES, PolicyEntry};
use trace::{Trace, Workload};
use workloads::{Row, WORKLOADS};

/// What the command line asks for.
struct Arguments {
    traces: PathBuf,
    only: Vec<String>,
    policies: Vec<&'static PolicyEntry>,
    megabytes: Vec<u64>,
    shrink: u64,
}

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hit-ratio: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let names = arguments.policies.iter().map(|policy| format!(" {} |", policy.name));
    println!("| trace | MB | memcached |{}", names.collect::<String>());
    println!("|---|---|---|{}", "---|".repeat(arguments.policies.len()));
    for row in WORKLOADS {
        if arguments.only.is_empty() || arguments.only.iter().any(|name| name == row.name) {
            measure(arguments, row)?;
        }
    }
    Ok(())
}

/// Prints a trace's lines, if its file is there.
fn measure(arguments: &Arguments, row: &Row) -> Result<(), String> {
    let file = |end| arguments.traces.join(format!("{}.{end}", row.name));
    let Some(path) = ["mct", "mct.zst"].map(file).into_iter().find(|path| path.exists()) else {
        eprintln!("no trace {}", row.name);
        return Ok(());
    };
    let copies = (row.copies / arguments.shrink).max(1);
    let workload = Workload::new(Trace::open(&path)?, copies as usize, row.limit);
    for &(megabytes, memcached) in row.sizes {
        if !arguments.megabytes.is_empty() && !arguments.megabytes.contains(&megabytes) {
            continue;
        }
        let capacity = (megabytes << 20) * copies / row.copies;
        let reference = memcached.map_or("-".to_owned(), |ratio| format!("{ratio:.4}"));
        print!("| {} | {megabytes} | {reference} |", row.name);
        for policy in &arguments.policies {
            print!(" {:.4} |", replay::miss_ratio(&workload, policy, capacity)?);
        }
        println!();
    }
    Ok(())
}

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut traces = None;
        let mut parsed = Self {
            traces: PathBuf::new(),
            only: Vec::new(),
            policies: POLICIES.iter().collect(),
            megabytes: Vec::new(),
            shrink: 1,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{word} {text}"));
            let list = || value.split(',');
            match word.as_str() {
                "--traces" => traces = Some(PathBuf::from(&value)),
                "--only" => parsed.only = list().map(str::to_owned).collect(),
                "--policy" => parsed.policies = list().map(policy).collect::<Result<_, _>>()?,
                "--mb" => parsed.megabytes = list().map(number).collect::<Result<_, _>>()?,
                "--shrink" => parsed.shrink = number(&value)?.max(1),
                _ => return Err(format!("no option `{word}`")),
            }
        }
        parsed.traces = traces.ok_or("--traces DIRECTORY is missing")?;
        Ok(parsed)
    }
}

fn policy(name: &str) -> Result<&'static PolicyEntry, String> {
    mcache_store::eviction::policy(name).ok_or_else(|| format!("no policy `{name}`"))
}

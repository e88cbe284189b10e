//! Miss ratios of the segment store: every policy on every trace, cache-aside (get; on a miss,
//! set), of the second half. The engine is the real one, in this process. "bound" is the fewest
//! that any policy could have.
//!
//! `hit-ratio --traces DIRECTORY [--only web12,c52] [--policy heat,lru] [--mb 12,41] [--shrink 8]`
//!
//! A trace is a file of the directory with the name of a row of `workloads.rs`, as `.mct` or
//! `.mct.zst`. With `--shrink` there are so many times fewer copies, in so many times less memory.

use std::path::PathBuf;

use mcache_store::eviction::{POLICIES, PolicyEntry};

use crate::arguments::Arguments;
use crate::bound;
use crate::replay;
use crate::trace::{Trace, Workload};
use crate::workloads::{Row, WORKLOADS};

/// What the command line asks for.
struct Request {
    traces: PathBuf,
    only: Vec<String>,
    policies: Vec<&'static PolicyEntry>,
    megabytes: Vec<u64>,
    shrink: u64,
}

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let request = Request::parse(words)?;
    let names = request.policies.iter().map(|policy| format!(" {} |", policy.name));
    println!("| trace | MB | bound | memcached |{}", names.collect::<String>());
    println!("|---|---|---|---|{}", "---|".repeat(request.policies.len()));
    for row in WORKLOADS {
        if request.only.is_empty() || request.only.iter().any(|name| name == row.name) {
            measure(&request, row)?;
        }
    }
    Ok(())
}

/// Prints a trace's lines, if its file is there.
fn measure(request: &Request, row: &Row) -> Result<(), String> {
    let file = |end| request.traces.join(format!("{}.{end}", row.name));
    let Some(path) = ["mct", "mct.zst"].map(file).into_iter().find(|path| path.exists()) else {
        eprintln!("no trace {}", row.name);
        return Ok(());
    };
    let copies = (row.copies / request.shrink).max(1);
    let workload = Workload::new(Trace::open(&path)?, copies as usize, row.limit);
    for &(megabytes, memcached) in row.sizes {
        if !request.megabytes.is_empty() && !request.megabytes.contains(&megabytes) {
            continue;
        }
        let capacity = (megabytes << 20) * copies / row.copies;
        let reference = memcached.map_or("-".to_owned(), |ratio| format!("{ratio:.4}"));
        let bound = bound::miss_ratio(&workload, capacity);
        print!("| {} | {megabytes} | {bound:.4} | {reference} |", row.name);
        for policy in &request.policies {
            print!(" {:.4} |", replay::miss_ratio(&workload, policy, capacity)?);
        }
        println!();
    }
    Ok(())
}

impl Request {
    fn parse(words: &[String]) -> Result<Self, String> {
        let known = ["--traces", "--only", "--policy", "--mb", "--shrink"];
        let arguments = Arguments::parse(words, &known)?;
        let number = |text: &String| text.parse().map_err(|_| format!("--mb {text}"));
        let mut policies = arguments
            .list("--policy")
            .iter()
            .map(|name| policy(name))
            .collect::<Result<Vec<_>, _>>()?;
        if policies.is_empty() {
            policies = POLICIES.iter().collect();
        }
        Ok(Self {
            traces: arguments.value("--traces").ok_or("--traces DIRECTORY is missing")?.into(),
            only: arguments.list("--only"),
            policies,
            megabytes: arguments.list("--mb").iter().map(number).collect::<Result<_, _>>()?,
            shrink: arguments.number("--shrink", 1_u64)?.max(1),
        })
    }
}

fn policy(name: &str) -> Result<&'static PolicyEntry, String> {
    mcache_store::eviction::policy(name).ok_or_else(|| format!("no policy `{name}`"))
}

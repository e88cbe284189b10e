//! The engines alone: nanoseconds and instructions of a get, a set (without and with looking ahead)
//! and nine gets and a set, by one thread and by two, over uniform keys and on a single hot one.
//! 24-byte keys, 100-byte values, all in the cache.
//!
//! "Gain" is what two threads do in the time of one: 2 is no hindrance at all. `hash` touches
//! nothing shared: what it gains is all that the machine has to give. The machine may be
//! shared: many short rounds are made, in which the cases take turns, and those count in which
//! every thread was on a processor all the time. An engine whose threads wait asleep for a lock
//! has hardly any such round with two threads; what it then shows is the CPU time alone.

mod instructions;
pub mod work;

use std::sync::Arc;

use mcache_store::eviction::{POLICIES, PolicyEntry};
use mcache_store::{
    EngineOptions, SegmentStorageEngine, SimpleStorageEngine, SizeLimit, StorageEngine,
};

use crate::arguments::Arguments;
use work::{Keys, Operation, Round, Work, run_threads};

/// The default of `-m`: items of a small working set lie in many segments, as in real stores.
const CAPACITY: u64 = 64 << 20;

/// What is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    operation: Operation,
    keys: Keys,
}

const CASES: [Case; 8] = [
    Case { operation: Operation::Hash, keys: Keys::Uniform },
    Case { operation: Operation::Get, keys: Keys::Uniform },
    Case { operation: Operation::Get, keys: Keys::Hot },
    Case { operation: Operation::Set, keys: Keys::Uniform },
    Case { operation: Operation::Set, keys: Keys::Hot },
    Case { operation: Operation::SetAhead, keys: Keys::Uniform },
    Case { operation: Operation::Mixed, keys: Keys::Uniform },
    Case { operation: Operation::Mixed, keys: Keys::Hot },
];

/// Rounds of a case that follow each other.
const ROUNDS: usize = 50;

/// The rounds of a case on each processor, by a thread that is alone and by one of two.
type Rounds = [[Vec<Round>; 2]; 2];

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let known = ["--items", "--turns", "--operations", "--instructions", "--alone"];
    let arguments = Arguments::parse(words, &known)?;
    let items = arguments.number("--items", 10_000)?;
    let operations = arguments.number("--operations", 1_000)?;
    if let Some(case) = arguments.value("--alone") {
        return run_alone(case, items, operations);
    }
    let turns = arguments.number("--turns", 10_u32)?;
    let counts = arguments.value("--instructions") != Some("no");
    println!("| engine | operation | keys | instructions | ns | ns, 2 threads | gain | rounds |");
    println!("|---|---|---|---|---|---|---|---|");
    print("segment", &measure(&segment()?, items, operations, turns), counts)?;
    print("simple", &measure(&simple(), items, operations, turns), counts)
}

/// Works once, for who counts instructions from outside: `--alone segment,get,uniform`.
fn run_alone(case: &str, items: usize, operations: usize) -> Result<(), String> {
    let unknown = || format!("no case `{case}`");
    let (engine, case) = case.split_once(',').ok_or_else(unknown)?;
    let case = CASES.iter().find(|it| it.name() == case).ok_or_else(unknown)?;
    match engine {
        "segment" => work_alone(&segment()?, case, items, operations),
        _ => work_alone(&simple(), case, items, operations),
    }
    Ok(())
}

fn work_alone<E: StorageEngine>(engine: &Arc<E>, case: &Case, items: usize, operations: usize) {
    let work = Work::new(items);
    work.fill(engine);
    work.run_here(engine, case.operation, case.keys, operations);
}

/// Measures every case.
fn measure<E: StorageEngine>(
    engine: &Arc<E>,
    items: usize,
    operations: usize,
    turns: u32,
) -> Vec<(Case, Rounds)> {
    let work = Work::new(items);
    work.fill(engine);
    let mut all: Vec<(Case, Rounds)> =
        CASES.iter().map(|&case| (case, Rounds::default())).collect();
    for _ in 0..turns {
        for (case, rounds) in &mut all {
            let what = (case.operation, case.keys);
            let run = |processors: &[usize]| {
                run_threads(engine, &work, what, processors, (ROUNDS, operations))
            };
            for processor in [0, 1] {
                rounds[0][processor].extend(run(&[processor]).concat());
            }
            for (rounds, more) in rounds[1].iter_mut().zip(run(&[0, 1])) {
                rounds.extend(more);
            }
        }
    }
    engine.check();
    all
}

fn print(engine: &str, all: &[(Case, Rounds)], counts: bool) -> Result<(), String> {
    for (case, rounds) in all {
        let counted = match counts {
            true => instructions::each(engine, &case.name())?,
            false => None,
        };
        let counted = counted.map_or("-".to_owned(), |count| format!("{count:.0}"));
        let typical = |rounds: &[Vec<Round>; 2]| rounds.each_ref().map(|it| Round::typical(it));
        let ([alone, alone_1], [two, two_1]) = (typical(&rounds[0]), typical(&rounds[1]));
        let used = rounds[1][0].iter().filter(|round| round.is_undisturbed).count();
        println!(
            "| {engine} | {} | {} | {counted} | {:.0} | {:.0} | {:.2} | {used} of {} |",
            case.operation.name(),
            case.keys.name(),
            (alone + alone_1) / 2.0,
            (two + two_1) / 2.0,
            alone / two + alone_1 / two_1,
            rounds[1][0].len(),
        );
    }
    Ok(())
}

impl Case {
    fn name(&self) -> String {
        format!("{},{}", self.operation.name(), self.keys.name())
    }
}

/// What an engine is told.
pub fn options(capacity: u64, policy: &'static PolicyEntry) -> EngineOptions {
    EngineOptions { capacity, item_size: SizeLimit::Item(1 << 20), evict: true, policy }
}

fn segment() -> Result<Arc<SegmentStorageEngine>, String> {
    let engine = SegmentStorageEngine::new(&options(CAPACITY, &POLICIES[0]));
    engine.map(Arc::new).map_err(|error| error.to_string())
}

fn simple() -> Arc<SimpleStorageEngine> {
    Arc::new(SimpleStorageEngine::new(&options(CAPACITY, &POLICIES[0])))
}

//! Keys that were made to collide, against random ones: nanoseconds of a get and a set, and the
//! ratio. Whoever knows how the index works but not the secret of its hash can do no more.
//!
//! - `murmur3`: one value under memcached's hash, which has a fixed seed.
//! - `prefix`: alike but for a few digits at the end.
//! - `zeros`: bytes of 0 but for a few bits, which weak hashes lose.
//! - `tag`: one tag in the index, which takes the secret to find: keys of which a lookup compares
//!   more than it has to.

mod murmur3;

use std::sync::Arc;

use mcache_store::eviction::POLICIES;
use mcache_store::{Access, SegmentStorageEngine, StorageEngine};

use crate::arguments::Arguments;
use crate::store::options;
use crate::store::work::{
    KEY_LEN, KeyBytes, Keys, Operation, Round, Work, random_key, run_threads,
};

/// Room for all items.
const CAPACITY: u64 = 256 << 20;

/// Rounds that follow each other, and operations of each.
const ROUNDS: (usize, usize) = (10, 20_000);

/// A way to make keys.
struct Kind {
    name: &'static str,
    make: fn(usize, &Arc<SegmentStorageEngine>) -> Vec<KeyBytes>,
}

const KINDS: [Kind; 5] = [
    Kind { name: "random", make: |count, _| (0..count as u64).map(random_key).collect() },
    Kind { name: "murmur3", make: |count, _| murmur3::colliding(count) },
    Kind { name: "prefix", make: |count, _| numbered(count, |n| format!("{n:024}").into_bytes()) },
    Kind { name: "zeros", make: |count, _| numbered(count, sparse) },
    Kind { name: "tag", make: of_one_tag },
];

/// One kind's keys in an engine of their own.
struct Subject {
    name: &'static str,
    engine: Arc<SegmentStorageEngine>,
    work: Work,
    /// Of gets and of sets.
    rounds: [Vec<Round>; 2],
}

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words, &["--keys", "--turns"])?;
    let count = arguments.number("--keys", 20_000)?;
    let turns = arguments.number("--turns", 15_u32)?;
    let subjects = KINDS.iter().map(|kind| Subject::new(kind, count));
    let mut subjects = subjects.collect::<Result<Vec<_>, _>>()?;
    for _ in 0..turns {
        subjects.iter_mut().for_each(Subject::turn);
    }
    let plain = subjects[0].typical();
    println!("| keys | get ns | set ns | get, as a ratio | set, as a ratio |");
    println!("|---|---|---|---|---|");
    for subject in &subjects {
        let (name, [get, set]) = (subject.name, subject.typical());
        let ratios = [get / plain[0], set / plain[1]];
        println!("| {name} | {get:.0} | {set:.0} | {:.2} | {:.2} |", ratios[0], ratios[1]);
    }
    Ok(())
}

impl Subject {
    fn new(kind: &Kind, count: usize) -> Result<Self, String> {
        let engine = SegmentStorageEngine::new(&options(CAPACITY, &POLICIES[0]));
        let engine = Arc::new(engine.map_err(|error| error.to_string())?);
        let work = Work::on((kind.make)(count, &engine));
        work.fill(&engine);
        Ok(Self { name: kind.name, engine, work, rounds: Default::default() })
    }

    fn turn(&mut self) {
        for (operation, rounds) in
            [Operation::Get, Operation::Set].into_iter().zip(&mut self.rounds)
        {
            let what = (operation, Keys::Uniform);
            rounds.extend(run_threads(&self.engine, &self.work, what, &[0], ROUNDS).concat());
        }
    }

    /// Nanoseconds of a get and of a set.
    fn typical(&self) -> [f64; 2] {
        self.rounds.each_ref().map(|rounds| Round::typical(rounds))
    }
}

/// Keys that are made of their numbers.
fn numbered(count: usize, make: impl Fn(usize) -> Vec<u8>) -> Vec<KeyBytes> {
    let key = |number| {
        let bytes = make(number);
        std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0))
    };
    (0..count).map(key).collect()
}

/// A number's bits, each in the top bit of a byte, the others 0.
fn sparse(number: usize) -> Vec<u8> {
    (0..KEY_LEN).map(|bit| ((number >> bit & 1) as u8) << 7).collect()
}

/// Random keys whose hashes in this engine end alike: the index's tag is the last byte.
fn of_one_tag(count: usize, engine: &Arc<SegmentStorageEngine>) -> Vec<KeyBytes> {
    let access = engine.access();
    let keys = (0_u64..).map(random_key);
    keys.filter(|key| access.key(key).hash as u8 == 7).take(count).collect()
}

#[cfg(test)]
mod tests {
    use mcache_base::operation::Fetch;

    use super::*;
    use crate::store::work::NOW;

    #[test]
    fn no_keys_take_more_of_the_index_than_random_ones() {
        const COUNT: usize = 20_000;
        let figures = KINDS.map(|kind| {
            let subject = Subject::new(&kind, COUNT).unwrap();
            subject.engine.check();
            let mut access = subject.engine.access();
            let mut is_there =
                |key: &&KeyBytes| access.fetch(access.key(*key), &Fetch::default(), NOW).is_ok();
            assert_eq!(subject.work.keys().iter().filter(|key| is_there(key)).count(), COUNT);
            let bytes = subject.engine.figures().into_iter().find(|it| it.0 == "index_bytes");
            (kind.name, bytes.expect("a figure").1)
        });
        for (name, bytes) in figures {
            assert!(bytes * 10 <= figures[0].1 * 11, "{name}: {bytes}, {figures:?}");
        }
    }
}

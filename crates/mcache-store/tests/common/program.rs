//! Programs: steps that are run on an engine and on the simple one, and what has to agree.
//!
//! With room for all, every answer has to be the same. With little room an item may be missing,
//! but only if the engine owns up to an eviction, and a value is never a wrong one.

use mcache_base::operation::{Count, Counted, Delete, Fetch, Hit, Miss, Refusal, Store, Stored};
use mcache_base::{Now, Stat};
use mcache_store::{Access, EngineOptions, SimpleStorageEngine, StorageEngine};

use super::{AMPLE, Answer, Arriving, Bench, Copied, at};

/// One step of a program.
#[derive(Clone, Debug)]
pub enum Step {
    Fetch(usize, Fetch),
    Store(usize, Store, Compare, String, Way),
    /// The rest of the value that has been arriving for longest.
    Finish,
    Delete(usize, Delete, Compare),
    Count(usize, Count, Compare),
    Flush(i64),
    FlushGroup(&'static str),
    /// Milliseconds pass.
    Wind(u64),
    Maintain,
    /// Holds a value still over the steps that follow.
    Pin(usize),
    /// Lets go of one that is held.
    Unpin(usize),
    /// The thread ends, and another one begins.
    NewThread,
    /// The limit becomes so many eighths of what it was at the start.
    Limit(u64),
}

/// Which cas unique to ask for: known only when the program runs.
#[derive(Clone, Copy, Debug)]
pub enum Compare {
    Nothing,
    Zero,
    Present,
    Lower,
    Higher,
}

/// How a value comes in.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Whole,
    InPieces,
    GivenUp,
    /// Half of it now; [`Step::Finish`] brings the rest.
    Later,
}

/// Values that are held, or arriving, at the same time.
const TOGETHER_MAX: usize = 8;

impl Step {
    /// The key that the step is about.
    fn key<E: StorageEngine>(&self, bench: &Bench<E>) -> Option<String> {
        match *self {
            Self::Fetch(key, _)
            | Self::Store(key, ..)
            | Self::Delete(key, ..)
            | Self::Count(key, ..)
            | Self::Pin(key) => Some(name(key)),
            Self::Finish => bench.arriving.borrow().front().map(|arriving| arriving.key.clone()),
            _ => None,
        }
    }

    fn run<E: StorageEngine>(&self, bench: &Bench<E>, now: Now) -> Answer {
        match *self {
            Self::Fetch(key, fetch) => {
                return Answer::Fetched(bench.fetch(&name(key), fetch, now));
            }
            Self::Store(key, store, compare, ref value, way) => {
                let key = name(key);
                let store = Store { compare: compare.asked(bench, &key, now), ..store };
                return way.store(bench, &key, store, value, now);
            }
            Self::Finish => return finish(bench, now),
            Self::Delete(key, delete, compare) => {
                let key = name(key);
                let delete = Delete { compare: compare.asked(bench, &key, now), ..delete };
                return Answer::Deleted(bench.delete(&key, delete, now));
            }
            Self::Count(key, count, compare) => {
                let key = name(key);
                let count = Count { compare: compare.asked(bench, &key, now), ..count };
                return Answer::Counted(bench.count(&key, count, now));
            }
            Self::Pin(key) => return Answer::Fetched(bench.hold(&name(key), TOGETHER_MAX, now)),
            Self::Flush(delay) => bench.engine.flush(delay, now),
            Self::FlushGroup(prefix) => {
                assert_eq!(bench.engine.flush_group(prefix.as_bytes(), now), Ok(()));
            }
            Self::Maintain => bench.engine.maintain(now),
            Self::Unpin(number) => bench.let_go(number),
            Self::NewThread => bench.begin_anew(),
            Self::Limit(eighths) => {
                assert!(bench.engine.set_capacity(bench.capacity / 8 * eighths, now));
            }
            Self::Wind(_) => {}
        }
        Answer::Done
    }
}

impl Way {
    fn store<E: StorageEngine>(
        self,
        bench: &Bench<E>,
        key: &str,
        store: Store,
        value: &str,
        now: Now,
    ) -> Answer {
        if let Self::Whole = self {
            return Answer::Stored(bench.store(key, store, value, now));
        }
        let reserved = bench
            .with(|access| access.reserve(access.key(key.as_bytes()), &store, value.len(), now));
        let mut room = match reserved {
            Ok(room) => room,
            Err(refusal) => return Answer::Stored(Stored::Refused(refusal)),
        };
        let (first, second) = value.as_bytes().split_at(value.len() / 2);
        bench.bring(&mut room, first, now);
        let arriving = Arriving { key: key.to_owned(), store, rest: second.to_vec(), room };
        match self {
            Self::GivenUp => Answer::Done,
            Self::Later => {
                let mut all = bench.arriving.borrow_mut();
                all.push_back(arriving);
                if all.len() > TOGETHER_MAX {
                    all.pop_front();
                }
                Answer::Done
            }
            Self::Whole | Self::InPieces => Answer::Stored(arriving.finish(bench, now)),
        }
    }
}

fn finish<E: StorageEngine>(bench: &Bench<E>, now: Now) -> Answer {
    let oldest = bench.arriving.borrow_mut().pop_front();
    oldest.map_or(Answer::Done, |arriving| Answer::Stored(arriving.finish(bench, now)))
}

impl Compare {
    fn asked<E: StorageEngine>(self, bench: &Bench<E>, key: &str, now: Now) -> Option<u64> {
        let present = look(bench, key, now).map_or(1, |hit| hit.item.cas);
        match self {
            Self::Nothing => None,
            Self::Zero => Some(0),
            Self::Present => Some(present),
            Self::Lower => Some(present.saturating_sub(1)),
            Self::Higher => Some(present.saturating_add(1)),
        }
    }
}

fn name(key: usize) -> String {
    format!("{}:{}:{key}", ["a", "b"][key % 2], key % 3)
}

/// Groups of keys, groups inside groups, and one of no key.
pub const GROUPS: [&str; 5] = ["a:", "b:", "a:1:", "b:2:", "c:"];

fn look<E: StorageEngine>(bench: &Bench<E>, key: &str, now: Now) -> Result<Hit<Copied>, Miss> {
    bench.fetch(key, Fetch { unseen: true, ..Fetch::default() }, now)
}

/// The statistics that do not depend on how an engine is built, nor on when it finds the dead.
const COMMON_STATS: [Stat; 3] = [Stat::total_items, Stat::evictions, Stat::limit_maxbytes];

/// With room for all: the same answers. The engines are checked after every so many steps.
pub fn agrees<E: StorageEngine>(
    new: impl Fn(&EngineOptions) -> E,
    options: &EngineOptions,
    check_every: usize,
    program: &[Step],
) {
    let subject = Bench::with_capacity(new(options), options.capacity);
    let model = Bench::with_capacity(SimpleStorageEngine::new(options), options.capacity);
    let mut elapsed_ms = 0;
    for (number, step) in (1..).zip(program) {
        if let Step::Wind(ms) = step {
            elapsed_ms += ms;
        }
        let now = at(elapsed_ms);
        let answers = [step.run(&subject, now), step.run(&model, now)].map(without_reason);
        assert_eq!(answers[0], answers[1], "{step:?}");
        if number % check_every == 0 || number == program.len() {
            subject.check();
            model.check();
        }
        for stat in COMMON_STATS {
            assert_eq!(
                subject.engine.stat(stat),
                model.engine.stat(stat),
                "{stat:?} after {step:?}"
            );
        }
    }
}

/// With little room: the same answers, but for what was evicted. The subject is checked after
/// every so many steps.
pub fn agrees_but_for_evictions<E: StorageEngine>(
    new: impl Fn(&EngineOptions) -> E,
    options: &EngineOptions,
    check_every: usize,
    program: &[Step],
) {
    let subject = Bench::with_capacity(new(options), options.capacity);
    let ample = EngineOptions { capacity: AMPLE, ..options.clone() };
    let model = Bench::with_capacity(SimpleStorageEngine::new(&ample), AMPLE);
    let (mut elapsed_ms, mut missing) = (0, 0);
    for (number, step) in (1..).zip(program) {
        if let Step::Wind(ms) = step {
            elapsed_ms += ms;
        }
        let now = at(elapsed_ms);
        if let Some(key) = step.key(&subject) {
            missing += u64::from(reconcile(&subject, &model, &key, now));
        }
        // While nothing is held for long, an engine that evicts always finds room.
        let must_have_room = options.evict && !subject.holds();
        let answer = step.run(&subject, now);
        if must_have_room || !lacks_memory(step, &answer) {
            let expected = step.run(&model, now);
            assert_eq!(comparable(answer), comparable(expected), "{step:?}");
        } else if let Step::Finish = step {
            model.arriving.borrow_mut().pop_front();
        }
        // What was to be cleared or marked, and finds no room for that, is deleted.
        if let (false, Step::Delete(_, delete, _), Some(key)) =
            (options.evict, step, step.key(&subject))
            && (delete.clear.is_some() || delete.invalidate)
        {
            reconcile(&subject, &model, &key, now);
        }
        if number % check_every == 0 || number == program.len() {
            subject.check();
        }
        let evictions = subject.engine.stat(Stat::evictions);
        assert!(missing <= evictions, "{missing} are missing, {evictions} were evicted");
        assert!(options.evict || evictions == 0);
    }
}

/// Compares what lies under a key; what the subject has not, the model must not have either.
/// Says whether it had.
fn reconcile<E: StorageEngine>(
    subject: &Bench<E>,
    model: &Bench<SimpleStorageEngine>,
    key: &str,
    now: Now,
) -> bool {
    let (found, expected) = (look(subject, key, now), look(model, key, now));
    if found.is_err() && expected.is_ok() {
        model.delete(key, Delete::default(), now);
        return true;
    }
    let [found, expected] = [found, expected].map(|found| comparable(Answer::Fetched(found)));
    assert_eq!(found, expected, "under {key}");
    false
}

/// The subject had no room: the model, which has, is not to be asked.
fn lacks_memory(step: &Step, answer: &Answer) -> bool {
    match (step, answer) {
        (_, Answer::Stored(Stored::Refused(refusal))) => *refusal == Refusal::NoMemory,
        (_, Answer::Counted(Counted::Refused(refusal))) => *refusal == Refusal::NoMemory,
        (Step::Fetch(_, fetch), Answer::Fetched(Err(_))) => fetch.vivify.is_some(),
        _ => false,
    }
}

/// An answer without why something is missing: whether an engine still knows depends on when it
/// cleans up.
fn without_reason(mut answer: Answer) -> Answer {
    if let Answer::Fetched(Err(miss)) = &mut answer {
        *miss = Miss::Absent;
    }
    answer
}

/// An answer without what evictions may change: cas uniques, and why something is missing.
fn comparable(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::Fetched(Ok(hit)) | Answer::Counted(Counted::Number { hit, .. }) => hit.item.cas = 0,
        Answer::Fetched(Err(miss)) => *miss = Miss::Absent,
        Answer::Stored(Stored::Stored { cas, .. }) => *cas = 0,
        _ => {}
    }
    answer
}

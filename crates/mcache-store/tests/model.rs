//! Random programs on an engine and on the simple one, side by side.
//!
//! With room for all, every answer has to be the same. With little room an item may be missing,
//! but only if the engine owns up to an eviction, and a value is never a wrong one.

mod common;

use common::{AMPLE, Answer, Bench, Copied, at, options};
use mcache_base::operation::{
    Count, Counted, Delete, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Now, Stat};
use mcache_store::eviction::{POLICIES, PolicyEntry};
use mcache_store::{
    Access, EngineOptions, Reservation, SegmentStorageEngine, SimpleStorageEngine, SizeLimit,
    StorageEngine,
};
use proptest::prelude::*;

const KEYS: usize = 8;

/// One step of a program.
#[derive(Clone, Debug)]
enum Step {
    Fetch(usize, Fetch),
    Store(usize, Store, Compare, String, Way),
    Delete(usize, Delete, Compare),
    Count(usize, Count, Compare),
    Flush(i64),
    FlushGroup(&'static str),
    Wind(u64),
    Maintain,
}

/// Which cas unique to ask for: known only when the program runs.
#[derive(Clone, Copy, Debug)]
enum Compare {
    Nothing,
    Zero,
    Present,
    Lower,
    Higher,
}

/// How a value comes in.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    InPieces,
    GivenUp,
}

impl Step {
    fn key(&self) -> Option<usize> {
        match *self {
            Self::Fetch(key, _)
            | Self::Store(key, ..)
            | Self::Delete(key, ..)
            | Self::Count(key, ..) => Some(key),
            Self::Flush(_) | Self::FlushGroup(_) | Self::Wind(_) | Self::Maintain => None,
        }
    }

    fn run<E: StorageEngine>(&self, bench: &Bench<E>, now: Now) -> Answer {
        match *self {
            Self::Fetch(key, fetch) => Answer::Fetched(bench.fetch(&name(key), fetch, now)),
            Self::Store(key, store, compare, ref value, way) => {
                let store = Store { compare: compare.asked(bench, key, now), ..store };
                way.store(bench, &name(key), store, value, now)
            }
            Self::Delete(key, delete, compare) => {
                let delete = Delete { compare: compare.asked(bench, key, now), ..delete };
                Answer::Deleted(bench.delete(&name(key), delete, now))
            }
            Self::Count(key, count, compare) => {
                let count = Count { compare: compare.asked(bench, key, now), ..count };
                Answer::Counted(bench.count(&name(key), count, now))
            }
            Self::Flush(delay) => {
                bench.engine.flush(delay, now);
                Answer::Done
            }
            Self::FlushGroup(prefix) => {
                assert_eq!(bench.engine.flush_group(prefix.as_bytes(), now), Ok(()));
                Answer::Done
            }
            Self::Maintain => {
                bench.engine.maintain(now);
                Answer::Done
            }
            Self::Wind(_) => Answer::Done,
        }
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
        let mut access = bench.access.borrow_mut();
        let key = access.key(key.as_bytes());
        let mut arriving = match access.reserve(key, &store, value.len(), now) {
            Ok(arriving) => arriving,
            Err(refusal) => return Answer::Stored(Stored::Refused(refusal)),
        };
        let (first, second) = value.as_bytes().split_at(value.len() / 2);
        arriving.fill(first);
        bench.engine.check();
        if let Self::GivenUp = self {
            return Answer::Done;
        }
        arriving.fill(second);
        let stored = access.commit(key, &store, arriving, now);
        access.rest();
        Answer::Stored(stored)
    }
}

impl Compare {
    fn asked<E: StorageEngine>(self, bench: &Bench<E>, key: usize, now: Now) -> Option<u64> {
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
const GROUPS: [&str; 5] = ["a:", "b:", "a:1:", "b:2:", "c:"];

fn look<E: StorageEngine>(bench: &Bench<E>, key: usize, now: Now) -> Result<Hit<Copied>, Miss> {
    bench.fetch(&name(key), Fetch { unseen: true, ..Fetch::default() }, now)
}

fn exptime() -> impl Strategy<Value = i64> {
    let absolute = at(0).unix as i64;
    prop_oneof![4 => Just(0), 4 => 1..6i64, 1 => Just(-1), 1 => absolute - 1..absolute + 8]
}

fn new_cas() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.1, prop_oneof![1..50u64, Just(u64::MAX)])
}

fn compare() -> impl Strategy<Value = Compare> {
    use Compare::*;
    prop_oneof![
        6 => Just(Nothing), 3 => Just(Present), 1 => Just(Zero), 1 => Just(Lower),
        1 => Just(Higher),
    ]
}

fn rarely<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.2, of)
}

fn fetch() -> impl Strategy<Value = Fetch> {
    let times = (rarely(exptime()), rarely(exptime()), rarely(exptime()));
    let marks = (any::<bool>(), any::<bool>(), any::<bool>());
    (times, new_cas(), marks).prop_map(
        |((touch, vivify, recache), new_cas, (compete, unseen, binary_key))| Fetch {
            touch,
            vivify,
            recache,
            compete,
            new_cas,
            unseen,
            binary_key,
        },
    )
}

fn store() -> impl Strategy<Value = Store> {
    use StoreMode::*;
    let mode = prop_oneof![
        4 => Just(Set), 1 => Just(Add), 1 => Just(Replace), 1 => Just(Append), 1 => Just(Prepend),
    ];
    let marks = (any::<bool>(), any::<bool>());
    (mode, 0..3u32, exptime(), marks, rarely(exptime()), new_cas()).prop_map(
        |(mode, flags, exptime, (invalidate, binary_key), vivify, new_cas)| Store {
            mode,
            flags,
            exptime,
            compare: None,
            invalidate,
            vivify,
            new_cas,
            binary_key,
        },
    )
}

fn delete() -> impl Strategy<Value = Delete> {
    (any::<bool>(), rarely(0..3u32), rarely(exptime()), new_cas()).prop_map(
        |(invalidate, clear, exptime, new_cas)| Delete {
            compare: None,
            invalidate,
            clear,
            exptime,
            new_cas,
        },
    )
}

fn count() -> impl Strategy<Value = Count> {
    let delta = prop_oneof![Just(1), 0..200u64, Just(u64::MAX)];
    let create = rarely((any::<u64>(), exptime()));
    (delta, any::<bool>(), create, new_cas(), rarely(exptime()), any::<bool>()).prop_map(
        |(delta, down, create, new_cas, touch, binary_key)| Count {
            delta,
            down,
            create,
            compare: None,
            new_cas,
            touch,
            binary_key,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop_oneof!["[0-9]{0,4}", "[a-z]{0,60}", "[0-9]{1,20} {0,2}"];
    let way = prop_oneof![6 => Just(Way::Whole), 2 => Just(Way::InPieces), 1 => Just(Way::GivenUp)];
    prop_oneof![
        6 => (0..KEYS, fetch()).prop_map(|(key, fetch)| Step::Fetch(key, fetch)),
        8 => (0..KEYS, store(), compare(), value(), way)
            .prop_map(|(key, store, compare, value, way)| {
                Step::Store(key, store, compare, value, way)
            }),
        2 => (0..KEYS, delete(), compare()).prop_map(|(key, how, by)| Step::Delete(key, how, by)),
        4 => (0..KEYS, count(), compare()).prop_map(|(key, how, by)| Step::Count(key, how, by)),
        1 => exptime().prop_map(Step::Flush),
        1 => prop::sample::select(&GROUPS[..]).prop_map(Step::FlushGroup),
        2 => prop_oneof![1..2500u64, Just(1000)].prop_map(Step::Wind),
        1 => Just(Step::Maintain),
    ]
}

fn program() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..150)
}

/// The statistics that do not depend on how an engine is built, nor on when it finds the dead.
const COMMON_STATS: [Stat; 3] = [Stat::total_items, Stat::evictions, Stat::limit_maxbytes];

/// With room for all: the same answers.
fn agrees<E: StorageEngine>(new: impl Fn(&EngineOptions) -> E, program: &[Step]) {
    let subject = Bench::new(new(&options(AMPLE)));
    let model = Bench::new(SimpleStorageEngine::new(&options(AMPLE)));
    let mut elapsed_ms = 0;
    for step in program {
        if let Step::Wind(ms) = step {
            elapsed_ms += ms;
        }
        let now = at(elapsed_ms);
        let answers = [step.run(&subject, now), step.run(&model, now)].map(without_reason);
        assert_eq!(answers[0], answers[1], "{step:?}");
        subject.engine.check();
        model.engine.check();
        for stat in COMMON_STATS {
            assert_eq!(
                subject.engine.stat(stat),
                model.engine.stat(stat),
                "{stat:?} after {step:?}"
            );
        }
    }
}

/// With little room: the same answers, but for what was evicted.
fn agrees_but_for_evictions<E: StorageEngine>(
    new: impl Fn(&EngineOptions) -> E,
    evict: bool,
    policy: &'static PolicyEntry,
    program: &[Step],
) {
    let limits = EngineOptions { item_size: SizeLimit::Value(150), policy, ..options(AMPLE) };
    let subject = Bench::new(new(&EngineOptions { capacity: 1500, evict, ..limits }));
    let model = Bench::new(SimpleStorageEngine::new(&limits));
    let (mut elapsed_ms, mut missing) = (0, 0);
    for step in program {
        if let Step::Wind(ms) = step {
            elapsed_ms += ms;
        }
        let now = at(elapsed_ms);
        if let Some(key) = step.key() {
            missing += u64::from(reconcile(&subject, &model, key, now));
        }
        let answer = step.run(&subject, now);
        // Nothing holds memory for long, so an engine that evicts always finds room.
        if evict || !lacks_memory(step, &answer) {
            let expected = step.run(&model, now);
            assert_eq!(comparable(answer), comparable(expected), "{step:?}");
        }
        subject.engine.check();
        let evictions = subject.engine.stat(Stat::evictions);
        assert!(missing <= evictions, "{missing} are missing, {evictions} were evicted");
        assert!(evict || evictions == 0);
    }
}

/// Compares what lies under a key; what the subject has not, the model must not have either.
/// Says whether it had.
fn reconcile<E: StorageEngine>(
    subject: &Bench<E>,
    model: &Bench<SimpleStorageEngine>,
    key: usize,
    now: Now,
) -> bool {
    let (found, expected) = (look(subject, key, now), look(model, key, now));
    if found.is_err() && expected.is_ok() {
        model.delete(&name(key), Delete::default(), now);
        return true;
    }
    assert_eq!(
        comparable(Answer::Fetched(found)),
        comparable(Answer::Fetched(expected)),
        "under {}",
        name(key)
    );
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn with_room_for_all_every_answer_is_the_same(program in program()) {
        agrees(|options| SegmentStorageEngine::new(options).unwrap(), &program);
    }

    #[test]
    fn with_little_room_only_evicted_items_are_missing(
        program in program(),
        policy in 0..POLICIES.len(),
        evict in prop::bool::weighted(0.8),
    ) {
        let policy = &POLICIES[policy];
        agrees_but_for_evictions(SimpleStorageEngine::new, evict, policy, &program);
    }
}

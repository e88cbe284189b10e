//! Random programs on an engine and on the simple one, side by side.
//!
//! `common/program.rs` says what a step is and what has to agree; these are the programs. The
//! fuzz target `engine` makes others, of the same steps.

mod common;

use common::program::{Compare, GROUPS, Step, Way, agrees, agrees_but_for_evictions};
use common::{AMPLE, at, options};
use mcache_base::operation::{Count, Delete, Fetch, Store, StoreMode};
use mcache_store::eviction::POLICIES;
use mcache_store::{EngineOptions, SegmentStorageEngine, SimpleStorageEngine, SizeLimit};
use proptest::prelude::*;

const KEYS: usize = 8;

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
    let marks = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (times, new_cas(), marks).prop_map(
        |((touch, vivify, recache), new_cas, (compete, unseen, binary_key, touch_first))| Fetch {
            touch,
            vivify,
            recache,
            touch_first,
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
    use Way::*;
    let way = prop_oneof![
        6 => Just(Whole), 2 => Just(InPieces), 1 => Just(GivenUp), 1 => Just(Later),
    ];
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
        1 => Just(Step::Finish),
        1 => (0..KEYS).prop_map(Step::Pin),
        1 => (0..4usize).prop_map(Step::Unpin),
        1 => Just(Step::NewThread),
        1 => (4..=8u64).prop_map(Step::Limit),
    ]
}

fn program() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn with_room_for_all_every_answer_is_the_same(program in program()) {
        agrees(|options| SegmentStorageEngine::new(options).unwrap(), &options(AMPLE), 1, &program);
    }

    #[test]
    fn with_little_room_only_evicted_items_are_missing(
        program in program(),
        policy in 0..POLICIES.len(),
        evict in prop::bool::weighted(0.8),
    ) {
        let (policy, item_size) = (&POLICIES[policy], SizeLimit::Value(150));
        let options = EngineOptions { policy, item_size, evict, ..options(1500) };
        agrees_but_for_evictions(SimpleStorageEngine::new, &options, 1, &program);
    }
}

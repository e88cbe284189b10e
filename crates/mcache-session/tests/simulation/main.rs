//! Deterministic simulation: many sessions on one engine over a network that a seed moves.
//!
//! Requests of all three protocols arrive in pieces, answers leave in pieces, connections are reset
//! midway, threads end, clocks step (the wall clock back, too), values arrive while others are
//! stored. No socket, no thread, no clock: a seed is one course of events. What a session has
//! served, a session over the simple engine is asked in turn, and both have to say the same. With
//! little memory an item may be missing; one that is there has to be the last that was stored.
//!
//! It finds, within the first fifty seeds: a delete that leaves the items of one key in 64 there,
//! two bytes swapped where a value that arrives goes on, a deadline forgotten once the clock has
//! stepped a minute beyond it, memory used again while a peer still takes a value from it.
//!
//! `SIM_SEED=n cargo test -p mcache-session --test simulation` runs one seed again,
//! `SIM_SEEDS=n` runs so many.

mod answers;
mod client;
mod numbers;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::{Happened, World};

/// Seeds that are run, unless somebody says another number.
const SEEDS: u64 = 1_000;

/// Things that happen in a world.
const STEPS: usize = 500;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn run(little: bool) -> Vec<Happened> {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS),
    };
    seeds
        .map(|seed| {
            let world = AssertUnwindSafe(|| World::new(seed, little).run(STEPS));
            catch_unwind(world).unwrap_or_else(|panic| {
                eprintln!("to see it again: SIM_SEED={seed} (little memory: {little})");
                resume_unwind(panic)
            })
        })
        .collect()
}

#[test]
fn with_room_for_all_every_answer_is_the_models() {
    let happened = run(false);
    assert!(happened.iter().all(|it| it.evictions == 0));
    if happened.len() > 10 {
        assert!(happened.iter().any(|it| it.hits > 0) && happened.iter().any(|it| it.resets > 0));
    }
}

#[test]
fn with_little_room_what_is_there_is_what_was_stored_last() {
    let happened = run(true);
    if happened.len() > 10 {
        assert!(
            happened.iter().any(|it| it.hits > 0) && happened.iter().any(|it| it.evictions > 0)
        );
    }
}

//! The same bytes in any pieces get the same answers.
//!
//! A server that hangs up when it has lost its place: one that throws away what has arrived throws
//! away other bytes when they arrive otherwise.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use libfuzzer_sys::fuzz_target;
use mcache_base::limits::LINE_MAX;
use mcache_conformance::memory_houses;

/// Commands that look at whether something is owed when they come.
const ALONE: &[u8] = b"shutdown";

fuzz_target!(|input: (Vec<u8>, &[u8])| {
    let (cuts, bytes) = input;
    let timed = common::tells_of_the_engine(bytes)
        || bytes.windows(ALONE.len()).any(|window| window == ALONE);
    // Longer key lists are answered as they arrive.
    if timed || bytes.len() > LINE_MAX || bytes.contains(&0xff) {
        return;
    }
    let house = memory_houses().pop().expect("there are houses");
    let mut started = common::start(&*house, &["--strict-framing"]);
    let whole = common::converse(&mut *started, bytes, 0);
    let mut started = common::start(&*house, &["--strict-framing"]);
    let mut connection = started.connect().expect("there is room for a connection");
    let (mut answer, mut rest) = (Vec::new(), bytes);
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let at = cuts.next().map_or(1, |cut| usize::from(*cut).clamp(1, rest.len()));
        let (piece, behind) = rest.split_at(at);
        common::hear(&mut *connection, piece, &mut answer);
        rest = behind;
    }
    assert_eq!(answer.escape_ascii().to_string(), whole.escape_ascii().to_string());
});

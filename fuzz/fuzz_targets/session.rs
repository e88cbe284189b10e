//! Bytes through a session over the segment engine, beside one over the simple engine.
//!
//! The same bytes, cut into the same pieces, have to get the same answers; what tells of the
//! engine itself (reports, walks over the items) only must not break anything.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mcache_conformance::{Connection, Received, Started, memory_houses};

/// Commands, of each protocol, whose answers are an engine's own.
const OWN: &[&[u8]] = &[b"stats", b"crawler", b"watch", b"me ", b"\x80\x10"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    let mut answers = memory_houses().into_iter().map(|house| {
        let mut started = house.start(&[]).expect("no options").expect("no server is needed");
        converse(&mut *started, bytes, usize::from(cut))
    });
    let (first, second) = (answers.next(), answers.next());
    if !OWN.iter().any(|own| bytes.windows(own.len()).any(|window| window == *own)) {
        let show = |answer: &Option<Vec<u8>>| {
            answer.as_ref().map(|answer| answer.escape_ascii().to_string())
        };
        assert_eq!(show(&first), show(&second));
    }
});

/// All that is answered to `bytes`, sent in pieces of `cut` bytes, or in one.
///
/// A byte 0xff that begins a piece is not sent: a second passes instead.
fn converse(started: &mut dyn Started, bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut connection = started.connect().expect("there is room for a connection");
    let mut answer = Vec::new();
    for piece in bytes.chunks(if cut == 0 { bytes.len().max(1) } else { cut }) {
        match piece.strip_prefix(b"\xff") {
            Some(rest) => {
                started.advance(Duration::from_secs(1));
                hear(&mut *connection, rest, &mut answer);
            }
            None => hear(&mut *connection, piece, &mut answer),
        }
    }
    connection.hang_up();
    answer
}

fn hear(connection: &mut dyn Connection, piece: &[u8], answer: &mut Vec<u8>) {
    connection.send(piece);
    while let Received::Bytes(bytes) = connection.receive(Duration::ZERO) {
        answer.extend(bytes);
    }
}

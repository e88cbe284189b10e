//! What the targets have in common: conversations with a cache in memory.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use mcache_conformance::{Connection, House, Received, Started, memory_houses};

/// Commands, of each protocol, whose answers are an engine's own.
const OWN: &[&[u8]] = &[b"stats", b"crawler", b"watch", b"me ", b"\x80\x10"];

/// Bytes of a conversation that were put together, when they are as long as this.
const BYTES_MAX: usize = 4000;

/// Requests, and the length of the pieces in which they are sent; 0 for one.
#[derive(Debug)]
pub struct Conversation {
    pub bytes: Vec<u8>,
    pub cut: usize,
}

impl Conversation {
    /// Requests that `push` puts together, one after the other.
    pub fn of<'b>(
        source: &mut Unstructured<'b>,
        push: fn(&mut Unstructured<'b>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<Self> {
        let cut = usize::from(source.arbitrary::<u8>()?);
        let mut bytes = Vec::new();
        while !source.is_empty() && bytes.len() < BYTES_MAX {
            push(source, &mut bytes)?;
        }
        Ok(Self { bytes, cut })
    }
}

/// The same bytes, cut into the same pieces, get the same answers of both engines; what tells of
/// the engine itself (reports, walks over the items) only must not break anything.
pub fn engines_agree(bytes: &[u8], cut: usize) {
    let mut answers = memory_houses().into_iter().map(|house| {
        let mut started = start(&*house, &[]);
        converse(&mut *started, bytes, cut)
    });
    let (first, second) = (answers.next(), answers.next());
    if !tells_of_the_engine(bytes) {
        let show = |answer: &Option<Vec<u8>>| {
            answer.as_ref().map(|answer| answer.escape_ascii().to_string())
        };
        assert_eq!(show(&first), show(&second));
    }
}

/// Whether the answers to `bytes` may tell of the engine itself, or of when they were asked for:
/// also with the bytes taken out that let time pass.
pub fn tells_of_the_engine(bytes: &[u8]) -> bool {
    let bytes: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != 0xff).collect();
    OWN.iter().any(|own| bytes.windows(own.len()).any(|window| window == *own))
}

/// A cache with these options.
pub fn start(house: &dyn House, options: &[&str]) -> Box<dyn Started> {
    let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    house.start(&options).expect("the options are understood").expect("no server is needed")
}

/// All that is answered to `bytes`, sent in pieces of `cut` bytes, or in one.
///
/// A byte 0xff that begins a piece is not sent: a second passes instead.
pub fn converse(started: &mut dyn Started, bytes: &[u8], cut: usize) -> Vec<u8> {
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

pub fn hear(connection: &mut dyn Connection, piece: &[u8], answer: &mut Vec<u8>) {
    connection.send(piece);
    while let Received::Bytes(bytes) = connection.receive(Duration::ZERO) {
        answer.extend(bytes);
    }
}

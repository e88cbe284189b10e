//! The same operations said in text, in meta and in binary, each to a cache of its own, beside the
//! simple engine that is asked in text: the same outcomes, and the same items in the end.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use mcache_conformance::frame::frame;
use mcache_conformance::{Connection, memory_houses};

const KEYS: [&str; 3] = ["a", "b", "cc"];

/// Modes of a store: the text's word, the meta mode, the binary opcode.
const MODES: [(&str, char, u8); 5] = [
    ("set", 'S', 0x01),
    ("add", 'E', 0x02),
    ("replace", 'R', 0x03),
    ("append", 'A', 0x0e),
    ("prepend", 'P', 0x0f),
];

#[derive(Arbitrary, Debug)]
enum Operation {
    Store { mode: u8, key: u8, flags: u32, value: Vec<u8> },
    Number { key: u8, number: u64 },
    Delete { key: u8 },
    Count { down: bool, key: u8, delta: u64 },
    Get { key: u8 },
    Flush,
}

/// What came of an operation, in no protocol's words.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done(bool),
    Counted(u64),
    NotNumeric,
    Hit(u32, Vec<u8>),
}

/// A way to say operations.
type Say = fn(&mut dyn Connection, &Operation) -> Outcome;

fuzz_target!(|operations: Vec<Operation>| {
    let houses = memory_houses();
    let ways: [(usize, Say); 4] = [(0, text), (1, text), (1, meta), (1, binary)];
    let mut started: Vec<_> =
        ways.iter().map(|(house, _)| common::start(&*houses[*house], &[])).collect();
    let mut connections: Vec<_> =
        started.iter_mut().map(|it| it.connect().expect("there is room")).collect();
    let last = (0..KEYS.len() as u8).map(|key| Operation::Get { key });
    for operation in operations.into_iter().take(200).chain(last) {
        let mut outcomes = connections
            .iter_mut()
            .zip(&ways)
            .map(|(connection, (_, say))| say(&mut **connection, &operation));
        let first = outcomes.next();
        for (way, outcome) in outcomes.enumerate() {
            assert_eq!(Some(outcome), first, "way {}: {operation:?}", way + 1);
        }
    }
});

fn key(number: u8) -> &'static str {
    KEYS[usize::from(number) % KEYS.len()]
}

fn ask(connection: &mut dyn Connection, request: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    common::hear(connection, request, &mut answer);
    answer
}

/// A value of the answer that begins with this line, in its words from `from` on: its flags.
fn value(answer: &[u8], line_end: usize, end: &[u8], flags: &str) -> Outcome {
    let value = answer[line_end + 2..].strip_suffix(end).expect("a value ends");
    Outcome::Hit(flags.parse().expect("flags"), value.to_vec())
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).trim().parse().expect("a number")
}

fn text(connection: &mut dyn Connection, operation: &Operation) -> Outcome {
    let store = |connection: &mut dyn Connection, mode: u8, name, flags: u32, value: &[u8]| {
        let word = MODES[usize::from(mode) % MODES.len()].0;
        let head = format!("{word} {name} {flags} 0 {}\r\n", value.len());
        let answer = ask(connection, &[head.as_bytes(), value, b"\r\n"].concat());
        Outcome::Done(answer == b"STORED\r\n")
    };
    match operation {
        Operation::Store { mode, key: name, flags, value } => {
            store(connection, *mode, key(*name), *flags, value)
        }
        Operation::Number { key: name, number } => {
            store(connection, 0, key(*name), 0, number.to_string().as_bytes())
        }
        Operation::Delete { key: name } => {
            let answer = ask(connection, format!("delete {}\r\n", key(*name)).as_bytes());
            Outcome::Done(answer == b"DELETED\r\n")
        }
        Operation::Count { down, key: name, delta } => {
            let word = if *down { "decr" } else { "incr" };
            let line = format!("{word} {} {delta}\r\n", key(*name));
            match &*ask(connection, line.as_bytes()) {
                b"NOT_FOUND\r\n" => Outcome::Done(false),
                answer if answer.starts_with(b"CLIENT_ERROR ") => Outcome::NotNumeric,
                answer => Outcome::Counted(number(answer)),
            }
        }
        Operation::Get { key: name } => {
            let answer = ask(connection, format!("get {}\r\n", key(*name)).as_bytes());
            let Some(end) = answer.iter().position(|&byte| byte == b'\r') else {
                panic!("no line")
            };
            let line = String::from_utf8_lossy(&answer[..end]).into_owned();
            match line.split(' ').nth(2) {
                None => Outcome::Done(false),
                Some(flags) => value(&answer, end, b"\r\nEND\r\n", flags),
            }
        }
        Operation::Flush => Outcome::Done(ask(connection, b"flush_all\r\n") == b"OK\r\n"),
    }
}

fn meta(connection: &mut dyn Connection, operation: &Operation) -> Outcome {
    let store = |connection: &mut dyn Connection, mode: u8, name, flags: u32, value: &[u8]| {
        let mode = MODES[usize::from(mode) % MODES.len()].1;
        let head = format!("ms {name} {} M{mode} F{flags}\r\n", value.len());
        let answer = ask(connection, &[head.as_bytes(), value, b"\r\n"].concat());
        Outcome::Done(answer == b"HD\r\n")
    };
    match operation {
        Operation::Store { mode, key: name, flags, value } => {
            store(connection, *mode, key(*name), *flags, value)
        }
        Operation::Number { key: name, number } => {
            store(connection, 0, key(*name), 0, number.to_string().as_bytes())
        }
        Operation::Delete { key: name } => {
            Outcome::Done(ask(connection, format!("md {}\r\n", key(*name)).as_bytes()) == b"HD\r\n")
        }
        Operation::Count { down, key: name, delta } => {
            let mode = if *down { 'D' } else { 'I' };
            let line = format!("ma {} v M{mode} D{delta}\r\n", key(*name));
            match &*ask(connection, line.as_bytes()) {
                b"NF\r\n" => Outcome::Done(false),
                answer if answer.starts_with(b"CLIENT_ERROR ") => Outcome::NotNumeric,
                answer => {
                    let line = answer.iter().position(|&byte| byte == b'\n').expect("a line");
                    Outcome::Counted(number(&answer[line..]))
                }
            }
        }
        Operation::Get { key: name } => {
            let answer = ask(connection, format!("mg {} f v\r\n", key(*name)).as_bytes());
            if answer == b"EN\r\n" {
                return Outcome::Done(false);
            }
            let end = answer.iter().position(|&byte| byte == b'\r').expect("a line");
            let line = String::from_utf8_lossy(&answer[..end]).into_owned();
            let flags = line.rsplit(" f").next().expect("the flags were asked for");
            value(&answer, end, b"\r\n", flags)
        }
        Operation::Flush => text(connection, operation),
    }
}

/// Asks in binary: the status and the body of the answer.
fn ask_frame(
    connection: &mut dyn Connection,
    opcode: u8,
    extras: &[u8],
    key: &str,
    value: &[u8],
) -> (u8, Vec<u8>) {
    let answer = ask(connection, &frame(opcode, extras, key.as_bytes(), value));
    (answer[7], answer[24..].to_vec())
}

fn binary(connection: &mut dyn Connection, operation: &Operation) -> Outcome {
    let store = |connection: &mut dyn Connection, mode: u8, name, flags: u32, value: &[u8]| {
        let opcode = MODES[usize::from(mode) % MODES.len()].2;
        let extras = [flags.to_be_bytes(), [0; 4]].concat();
        let extras = if opcode > 0x03 { &[][..] } else { &extras };
        Outcome::Done(ask_frame(connection, opcode, extras, name, value).0 == 0)
    };
    match operation {
        Operation::Store { mode, key: name, flags, value } => {
            store(connection, *mode, key(*name), *flags, value)
        }
        Operation::Number { key: name, number } => {
            store(connection, 0, key(*name), 0, number.to_string().as_bytes())
        }
        Operation::Delete { key: name } => {
            Outcome::Done(ask_frame(connection, 0x04, &[], key(*name), &[]).0 == 0)
        }
        Operation::Count { down, key: name, delta } => {
            let opcode = if *down { 0x06 } else { 0x05 };
            let extras = [&delta.to_be_bytes()[..], &[0; 8], &[0xff; 4]].concat();
            match ask_frame(connection, opcode, &extras, key(*name), &[]) {
                (0, body) => {
                    Outcome::Counted(u64::from_be_bytes(body.try_into().expect("8 bytes")))
                }
                (1, _) => Outcome::Done(false),
                _ => Outcome::NotNumeric,
            }
        }
        Operation::Get { key: name } => match ask_frame(connection, 0x00, &[], key(*name), &[]) {
            (0, body) => {
                let (flags, value) = body.split_first_chunk().expect("the flags come first");
                Outcome::Hit(u32::from_be_bytes(*flags), value.to_vec())
            }
            _ => Outcome::Done(false),
        },
        Operation::Flush => Outcome::Done(ask_frame(connection, 0x08, &[], "", &[]).0 == 0),
    }
}

//! What a workload's connections say, prepared, and how they understand what is answered.

use std::io::Write;

use super::workloads::{KEY_LEN, Protocol, Row, Values};
use crate::numbers::{Numbers, mix};

/// Bytes of prepared requests, about.
const PREPARED_BYTES: usize = 16 << 20;

/// Batches that are prepared, at most.
const BATCHES_MAX: usize = 2048;

/// Bytes of a batch that fills a server, about.
const FILLING_BYTES: usize = 128 << 10;

/// Requests that are sent together.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Answers that are to come.
    pub answers: usize,
    /// Keys asked for or stored.
    pub keys: u64,
}

/// Writes the requests of a workload.
pub struct Requests<'a> {
    row: &'a Row,
    numbers: Numbers,
    /// How probable the keys up to each one are, if they are not alike.
    shares: Vec<f64>,
    value: Vec<u8>,
}

impl<'a> Requests<'a> {
    /// Of this workload, always the same for one seed.
    pub fn new(row: &'a Row, seed: u64) -> Self {
        let longest = match row.values {
            Values::Of(len) | Values::UpTo(len) => len,
        };
        let mut share = 0.0;
        let shares = (1..=row.keys).map(|rank| {
            share += (rank as f64).powf(-row.zipf);
            share
        });
        let shares = if row.zipf > 0.0 { shares.collect() } else { Vec::new() };
        Self { row, numbers: Numbers::new(seed), shares, value: vec![b'v'; longest] }
    }

    /// Some batches, to be sent again and again.
    pub fn prepared(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        let mut bytes = 0;
        while batches.len() < 2 || (bytes < PREPARED_BYTES && batches.len() < BATCHES_MAX) {
            let batch = self.batch();
            bytes += batch.bytes.len();
            batches.push(batch);
        }
        batches
    }

    /// Sets of the keys from `next` on, as many as make a batch.
    pub fn filling(&mut self, next: &mut u64) -> Option<Batch> {
        let mut batch = Batch::default();
        while *next < self.row.keys && batch.bytes.len() < FILLING_BYTES {
            self.set(*next, &mut batch);
            *next += 1;
        }
        (batch.answers > 0).then_some(batch)
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.row.pipeline {
            if self.numbers.below(100) < self.row.gets {
                self.get(&mut batch);
            } else {
                let key = self.key();
                self.set(key, &mut batch);
            }
        }
        batch
    }

    /// A key's number.
    fn key(&mut self) -> u64 {
        let Some(all) = self.shares.last() else { return self.numbers.below(self.row.keys) };
        let place = self.numbers.next() as f64 / u64::MAX as f64 * all;
        self.shares.partition_point(|share| *share < place) as u64
    }

    fn get(&mut self, batch: &mut Batch) {
        batch.answers += 1;
        batch.keys += self.row.keys_per_get as u64;
        let out = &mut batch.bytes;
        match self.row.protocol {
            Protocol::Text => {
                out.extend_from_slice(b"get");
                for _ in 0..self.row.keys_per_get {
                    out.push(b' ');
                    out.extend_from_slice(name(self.key()).as_bytes());
                }
            }
            Protocol::Meta => {
                out.extend_from_slice(format!("mg {} v", name(self.key())).as_bytes());
            }
            Protocol::Binary => {
                header(0, 0, 0, out);
                out.extend_from_slice(name(self.key()).as_bytes());
                return;
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    fn set(&mut self, key: u64, batch: &mut Batch) {
        batch.answers += 1;
        batch.keys += 1;
        let value = &self.value[..self.row.values.len_of(key)];
        let (len, key, out) = (value.len(), name(key), &mut batch.bytes);
        let line = match self.row.protocol {
            Protocol::Text => format!("set {key} 0 0 {len}\r\n"),
            Protocol::Meta => format!("ms {key} {len}\r\n"),
            Protocol::Binary => {
                header(1, 8, len, out);
                out.extend_from_slice(&[0; 8]);
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(value);
                return;
            }
        };
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

impl Values {
    /// The length of a key's value.
    fn len_of(self, key: u64) -> usize {
        match self {
            Self::Of(len) => len,
            Self::UpTo(most) => (most as f64).powf(mix(key) as f64 / u64::MAX as f64) as usize,
        }
    }
}

/// A key of [`KEY_LEN`] characters.
fn name(key: u64) -> String {
    format!("key{key:0width$}", width = KEY_LEN - 3)
}

fn header(opcode: u8, extras: u8, value: usize, out: &mut Vec<u8>) {
    let body = (usize::from(extras) + KEY_LEN + value) as u32;
    let start = out.len();
    // That a vector takes bytes cannot fail.
    let _ = out.write_all(&[0x80, opcode, 0, KEY_LEN as u8, extras, 0, 0, 0]);
    out.extend_from_slice(&body.to_be_bytes());
    out.resize(start + 24, 0);
}

/// What was answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Values.
    pub hits: u64,
    /// Answers to sets that were stored.
    pub stored: u64,
    /// Answers that are neither a value, nor a miss, nor stored.
    pub failed: u64,
}

/// Reads the answers that come on one connection.
#[derive(Debug, Default)]
pub struct Answers {
    /// Bytes of a value, and what follows it, that are still to come.
    skip: usize,
    /// With them an answer ends.
    ends: bool,
}

impl Answers {
    /// Takes answers from the front of `bytes`; returns how many bytes, and how many answers
    /// have ended. What is left is the beginning of one.
    pub fn take(&mut self, protocol: Protocol, bytes: &[u8], tally: &mut Tally) -> (usize, usize) {
        let (mut at, mut ended) = (0, 0);
        loop {
            let skipped = self.skip.min(bytes.len() - at);
            at += skipped;
            self.skip -= skipped;
            if self.skip > 0 {
                return (at, ended);
            }
            ended += usize::from(std::mem::take(&mut self.ends));
            let Some(head) = head(protocol, &bytes[at..], tally) else { return (at, ended) };
            at += head.len;
            (self.skip, self.ends) = (head.body, head.ends);
        }
    }
}

/// The front of an answer, or of a part of one.
struct Head {
    len: usize,
    /// Bytes behind it that say nothing.
    body: usize,
    /// With them an answer ends.
    ends: bool,
}

/// Reads a head, if it is there whole.
fn head(protocol: Protocol, bytes: &[u8], tally: &mut Tally) -> Option<Head> {
    if protocol == Protocol::Binary {
        let header: &[u8; 24] = bytes.first_chunk()?;
        let body = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        match (header[1], header[7]) {
            (0, 0) => tally.hits += 1,
            (1, 0) => tally.stored += 1,
            (0, 1) => {}
            _ => tally.failed += 1,
        }
        return Some(Head { len: 24, body: body as usize, ends: true });
    }
    let whole = |len| (bytes.len() >= len).then_some(Head { len, body: 0, ends: true });
    match (bytes.first()?, protocol) {
        (b'V', Protocol::Text) => value(bytes, "VALUE  0 ".len() + KEY_LEN, false, tally),
        (b'V', _) => value(bytes, "VA ".len(), true, tally),
        (b'E', Protocol::Text) if bytes.starts_with(b"EN") => whole(5),
        (b'S', _) if bytes.starts_with(b"ST") => {
            let head = whole(8)?;
            tally.stored += 1;
            Some(head)
        }
        (b'H', _) => {
            let head = whole(4)?;
            tally.stored += 1;
            Some(head)
        }
        _ => {
            let len = bytes.iter().position(|byte| *byte == b'\n')? + 1;
            tally.failed += u64::from(!bytes.starts_with(b"EN\r\n"));
            whole(len)
        }
    }
}

/// Reads the line before a value, whose length begins at `digits`.
fn value(bytes: &[u8], digits: usize, ends: bool, tally: &mut Tally) -> Option<Head> {
    let end = bytes.get(digits..)?.iter().position(|byte| *byte == b'\n')?;
    let number = bytes[digits..digits + end].iter().take_while(|byte| byte.is_ascii_digit());
    let body = number.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    tally.hits += 1;
    Some(Head { len: digits + end + 1, body: body + 2, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_wherever_they_are_torn() {
        let key = "k".repeat(KEY_LEN);
        let text = format!("VALUE {key} 0 3\r\nabc\r\nEND\r\nEND\r\nSTORED\r\nSERVER_ERROR x\r\n");
        let mut binary = Vec::new();
        for (opcode, status, body) in [(0, 0, 7), (0, 1, 9), (1, 0, 0), (1, 3, 0)] {
            let mut header = [0; 24];
            (header[1], header[7], header[11]) = (opcode, status, body);
            binary.extend_from_slice(&header);
            binary.extend_from_slice(&vec![b'x'; body.into()]);
        }
        let rows = [
            (Protocol::Text, text.as_bytes()),
            (Protocol::Meta, b"VA 3 f0\r\nabc\r\nEN\r\nHD\r\nNS\r\n"),
            (Protocol::Binary, &binary),
        ];
        for (protocol, said) in rows {
            for step in 1..=said.len() {
                let (mut answers, mut tally, mut rest) = Default::default();
                let mut ended = 0;
                for piece in said.chunks(step) {
                    let rest: &mut Vec<u8> = &mut rest;
                    rest.extend_from_slice(piece);
                    let (used, more) = Answers::take(&mut answers, protocol, rest, &mut tally);
                    rest.drain(..used);
                    ended += more;
                }
                let Tally { hits, stored, failed } = tally;
                assert_eq!((ended, hits, stored, failed), (4, 1, 1, 1), "{protocol:?} by {step}");
                assert!(rest.is_empty());
            }
        }
    }
}

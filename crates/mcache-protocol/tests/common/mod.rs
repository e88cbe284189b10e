//! An item without an engine, and what the wire tests ask of a codec and an output.

#![allow(dead_code)] // each test file uses its part

use std::io::IoSlice;

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::{Before, Hit};
use mcache_base::{Expiry, Item, Now, Outgoing, Pin};
use mcache_protocol::{Codec, KeyScratch, Outcome, Output, Resume, Style};

/// The time of every test.
pub const NOW: Now = Now { clock_ms: 5_000, unix: 1_800_000_000 };

/// The key of items that can't be pinned.
pub const UNPINNED: &[u8] = b"unpinned";

/// An item that lies in two pieces, cut in the middle of its value.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub key: &'static [u8],
    pub value: Vec<u8>,
    pub expiry: Expiry,
    pub binary_key: bool,
}

pub struct FixturePin(Vec<u8>);

fn piece(value: &[u8], offset: usize) -> &[u8] {
    let middle = value.len() / 2;
    let end = if offset < middle { middle } else { value.len() };
    value.get(offset..end).unwrap_or_default()
}

impl Pin for FixturePin {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn value_at(&self, offset: usize) -> &[u8] {
        piece(&self.0, offset)
    }
}

impl Item for Fixture {
    type Pin = FixturePin;
    fn key(&self) -> &[u8] {
        self.key
    }
    fn flags(&self) -> u32 {
        7
    }
    fn cas(&self) -> u64 {
        99
    }
    fn value_len(&self) -> usize {
        self.value.len()
    }
    fn value_at(&self, offset: usize) -> &[u8] {
        piece(&self.value, offset)
    }
    fn expiry(&self) -> Expiry {
        self.expiry
    }
    fn binary_key(&self) -> bool {
        self.binary_key
    }
    fn footprint(&self) -> usize {
        100
    }
    fn pin(&self) -> Option<FixturePin> {
        (self.key != UNPINNED).then(|| FixturePin(self.value.clone()))
    }
}

/// An item that never expires, under `key`.
pub fn item(key: &'static [u8], value: &[u8]) -> Fixture {
    Fixture { key, value: value.to_vec(), expiry: Expiry::Never, binary_key: false }
}

/// A plain hit on `item`: fetched before, idle for 3 seconds, its deadline unchanged.
pub fn hit(item: Fixture) -> Hit<Fixture> {
    let before = Before { fetched: true, idle_s: 3, expiry: item.expiry };
    Hit { item, before, won: false, stale: false, token_sent: false, created: false }
}

pub fn scratch() -> KeyScratch {
    [0; KEY_MAX]
}

/// Everything that waits to be sent.
pub fn pending(out: &Output<FixturePin>) -> Vec<u8> {
    gathered(out, 16)
}

/// What one send of at most `slots` slices would send.
pub fn gathered(out: &Output<FixturePin>, slots: usize) -> Vec<u8> {
    let mut slices = vec![IoSlice::new(&[]); slots];
    let filled = out.gather(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// What `outcome` is in `style`.
pub fn encode(style: Style<'_>, outcome: &Outcome<Fixture>) -> String {
    let mut out = Output::default();
    Codec::encode(&style, outcome, NOW, &mut out);
    String::from_utf8(pending(&out)).unwrap()
}

/// Nobody can tell where the next request begins.
pub const ANEW: u64 = u64::MAX;

/// Where the next request begins when a refused line is followed by `bytes` bytes of data and line
/// end, or [`ANEW`].
pub fn resume(bytes: u64) -> Resume {
    match bytes {
        0 => Resume::AT_ONCE,
        ANEW => Resume::Anew,
        _ => Resume::Behind { body: bytes - 2, tail: 2 },
    }
}

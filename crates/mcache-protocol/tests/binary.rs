//! The binary protocol at its boundary: frames to requests, outcomes to frames, hostile frames.

use std::io::IoSlice;

use mcache_base::limits::{ITEM_SIZE_CEILING, KEY_MAX};
use mcache_base::operation::{
    Before, Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Expiry, Item, Now, Outgoing, Pin};
use mcache_protocol::style::BinaryStyle;
use mcache_protocol::{
    Codec, Decoded, KeyScratch, Outcome, Output, Protocols, Request, Resume, StatLine, Style,
    WireError,
};

const NOW: Now = Now { clock_ms: 5_000, unix: 1_800_000_000 };
const OPAQUE: u32 = 0xdead_beef;
const HEADER_LEN: usize = 24;

/// A request, its lengths right unless set otherwise.
#[derive(Clone, Copy, Default)]
struct Frame<'a> {
    opcode: u8,
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
    cas: u64,
    /// Lies about the body's length.
    body_len: Option<u32>,
    /// Lies about the key's length.
    key_len: Option<u16>,
}

impl Frame<'_> {
    fn bytes(&self) -> Vec<u8> {
        let body_len = (self.extras.len() + self.key.len() + self.value.len()) as u32;
        let mut bytes = vec![0x80, self.opcode];
        bytes.extend(self.key_len.unwrap_or(self.key.len() as u16).to_be_bytes());
        bytes.extend([self.extras.len() as u8, 0, 0, 0]);
        bytes.extend(self.body_len.unwrap_or(body_len).to_be_bytes());
        bytes.extend(OPAQUE.to_be_bytes());
        bytes.extend(self.cas.to_be_bytes());
        bytes.extend([self.extras, self.key, self.value].concat());
        bytes
    }
}

/// Decodes the first request of a connection and shows it to `check`.
fn decode(bytes: &[u8], check: impl FnOnce(Decoded<'_>)) {
    check(Codec::default().decode(bytes, &mut scratch()));
}

/// Whether a request was understood.
fn is_whole(decoded: &Decoded<'_>) -> bool {
    matches!(decoded, Decoded::Request { .. } | Decoded::Body { .. })
}

fn scratch() -> KeyScratch {
    [0; KEY_MAX]
}

fn style(opcode: u8) -> BinaryStyle<'static> {
    BinaryStyle { opcode, opaque: OPAQUE, ..BinaryStyle::default() }
}

fn quiet(opcode: u8) -> BinaryStyle<'static> {
    BinaryStyle { quiet: true, ..style(opcode) }
}

fn with_key(style: BinaryStyle<'static>) -> BinaryStyle<'static> {
    BinaryStyle { key: Some(b"key"), ..style }
}

#[test]
fn requests_without_a_value() {
    let get = Request::Fetch { key: b"key", fetch: Fetch::default() };
    let touch = Request::Fetch {
        key: b"key",
        // Unsigned: never negative, however large.
        fetch: Fetch { touch: Some(0xffff_fffe), ..Fetch::default() },
    };
    let touched = BinaryStyle { without_value: true, ..style(0x1c) };
    let exptime: &[u8] = &[0xff, 0xff, 0xff, 0xfe];
    let key: &[u8] = b"key";
    let delete = Request::Delete { key, delete: Delete { compare: Some(9), ..Delete::default() } };
    let rows = [
        (&[][..], key, get, style(0x00)),
        (&[], key, get, quiet(0x09)),
        (&[], key, get, with_key(style(0x0c))),
        (&[], key, get, with_key(quiet(0x0d))),
        (exptime, key, touch, touched),
        (exptime, key, touch, style(0x1d)),
        (exptime, key, touch, quiet(0x1e)),
        (exptime, key, touch, with_key(style(0x23))),
        (exptime, key, touch, with_key(quiet(0x24))),
        (&[], key, delete, style(0x04)),
        (&[], key, delete, quiet(0x14)),
        (&[], &[], Request::FlushAll { delay: 0 }, style(0x08)),
        (&[0, 0, 1, 2], &[], Request::FlushAll { delay: 258 }, style(0x08)),
        (&[], &[], Request::FlushAll { delay: 0 }, quiet(0x18)),
        (&[], &[], Request::Noop, style(0x0a)),
        (&[], &[], Request::Version, style(0x0b)),
        (&[], &[], Request::Quit, style(0x07)),
        (&[], &[], Request::Quit, quiet(0x17)),
        (&[], &[], Request::Stats { args: b"" }, style(0x10)),
        (&[], b"detail on", Request::Stats { args: b"detail on" }, style(0x10)),
    ];
    for (extras, key, request, style) in rows {
        let frame = Frame { opcode: style.opcode, extras, key, cas: 9, ..Frame::default() };
        let bytes = frame.bytes();
        let mut stream = bytes.clone();
        stream.extend(b"\x80the next request");
        let style = Style::Binary(style);
        decode(&stream, |decoded| {
            assert_eq!(decoded, Decoded::Request { request, style, size: bytes.len() });
        });
    }
}

#[test]
fn arithmetic() {
    let mut extras = [7u64.to_be_bytes(), 100u64.to_be_bytes()].concat();
    extras.extend(60u32.to_be_bytes());
    let mut no_creation = extras.clone();
    no_creation.splice(16.., [0xff; 4]);
    let count = Count { delta: 7, ..Count::default() };
    let create = Some((100, 60));
    let rows = [
        (style(0x05), &extras, 0, Count { create, ..count }),
        (quiet(0x15), &extras, 3, Count { create, compare: Some(3), ..count }),
        (style(0x06), &extras, 0, Count { create, down: true, ..count }),
        (quiet(0x16), &no_creation, 0, Count { down: true, ..count }),
        (style(0x05), &no_creation, 0, count),
    ];
    for (style, extras, cas, count) in rows {
        let frame = Frame { opcode: style.opcode, extras, key: b"key", cas, ..Frame::default() };
        let bytes = frame.bytes();
        let request = Request::Count { key: b"key", count };
        let style = Style::Binary(style);
        decode(&bytes, |decoded| {
            assert_eq!(decoded, Decoded::Request { request, style, size: bytes.len() });
        });
    }
}

#[test]
fn stores() {
    use StoreMode::{Add, Append, Prepend, Replace, Set};
    let flagged: &[u8] = &[0xff, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
    let rows = [
        (style(0x01), flagged, 0, Set),
        (quiet(0x11), flagged, 0, Set),
        (style(0x02), flagged, 0, Add),
        (quiet(0x12), flagged, 0, Add),
        (style(0x03), flagged, 0, Replace),
        (quiet(0x13), flagged, 0, Replace),
        (style(0x0e), &[], 0, Append),
        (quiet(0x19), &[], 0, Append),
        (style(0x0f), &[], 0, Prepend),
        (quiet(0x1a), &[], 0, Prepend),
        // With a cas unique, the first three are all a compare-and-swap.
        (style(0x01), flagged, 4, Set),
        (style(0x02), flagged, 4, Set),
        (style(0x03), flagged, 4, Set),
        (style(0x0e), &[], 4, Append),
    ];
    for (style, extras, cas, mode) in rows {
        let (flags, exptime) = if extras.is_empty() { (0, 0) } else { (0xff00_0001, 0xffff_ffff) };
        let compare = (cas != 0).then_some(cas);
        let store = Store { mode, flags, exptime, compare, ..Store::default() };
        for value in [&b""[..], b"\r\n", &[b'v'; 70_000]] {
            let key = b"key";
            let frame = Frame { opcode: style.opcode, extras, key, value, cas, ..Frame::default() };
            let bytes = frame.bytes();
            let head = bytes.len() - value.len();
            let style = Style::Binary(style);
            let expected = Decoded::Body { key, store, style, head, body: value.len(), tail: 0 };
            decode(&bytes[..head], |decoded| assert_eq!(decoded, expected));
        }
    }
}

#[test]
fn every_byte_but_the_last_asks_for_more() {
    let rows = [
        Frame { opcode: 0x00, key: b"key", ..Frame::default() },
        Frame { opcode: 0x01, extras: &[0; 8], key: &[b'k'; 250], ..Frame::default() },
        Frame { opcode: 0x05, extras: &[0; 20], key: b"key", ..Frame::default() },
        Frame { opcode: 0x0a, ..Frame::default() },
    ];
    for frame in rows {
        let bytes = frame.bytes();
        let mut codec = Codec::default();
        for len in 0..bytes.len() {
            let arrived = &bytes[..len];
            assert_eq!(codec.decode(arrived, &mut scratch()), Decoded::NeedMore, "{len} bytes");
        }
        assert!(is_whole(&codec.decode(&bytes, &mut scratch())), "opcode {:#x}", frame.opcode);
    }
}

/// The answer to a frame whose end nobody can tell for sure.
fn closing(opcode: u8, error: WireError) -> Decoded<'static> {
    let style = Style::Binary(style(opcode));
    Decoded::Refused { error, style, size: HEADER_LEN, resume: Resume::Never }
}

#[test]
fn unknown_opcodes_are_answered_and_their_bodies_skipped() {
    let unknown = [0x1b, 0x1f, 0x20, 0x21, 0x22, 0x25, 0x30, 0x3c, 0x80, 0xff];
    for (opcode, body_len) in unknown
        .into_iter()
        .flat_map(|opcode| [0, 1, 17, ITEM_SIZE_CEILING as u32].map(|body_len| (opcode, body_len)))
    {
        let frame = Frame { opcode, body_len: Some(body_len), ..Frame::default() };
        decode(&frame.bytes(), |decoded| {
            let expected = Decoded::Refused {
                error: WireError::UnknownCommand,
                style: Style::Binary(style(opcode)),
                size: HEADER_LEN,
                resume: Resume::Behind { body: u64::from(body_len), tail: 0 },
            };
            assert_eq!(decoded, expected);
        });
    }
}

#[test]
fn impossible_lengths_are_refused_by_the_header_alone() {
    let ceiling = ITEM_SIZE_CEILING as u32;
    let rows = [
        (0, 250, 0, WireError::UnknownCommand),
        (0, 250, 249, WireError::UnknownCommand),
        (8, 1, 8, WireError::UnknownCommand),
        (255, u16::MAX, 65_789, WireError::UnknownCommand),
        (255, u16::MAX, 65_790, WireError::BadFormat),
        (0, 251, 251, WireError::BadFormat),
        (8, 1, ceiling + 1, WireError::BadFormat),
        (8, 1, 0x7fff_ffff, WireError::BadFormat),
        (8, 1, 0x8000_0000, WireError::BadFormat),
        (8, 1, 0xffff_ffe8, WireError::BadFormat),
        (8, 1, 0xffff_ffff, WireError::BadFormat),
    ];
    for opcode in 0..=u8::MAX {
        for (extras_len, key_len, body_len, error) in rows {
            let extras = &[0; 255][..extras_len];
            let (key_len, body_len) = (Some(key_len), Some(body_len));
            let frame = Frame { opcode, extras, key_len, body_len, ..Frame::default() };
            let header = &frame.bytes()[..HEADER_LEN];
            decode(header, |decoded| assert_eq!(decoded, closing(opcode, error)));
        }
    }
}

/// What a known opcode may look like: lengths of the extras, whether a key, whether a value.
fn layout(opcode: u8) -> Option<(&'static [usize], &'static [bool], &'static [bool])> {
    Some(match opcode {
        0x00 | 0x04 | 0x09 | 0x0c | 0x0d | 0x14 => (&[0], &[true], &[false]),
        0x01..=0x03 | 0x11..=0x13 => (&[8], &[true], &[false, true]),
        0x05 | 0x06 | 0x15 | 0x16 => (&[20], &[true], &[false]),
        0x07 | 0x0a | 0x0b | 0x17 => (&[0], &[false], &[false]),
        0x08 | 0x18 => (&[0, 4], &[false], &[false]),
        0x0e | 0x0f | 0x19 | 0x1a => (&[0], &[true], &[false, true]),
        0x10 => (&[0], &[false, true], &[false]),
        0x1c..=0x1e | 0x23 | 0x24 => (&[4], &[true], &[false]),
        _ => return None,
    })
}

#[test]
fn a_known_opcode_laid_out_wrongly_is_refused_and_closes() {
    for opcode in 0..=u8::MAX {
        let Some((extras_lens, keys, values)) = layout(opcode) else { continue };
        for extras_len in 0..=255 {
            for (key, value) in [(&b""[..], &b""[..]), (b"key", b""), (b"", b"v"), (b"key", b"v")] {
                let extras = &[0; 255][..extras_len];
                let right = extras_lens.contains(&extras_len)
                    && keys.contains(&!key.is_empty())
                    && values.contains(&!value.is_empty());
                let bytes = Frame { opcode, extras, key, value, ..Frame::default() }.bytes();
                decode(&bytes, |decoded| {
                    if right {
                        assert!(is_whole(&decoded), "opcode {opcode:#x}: {decoded:?}");
                    } else {
                        assert_eq!(decoded, closing(opcode, WireError::BadFormat));
                    }
                });
            }
        }
    }
}

#[test]
fn the_first_byte_decides_once() {
    let noop = Frame { opcode: 0x0a, ..Frame::default() }.bytes();
    let mut codec = Codec::new(Protocols::Negotiated);
    assert!(is_whole(&codec.decode(&noop, &mut scratch())));
    assert_eq!(codec.decode(b"get key\r\n", &mut scratch()), Decoded::Close, "once binary");

    let mut codec = Codec::new(Protocols::Binary);
    assert_eq!(codec.decode(b"get key\r\n", &mut scratch()), Decoded::Close, "forced");
    assert!(is_whole(&Codec::new(Protocols::Binary).decode(&noop, &mut scratch())));
    let mut answer = noop.clone();
    answer[0] = 0x81;
    assert_eq!(Codec::new(Protocols::Binary).decode(&answer, &mut scratch()), Decoded::Close);

    let mut codec = Codec::new(Protocols::Ascii);
    assert!(!is_whole(&codec.decode(&noop, &mut scratch())), "text sees a line without an end");
}

/// An item of the flags 7 and the cas unique 42.
#[derive(Clone, Debug)]
struct Fixture(&'static [u8]);

struct FixturePin(&'static [u8]);

impl Pin for FixturePin {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn value_at(&self, offset: usize) -> &[u8] {
        &self.0[offset..]
    }
}

impl Item for Fixture {
    type Pin = FixturePin;
    fn key(&self) -> &[u8] {
        b"key"
    }
    fn flags(&self) -> u32 {
        7
    }
    fn cas(&self) -> u64 {
        42
    }
    fn value_len(&self) -> usize {
        self.0.len()
    }
    fn value_at(&self, offset: usize) -> &[u8] {
        &self.0[offset..]
    }
    fn expiry(&self) -> Expiry {
        Expiry::Never
    }
    fn binary_key(&self) -> bool {
        false
    }
    fn footprint(&self) -> usize {
        100
    }
    fn pin(&self) -> Option<FixturePin> {
        Some(FixturePin(self.0))
    }
}

fn hit(value: &'static [u8]) -> Hit<Fixture> {
    let before = Before { fetched: false, idle_s: 0, expiry: Expiry::Never };
    let item = Fixture(value);
    Hit { item, before, won: false, stale: false, token_sent: false, created: false }
}

/// The bytes that `outcome` is said with.
fn encode(style: BinaryStyle<'_>, outcome: &Outcome<Fixture>) -> Vec<u8> {
    let mut out = Output::default();
    Codec::encode(&Style::Binary(style), outcome, NOW, &mut out);
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = out.gather(&mut slices);
    slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
}

/// An answer: opcode, status, extras, key, value and cas unique.
fn answer(opcode: u8, status: u16, parts: [&[u8]; 3], cas: u64) -> Vec<u8> {
    let [extras, key, _] = parts;
    let body = parts.concat();
    let mut bytes = vec![0x81, opcode];
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0]);
    bytes.extend(status.to_be_bytes());
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(OPAQUE.to_be_bytes());
    bytes.extend(cas.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[test]
fn items() {
    static LARGE: [u8; 100_000] = [b'v'; 100_000];
    let flags: &[u8] = &[0, 0, 0, 7];
    for value in [&b""[..], b"value", &LARGE] {
        let touched = BinaryStyle { without_value: true, ..style(0x1c) };
        let rows = [
            (style(0x00), [flags, b"", value]),
            (quiet(0x09), [flags, b"", value]),
            (with_key(style(0x0c)), [flags, b"key", value]),
            (with_key(quiet(0x24)), [flags, b"key", value]),
            (touched, [flags, b"", b""]),
        ];
        for (style, parts) in rows {
            let said = encode(style, &Outcome::Hit(hit(value)));
            assert!(said == answer(style.opcode, 0, parts, 42), "opcode {:#x}", style.opcode);
        }
    }
}

#[test]
fn misses() {
    let miss = Outcome::Miss(Miss::Absent);
    assert_eq!(encode(style(0x00), &miss), answer(0x00, 1, [b"", b"", b"Not found"], 0));
    assert_eq!(encode(with_key(style(0x0c)), &miss), answer(0x0c, 1, [b"", b"key", b""], 0));
    assert_eq!(encode(quiet(0x09), &miss), b"");
    assert_eq!(encode(with_key(quiet(0x0d)), &miss), b"");
}

#[test]
fn success_is_kept_quiet_about() {
    let stored = || Outcome::Stored(Stored::Stored { cas: 42, value_len: 1 });
    let number = || Outcome::Counted(Counted::Number { value: 258, hit: hit(b"258") });
    let rows = [
        (0x01, 0x11, stored(), &b""[..], 42),
        (0x0e, 0x19, stored(), b"", 42),
        (0x05, 0x15, number(), &[0, 0, 0, 0, 0, 0, 1, 2], 42),
        (0x04, 0x14, Outcome::Deleted(Deleted::Deleted { flags: 0, value_len: 1 }), b"", 0),
        (0x08, 0x18, Outcome::Done, b"", 0),
        (0x07, 0x17, Outcome::Done, b"", 0),
    ];
    for (loud, silent, outcome, value, cas) in rows {
        assert_eq!(encode(style(loud), &outcome), answer(loud, 0, [b"", b"", value], cas));
        assert_eq!(encode(quiet(silent), &outcome), b"");
    }
    let version = Outcome::Version("1.6.45");
    assert_eq!(encode(style(0x0b), &version), answer(0x0b, 0, [b"", b"", b"1.6.45"], 0));
    assert_eq!(encode(style(0x10), &Outcome::Reset), answer(0x10, 0, [b""; 3], 0));
}

#[test]
fn no_is_always_said() {
    use Outcome::{Counted as Count, Deleted as Delete, Error, Stored as Store};
    let too_large = || Store(Stored::Refused(Refusal::TooLarge));
    let no_memory = || Store(Stored::Refused(Refusal::NoMemory));
    let not_numeric = "Non-numeric server-side value for incr or decr";
    let rows = [
        (0x11, Store(Stored::Exists), 0x02, "Data exists for key."),
        (0x11, Store(Stored::NotFound), 0x01, "Not found"),
        (0x12, Store(Stored::NotStored), 0x02, "Data exists for key."),
        (0x13, Store(Stored::NotStored), 0x01, "Not found"),
        (0x19, Store(Stored::NotStored), 0x05, "Not stored."),
        (0x1a, Store(Stored::NotStored), 0x05, "Not stored."),
        (0x11, too_large(), 0x03, "Too large."),
        (0x11, no_memory(), 0x82, "Out of memory allocating item"),
        (0x14, Delete(Deleted::NotFound), 0x01, "Not found"),
        (0x14, Delete(Deleted::Exists), 0x02, "Data exists for key."),
        (0x15, Count(Counted::NotFound), 0x01, "Not found"),
        (0x15, Count(Counted::Exists), 0x02, "Data exists for key."),
        (0x15, Count(Counted::NotNumeric), 0x06, not_numeric),
        (0x15, Count(Counted::Refused(Refusal::TooLarge)), 0x03, "Too large."),
        (0x18, Error(WireError::FlushNotAllowed), 0x20, "Auth failure."),
        (0x10, Error(WireError::UnknownReport), 0x01, "Not found"),
        (0x1b, Error(WireError::UnknownCommand), 0x81, "Unknown command"),
        (0x09, Error(WireError::BadFormat), 0x04, "Invalid arguments"),
    ];
    for (opcode, outcome, status, text) in rows {
        let expected = answer(opcode, status, [b"", b"", text.as_bytes()], 0);
        for style in [style(opcode), quiet(opcode)] {
            assert_eq!(encode(style, &outcome), expected, "opcode {opcode:#x}: {outcome:?}");
        }
    }
}

#[test]
fn reports_are_a_frame_for_every_line_and_an_empty_one() {
    let line = |name: &str, value: &str| StatLine { name: name.into(), value: value.into() };
    let report = Outcome::Stats(vec![line("pid", "1"), line("version", "1.6.45")]);
    let expected = [
        answer(0x10, 0, [b"", b"pid", b"1"], 0),
        answer(0x10, 0, [b"", b"version", b"1.6.45"], 0),
        answer(0x10, 0, [b""; 3], 0),
    ];
    assert_eq!(encode(style(0x10), &report), expected.concat());

    let dump = Outcome::Lines(b"PREFIX a get 1\r\nEND\r\n".to_vec());
    let expected = [
        answer(0x10, 0, [b"", b"detailed", b"PREFIX a get 1\r\nEND\r\n"], 0),
        answer(0x10, 0, [b""; 3], 0),
    ];
    assert_eq!(encode(style(0x10), &dump), expected.concat());
}

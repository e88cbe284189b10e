//! The classic text protocol at its boundary: lines to requests, outcomes to lines.

use mcache_base::limits::{KEY_MAX, LINE_MAX};
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_protocol::request::Admin;
use mcache_protocol::style::{TextHit, TextStyle};
use mcache_protocol::{Codec, Decoded, Outcome, Protocols, Request, StatLine, Style, WireError};

mod common;
use common::{ANEW, encode, hit, item, resume, scratch};

const LOUD: TextStyle = TextStyle { noreply: false, hit: TextHit::Touched };
const MUTE: TextStyle = TextStyle { noreply: true, hit: TextHit::Touched };

const fn listed(with_cas: bool, last: bool) -> TextStyle {
    TextStyle { noreply: false, hit: TextHit::Value { with_cas, last } }
}

fn request(request: Request<'_>, style: TextStyle, size: usize) -> Decoded<'_> {
    Decoded::Request { request, style: Style::Text(style), size }
}

fn fetch(key: &str, touch: Option<i64>) -> Request<'_> {
    Request::Fetch { key: key.as_bytes(), fetch: Fetch { touch, ..Fetch::default() } }
}

fn refused(error: WireError, style: TextStyle, size: usize, swallow: u64) -> Decoded<'static> {
    Decoded::Refused { error, style: Style::Text(style), size, resume: resume(swallow) }
}

/// `line` is decoded to `expected`, and to nothing before its last byte has come.
fn check(line: &str, expected: &Decoded<'_>) {
    for cut in 0..line.len() {
        let early =
            Codec::default().decode(&line.as_bytes()[..cut], &mut scratch()) == Decoded::NeedMore;
        assert!(early, "{line:?} cut at {cut}");
    }
    for behind in ["", "get x\r\n", "\r\n"] {
        let input = [line, behind].concat();
        let mut scratch = scratch();
        let decoded = Codec::default().decode(input.as_bytes(), &mut scratch);
        assert_eq!(decoded, *expected, "{line:?}");
    }
}

/// What every request of `input` is decoded to.
fn decode_all(input: &[u8], mut show: impl FnMut(&Decoded<'_>, &Codec)) {
    let mut codec = Codec::default();
    let mut at = 0;
    while at < input.len() {
        let mut scratch = scratch();
        let decoded = codec.decode(&input[at..], &mut scratch);
        show(&decoded, &codec);
        at += match decoded {
            Decoded::Request { size, .. } | Decoded::Refused { size, .. } => size,
            Decoded::Body { head, body, tail, .. } => head + body + tail,
            Decoded::NeedMore | Decoded::Close => return,
        };
    }
}

#[test]
fn one_key() {
    let last = listed(false, true);
    let with_cas = listed(true, true);
    for (line, key, touch, style) in [
        ("get k\r\n", "k", None, last),
        ("get k\n", "k", None, last),
        ("get   k  \r\n", "k", None, last),
        ("get k\rk\r\n", "k\rk", None, last),
        ("get \tk\u{1}\r\n", "\tk\u{1}", None, last),
        ("gets k\r\n", "k", None, with_cas),
        ("gat 10 k\r\n", "k", Some(10), last),
        ("gat  -1  k \n", "k", Some(-1), last),
        ("gats 0 k\r\n", "k", Some(0), with_cas),
        ("get noreply\r\n", "noreply", None, last),
        ("gat 1 noreply\r\n", "noreply", Some(1), last),
    ] {
        check(line, &request(fetch(key, touch), style, line.len()));
    }
    let longest = "k".repeat(KEY_MAX);
    let line = format!("get {longest}\r\n");
    check(&line, &request(fetch(&longest, None), last, line.len()));
    let line = format!("touch {longest} 5\r\n");
    check(&line, &request(fetch(&longest, Some(5)), LOUD, line.len()));
}

#[test]
fn stores() {
    let set = Store::default();
    let rows = [
        ("set k 1 2 3\r\n", Store { flags: 1, exptime: 2, ..set }, 3, LOUD),
        ("set k 1 2 3\n", Store { flags: 1, exptime: 2, ..set }, 3, LOUD),
        ("set  k  1  2  3  \r\n", Store { flags: 1, exptime: 2, ..set }, 3, LOUD),
        ("set k +1 +2 3\r\n", Store { flags: 1, exptime: 2, ..set }, 3, LOUD),
        ("set k 0 -1 0 noreply\r\n", Store { exptime: -1, ..set }, 0, MUTE),
        ("set k 0 0 3 whatever\r\n", set, 3, LOUD),
        ("set k 0 0 3 what ever noreply\r\n", set, 3, MUTE),
        (
            "set k 4294967295 2147483647 2147483645\r\n",
            Store { flags: u32::MAX, exptime: i64::from(i32::MAX), ..set },
            2_147_483_645,
            LOUD,
        ),
        // Like memcached: the low 32 bits.
        ("set k 4294967297 4294967295 1\r\n", Store { flags: 1, exptime: -1, ..set }, 1, LOUD),
        ("add k 0 0 3\r\n", Store { mode: StoreMode::Add, ..set }, 3, LOUD),
        ("replace k 0 0 3\r\n", Store { mode: StoreMode::Replace, ..set }, 3, LOUD),
        ("append k 0 0 3\r\n", Store { mode: StoreMode::Append, ..set }, 3, LOUD),
        ("prepend k 0 0 3 noreply\r\n", Store { mode: StoreMode::Prepend, ..set }, 3, MUTE),
        ("cas k 0 0 3 18446744073709551615\r\n", Store { compare: Some(u64::MAX), ..set }, 3, LOUD),
        ("cas k 0 0 3 0 noreply\r\n", Store { compare: Some(0), ..set }, 3, MUTE),
    ];
    for (line, store, body, style) in rows {
        let style = Style::Text(style);
        check(line, &Decoded::Body { key: b"k", store, style, head: line.len(), body, tail: 2 });
    }
}

#[test]
fn lines_without_data() {
    let delete = Request::Delete { key: b"k", delete: Delete::default() };
    let count = |delta, down| Request::Count {
        key: b"k",
        count: Count { delta, down, ..Count::default() },
    };
    let admin = |verb, args| Request::Admin { verb, args };
    for (line, expected, style) in [
        ("delete k\r\n", delete, LOUD),
        ("delete k noreply\r\n", delete, MUTE),
        ("delete k 0\r\n", delete, LOUD),
        ("delete k 10 noreply\r\n", delete, MUTE),
        ("incr k 1\r\n", count(1, false), LOUD),
        ("decr k 18446744073709551615 noreply\r\n", count(u64::MAX, true), MUTE),
        ("touch k 30\r\n", fetch("k", Some(30)), LOUD),
        ("touch k -1 noreply\r\n", fetch("k", Some(-1)), MUTE),
        ("flush_all\r\n", Request::FlushAll { delay: 0 }, LOUD),
        ("flush_all noreply\r\n", Request::FlushAll { delay: 0 }, MUTE),
        ("flush_all 10\r\n", Request::FlushAll { delay: 10 }, LOUD),
        ("flush_all -5 noreply\r\n", Request::FlushAll { delay: -5 }, MUTE),
        ("version\r\n", Request::Version, LOUD),
        ("version noreply\r\n", Request::Version, LOUD),
        ("quit\r\n", Request::Quit, LOUD),
        ("verbosity 1\r\n", Request::Verbosity { level: 1 }, LOUD),
        ("verbosity 99 noreply\r\n", Request::Verbosity { level: 2 }, MUTE),
        ("stats\r\n", Request::Stats { args: b"" }, LOUD),
        ("stats  detail on \r\n", Request::Stats { args: b"detail on" }, LOUD),
        ("stats noreply\r\n", Request::Stats { args: b"noreply" }, LOUD),
        ("watch fetchers mutations\r\n", Request::Watch { args: b"fetchers mutations" }, LOUD),
        ("shutdown graceful\r\n", admin(Admin::Shutdown, b"graceful"), LOUD),
        ("cache_memlimit 100 noreply\r\n", admin(Admin::CacheMemlimit, b"100"), MUTE),
        ("lru_crawler metadump all\r\n", admin(Admin::LruCrawler, b"metadump all"), LOUD),
        ("slabs noreply\r\n", admin(Admin::Slabs, b""), MUTE),
        ("debugtime 10\r\n", admin(Admin::Debugtime, b"10"), LOUD),
    ] {
        check(line, &request(expected, style, line.len()));
    }
}

#[test]
fn mistakes() {
    use WireError::*;
    for (line, error, style, swallow) in [
        // Too short to be looked at.
        ("\n", BadFormat, LOUD, 0),
        ("\r\n", BadFormat, LOUD, 0),
        (" \n", BadFormat, LOUD, 0),
        ("mn\n", BadFormat, LOUD, 0),
        // No such word.
        ("GET k\r\n", UnknownCommand, LOUD, 0),
        (" get k\r\n", UnknownCommand, LOUD, 0),
        ("mq\r\n", UnknownCommand, LOUD, 0),
        ("HTTP/1.1\r\n", UnknownCommand, LOUD, 0),
        ("bogus noreply\r\n", UnknownCommand, MUTE, 0),
        // Too few tokens: answered whatever the last of them is.
        ("get\r\n", BadFormat, LOUD, 0),
        ("gets \r\n", BadFormat, LOUD, 0),
        ("gat 1\r\n", BadFormat, LOUD, 0),
        ("touch k\r\n", BadFormat, LOUD, 0),
        ("incr noreply\r\n", BadFormat, LOUD, 0),
        ("delete\r\n", BadFormat, LOUD, 0),
        ("verbosity\r\n", BadFormat, LOUD, 0),
        ("set k 0 0 noreply\r\n", BadFormat, LOUD, ANEW),
        // A length that is none: nobody can tell where its data ends.
        ("set k 0 0\r\n", BadFormat, LOUD, ANEW),
        ("set k 0 0 -1\r\n", BadFormat, LOUD, ANEW),
        ("set k 0 0 +1 noreply\r\n", BadFormat, LOUD, ANEW),
        ("set k 0 0 2147483646\r\n", BadFormat, LOUD, ANEW),
        ("set k 0 0 99999999999999999999\r\n", BadFormat, LOUD, ANEW),
        // Any other mistake swallows the data, and noreply is honoured.
        ("set k x 0 3\r\n", BadFormat, LOUD, 5),
        ("set k -1 0 3 noreply\r\n", BadFormat, MUTE, 5),
        ("set k 0 x 2147483645\r\n", BadFormat, LOUD, 2_147_483_647),
        ("cas k 0 0 3\r\n", BadFormat, LOUD, 5),
        ("cas k 0 0 3 noreply\r\n", BadFormat, MUTE, 5),
        ("cas k 0 0 3 -1\r\n", BadFormat, LOUD, 5),
        // Numbers.
        ("gat x k\r\n", BadExptime, LOUD, 0),
        ("touch k x\r\n", BadExptime, LOUD, 0),
        ("touch k +1\r\n", BadExptime, LOUD, 0),
        ("touch k 2147483648\r\n", BadExptime, LOUD, 0),
        ("flush_all x\r\n", BadExptime, LOUD, 0),
        ("incr k x\r\n", BadDelta, LOUD, 0),
        ("incr k -1 noreply\r\n", BadDelta, MUTE, 0),
        ("decr k 18446744073709551616\r\n", BadDelta, LOUD, 0),
        ("verbosity invalid\r\n", BadFormat, LOUD, 0),
        ("verbosity noreply\r\n", BadFormat, MUTE, 0),
        ("delete a b c d e\r\n", DeleteUsage, LOUD, 0),
        ("delete a 0 0\r\n", DeleteUsage, LOUD, 0),
        ("delete a 0 0 noreply\r\n", DeleteUsage, MUTE, 0),
    ] {
        check(line, &refused(error, style, line.len(), swallow));
    }
}

#[test]
fn keys_that_are_too_long() {
    let long = "k".repeat(KEY_MAX + 1);
    for (line, style, swallow) in [
        (format!("get {long}\r\n"), LOUD, 0),
        (format!("get a {long} b\r\n"), LOUD, 0),
        (format!("gat 0 a {long}\n"), LOUD, 0),
        (format!("touch {long} 0 noreply\r\n"), MUTE, 0),
        (format!("delete {long}\r\n"), LOUD, 0),
        (format!("incr {long} 1\r\n"), LOUD, 0),
        (format!("set {long} 0 0 3\r\n"), LOUD, 5),
        (format!("set {long} 0 0 3 noreply\r\n"), MUTE, 5),
    ] {
        check(&line, &refused(WireError::BadFormat, style, line.len(), swallow));
    }
}

#[test]
fn browsers_are_hung_up_on() {
    for line in ["GET / HTTP/1.0\r\n", "PUT /a/b HTTP/1.1\r\n", "DELETE HTTP/1.1\n", "a HTTP/\r\n"]
    {
        check(line, &Decoded::Close);
    }
}

#[test]
fn a_list_is_as_many_fetches_as_it_has_keys() {
    let mut seen = Vec::new();
    decode_all(b"gets a  bb ccc \r\nget d\r\n", |decoded, codec| {
        let Decoded::Request { request: Request::Fetch { key, .. }, style, .. } = decoded else {
            panic!("{decoded:?}");
        };
        seen.push((
            String::from_utf8_lossy(key).into_owned(),
            format!("{style:?}"),
            codec.in_list(),
        ));
    });
    let expected = [
        ("a", listed(true, false), true),
        ("bb", listed(true, false), true),
        ("ccc", listed(true, true), false),
        ("d", listed(false, true), false),
    ]
    .map(|(key, style, goes_on)| (key.to_owned(), format!("{:?}", Style::Text(style)), goes_on));
    assert_eq!(seen, expected);
}

/// Feeds `input` in portions of `step` bytes; returns the keys fetched, how often `END` follows,
/// the errors, and the most bytes that had to be kept.
fn stream(input: &[u8], step: usize) -> (Vec<String>, usize, Vec<WireError>, usize) {
    let (mut keys, mut ends, mut errors, mut kept) = (Vec::new(), 0, Vec::new(), 0);
    let mut codec = Codec::default();
    let mut buffer = Vec::new();
    for portion in input.chunks(step) {
        buffer.extend_from_slice(portion);
        while !buffer.is_empty() {
            let mut scratch = scratch();
            let done = match codec.decode(&buffer, &mut scratch) {
                Decoded::Request { request, style, size } => {
                    if let Request::Fetch { key, .. } = request {
                        keys.push(String::from_utf8_lossy(key).into_owned());
                    }
                    let Style::Text(style) = style else { panic!("{style:?}") };
                    let last = matches!(style.hit, TextHit::Value { last: true, .. });
                    ends += usize::from(last && !style.noreply);
                    size
                }
                Decoded::Refused { error, size, .. } => {
                    errors.push(error);
                    size
                }
                Decoded::NeedMore => break,
                other => panic!("{other:?}"),
            };
            buffer.drain(..done);
        }
        kept = kept.max(buffer.len());
    }
    assert_eq!(buffer, b"", "all of it was understood");
    (keys, ends, errors, kept)
}

#[test]
fn a_list_of_any_length_needs_no_room() {
    let keys: Vec<String> = (0..3_000).map(|n| format!("key:{n}")).collect();
    for (end, next) in [("\r\n", ""), ("\n", "get x\n"), (" \r\n", ""), ("   \n", "get x\r\n")] {
        let line = format!("get {}{end}{next}", keys.join("  "));
        let mut expected = keys.clone();
        expected.extend((!next.is_empty()).then(|| "x".to_owned()));
        for step in [1, 7, 1_000, LINE_MAX + 1, line.len()] {
            let (fetched, ends, errors, kept) = stream(line.as_bytes(), step);
            assert!(fetched == expected, "keys, in steps of {step}, {end:?}");
            assert_eq!(ends, 1 + usize::from(!next.is_empty()), "in steps of {step}, {end:?}");
            assert_eq!(errors, []);
            assert!(kept <= LINE_MAX + step, "kept {kept} in steps of {step}");
        }
    }
}

#[test]
fn a_streamed_list_recovers_at_its_end() {
    let long = "k".repeat(5_000);
    let filler = "a ".repeat(2_000);
    let spaces = " ".repeat(5_000);
    for (line, fetched) in [
        (format!("get {long}\r\nget x\r\n"), 1),
        (format!("get {filler}{long} b\r\nget x\r\n"), 2_001),
        (format!("get {spaces}\r\nget x\r\n"), 1),
        (format!("  gets {filler}\r\nget x\r\n"), 1),
    ] {
        for step in [1, 100, LINE_MAX + 1] {
            let (keys, ends, errors, kept) = stream(line.as_bytes(), step);
            assert_eq!((keys.len(), ends, errors.len()), (fetched, 1, 1), "{:.20}", line);
            assert_eq!(keys.last().map(String::as_str), Some("x"));
            assert!(kept <= LINE_MAX + step);
        }
    }
    // A line of spaces behind the last key.
    let line = format!("get {filler}{spaces}\r\nget x\r\n");
    let (keys, ends, errors, _) = stream(line.as_bytes(), 64);
    assert_eq!((keys.len(), ends, errors.len()), (2_001, 2, 0));
}

#[test]
fn an_endless_line_is_hung_up_on() {
    let over = LINE_MAX + 1;
    for start in ["", "gat 0 a ", "mg ", "set ", &" ".repeat(101), &(" ".repeat(101) + "get a ")] {
        let line = format!("{start:x<over$}");
        let mut codec = Codec::default();
        assert_eq!(codec.decode(&line.as_bytes()[..LINE_MAX], &mut scratch()), Decoded::NeedMore);
        assert_eq!(codec.decode(line.as_bytes(), &mut scratch()), Decoded::Close, "{start:?}");
    }
}

#[test]
fn a_listener_may_insist_on_a_protocol() {
    let mut ascii = Codec::new(Protocols::Ascii);
    let line = b"\x80\x00\x00\r\n";
    let expected = refused(WireError::UnknownCommand, LOUD, line.len(), 0);
    assert_eq!(ascii.decode(line, &mut scratch()), expected);
    let mut binary = Codec::new(Protocols::Binary);
    assert_eq!(binary.decode(b"get a\r\n", &mut scratch()), Decoded::Close);
}

#[test]
fn items_are_said_as_values() {
    let found = || Outcome::Hit(hit(item(b"key", b"value")));
    for (style, expected) in [
        (listed(false, false), "VALUE key 7 5\r\nvalue\r\n"),
        (listed(false, true), "VALUE key 7 5\r\nvalue\r\nEND\r\n"),
        (listed(true, true), "VALUE key 7 5 99\r\nvalue\r\nEND\r\n"),
        (LOUD, "TOUCHED\r\n"),
        (MUTE, ""),
    ] {
        assert_eq!(encode(style.into(), &found()), expected, "{style:?}");
    }
    let empty = Outcome::Hit(hit(item(b"k", b"")));
    assert_eq!(encode(listed(false, true).into(), &empty), "VALUE k 7 0\r\n\r\nEND\r\n");
    for (style, expected) in [
        (listed(false, false), ""),
        (listed(true, true), "END\r\n"),
        (LOUD, "NOT_FOUND\r\n"),
        (MUTE, ""),
    ] {
        assert_eq!(encode(style.into(), &Outcome::Miss(Miss::Absent)), expected, "{style:?}");
    }
    // The end of a list whose last key could not be told.
    assert_eq!(encode(listed(false, true).into(), &Outcome::Done), "END\r\n");
}

#[test]
fn everything_else_is_a_line() {
    let stored = Stored::Stored { cas: 1, value_len: 1 };
    let number = || Counted::Number { value: 42, hit: hit(item(b"k", b"42")) };
    let stats = || {
        let line = |name: &str, value: &str| StatLine { name: name.into(), value: value.into() };
        Outcome::Stats(vec![line("pid", "1"), line("version", "1.6.45")])
    };
    let rows: Vec<(Outcome<common::Fixture>, &str)> = vec![
        (Outcome::Stored(stored), "STORED\r\n"),
        (Outcome::Stored(Stored::NotStored), "NOT_STORED\r\n"),
        (Outcome::Stored(Stored::Exists), "EXISTS\r\n"),
        (Outcome::Stored(Stored::NotFound), "NOT_FOUND\r\n"),
        (
            Outcome::Stored(Stored::Refused(Refusal::TooLarge)),
            "SERVER_ERROR object too large for cache\r\n",
        ),
        (
            Outcome::Stored(Stored::Refused(Refusal::NoMemory)),
            "SERVER_ERROR out of memory storing object\r\n",
        ),
        (Outcome::Deleted(Deleted::Deleted { flags: 0, value_len: 1 }), "DELETED\r\n"),
        (Outcome::Deleted(Deleted::NotFound), "NOT_FOUND\r\n"),
        (Outcome::Counted(number()), "42\r\n"),
        (Outcome::Counted(Counted::NotFound), "NOT_FOUND\r\n"),
        (
            Outcome::Counted(Counted::NotNumeric),
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ),
        (Outcome::Counted(Counted::Refused(Refusal::NoMemory)), "SERVER_ERROR out of memory\r\n"),
        (Outcome::Done, "OK\r\n"),
        (Outcome::Reset, "RESET\r\n"),
        (Outcome::Version("1.6.45"), "VERSION 1.6.45\r\n"),
        (stats(), "STAT pid 1\r\nSTAT version 1.6.45\r\nEND\r\n"),
        (Outcome::Stats(Vec::new()), "END\r\n"),
        (Outcome::Lines(b"RAW\r\nEND\r\n".to_vec()), "RAW\r\nEND\r\n"),
        (Outcome::Error(WireError::UnknownCommand), "ERROR\r\n"),
        (
            Outcome::Error(WireError::DeleteUsage),
            "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n",
        ),
    ];
    for (outcome, expected) in &rows {
        assert_eq!(encode(LOUD.into(), outcome), *expected);
        assert_eq!(encode(MUTE.into(), outcome), "", "noreply: {expected}");
    }
}

//! The meta protocol at its boundary: lines to requests, outcomes to lines.

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::{
    Count, Counted, Delete, Deleted, Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Expiry, slab_class};
use mcache_protocol::style::{MetaCommand, MetaStyle};
use mcache_protocol::{Codec, Decoded, Outcome, Request, Style, WireError};

mod common;
use common::{ANEW, Fixture, NOW, encode, hit, item, resume, scratch};

/// Decodes `line` and shows the answer; before its last byte has come there is none.
fn decode<T>(line: &str, show: impl FnOnce(Decoded<'_>) -> T) -> T {
    for cut in 0..line.len() {
        let early = &line.as_bytes()[..cut];
        assert!(Codec::default().decode(early, &mut scratch()) == Decoded::NeedMore, "{line:?}");
    }
    show(Codec::default().decode(line.as_bytes(), &mut scratch()))
}

/// `line` is `expected`, and takes as many bytes as it has.
fn check(line: &str, expected: Request<'_>) {
    decode(line, |decoded| {
        let Decoded::Request { request, size, .. } = decoded else {
            panic!("{line:?} is {decoded:?}");
        };
        assert_eq!((request, size), (expected, line.len()), "{line:?}");
    });
}

/// What `line` answers to `outcome`.
fn answer(line: &str, outcome: &Outcome<Fixture>) -> String {
    decode(&format!("{line}\r\n"), |decoded| match decoded {
        Decoded::Request { style, .. } | Decoded::Body { style, .. } => encode(style, outcome),
        other => panic!("{line:?} is {other:?}"),
    })
}

#[test]
fn gets() {
    let plain = Fetch { compete: true, ..Fetch::default() };
    let vivify = |exptime| Fetch { vivify: Some(exptime), ..plain };
    for (flags, fetch) in [
        ("", plain),
        (" v", plain),
        ("  s  v  t  ", plain),
        (" k f c h l q O1 Lx P", plain),
        (" T30", Fetch { touch: Some(30), ..plain }),
        (" T-1 u", Fetch { touch: Some(-1), unseen: true, ..plain }),
        (" R30", Fetch { recache: Some(30), ..plain }),
        (" R30 T9", Fetch { recache: Some(30), touch: Some(9), ..plain }),
        (" T9 R30", Fetch { recache: Some(30), touch: Some(9), touch_first: true, ..plain }),
        (" N30 E77", Fetch { new_cas: Some(77), ..vivify(30) }),
        // The later of N and T is what a created item gets.
        (" N30 T60", Fetch { touch: Some(60), ..vivify(60) }),
        (" T60 N30", Fetch { touch: Some(60), ..vivify(30) }),
        // Flags of other commands.
        (" I x F5 D1 J1 M", plain),
    ] {
        check(&format!("mg key{flags}\r\n"), Request::Fetch { key: b"key", fetch });
    }
    let binary = Fetch { binary_key: true, ..plain };
    check("mg AAEC b v\r\n", Request::Fetch { key: &[0, 1, 2], fetch: binary });
    let longest = "k".repeat(KEY_MAX);
    check(&format!("mg {longest}\n"), Request::Fetch { key: longest.as_bytes(), fetch: plain });
}

#[test]
fn deletes_counts_and_the_rest() {
    let plain = Delete::default();
    for (flags, delete) in [
        ("", plain),
        (" q k O1", plain),
        (" C7", Delete { compare: Some(7), ..plain }),
        (" C0", Delete { compare: Some(0), ..plain }),
        (" I T30", Delete { invalidate: true, exptime: Some(30), ..plain }),
        (" x", Delete { clear: Some(0), ..plain }),
        (" x F9 E5", Delete { clear: Some(9), new_cas: Some(5), ..plain }),
    ] {
        check(&format!("md key{flags}\r\n"), Request::Delete { key: b"key", delete });
    }
    let plain = Count { delta: 1, ..Count::default() };
    for (flags, count) in [
        ("", plain),
        (" D5 MI", Count { delta: 5, ..plain }),
        (" M+", plain),
        (" MD", Count { down: true, ..plain }),
        (" M-x", Count { down: true, ..plain }),
        (" N0", Count { create: Some((0, 0)), ..plain }),
        (" N90 J13", Count { create: Some((13, 90)), ..plain }),
        (" N90 T5", Count { create: Some((0, 5)), touch: Some(5), ..plain }),
        (" T5 C7 E8", Count { touch: Some(5), compare: Some(7), new_cas: Some(8), ..plain }),
        (" C0", plain),
    ] {
        check(&format!("ma key{flags}\r\n"), Request::Count { key: b"key", count });
    }
    check("me key\r\n", Request::Inspect { key: b"key" });
    check("me key anything at all\r\n", Request::Inspect { key: b"key" });
    check("me Zm9v b\r\n", Request::Inspect { key: b"foo" });
    check("mn\r\n", Request::Noop);
    check("mn whatever\n", Request::Noop);
}

#[test]
fn stores() {
    let plain = Store::default();
    for (flags, store) in [
        ("", plain),
        (" q k c s O1", plain),
        (" F5 T30", Store { flags: 5, exptime: 30, ..plain }),
        (" MS", plain),
        (" ME", Store { mode: StoreMode::Add, ..plain }),
        (" MR", Store { mode: StoreMode::Replace, ..plain }),
        (" MA", Store { mode: StoreMode::Append, ..plain }),
        (" MP N30", Store { mode: StoreMode::Prepend, vivify: Some(30), ..plain }),
        (" MA N30 T5", Store { mode: StoreMode::Append, vivify: Some(30), exptime: 5, ..plain }),
        (" N30", plain),
        (" C7 E8", Store { compare: Some(7), new_cas: Some(8), ..plain }),
        (" C7 I", Store { compare: Some(7), invalidate: true, ..plain }),
        (" I", plain),
        (" MA C7 I", Store { mode: StoreMode::Append, compare: Some(7), ..plain }),
    ] {
        let line = format!("ms key 5{flags}\r\n");
        decode(&line, |decoded| {
            let Decoded::Body { key, store: how, head, body, tail, .. } = decoded else {
                panic!("{line:?} is {decoded:?}");
            };
            assert_eq!((key, how, head), (&b"key"[..], store, line.len()), "{line:?}");
            assert_eq!((body, tail), (5, 2));
        });
    }
    decode("ms Zm9v 2 b\r\n", |decoded| {
        assert!(
            matches!(decoded, Decoded::Body { key: b"foo", store, .. } if store.binary_key),
            "{decoded:?}"
        );
    });
}

#[test]
fn mistakes() {
    use WireError::*;
    let long_key = "k".repeat(KEY_MAX + 1);
    let opaque = "o".repeat(32);
    let many = " 1".repeat(18);
    for (line, error, swallow) in [
        ("mg\r\n", BadFormat, 0),
        ("mg k \u{1}\r\n", BadFormat, 0),
        ("mg k m m \u{e9}\r\n", BadFormat, 0),
        ("mg k v v\r\n", DuplicateFlag, 0),
        ("mg k m\r\n", InvalidFlag, 0),
        ("mg k 1\r\n", InvalidFlag, 0),
        ("mg k S5\r\n", InvalidFlag, 0),
        ("mg k T\r\n", BadToken, 0),
        ("mg k Nx\r\n", BadToken, 0),
        ("mg k R2147483648\r\n", BadToken, 0),
        ("md k C-1\r\n", BadToken, 0),
        ("mg k Fx\r\n", BadFormat, 0),
        ("mg k Tx Fx\r\n", BadToken, 0),
        ("mg k Jx\r\n", BadInitialFlag, 0),
        ("mg k Tx Dx\r\n", BadDeltaFlag, 0),
        ("mg k Tx m\r\n", InvalidFlag, 0),
        ("mg YQ b\r\n", BadKeyEncoding, 0),
        (&format!("mg k O{opaque}\r\n"), OpaqueTooLong, 0),
        (&format!("mg k{many}\r\n"), InvalidFlag, 0),
        (&format!("mg k{many} 1\r\n"), TooManyFlags, 0),
        (&format!("mg {long_key} v\r\n"), BadFormat, 0),
        (&format!("mg {long_key} m\r\n"), BadFormat, 0),
        (&format!("me {long_key}\r\n"), BadFormat, 0),
        ("me\r\n", BadFormat, 0),
        ("me YQ b\r\n", BadFormat, 0),
        ("ma\r\n", BadFormat, 0),
        ("ma k m\r\n", InvalidOrDuplicateFlag, 0),
        ("ma k Dx\r\n", InvalidOrDuplicateFlag, 0),
        (&format!("ma {long_key}\r\n"), InvalidOrDuplicateFlag, 0),
        ("ma k M\r\n", BadCountMode, 0),
        ("ma k MX\r\n", BadCountMode, 0),
        (&format!("ma k O{opaque}\r\n"), OpaqueTooLong, 0),
        ("ms k\r\n", BadFormat, ANEW),
        ("ms k x\r\n", BadFormat, ANEW),
        ("ms k -1\r\n", BadFormat, ANEW),
        ("ms k 2147483646\r\n", BadFormat, ANEW),
        ("ms k 2 \u{1}\r\n", BadFormat, ANEW),
        ("ms k 2 MX\r\n", BadStoreMode, 4),
        ("ms k 2 M\r\n", BadStoreMode, 4),
        ("ms k 2 Tx q\r\n", BadToken, 4),
        ("ms k 2 m\r\n", InvalidFlag, 4),
        ("ms YQ 2 b\r\n", BadKeyEncoding, 4),
        (&format!("ms k 2 O{opaque}\r\n"), OpaqueTooLong, 4),
        (&format!("ms {long_key} 2\r\n"), BadFormat, 4),
    ] {
        decode(line, |decoded| {
            let Decoded::Refused { error: said, style, size, resume: next } = decoded else {
                panic!("{line:?} is {decoded:?}");
            };
            assert_eq!((said, size, next), (error, line.len(), resume(swallow)), "{line:?}");
            let text = encode(style, &Outcome::Error(error));
            assert_eq!(text, format!("{}\r\n", error.text()), "errors are always said");
        });
    }
    let opaque = "o".repeat(31);
    let echoed = answer(&format!("mg k O{opaque}"), &Outcome::Miss(Miss::Absent));
    assert_eq!(echoed, format!("EN O{opaque}\r\n"), "the longest opaque");
}

/// An item whose deadline is 30 seconds away, and was 10 before.
fn touched() -> Hit<Fixture> {
    let mut hit =
        hit(Fixture { expiry: Expiry::Clock(NOW.clock_ms + 30_000), ..item(b"k", b"ab") });
    hit.before.expiry = Expiry::Clock(NOW.clock_ms + 10_000);
    hit
}

#[test]
fn hits() {
    let found = || hit(item(b"key", b"value"));
    let created = || Hit { created: true, won: true, ..touched() };
    let binary = || hit(Fixture { binary_key: true, ..item(b"foo", b"v") });
    let unfit = || hit(item(b"a\r\nb", b"v"));
    for (line, hit, expected) in [
        ("mg key", found(), "HD\r\n"),
        ("mg key v", found(), "VA 5\r\nvalue\r\n"),
        ("mg key v q", found(), "VA 5\r\nvalue\r\n"),
        ("mg key s v c f t h l", found(), "VA 5 s5 c99 f7 t-1 h1 l3\r\nvalue\r\n"),
        ("mg key O1 k q", found(), "HD O1 kkey\r\n"),
        ("mg key C99 v c", found(), "HD c99\r\n"),
        ("mg key C98 v c", found(), "VA 5 c99\r\nvalue\r\n"),
        ("mg k t T30", touched(), "HD t10\r\n"),
        ("mg k T30 t", touched(), "HD t30\r\n"),
        // A created item has no deadline before N gives it one.
        ("mg k t N30 h l", created(), "HD t-1 h0 l0 W\r\n"),
        ("mg k N30 v t", created(), "VA 2 t30 W\r\nab\r\n"),
        ("mg k N30 t", touched(), "HD t10\r\n"),
        ("mg k N30 t T60", created(), "HD t30 W\r\n"),
        // How the item was stored decides, not how it was asked for.
        ("mg foo k", binary(), "HD kZm9v b\r\n"),
        ("mg a2V5 b k", found(), "HD kkey\r\n"),
        // But a key that would break the line is never said as it is.
        ("mg YQ0KYg== b k", unfit(), "HD kYQ0KYg== b\r\n"),
        ("mg k s", Hit { won: true, stale: true, ..found() }, "HD s5 X W\r\n"),
        ("mg k", Hit { token_sent: true, stale: true, ..found() }, "HD Z X\r\n"),
        ("me key", found(), "ME key exp=-1 la=3 cas=99 fetch=yes cls=2 size=100\r\n"),
        ("me Zm9v b", binary(), "ME Zm9v exp=-1 la=3 cas=99 fetch=yes cls=2 size=100\r\n"),
    ] {
        assert_eq!(answer(line, &Outcome::Hit(hit)), expected, "{line}");
    }
    assert_eq!(slab_class::of(100), 2);
}

#[test]
fn misses() {
    for (line, expected) in [
        ("mg k", "EN\r\n"),
        ("mg k v q", ""),
        ("mg k k O1 t", "EN kk O1\r\n"),
        ("mg Zm9v b k", "EN kZm9v b\r\n"),
        ("mg Zm9v k b", "EN kZm9v b\r\n"),
        ("me k k", "EN\r\n"),
    ] {
        assert_eq!(answer(line, &Outcome::Miss(Miss::Absent)), expected, "{line}");
    }
}

#[test]
fn outcomes_of_stores_and_deletes() {
    let done = Stored::Stored { cas: 5, value_len: 9 };
    for (flags, stored, expected) in [
        ("", done, "HD\r\n"),
        (" q", done, ""),
        (" c s k O1", done, "HD c5 s9 kkey O1\r\n"),
        (" q c", Stored::NotStored, "NS c0\r\n"),
        (" s", Stored::Exists, "EX s3\r\n"),
        (" q O1", Stored::NotFound, "NF O1\r\n"),
        (" q", Stored::Refused(Refusal::TooLarge), "SERVER_ERROR object too large for cache\r\n"),
    ] {
        let line = format!("ms key 3{flags}");
        assert_eq!(answer(&line, &Outcome::Stored(stored)), expected, "{line}");
    }
    assert_eq!(answer("ms Zm9v 3 k b", &Outcome::Stored(done)), "HD kZm9v b\r\n");
    const DELETED: Deleted = Deleted::Deleted { flags: 0, value_len: 1 };
    for (flags, deleted, expected) in [
        ("", DELETED, "HD\r\n"),
        (" q", DELETED, ""),
        (" O1 k", DELETED, "HD O1 kkey\r\n"),
        (" q k", Deleted::NotFound, "NF kkey\r\n"),
        (" q", Deleted::Exists, "EX\r\n"),
    ] {
        let line = format!("md key{flags}");
        assert_eq!(answer(&line, &Outcome::Deleted(deleted)), expected, "{line}");
    }
}

#[test]
fn outcomes_of_arithmetic() {
    let number = || Counted::Number { value: 120, hit: touched() };
    let created = || Counted::Number { value: 0, hit: Hit { created: true, ..touched() } };
    for (line, counted, expected) in [
        ("ma k", number(), "HD\r\n"),
        ("ma k v q", number(), ""),
        ("ma k v", number(), "VA 3\r\n120\r\n"),
        ("ma k t T30 c v k", number(), "VA 3 t10 c99 kk\r\n120\r\n"),
        ("ma k T30 t O1", number(), "HD t30 O1\r\n"),
        ("ma k N30 t", number(), "HD t10\r\n"),
        ("ma k N30 t", created(), "HD t30\r\n"),
        ("ma k q k", Counted::NotFound, "NF kk\r\n"),
        ("ma k q O1 v", Counted::Exists, "EX O1\r\n"),
        (
            "ma k q",
            Counted::NotNumeric,
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        ),
        ("ma k", Counted::Refused(Refusal::NoMemory), "SERVER_ERROR out of memory\r\n"),
    ] {
        assert_eq!(answer(line, &Outcome::Counted(counted)), expected, "{line}");
    }
    let style = Style::Meta(MetaStyle::new(MetaCommand::Noop));
    assert_eq!(encode(style, &Outcome::Done), "MN\r\n");
}

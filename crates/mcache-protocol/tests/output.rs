//! The queue of answers: gathered, sent in any portions, taken back.

use mcache_base::Outgoing;
use mcache_base::limits::{VALUE_COPIED_MAX, VALUE_COPIED_UNPINNED_MAX};
use mcache_protocol::Output;

mod common;
use common::{FixturePin, UNPINNED, gathered, item, pending};

/// Two pins with bytes around them, and the same as plain bytes.
fn filled() -> (Output<FixturePin>, Vec<u8>) {
    let mut out = Output::default();
    let mut plain = Vec::new();
    for (head, len) in [("first ", VALUE_COPIED_MAX + 1), ("", VALUE_COPIED_MAX + 3), ("small", 2)]
    {
        let value: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        out.push(head.as_bytes());
        assert!(out.push_value(&item(b"k", &value)));
        plain.extend_from_slice(head.as_bytes());
        plain.extend_from_slice(&value);
    }
    out.push(b"\r\n");
    plain.extend_from_slice(b"\r\n");
    (out, plain)
}

#[test]
fn gathers_what_was_pushed() {
    let (out, plain) = filled();
    assert_eq!(pending(&out), plain);
    assert!(!Outgoing::is_empty(&out));
}

#[test]
fn goes_on_at_every_byte() {
    let (_, plain) = filled();
    // Every cut, but in the middle of the long values only some.
    for cut in (0..=plain.len()).filter(|at| at % 97 < 7 || plain.len() - at < 20) {
        let (mut out, _) = filled();
        out.advance(cut);
        assert_eq!(pending(&out), &plain[cut..], "cut at {cut}");
        out.advance(plain.len() - cut);
        assert!(Outgoing::is_empty(&out), "cut at {cut}");
    }
}

#[test]
fn few_slices_carry_everything_in_the_end() {
    for slots in 1..4 {
        let (mut out, plain) = filled();
        let mut sent = Vec::new();
        while !Outgoing::is_empty(&out) {
            let gathered = gathered(&out, slots);
            assert!(!gathered.is_empty());
            sent.extend_from_slice(&gathered);
            out.advance(gathered.len());
        }
        assert!(sent == plain, "{slots} slots");
    }
}

#[test]
fn takes_back_what_came_after_a_mark() {
    let mut out: Output<FixturePin> = Output::default();
    out.push(b"kept");
    let mark = out.mark();
    out.push(b"not kept");
    assert!(out.push_value(&item(b"k", &vec![0; VALUE_COPIED_MAX + 1])));
    out.rollback(mark);
    out.push(b"!");
    assert_eq!(pending(&out), b"kept!");
}

#[test]
fn an_answer_with_nothing_in_it_is_empty() {
    let mut out: Output<FixturePin> = Output::default();
    assert!(out.push_value(&item(b"k", b"")));
    assert!(Outgoing::is_empty(&out));
    assert_eq!(pending(&out), b"");
}

#[test]
fn what_cannot_be_pinned_is_copied_up_to_a_bound() {
    for (len, copied) in [(VALUE_COPIED_UNPINNED_MAX, true), (VALUE_COPIED_UNPINNED_MAX + 1, false)]
    {
        let mut out: Output<FixturePin> = Output::default();
        assert_eq!(out.push_value(&item(UNPINNED, &vec![0; len])), copied);
        assert_eq!(pending(&out).len(), if copied { len } else { 0 });
    }
}

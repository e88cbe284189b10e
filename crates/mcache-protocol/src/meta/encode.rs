//! Outcomes to meta lines.

use mcache_base::number::{Digits, parse_i32, push_u64};
use mcache_base::operation::{Counted, Deleted, Hit, Stored};
use mcache_base::{Expiry, Item, Now, Pin, slab_class};

use crate::outcome::{Outcome, WireError};
use crate::output::Output;
use crate::style::{MetaCommand, MetaStyle};
use crate::text::{Tokens, error};

use super::key;

/// Says `outcome` in meta.
///
/// The answer's flags stand in the order of the request's; those that nobody asked for (`Z`, `X`,
/// `W`) come last. Errors are said however quiet the peer wants it.
#[inline]
pub(crate) fn encode<I: Item>(
    style: &MetaStyle<'_>,
    outcome: &Outcome<I>,
    now: Now,
    out: &mut Output<I::Pin>,
) {
    match outcome {
        Outcome::Hit(hit) if style.command == MetaCommand::Inspect => {
            inspected(style, hit, now, out);
        }
        Outcome::Hit(hit) => found(style, hit, now, out),
        Outcome::Miss(_) => missed(style, out),
        Outcome::Stored(result) => stored(style, *result, out),
        Outcome::Deleted(Deleted::Deleted { .. }) if style.quiet => {}
        Outcome::Deleted(Deleted::Deleted { .. }) => echo(style, b"HD", out),
        Outcome::Deleted(Deleted::NotFound) => echo(style, b"NF", out),
        Outcome::Deleted(Deleted::Exists) => echo(style, b"EX", out),
        Outcome::Counted(counted) => count(style, counted, now, out),
        Outcome::Done => out.push(b"MN\r\n"),
        Outcome::Error(refusal) => error(*refusal, out),
        // Nothing else comes of a meta command.
        Outcome::Reset
        | Outcome::Version(_)
        | Outcome::Stats(_)
        | Outcome::Lines(_)
        | Outcome::Mechanisms(_)
        | Outcome::Challenge
        | Outcome::LoggedIn => {}
    }
}

/// The answer to mg that found something.
#[inline]
fn found<I: Item>(style: &MetaStyle<'_>, hit: &Hit<I>, now: Now, out: &mut Output<I::Pin>) {
    let item = &hit.item;
    let with_value = style.value && style.unless_cas != Some(item.cas());
    let mark = out.mark();
    let line = out.bytes();
    status(line, with_value.then_some(item.value_len()));
    let mut expiry = Walked::new(hit, now);
    for flag in Tokens::new(style.flags) {
        match flag.first() {
            Some(letter @ (b'T' | b'N')) => expiry.pass(*letter, flag),
            Some(b'c') => number(line, b'c', item.cas()),
            Some(b'f') => number(line, b'f', u64::from(item.flags())),
            Some(b'h') => number(line, b'h', u64::from(hit.before.fetched && !hit.created)),
            Some(b'l') => number(line, b'l', if hit.created { 0 } else { hit.before.idle_s }),
            Some(b's') => number(line, b's', item.value_len() as u64),
            Some(b't') => expiry.push(line),
            Some(b'k') => {
                line.extend_from_slice(b" k");
                if key::push(line, item, style.binary_key) {
                    line.extend_from_slice(b" b");
                }
            }
            Some(b'O') => opaque(line, flag),
            _ => {}
        }
    }
    for (said, flag) in [(hit.token_sent, b" Z"), (hit.stale, b" X"), (hit.won, b" W")] {
        if said {
            line.extend_from_slice(flag);
        }
    }
    line.extend_from_slice(b"\r\n");
    if with_value {
        if out.push_value(item) {
            out.push(b"\r\n");
        } else {
            out.rollback(mark);
            missed(style, out);
        }
    }
}

fn missed<P: Pin>(style: &MetaStyle<'_>, out: &mut Output<P>) {
    match style.command {
        MetaCommand::Inspect => out.push(b"EN\r\n"),
        _ if style.quiet => {}
        _ => echo(style, b"EN", out),
    }
}

/// The answer to ms.
fn stored<P: Pin>(style: &MetaStyle<'_>, stored: Stored, out: &mut Output<P>) {
    let (status, cas, len) = match stored {
        Stored::Stored { .. } if style.quiet => return,
        Stored::Stored { cas, value_len } => (b"HD", cas, value_len),
        Stored::NotStored => (b"NS", 0, style.data_len),
        Stored::Exists => (b"EX", 0, style.data_len),
        Stored::NotFound => (b"NF", 0, style.data_len),
        Stored::Refused(refusal) => return error(refusal.into(), out),
    };
    let line = out.bytes();
    line.extend_from_slice(status);
    for flag in Tokens::new(style.flags) {
        match flag.first() {
            Some(b'c') => number(line, b'c', cas),
            Some(b's') => number(line, b's', len as u64),
            _ => echoed(line, style, flag),
        }
    }
    line.extend_from_slice(b"\r\n");
}

/// The answer to ma.
fn count<I: Item>(style: &MetaStyle<'_>, counted: &Counted<I>, now: Now, out: &mut Output<I::Pin>) {
    let (value, hit) = match counted {
        Counted::Number { .. } if style.quiet => return,
        Counted::Number { value, hit } => (*value, hit),
        Counted::NotFound => return echo(style, b"NF", out),
        Counted::Exists => return echo(style, b"EX", out),
        Counted::NotNumeric => return error(WireError::NotNumeric, out),
        Counted::Refused(_) => return error(WireError::OutOfMemory, out),
    };
    let digits = Digits::new(value);
    let line = out.bytes();
    status(line, style.value.then_some(digits.as_bytes().len()));
    let mut expiry = Walked::new(hit, now);
    for flag in Tokens::new(style.flags) {
        match flag.first() {
            Some(letter @ (b'T' | b'N')) => expiry.pass(*letter, flag),
            Some(b'c') => number(line, b'c', hit.item.cas()),
            Some(b't') => expiry.push(line),
            _ => echoed(line, style, flag),
        }
    }
    line.extend_from_slice(b"\r\n");
    if style.value {
        line.extend_from_slice(digits.as_bytes());
        line.extend_from_slice(b"\r\n");
    }
}

/// The answer to me: everything about an item but its value.
fn inspected<I: Item>(style: &MetaStyle<'_>, hit: &Hit<I>, now: Now, out: &mut Output<I::Pin>) {
    let item = &hit.item;
    let line = out.bytes();
    line.extend_from_slice(b"ME ");
    key::push(line, item, style.binary_key);
    line.extend_from_slice(b" exp=");
    seconds_left(line, item.expiry(), now);
    line.extend_from_slice(b" la=");
    push_u64(line, hit.before.idle_s);
    line.extend_from_slice(b" cas=");
    push_u64(line, item.cas());
    line.extend_from_slice(b" fetch=");
    line.extend_from_slice(if hit.before.fetched { b"yes" } else { b"no" });
    line.extend_from_slice(b" cls=");
    push_u64(line, slab_class::of(item.footprint()) as u64);
    line.extend_from_slice(b" size=");
    push_u64(line, item.footprint() as u64);
    line.extend_from_slice(b"\r\n");
}

/// An answer that carries nothing but what the request said.
fn echo<P: Pin>(style: &MetaStyle<'_>, status: &[u8; 2], out: &mut Output<P>) {
    let line = out.bytes();
    line.extend_from_slice(status);
    for flag in Tokens::new(style.flags) {
        echoed(line, style, flag);
    }
    line.extend_from_slice(b"\r\n");
}

/// A flag that is answered from the request alone, if this is one.
fn echoed(line: &mut Vec<u8>, style: &MetaStyle<'_>, flag: &[u8]) {
    match flag.first() {
        Some(b'O') => opaque(line, flag),
        Some(b'k') => {
            line.extend_from_slice(b" k");
            line.extend_from_slice(style.key);
            if style.binary_key {
                line.extend_from_slice(b" b");
            }
        }
        _ => {}
    }
}

/// `VA <size>` if there is a value to come, else `HD`.
#[inline]
fn status(line: &mut Vec<u8>, size: Option<usize>) {
    match size {
        Some(size) => {
            line.extend_from_slice(b"VA ");
            push_u64(line, size as u64);
        }
        None => line.extend_from_slice(b"HD"),
    }
}

#[inline]
fn number(line: &mut Vec<u8>, letter: u8, number: u64) {
    line.extend_from_slice(&[b' ', letter]);
    push_u64(line, number);
}

fn opaque(line: &mut Vec<u8>, flag: &[u8]) {
    line.push(b' ');
    line.extend_from_slice(flag);
}

/// An item's deadline as the flags before this one have made it: `t` before `T` is the old
/// deadline, `T` before `t` the new one.
struct Walked {
    expiry: Expiry,
    created: bool,
    now: Now,
}

impl Walked {
    /// Before the first flag. A created item has no deadline until `N` or `T` gives it one.
    fn new<I>(hit: &Hit<I>, now: Now) -> Self {
        let expiry = if hit.created { Expiry::Never } else { hit.before.expiry };
        Self { expiry, created: hit.created, now }
    }

    /// Passes `T` or `N`.
    fn pass(&mut self, letter: u8, flag: &[u8]) {
        let exptime = flag.get(1..).and_then(parse_i32);
        if let Some(exptime) = exptime.filter(|_| letter == b'T' || self.created) {
            self.expiry = Expiry::from_exptime(exptime.into(), self.now);
        }
    }

    /// Flag `t`.
    fn push(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b" t");
        seconds_left(line, self.expiry, self.now);
    }
}

/// Seconds until `expiry`, or -1 for never.
fn seconds_left(line: &mut Vec<u8>, expiry: Expiry, now: Now) {
    match expiry.seconds_left(now) {
        Some(seconds) => push_u64(line, seconds),
        None => line.extend_from_slice(b"-1"),
    }
}

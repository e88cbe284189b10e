//! Outcomes to lines.

use mcache_base::limits::VALUE_COPIED_MAX;
use mcache_base::number::{U64_DIGITS_MAX, push_u64, push_u64_and};
use mcache_base::operation::{Counted, Deleted, Stored};
use mcache_base::{Item, Pin};

use crate::outcome::{Outcome, StatLine, WireError};
use crate::output::Output;
use crate::style::{TextHit, TextStyle};

/// Most bytes of a found item's answer beside key and value.
const BESIDE_MAX: usize = b"VALUE    \r\n\r\nEND\r\n".len() + 3 * U64_DIGITS_MAX;

/// Says `outcome` in classic text.
#[inline]
pub fn encode<I: Item>(style: TextStyle, outcome: &Outcome<I>, out: &mut Output<I::Pin>) {
    if style.noreply {
        return;
    }
    match (outcome, style.hit) {
        (Outcome::Hit(hit), TextHit::Value { with_cas, last }) => {
            value(&hit.item, with_cas, last, out);
        }
        (Outcome::Miss(_) | Outcome::Done, TextHit::Value { last, .. }) => no_value(last, out),
        (Outcome::Hit(_), TextHit::Touched) => out.push(b"TOUCHED\r\n"),
        (Outcome::Miss(_), TextHit::Touched) => out.push(b"NOT_FOUND\r\n"),
        (Outcome::Stored(stored), _) => store(*stored, out),
        (Outcome::Deleted(deleted), _) => out.push(deleted_line(*deleted)),
        (Outcome::Counted(counted), _) => count(counted, out),
        (Outcome::Done, TextHit::Touched) => out.push(b"OK\r\n"),
        (rare, _) => report(rare, out),
    }
}

/// Says what came of a plain get.
#[inline]
pub fn encode_get<I: Item>(style: TextStyle, item: Option<&I>, out: &mut Output<I::Pin>) {
    match (style.hit, item) {
        (TextHit::Value { with_cas, last }, Some(item)) => value(item, with_cas, last, out),
        (TextHit::Value { last, .. }, None) => no_value(last, out),
        (TextHit::Touched, _) => {}
    }
}

/// `VALUE <key> <flags> <bytes>[ <cas unique>]`, the data block, and `END` if it is the last.
#[inline(always)] // the item stays where it is
fn value<I: Item>(item: &I, with_cas: bool, last: bool, out: &mut Output<I::Pin>) {
    let mark = out.mark();
    let (key, value_len) = (item.key(), item.value_len());
    let line = out.bytes();
    line.reserve(key.len() + value_len.min(VALUE_COPIED_MAX) + BESIDE_MAX);
    line.extend_from_slice(b"VALUE ");
    line.extend_from_slice(key);
    match item.flags() {
        0 => line.extend_from_slice(b" 0 "),
        flags => {
            line.push(b' ');
            push_u64(line, u64::from(flags));
            line.push(b' ');
        }
    }
    if with_cas {
        push_u64(line, value_len as u64);
        line.push(b' ');
        push_u64_and(line, item.cas(), *b"\r\n");
    } else {
        push_u64_and(line, value_len as u64, *b"\r\n");
    }
    if out.push_value(item) {
        out.push(if last { b"\r\nEND\r\n" } else { b"\r\n" });
        return;
    }
    out.rollback(mark);
    no_value(last, out);
}

/// Nothing, and `END` if it is the last.
#[inline]
fn no_value<P: Pin>(last: bool, out: &mut Output<P>) {
    if last {
        out.push(b"END\r\n");
    }
}

#[inline]
fn store<P: Pin>(stored: Stored, out: &mut Output<P>) {
    match stored {
        Stored::Stored { .. } => out.push(b"STORED\r\n"),
        Stored::NotStored => out.push(b"NOT_STORED\r\n"),
        Stored::Exists => out.push(b"EXISTS\r\n"),
        Stored::NotFound => out.push(b"NOT_FOUND\r\n"),
        Stored::Refused(refusal) => error(refusal.into(), out),
    }
}

fn deleted_line(deleted: Deleted) -> &'static [u8] {
    match deleted {
        Deleted::Deleted { .. } => b"DELETED\r\n",
        Deleted::NotFound => b"NOT_FOUND\r\n",
        Deleted::Exists => b"EXISTS\r\n",
    }
}

fn count<I: Item>(counted: &Counted<I>, out: &mut Output<I::Pin>) {
    match counted {
        Counted::Number { value, .. } => {
            push_u64(out.bytes(), *value);
            out.push(b"\r\n");
        }
        Counted::NotFound => out.push(b"NOT_FOUND\r\n"),
        Counted::Exists => out.push(b"EXISTS\r\n"),
        Counted::NotNumeric => error(WireError::NotNumeric, out),
        Counted::Refused(_) => error(WireError::OutOfMemory, out),
    }
}

/// The answers that are not on the straight path.
#[cold]
fn report<I: Item>(outcome: &Outcome<I>, out: &mut Output<I::Pin>) {
    match outcome {
        Outcome::Reset => out.push(b"RESET\r\n"),
        Outcome::Version(level) => {
            out.push(b"VERSION ");
            out.push(level.as_bytes());
            out.push(b"\r\n");
        }
        Outcome::Stats(lines) => stats(lines, out),
        Outcome::LoggedIn => out.push(b"STORED\r\n"),
        Outcome::Lines(lines) => out.push(lines),
        Outcome::Error(refusal) => error(*refusal, out),
        _ => {}
    }
}

/// `STAT <name> <value>` lines, then `END`.
fn stats<P: Pin>(lines: &[StatLine], out: &mut Output<P>) {
    for line in lines {
        out.push(b"STAT ");
        out.push(line.name.as_bytes());
        out.push(b" ");
        out.push(line.value.as_bytes());
        out.push(b"\r\n");
    }
    out.push(b"END\r\n");
}

/// An error's line, the same in classic text and meta.
#[cold]
pub(crate) fn error<P: Pin>(error: WireError, out: &mut Output<P>) {
    out.push(error.text().as_bytes());
    out.push(b"\r\n");
}

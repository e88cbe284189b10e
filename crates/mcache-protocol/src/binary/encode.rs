//! Outcomes to frames.

use mcache_base::Item;
use mcache_base::operation::{Counted, Deleted, Refusal, StoreMode, Stored};

use crate::outcome::{Outcome, StatLine, WireError};
use crate::output::Output;
use crate::style::BinaryStyle;
use crate::verbs::{self, Operation};

use super::header::{AnswerHeader, HEADER_LEN};
use super::status;

/// Bytes of the client flags before a value.
const FLAGS_LEN: usize = 4;

/// The key under which `stats detail dump` comes.
const DETAIL_KEY: &str = "detailed";

/// Says `outcome` in frames.
#[inline]
pub fn encode<I: Item>(style: &BinaryStyle<'_>, outcome: &Outcome<I>, out: &mut Output<I::Pin>) {
    match outcome {
        Outcome::Hit(hit) => push_item(style, &hit.item, out),
        Outcome::Stored(Stored::Stored { cas, .. }) => push_done(style, *cas, b"", out.bytes()),
        Outcome::Counted(Counted::Number { value, hit }) => {
            push_done(style, hit.item.cas(), &value.to_be_bytes(), out.bytes());
        }
        Outcome::Deleted(Deleted::Deleted { .. }) | Outcome::Done | Outcome::Reset => {
            push_done(style, 0, b"", out.bytes());
        }
        Outcome::Version(version) => push_done(style, 0, version.as_bytes(), out.bytes()),
        Outcome::Mechanisms(names) => push_done(style, 0, names.as_bytes(), out.bytes()),
        Outcome::LoggedIn => push_done(style, 0, b"Authenticated", out.bytes()),
        Outcome::Challenge => push_status(style, status::AUTH_CONTINUE, out.bytes()),
        Outcome::Miss(_) => push_miss(style, out.bytes()),
        Outcome::Stored(stored) => push_not_stored(style, *stored, out.bytes()),
        Outcome::Deleted(Deleted::NotFound) | Outcome::Counted(Counted::NotFound) => {
            push_status(style, status::NOT_FOUND, out.bytes());
        }
        Outcome::Deleted(Deleted::Exists) | Outcome::Counted(Counted::Exists) => {
            push_status(style, status::EXISTS, out.bytes());
        }
        Outcome::Counted(Counted::NotNumeric) => {
            push_error(style, WireError::NotNumeric, out.bytes());
        }
        Outcome::Counted(Counted::Refused(refusal)) => {
            push_refusal(style, *refusal, "Out of memory incrementing value", out.bytes());
        }
        Outcome::Stats(lines) => push_report(style, lines, out.bytes()),
        Outcome::Lines(lines) => push_detail(style, lines, out.bytes()),
        Outcome::Error(error) => push_error(style, *error, out.bytes()),
    }
}

/// Says what came of a get.
#[inline]
pub fn encode_get<I: Item>(style: &BinaryStyle<'_>, item: Option<&I>, out: &mut Output<I::Pin>) {
    match item {
        Some(item) => push_item(style, item, out),
        None => push_miss(style, out.bytes()),
    }
}

/// A found item: flags, key if wanted, value if wanted. Quiet forms keep quiet about misses.
#[inline]
fn push_item<I: Item>(style: &BinaryStyle<'_>, item: &I, out: &mut Output<I::Pin>) {
    let key = style.key.unwrap_or_default();
    let header = AnswerHeader {
        extras_len: FLAGS_LEN,
        key_len: key.len(),
        value_len: if style.without_value { 0 } else { item.value_len() },
        cas: item.cas(),
        ..echo(style)
    };
    let mark = out.mark();
    let mut front = [0; HEADER_LEN + FLAGS_LEN];
    let (head, flags) = front.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header.to_bytes());
    flags.copy_from_slice(&item.flags().to_be_bytes());
    out.push(&front);
    if !key.is_empty() {
        out.push(key);
    }
    if !style.without_value && !out.push_value(item) {
        out.rollback(mark);
        push_miss(style, out.bytes());
    }
}

/// A miss is told by its status and "Not found", or the key where the key is wanted.
fn push_miss(style: &BinaryStyle<'_>, out: &mut Vec<u8>) {
    if style.quiet {
        return;
    }
    let Some(key) = style.key else {
        return push_status(style, status::NOT_FOUND, out);
    };
    let header = AnswerHeader { status: status::NOT_FOUND, key_len: key.len(), ..echo(style) };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(key);
}

/// Success, which quiet forms keep quiet about.
#[inline]
fn push_done(style: &BinaryStyle<'_>, cas: u64, value: &[u8], out: &mut Vec<u8>) {
    if style.quiet {
        return;
    }
    let header = AnswerHeader { value_len: value.len(), cas, ..echo(style) };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(value);
}

/// Why a store did not happen. What an unfulfilled condition is called depends on the condition.
fn push_not_stored(style: &BinaryStyle<'_>, stored: Stored, out: &mut Vec<u8>) {
    let status = match stored {
        Stored::Exists => status::EXISTS,
        Stored::NotFound => status::NOT_FOUND,
        Stored::Refused(refusal) => {
            return push_refusal(style, refusal, "Out of memory allocating item", out);
        }
        Stored::NotStored | Stored::Stored { .. } => {
            match verbs::by_opcode(style.opcode).map(|(verb, _)| verb.operation) {
                Some(Operation::Store(StoreMode::Add)) => status::EXISTS,
                Some(Operation::Store(StoreMode::Replace)) => status::NOT_FOUND,
                _ => status::NOT_STORED,
            }
        }
    };
    push_status(style, status, out);
}

fn push_refusal(style: &BinaryStyle<'_>, refusal: Refusal, no_memory: &str, out: &mut Vec<u8>) {
    match refusal {
        Refusal::TooLarge => push_error(style, WireError::TooLarge, out),
        Refusal::NoMemory => push_no(style, WireError::NoMemory.status(), no_memory, out),
    }
}

/// A report: a frame for every line, then an empty one.
fn push_report(style: &BinaryStyle<'_>, lines: &[StatLine], out: &mut Vec<u8>) {
    for line in lines {
        push_pair(style, &line.name, line.value.as_bytes(), out);
    }
    push_pair(style, "", b"", out);
}

/// The one report that is not made of pairs comes as a pair nevertheless.
fn push_detail(style: &BinaryStyle<'_>, lines: &[u8], out: &mut Vec<u8>) {
    push_pair(style, DETAIL_KEY, lines, out);
    push_pair(style, "", b"", out);
}

fn push_pair(style: &BinaryStyle<'_>, key: &str, value: &[u8], out: &mut Vec<u8>) {
    let header = AnswerHeader { key_len: key.len(), value_len: value.len(), ..echo(style) };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(value);
}

fn push_error(style: &BinaryStyle<'_>, error: WireError, out: &mut Vec<u8>) {
    push_status(style, error.status(), out);
}

fn push_status(style: &BinaryStyle<'_>, status: u16, out: &mut Vec<u8>) {
    push_no(style, status, status::text(status), out);
}

/// An answer that says "no" is sent whether the form is quiet or not.
fn push_no(style: &BinaryStyle<'_>, status: u16, text: &str, out: &mut Vec<u8>) {
    let header = AnswerHeader { status, value_len: text.len(), ..echo(style) };
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(text.as_bytes());
}

#[inline]
fn echo(style: &BinaryStyle<'_>) -> AnswerHeader {
    AnswerHeader { opcode: style.opcode, opaque: style.opaque, ..AnswerHeader::default() }
}

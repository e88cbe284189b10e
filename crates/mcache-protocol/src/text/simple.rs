//! The commands of one line: `delete`, `incr`, `decr`, `touch` and the ones without a key.

use mcache_base::limits::KEY_MAX;
use mcache_base::number::{parse_i32, parse_u32, parse_u64};
use mcache_base::operation::{Count, Delete, Fetch};

use crate::decoded::Decoded;
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::TextStyle;
use crate::verbs::{Operation, Shape, Verb};

use super::line::{Line, Tokens, trim_end};
use super::refuse::refused_unless;

/// The highest verbosity there is.
const VERBOSITY_MAX: u32 = 2;

/// Decodes a line whose verb is neither a key list nor a store. `rest` follows the word.
pub(super) fn decode<'b>(verb: &Verb, line: Line<'b>, rest: &'b [u8]) -> Decoded<'b> {
    let tokens = Tokens::new(rest);
    let mut noreply = line.is_noreply();
    let request = match verb.shape {
        Shape::Key => delete(tokens, noreply),
        Shape::KeyDelta => count(tokens, verb.operation),
        Shape::KeyExptime => touch(tokens),
        Shape::Exptime => flush_all(tokens, noreply),
        Shape::Prefix => flush_group(tokens),
        Shape::Level => verbosity(tokens),
        _ => {
            noreply &= verb.shape == Shape::WordsNoreply;
            Ok(words(verb.operation, tokens.rest(), noreply))
        }
    };
    match request {
        Ok(request) => {
            let style = TextStyle { noreply, ..TextStyle::default() };
            Decoded::Request { request, style: style.into(), size: line.size }
        }
        // A line that is too short to be understood is answered even if its end says noreply.
        Err(Mistake::TooShort) => refused_unless(false, WireError::BadFormat, line),
        Err(Mistake::Bad(error)) => refused_unless(noreply, error, line),
    }
}

/// A line whose word is no command.
#[cold]
pub(super) fn unknown<'b>(line: Line<'b>) -> Decoded<'b> {
    let last = Tokens::new(line.text).skip(1).last();
    if last.is_some_and(|last| last.starts_with(b"HTTP/")) {
        return Decoded::Close;
    }
    refused_unless(line.is_noreply(), WireError::UnknownCommand, line)
}

/// What is wrong with a line.
enum Mistake {
    /// Tokens are missing.
    TooShort,
    /// A token is bad.
    Bad(WireError),
}

type Understood<'b> = Result<Request<'b>, Mistake>;

/// `<key> [<time>] [noreply]`: old clients send a time, which means nothing.
fn delete<'b>(mut tokens: Tokens<'b>, noreply: bool) -> Understood<'b> {
    let key = key(&mut tokens, 0)?;
    let more = tokens.count();
    if more > 1 + usize::from(noreply) {
        return Err(Mistake::Bad(WireError::DeleteUsage));
    }
    Ok(Request::Delete { key, delete: Delete::default() })
}

/// `<key> <delta> [noreply]`
fn count<'b>(mut tokens: Tokens<'b>, operation: Operation) -> Understood<'b> {
    let key = key(&mut tokens, 1)?;
    let delta = number(&mut tokens, parse_u64, WireError::BadDelta)?;
    let down = operation == Operation::Count { down: true };
    Ok(Request::Count { key, count: Count { delta, down, ..Count::default() } })
}

/// `<key> <exptime> [noreply]`
fn touch<'b>(mut tokens: Tokens<'b>) -> Understood<'b> {
    let key = key(&mut tokens, 1)?;
    let exptime = number(&mut tokens, parse_i32, WireError::BadExptime)?;
    Ok(Request::Fetch { key, fetch: Fetch { touch: Some(exptime.into()), ..Fetch::default() } })
}

/// `[<exptime>] [noreply]`
fn flush_all<'b>(mut tokens: Tokens<'b>, noreply: bool) -> Understood<'b> {
    if tokens.count() == usize::from(noreply) {
        return Ok(Request::FlushAll { delay: 0 });
    }
    let delay = number(&mut tokens, parse_i32, WireError::BadExptime)?;
    Ok(Request::FlushAll { delay: delay.into() })
}

/// `<prefix> [noreply]`
fn flush_group<'b>(mut tokens: Tokens<'b>) -> Understood<'b> {
    Ok(Request::FlushGroup { prefix: key(&mut tokens, 0)? })
}

/// `<level> [noreply]`
fn verbosity<'b>(mut tokens: Tokens<'b>) -> Understood<'b> {
    let level = number(&mut tokens, parse_u32, WireError::BadFormat)?;
    Ok(Request::Verbosity { level: level.min(VERBOSITY_MAX) })
}

/// Commands whose words somebody else understands. They get them without `noreply`.
fn words(operation: Operation, rest: &[u8], noreply: bool) -> Request<'_> {
    let args = trim_end(rest);
    let args = if noreply { trim_end(args.strip_suffix(b"noreply").unwrap_or(args)) } else { args };
    match operation {
        Operation::Stats => Request::Stats { args },
        Operation::Watch => Request::Watch { args },
        Operation::Admin(verb) => Request::Admin { verb, args },
        Operation::Version => Request::Version,
        Operation::Quit => Request::Quit,
        _ => Request::Noop,
    }
}

/// A key with at least `more` tokens behind it.
fn key<'b>(tokens: &mut Tokens<'b>, more: usize) -> Result<&'b [u8], Mistake> {
    let key = tokens.next().ok_or(Mistake::TooShort)?;
    if (*tokens).take(more).count() < more {
        return Err(Mistake::TooShort);
    }
    if key.len() > KEY_MAX { Err(Mistake::Bad(WireError::BadFormat)) } else { Ok(key) }
}

/// A number, or else `error`.
fn number<T>(
    tokens: &mut Tokens<'_>,
    parse: fn(&[u8]) -> Option<T>,
    error: WireError,
) -> Result<T, Mistake> {
    tokens.next().and_then(parse).ok_or(Mistake::Bad(error))
}

//! Key lists: `get`, `gets`, `gat`, `gats`. One fetch per key, the last of them marked.
//!
//! A whole line is checked before its first key is handed out, so that a bad key anywhere is the
//! only answer. A list longer than a line may be is handed out as it arrives: then the answer
//! may already have begun, and the session takes back what it still can.

use mcache_base::limits::KEY_MAX;
use mcache_base::number::parse_i32;
use mcache_base::operation::Fetch;
use memchr::{memchr2, memrchr};

use crate::ahead::PlainGet;
use crate::decoded::{Decoded, Resume};
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::TextStyle;

use super::line::{Line, Tokens, trim_start};
use super::refuse::{refused, silent};
use super::state::{List, State};

/// Hands out the first key of a whole line; the keys are in `rest`.
#[inline]
pub(super) fn begin<'b>(
    state: &mut State,
    list: List,
    line: Line<'b>,
    rest: &'b [u8],
    input: &'b [u8],
) -> Decoded<'b> {
    if has_long_word(rest) {
        return refused(WireError::BadFormat, line);
    }
    next(state, list, input, line.text.len() - rest.len())
}

/// Whether a word is longer than a key may be. Looks at the ends of what that long a word would
/// have to span, so at few of many short words.
#[inline]
fn has_long_word(mut text: &[u8]) -> bool {
    while let Some(span) = text.get(..=KEY_MAX) {
        let Some(space) = memrchr(b' ', span) else { return true };
        text = text.get(space + 1..).unwrap_or_default();
    }
    false
}

/// Hands out the first key of a whole line that gives an exptime first.
pub(super) fn begin_with_exptime<'b>(
    state: &mut State,
    with_cas: bool,
    line: Line<'b>,
    rest: &'b [u8],
    input: &'b [u8],
) -> Decoded<'b> {
    let mut tokens = Tokens::new(rest);
    let exptime = tokens.next().unwrap_or_default();
    if tokens.rest().is_empty() {
        return refused(WireError::BadFormat, line);
    }
    let Some(exptime) = parse_i32(exptime) else {
        return refused(WireError::BadExptime, line);
    };
    begin(state, List::new(with_cas, Some(i64::from(exptime))), line, tokens.rest(), input)
}

/// Hands out the next key. `input` belongs to the list from `from` on; what lies before is part
/// of the request.
///
/// The answer is NeedMore only while a key or a line end is cut short, so a list of any length
/// needs no more room than a key.
#[inline]
pub(super) fn next<'b>(state: &mut State, list: List, input: &'b [u8], from: usize) -> Decoded<'b> {
    *state = State::Line;
    let tail = trim_start(input.get(from..).unwrap_or_default());
    let key_from = input.len() - tail.len();
    match line_end(tail) {
        LineEnd::Absent => {}
        LineEnd::Here(size) => return end(list, key_from + size),
        LineEnd::Unknown => return wait(state, list, key_from),
    }
    let Some(stop) = memchr2(b' ', b'\n', tail) else {
        if tail.len() > KEY_MAX + b"\r".len() {
            return state.refuse_rest_of_line(WireError::BadFormat, input);
        }
        return wait(state, list, key_from);
    };
    let (key, after) = tail.split_at(stop);
    let ended = after.first() == Some(&b'\n');
    let key = if ended { key.strip_suffix(b"\r").unwrap_or(key) } else { key };
    if key.len() > KEY_MAX {
        return state.refuse_rest_of_line(WireError::BadFormat, input);
    }
    // Behind the key: the end of the line, or spaces and more.
    let behind = trim_start(after);
    let (last, left) = match line_end(behind) {
        LineEnd::Here(size) => (true, behind.len() - size),
        LineEnd::Absent | LineEnd::Unknown => (false, behind.len()),
    };
    if !last {
        *state = State::Keys(list.begun());
    }
    let fetch = Fetch { touch: list.touch, ..Fetch::default() };
    Decoded::Request {
        request: Request::Fetch { key, fetch },
        style: list.style(last).into(),
        size: input.len() - left,
    }
}

/// Steps over a key that was told ahead, if it is the next one. Returns how to answer it.
#[inline]
pub(super) fn step_over(state: &mut State, get: &PlainGet) -> Option<TextStyle> {
    let list = match *state {
        State::Line if get.begins => List::new(get.with_cas, None),
        State::Keys(list) if !get.begins && list.touch.is_none() => list,
        _ => return None,
    };
    *state = if get.last { State::Line } else { State::Keys(list.begun()) };
    Some(list.style(get.last))
}

/// The line ended where a key could have been.
#[cold]
fn end<'b>(list: List, size: usize) -> Decoded<'b> {
    if list.begun {
        // Done, in the style of a list that ends here: the bare `END`.
        return Decoded::Request { request: Request::Noop, style: list.style(true).into(), size };
    }
    let style = TextStyle::default().into();
    Decoded::Refused { error: WireError::BadFormat, style, size, resume: Resume::AT_ONCE }
}

/// The list goes on, but not in `input`: everything before `size` is done with.
#[cold]
fn wait<'b>(state: &mut State, list: List, size: usize) -> Decoded<'b> {
    *state = State::Keys(list);
    if size == 0 { Decoded::NeedMore } else { silent(size) }
}

enum LineEnd {
    /// There is something else.
    Absent,
    /// It is here and takes so many bytes.
    Here(usize),
    /// The bytes end too early to tell.
    Unknown,
}

#[inline]
fn line_end(text: &[u8]) -> LineEnd {
    match text {
        [b'\n', ..] => LineEnd::Here(1),
        [b'\r', b'\n', ..] => LineEnd::Here(2),
        [] | [b'\r'] => LineEnd::Unknown,
        _ => LineEnd::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_found_wherever_it_stands() {
        for before in [0, 1, 2, 249, 250, 251, 600] {
            for len in [1, 2, 125, 249, 250, 251, 252, 502] {
                for behind in [0, 1, 250, 300] {
                    let fill = |len: usize| "ab  c ".repeat(len).split_off(5 * len);
                    let word = "k".repeat(len);
                    let text = [&fill(before), " ", &word, " ", &fill(behind)].concat();
                    for text in [text.as_bytes(), text.trim_ascii().as_bytes(), word.as_bytes()] {
                        let expected = Tokens::new(text).any(|it| it.len() > KEY_MAX);
                        assert_eq!(has_long_word(text), expected, "{before} {len} {behind}");
                    }
                }
            }
        }
    }
}

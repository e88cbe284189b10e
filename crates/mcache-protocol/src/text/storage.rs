//! `set`, `add`, `replace`, `append`, `prepend`, `cas`: a line and a block of data.

use mcache_base::limits::{KEY_MAX, VALUE_LEN_MAX};
use mcache_base::number::{parse_i64, parse_u64};
use mcache_base::operation::{Store, StoreMode};

use crate::decoded::Decoded;
use crate::outcome::WireError;
use crate::style::TextStyle;

use super::line::{Line, Tokens};
use super::refuse::{refused_with_block, refused_with_unknown};

/// Bytes of line end behind a data block.
pub(crate) const BLOCK_END: usize = b"\r\n".len();

/// Decodes `<key> <flags> <exptime> <bytes> [<cas unique>] [noreply]`.
///
/// While the length is unknown, nobody can tell where the next command begins; from then on a
/// mistake costs the peer this command only, and `noreply` keeps even that quiet.
#[inline]
pub(super) fn decode<'b>(
    line: Line<'b>,
    rest: &'b [u8],
    mode: StoreMode,
    compare: bool,
) -> Decoded<'b> {
    let mut tokens = Tokens::new(rest);
    let head = (tokens.next(), tokens.next(), tokens.next(), tokens.next());
    let (Some(key), Some(flags), Some(exptime), Some(bytes)) = head else {
        return refused_with_unknown(line);
    };
    let Some(body) = body_len(bytes) else {
        return refused_with_unknown(line);
    };
    let unique = tokens.rest();
    let noreply = !unique.is_empty() && line.is_noreply();

    let compare = match compare {
        true => tokens.next().and_then(parse_u64).map(Some),
        false => Some(None),
    };
    let (Some(flags), Some(exptime), Some(compare)) = (low_u32(flags), low_i32(exptime), compare)
    else {
        return refused_with_block(noreply, WireError::BadFormat, line, body);
    };
    if key.len() > KEY_MAX {
        return refused_with_block(noreply, WireError::BadFormat, line, body);
    }
    Decoded::Body {
        key,
        store: Store { mode, flags, exptime, compare, ..Store::default() },
        style: TextStyle { noreply, ..TextStyle::default() }.into(),
        head: line.size,
        body,
        tail: BLOCK_END,
    }
}

/// The length of a data block, 0 to [`VALUE_LEN_MAX`].
#[inline]
pub(crate) fn body_len(text: &[u8]) -> Option<usize> {
    let len = parse_u64(text).or_else(|| minus_zero(text)).filter(|len| *len <= VALUE_LEN_MAX)?;
    usize::try_from(len).ok()
}

/// Client flags: like memcached, the low 32 bits of what is written.
#[inline]
fn low_u32(text: &[u8]) -> Option<u32> {
    let number = parse_u64(without_plus(text)).or_else(|| minus_zero(text))?;
    Some(number as u32)
}

/// A zero with a sign, which memcached takes.
#[cold]
fn minus_zero(text: &[u8]) -> Option<u64> {
    parse_i64(text).filter(|number| *number == 0).map(|_| 0)
}

/// An exptime: like memcached, the low 32 bits of what is written, as a signed number.
#[inline]
fn low_i32(text: &[u8]) -> Option<i64> {
    parse_i64(without_plus(text)).map(|number| i64::from(number as i32))
}

/// memcached reads these two numbers with another function than all others: it takes a plus sign.
#[inline]
fn without_plus(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"+").unwrap_or(text)
}

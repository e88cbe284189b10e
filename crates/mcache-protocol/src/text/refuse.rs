//! What is said to lines that cannot be requests.

use crate::decoded::Decoded;
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::{Style, TextStyle};

use super::line::Line;

/// A request that does nothing and is not answered: `size` bytes that mean nothing.
pub(super) fn silent<'b>(size: usize) -> Decoded<'b> {
    let style = TextStyle { noreply: true, ..TextStyle::default() };
    Decoded::Request { request: Request::Noop, style: style.into(), size }
}

/// Refuses a line that carries no data.
#[cold]
pub(super) fn refused<'b>(error: WireError, line: Line<'b>) -> Decoded<'b> {
    refused_unless(false, error, line, 0)
}

/// Refuses a line and the `swallow` bytes of data behind it, saying nothing if `noreply`.
#[cold]
pub(crate) fn refused_unless<'b>(
    noreply: bool,
    error: WireError,
    line: Line<'b>,
    swallow: u64,
) -> Decoded<'b> {
    let style = Style::Text(TextStyle { noreply, ..TextStyle::default() });
    Decoded::Refused { error, style, size: line.size, swallow, close: false }
}

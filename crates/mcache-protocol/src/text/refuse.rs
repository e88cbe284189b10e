//! What is said to lines that cannot be requests.

use crate::decoded::{Decoded, Resume};
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::{Style, TextStyle};

use super::line::Line;
use super::storage::BLOCK_END;

/// A request that does nothing and is not answered: `size` bytes that mean nothing.
pub(super) fn silent<'b>(size: usize) -> Decoded<'b> {
    let style = TextStyle { noreply: true, ..TextStyle::default() };
    Decoded::Request { request: Request::Noop, style: style.into(), size }
}

/// Refuses a line that carries no data.
#[cold]
pub(super) fn refused<'b>(error: WireError, line: Line<'b>) -> Decoded<'b> {
    refused_unless(false, error, line)
}

/// Refuses a line that carries no data, saying nothing if `noreply`.
#[cold]
pub(crate) fn refused_unless<'b>(noreply: bool, error: WireError, line: Line<'b>) -> Decoded<'b> {
    refuse(noreply, error, line, Resume::AT_ONCE)
}

/// Refuses a line and the block of data behind it, saying nothing if `noreply`.
#[cold]
pub(crate) fn refused_with_block<'b>(
    noreply: bool,
    error: WireError,
    line: Line<'b>,
    body: usize,
) -> Decoded<'b> {
    refuse(noreply, error, line, Resume::Behind { body: body as u64, tail: BLOCK_END })
}

/// Refuses a line and a block of data whose length it does not tell.
#[cold]
pub(crate) fn refused_with_unknown<'b>(line: Line<'b>) -> Decoded<'b> {
    refuse(false, WireError::BadFormat, line, Resume::Anew)
}

fn refuse<'b>(noreply: bool, error: WireError, line: Line<'b>, resume: Resume) -> Decoded<'b> {
    let style = Style::Text(TextStyle { noreply, ..TextStyle::default() });
    Decoded::Refused { error, style, size: line.size, resume }
}

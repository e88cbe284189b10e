//! Lines to requests: where in the conversation the peer is, and which command a line is.

use mcache_base::limits::LINE_MAX;

use crate::ahead::PlainGet;
use crate::codec::{Decoded, KeyScratch};
use crate::meta;
use crate::outcome::WireError;
use crate::request::Request;
use crate::style::{Style, TextStyle};
use crate::verbs::{Operation, Shape, Verb, by_word};

use super::keys::{self, List};
use super::line::{Line, trim_start};
use super::{simple, storage};

/// Shortest line that is looked at, its end included.
const LINE_MIN: usize = 4;

/// Spaces before `get ` that a line longer than [`LINE_MAX`] may begin with.
const LEADING_SPACES_MAX: usize = 100;

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum State {
    /// A line.
    #[default]
    Line,
    /// More keys of a list.
    Keys(List),
    /// What is left of a line that was answered already.
    SkipLine,
}

/// Where in the text conversation a connection stands.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(super) state: State,
}

impl Decoder {
    /// Decodes the request at the front of `input`.
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b [u8], scratch: &'b mut KeyScratch) -> Decoded<'b> {
        match self.state {
            State::Line => match Line::at_front(input) {
                Some(line) => self.line(line, input, scratch),
                None => self.unended(input),
            },
            State::Keys(list) => keys::next(self, list, input, 0),
            State::SkipLine => self.skip_line(input),
        }
    }

    /// Steps over a get that was told ahead, if it is what comes next. Returns how to answer it.
    #[inline]
    pub fn step_over(&mut self, get: &PlainGet) -> Option<TextStyle> {
        keys::step_over(self, get)
    }

    /// Whether a key list goes on.
    #[inline]
    pub fn in_list(&self) -> bool {
        matches!(self.state, State::Keys(_))
    }

    #[inline]
    fn line<'b>(
        &mut self,
        line: Line<'b>,
        input: &'b [u8],
        scratch: &'b mut KeyScratch,
    ) -> Decoded<'b> {
        // The straight path: what nearly every request is. `by_word` knows these words too.
        match line.text {
            [b'g', b'e', b't', b' ', rest @ ..] => {
                keys::begin(self, List::new(false, None), line, rest, input)
            }
            [b'g', b'e', b't', b's', b' ', rest @ ..] => {
                keys::begin(self, List::new(true, None), line, rest, input)
            }
            [b's', b'e', b't', b' ', rest @ ..] => {
                storage::decode(line, rest, Default::default(), false)
            }
            _ => self.any_line(line, input, scratch),
        }
    }

    fn any_line<'b>(
        &mut self,
        line: Line<'b>,
        input: &'b [u8],
        scratch: &'b mut KeyScratch,
    ) -> Decoded<'b> {
        if line.size < LINE_MIN {
            return refused(WireError::BadFormat, line);
        }
        let (word, rest) = line.split_word();
        match by_word(word) {
            Some(verb) => self.verb(verb, line, rest, input, scratch),
            None => simple::unknown(line),
        }
    }

    fn verb<'b>(
        &mut self,
        verb: &Verb,
        line: Line<'b>,
        rest: &'b [u8],
        input: &'b [u8],
        scratch: &'b mut KeyScratch,
    ) -> Decoded<'b> {
        match (verb.shape, verb.operation) {
            (Shape::Keys { with_cas }, _) => {
                keys::begin(self, List::new(with_cas, None), line, rest, input)
            }
            (Shape::ExptimeKeys { with_cas }, _) => {
                keys::begin_with_exptime(self, with_cas, line, rest, input)
            }
            (Shape::Storage { compare }, Operation::Store(mode)) => {
                storage::decode(line, rest, mode, compare)
            }
            (Shape::Meta | Shape::MetaStorage | Shape::MetaBare, operation) => {
                meta::decode(operation, line, rest, scratch)
            }
            _ => simple::decode(verb, line, rest),
        }
    }

    /// `input` holds no line end.
    fn unended<'b>(&mut self, input: &'b [u8]) -> Decoded<'b> {
        if input.len() <= LINE_MAX {
            return Decoded::NeedMore;
        }
        let text = trim_start(input);
        let spaces = input.len() - text.len();
        let with_cas = match text {
            [b'g', b'e', b't', b' ', ..] => false,
            [b'g', b'e', b't', b's', b' ', ..] => true,
            _ => return Decoded::Close,
        };
        match spaces {
            0 => {
                let keys_from = if with_cas { b"gets ".len() } else { b"get ".len() };
                keys::next(self, List::new(with_cas, None), input, keys_from)
            }
            1..=LEADING_SPACES_MAX => self.refuse_rest_of_line(WireError::UnknownCommand, input),
            _ => Decoded::Close,
        }
    }

    /// Refuses a line that has not been used up: what has arrived of it is done with, the rest
    /// is skipped as it arrives.
    #[cold]
    pub(super) fn refuse_rest_of_line<'b>(
        &mut self,
        error: WireError,
        input: &'b [u8],
    ) -> Decoded<'b> {
        let size = self.skip(input);
        Decoded::Refused {
            error,
            style: TextStyle::default().into(),
            size,
            swallow: 0,
            close: false,
        }
    }

    fn skip_line<'b>(&mut self, input: &'b [u8]) -> Decoded<'b> {
        if input.is_empty() { Decoded::NeedMore } else { silent(self.skip(input)) }
    }

    /// How many bytes of `input` are the rest of the line.
    fn skip(&mut self, input: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', input);
        self.state = if end.is_some() { State::Line } else { State::SkipLine };
        end.map_or(input.len(), |end| end + 1)
    }
}

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

#[cfg(test)]
mod tests {
    use mcache_base::limits::KEY_MAX;

    use super::*;

    #[test]
    fn the_straight_path_agrees_with_the_table() {
        for text in ["get k\r\n", "get  a b \n", "gets a b\r\n", "set k 1 2 3\r\n", "set k 1\r\n"] {
            let input = text.as_bytes();
            let line = Line::at_front(input).unwrap();
            let (mut straight, mut table) = ([0; KEY_MAX], [0; KEY_MAX]);
            let straight = Decoder::default().line(line, input, &mut straight);
            let table = Decoder::default().any_line(line, input, &mut table);
            assert_eq!(straight, table, "{text:?}");
        }
    }
}

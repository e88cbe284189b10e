//! Lines to requests: where in the conversation the peer is, and which command a line is.

use mcache_base::limits::LINE_MAX;

use crate::ahead::PlainGet;
use crate::decoded::{Decoded, KeyScratch};
use crate::meta;
use crate::outcome::WireError;
use crate::style::TextStyle;
use crate::verbs::{Operation, Shape, Verb, by_word};

use super::line::{Line, trim_start};
use super::refuse::{refused, silent};
use super::state::{List, State};
use super::{keys, simple, storage};

/// Shortest line that is looked at, its end included.
const LINE_MIN: usize = 4;

/// Spaces before `get ` that a line longer than [`LINE_MAX`] may begin with.
const LEADING_SPACES_MAX: usize = 100;

/// Where in the text conversation a connection stands.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
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
            State::Keys(list) => keys::next(&mut self.state, list, input, 0),
            State::SkipLine => self.skip_line(input),
        }
    }

    /// Steps over a get that was told ahead, if it is what comes next. Returns how to answer it.
    #[inline]
    pub fn step_over(&mut self, get: &PlainGet) -> Option<TextStyle> {
        keys::step_over(&mut self.state, get)
    }

    /// Throws away what is still to come of a line that has arrived in part.
    pub fn skip_rest_of_line(&mut self) {
        self.state = State::SkipLine;
    }

    /// Throws away the rest of a key list that goes on behind the last request, and returns how
    /// many bytes of `behind` belong to it.
    pub fn leave_list(&mut self, behind: &[u8]) -> usize {
        if self.in_list() { self.state.skip(behind) } else { 0 }
    }

    /// Whether a line goes on of which a part is done with.
    #[inline]
    pub fn in_line(&self) -> bool {
        !matches!(self.state, State::Line)
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
                keys::begin(&mut self.state, List::new(false, None), line, rest, input)
            }
            [b'g', b'e', b't', b's', b' ', rest @ ..] => {
                keys::begin(&mut self.state, List::new(true, None), line, rest, input)
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
                keys::begin(&mut self.state, List::new(with_cas, None), line, rest, input)
            }
            (Shape::ExptimeKeys { with_cas }, _) => {
                keys::begin_with_exptime(&mut self.state, with_cas, line, rest, input)
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
                keys::next(&mut self.state, List::new(with_cas, None), input, keys_from)
            }
            1..=LEADING_SPACES_MAX => {
                self.state.refuse_rest_of_line(WireError::UnknownCommand, input)
            }
            _ => Decoded::Close,
        }
    }

    fn skip_line<'b>(&mut self, input: &'b [u8]) -> Decoded<'b> {
        if input.is_empty() { Decoded::NeedMore } else { silent(self.state.skip(input)) }
    }
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

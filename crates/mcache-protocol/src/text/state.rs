//! Where in the text conversation a peer is.

use crate::decoded::{Decoded, Resume};
use crate::outcome::WireError;
use crate::style::{TextHit, TextStyle};

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

/// A list that is being handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) with_cas: bool,
    pub(super) touch: Option<i64>,
    /// At least one key was handed out.
    pub(super) begun: bool,
}

impl List {
    #[inline]
    pub(super) fn new(with_cas: bool, touch: Option<i64>) -> Self {
        Self { with_cas, touch, begun: false }
    }

    /// The same, when one of its keys was handed out.
    #[inline]
    pub(super) fn begun(self) -> Self {
        Self { begun: true, ..self }
    }

    #[inline]
    pub(super) fn style(self, last: bool) -> TextStyle {
        TextStyle { noreply: false, hit: TextHit::Value { with_cas: self.with_cas, last } }
    }
}

impl State {
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
            resume: Resume::AT_ONCE,
        }
    }

    /// How many bytes of `input` are the rest of the line, to be thrown away.
    pub(super) fn skip(&mut self, input: &[u8]) -> usize {
        let end = memchr::memchr(b'\n', input);
        *self = if end.is_some() { Self::Line } else { Self::SkipLine };
        end.map_or(input.len(), |end| end + 1)
    }
}

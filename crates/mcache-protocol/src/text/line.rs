//! A line of text and its tokens. Only spaces separate; every other byte is part of a token.

use memchr::memchr;

use crate::scan::space;

/// A whole line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'b> {
    /// The line without its end.
    pub(crate) text: &'b [u8],
    /// Bytes of the line with its end: `\n`, or `\r\n`.
    pub(crate) size: usize,
}

impl<'b> Line<'b> {
    /// The line at the front of `input`, if it has arrived whole.
    #[inline]
    pub(crate) fn at_front(input: &'b [u8]) -> Option<Self> {
        let end = memchr(b'\n', input)?;
        let text = input.get(..end)?;
        Some(Self { text: text.strip_suffix(b"\r").unwrap_or(text), size: end + 1 })
    }

    /// The first word and what follows it. A line that begins with a space has no first word.
    #[inline]
    pub(crate) fn split_word(self) -> (&'b [u8], &'b [u8]) {
        match self.text.iter().position(|byte| *byte == b' ') {
            Some(at) => self.text.split_at(at),
            None => (self.text, &[]),
        }
    }

    /// Whether the last token asks for silence. The first word does not count.
    #[inline]
    pub(crate) fn is_noreply(self) -> bool {
        trim_end(self.text).ends_with(b" noreply")
    }
}

/// The tokens of a line, or of what is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'b>(&'b [u8]);

impl<'b> Tokens<'b> {
    #[inline]
    pub(crate) fn new(text: &'b [u8]) -> Self {
        Self(text)
    }

    /// What is left, from the next token to the end.
    #[inline]
    pub(crate) fn rest(self) -> &'b [u8] {
        trim_start(self.0)
    }
}

impl<'b> Iterator for Tokens<'b> {
    type Item = &'b [u8];

    #[inline]
    fn next(&mut self) -> Option<&'b [u8]> {
        let text = self.rest();
        if text.is_empty() {
            self.0 = text;
            return None;
        }
        let (token, rest) = text.split_at(space(text));
        self.0 = rest;
        Some(token)
    }
}

/// `text` without the spaces at its front. (`trim_ascii_start` would take tabs too.)
#[inline]
pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = text {
        text = rest;
    }
    text
}

/// `text` without the spaces at its end.
#[inline]
pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

//! A connection's protocol: sniffs the first byte, then decodes and encodes.

use mcache_base::{Item, Now};

use crate::ahead::{self, Ahead, PlainGet};
use crate::binary;
use crate::decoded::{Decoded, KeyScratch};
use crate::meta;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::style::{Style, TextStyle};
use crate::text;

/// Which protocols a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocols {
    /// The first byte of a connection decides.
    #[default]
    Negotiated,
    /// Text and meta only.
    Ascii,
    /// Binary only.
    Binary,
}

/// The protocol of one connection, and where in a key list it stands.
#[derive(Debug, Default)]
pub struct Codec {
    /// Whether the connection speaks binary; `None` until its first byte has come.
    binary: Option<bool>,
    /// Whether peers of the binary protocol can log in.
    sasl: bool,
    text: text::Decoder,
}

impl Codec {
    /// A codec for a new connection.
    pub fn new(protocols: Protocols) -> Self {
        let binary = match protocols {
            Protocols::Negotiated => None,
            Protocols::Ascii => Some(false),
            Protocols::Binary => Some(true),
        };
        Self { binary, sasl: false, text: text::Decoder::default() }
    }

    /// The same, of a connection whose peer can log in by SASL.
    pub fn with_sasl(self) -> Self {
        Self { sasl: true, ..self }
    }

    /// Decodes the request at the front of `input`.
    ///
    /// Every answer but [`Decoded::NeedMore`] tells how many bytes are done with; the caller
    /// drops them before it calls again. A key that came in base64 is decoded into `scratch`.
    #[inline]
    pub fn decode<'b>(&mut self, input: &'b [u8], scratch: &'b mut KeyScratch) -> Decoded<'b> {
        let Some(&first) = input.first() else {
            return Decoded::NeedMore;
        };
        if *self.binary.get_or_insert(first == binary::REQUEST_MAGIC) {
            return binary::decode(input, self.sasl);
        }
        self.text.decode(input, scratch)
    }

    /// Whether binary is spoken, by a peer that begins with `input`.
    pub fn speaks_binary(&mut self, input: &[u8]) -> bool {
        *self.binary.get_or_insert(input.first() == Some(&binary::REQUEST_MAGIC))
    }

    /// Collects keys that the next `requests` are about, as far as that is cheap to tell.
    #[inline]
    pub fn ahead<'b>(&self, input: &'b [u8], requests: usize, keys: &mut [Ahead<'b>]) -> usize {
        match self.binary {
            Some(is_binary) => ahead::keys(input, is_binary, self.in_list(), requests, keys),
            None => 0,
        }
    }

    /// Steps over a get that was told ahead and begins where the decoder stands; it needs no
    /// decoding then. Returns how to answer it.
    #[inline]
    pub fn step_over(&mut self, get: &PlainGet) -> Option<TextStyle> {
        self.text.step_over(get)
    }

    /// Throws away what is still to come of the line that the bytes so far have ended in.
    pub fn skip_rest_of_line(&mut self) {
        self.text.skip_rest_of_line();
    }

    /// Throws away what is still to come of the list that the last request was of, if it goes on.
    /// `behind` came after that request; returns how many bytes of it are done with.
    pub fn leave_list(&mut self, behind: &[u8]) -> usize {
        self.text.leave_list(behind)
    }

    /// Whether what comes next belongs to a line that has begun.
    #[inline]
    pub fn in_line(&self) -> bool {
        self.text.in_line()
    }

    /// Whether the last request was one of a list that goes on: its answers are one answer, and
    /// an error takes back what the list has answered so far.
    #[inline]
    pub fn in_list(&self) -> bool {
        self.text.in_list()
    }

    /// Says what came of a plain get, in text or binary.
    #[inline]
    pub fn encode_get<I: Item>(style: &Style<'_>, item: Option<&I>, out: &mut Output<I::Pin>) {
        match style {
            Style::Text(style) => text::encode_get(*style, item, out),
            Style::Binary(style) => binary::encode_get(style, item, out),
            Style::Meta(_) => debug_assert!(false, "none of meta's gets is plain"),
        }
    }

    /// Says `outcome` in the protocol's words.
    #[inline]
    pub fn encode<I: Item>(
        style: &Style<'_>,
        outcome: &Outcome<I>,
        now: Now,
        out: &mut Output<I::Pin>,
    ) {
        match style {
            Style::Text(style) => text::encode(*style, outcome, out),
            Style::Meta(style) => meta::encode(style, outcome, now, out),
            Style::Binary(style) => binary::encode(style, outcome, out),
        }
    }
}

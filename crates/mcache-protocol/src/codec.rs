//! A connection's protocol: sniffs the first byte, then decodes and encodes.

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::Store;
use mcache_base::{Item, Now};

use crate::ahead::{self, Ahead, PlainGet};
use crate::binary;
use crate::meta;
use crate::outcome::{Outcome, WireError};
use crate::output::Output;
use crate::request::Request;
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

/// Room for a key that is not on the wire as it is stored. What it holds between two calls of
/// [`Codec::decode`] does not matter.
pub type KeyScratch = [u8; KEY_MAX];

/// What the front of the bytes turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// A whole request of `size` bytes.
    Request {
        /// The request.
        request: Request<'b>,
        /// How to answer it.
        style: Style<'b>,
        /// Bytes it took.
        size: usize,
    },
    /// The head of a store: `head` bytes, after which `body` bytes of data and `tail` bytes of
    /// line end follow, arrived or not.
    Body {
        /// The item's key.
        key: &'b [u8],
        /// How to store it.
        store: Store,
        /// How to answer.
        style: Style<'b>,
        /// Bytes of the head.
        head: usize,
        /// Bytes of data.
        body: usize,
        /// Bytes of line end after the data (2 in text, 0 in binary).
        tail: usize,
    },
    /// The bytes end in the middle of a request.
    NeedMore,
    /// The peer's mistake.
    Refused {
        /// What to answer.
        error: WireError,
        /// How.
        style: Style<'b>,
        /// Bytes of the request that have arrived and are done with.
        size: usize,
        /// Bytes after those that belong to the request and are to be thrown away.
        swallow: u64,
        /// Close the connection after the answer.
        close: bool,
    },
    /// Close without an answer: HTTP, an endless line, an unknown protocol.
    Close,
}

/// The protocol of one connection, and where in a key list it stands.
#[derive(Debug, Default)]
pub struct Codec {
    /// Whether the connection speaks binary; `None` until its first byte has come.
    binary: Option<bool>,
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
        Self { binary, text: text::Decoder::default() }
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
            return binary::decode(input);
        }
        self.text.decode(input, scratch)
    }

    /// Collects keys that the next requests are about, as far as that is cheap to tell.
    #[inline]
    pub fn ahead<'b>(&self, input: &'b [u8], keys: &mut [Ahead<'b>]) -> usize {
        match self.binary {
            Some(is_binary) => ahead::keys(input, is_binary, self.in_list(), keys),
            None => 0,
        }
    }

    /// Steps over a get that was told ahead and begins where the decoder stands; it needs no
    /// decoding then. Returns how to answer it.
    #[inline]
    pub fn step_over(&mut self, get: &PlainGet) -> Option<TextStyle> {
        self.text.step_over(get)
    }

    /// Whether the last request was one of a list that goes on: its answers are one answer, and
    /// an error takes back what the list has answered so far.
    #[inline]
    pub fn in_list(&self) -> bool {
        self.text.in_list()
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

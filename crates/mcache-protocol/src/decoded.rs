//! What the front of the bytes turned out to be, in any protocol.

use mcache_base::limits::KEY_MAX;
use mcache_base::operation::Store;

use crate::outcome::WireError;
use crate::request::Request;
use crate::style::Style;

/// Room for a key that is not on the wire as it is stored. What it holds between two calls of
/// [`crate::Codec::decode`] does not matter.
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

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
        /// Where the next request begins.
        resume: Resume,
    },
    /// Close without an answer: HTTP, an endless line, an unknown protocol.
    Close,
}

/// Where the next request begins after one that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Behind `body` bytes of data and `tail` bytes of line end, which are to be thrown away.
    Behind {
        /// Bytes of data.
        body: u64,
        /// Bytes of line end after the data.
        tail: usize,
    },
    /// Nobody can tell, as the length of its data is unknown: what has arrived is to be thrown
    /// away, or a part of it would be taken for commands.
    Anew,
    /// Nowhere: the connection is to be closed after the answer.
    Never,
}

impl Resume {
    /// Right behind the request.
    pub const AT_ONCE: Self = Self::Behind { body: 0, tail: 0 };
}

//! Bytes to [`Request`], [`Outcome`] to bytes: the wing of meaning.
//!
//! Three protocols (classic text, meta, binary) decode to the same few requests and say the same
//! outcomes, each in its own words. No socket, no thread, no clock, no store.

// What a peer sends must not be able to make a server panic.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod ahead;
pub mod binary;
pub mod codec;
pub mod datagram;
mod decoded;
mod meta;
pub mod outcome;
#[allow(clippy::indexing_slicing)] // its own positions, never the peer's numbers
pub mod output;
pub mod request;
mod rights;
mod scan;
pub mod style;
pub mod text;
pub mod verbs;

pub use ahead::{Ahead, Plain, PlainGet, PlainSet};
pub use codec::{Codec, Protocols};
pub use decoded::{Decoded, KeyScratch, Resume};
pub use meta::encode_key;
pub use outcome::{Outcome, StatLine, WireError};
pub use output::Output;
pub use request::{Admin, Request};
pub use rights::Rights;
pub use style::{BinaryStyle, Style, TextStyle};

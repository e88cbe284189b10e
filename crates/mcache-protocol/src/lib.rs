//! Bytes to [`Request`], [`Outcome`] to bytes: the wing of meaning.
//!
//! Three protocols (classic text, meta, binary) decode to the same few requests and say the same
//! outcomes, each in its own words. No socket, no thread, no clock, no store.

pub mod binary;
pub mod codec;
pub mod outcome;
pub mod output;
pub mod request;
pub mod style;
pub mod text;
pub mod verbs;

pub use codec::{Codec, Decoded, KeyScratch, Protocols};
pub use outcome::{Outcome, StatLine, WireError};
pub use output::Output;
pub use request::Request;
pub use style::Style;

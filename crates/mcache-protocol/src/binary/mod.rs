//! The binary protocol: frames of a 24-byte header, extras, a key and a value.
//!
//! memcached calls it deprecated, yet many clients speak it. Where memcached loses its place in
//! the stream (the body of an unknown opcode, a value nobody asked for), this codec keeps it or
//! closes.

mod decode;
mod encode;
mod header;
mod status;

pub use decode::decode;
pub(crate) use decode::plain_get;
pub use encode::{encode, encode_get};
pub use header::REQUEST_MAGIC;

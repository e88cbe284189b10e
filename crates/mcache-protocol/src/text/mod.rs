//! The classic text protocol.

mod decode;
mod encode;

pub use decode::Decoder;
pub use encode::encode;

//! The classic text protocol, and the lines that meta shares with it.

mod decode;
mod encode;
mod keys;
mod line;
mod simple;
mod storage;

pub use decode::Decoder;
pub use encode::encode;

//! The classic text protocol, and the lines that meta shares with it.

mod decode;
mod encode;
mod keys;
mod line;
mod login;
mod refuse;
mod simple;
mod state;
mod storage;

pub use decode::Decoder;
pub use encode::{encode, encode_get};
pub use login::{Login, decode_login};

pub(crate) use encode::error;
pub(crate) use line::{Line, Tokens};
pub(crate) use refuse::{refused_unless, refused_with_block, refused_with_unknown};
pub(crate) use storage::{BLOCK_END, body_len};

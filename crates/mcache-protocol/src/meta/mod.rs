//! The meta protocol: `mg ms md ma mn me`, lines of text whose flags choose what is done and
//! what is returned.
//!
//! [`decode`] reads what a flag asks the cache to do; [`encode`] walks over the flags again, in
//! the same order, for what each of them wants to know.

mod decode;
mod encode;
mod flags;
mod key;

pub(crate) use decode::decode;
pub(crate) use encode::encode;
pub use key::push_encoded as encode_key;

//! A cache with no sockets: a function from bytes to bytes.

mod host;
mod session;

pub use host::Host;
pub use session::{Context, Next, Served, Session};

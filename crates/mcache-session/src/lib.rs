//! A cache with no sockets: a function from bytes to bytes.

mod execute;
mod host;
mod lookahead;
mod reports;
mod session;
mod tally;

pub use host::Host;
pub use session::{Context, Next, Served, Session};

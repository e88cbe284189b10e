//! A cache with no sockets: a function from bytes to bytes.

mod admin;
mod context;
mod dump;
pub mod events;
mod execute;
mod grant;
mod host;
mod login;
mod lookahead;
mod prefixes;
mod reports;
mod session;
mod tally;

pub use context::Context;
pub use events::{EventLog, Events, Kinds};
pub use grant::Grant;
pub use host::{ClockMove, Host};
pub use login::{Authentication, Credentials, Verdict};
pub use prefixes::Prefixes;
pub use session::{Awaited, Next, Served, Session};

//! The server: joins the wings of meaning, memory and motion, and runs them.

mod acceptor;
mod clock;
mod connection;
mod host;
mod mailbox;
pub mod options;
pub mod server;
mod shared;
pub mod signals;
mod worker;

pub use options::{IdlePolicy, ServerOptions};
pub use server::{Server, Stopper};

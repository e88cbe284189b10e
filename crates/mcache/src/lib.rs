//! The server: joins the wings of meaning, memory and motion, and runs them.

mod acceptor;
mod buffered;
mod clock;
mod connection;
pub mod daemon;
mod datagrams;
pub mod failure;
mod host;
pub mod logging;
mod logins;
pub mod lower;
mod mailbox;
pub mod network;
pub mod options;
mod outputs;
pub mod passwd;
pub mod privileges;
pub mod proven;
mod roster;
pub mod sandbox;
pub mod serve;
pub mod server;
pub mod settings;
mod shared;
pub mod signals;
mod stop;
pub mod takeover;
pub mod tls;
pub mod users;
pub mod warm;
mod watch;
mod worker;

pub use failure::Failure;
pub use options::{IdlePolicy, ServerOptions};
pub use server::{Server, Stopper};
pub use settings::{Habits, Invocation, Settings};

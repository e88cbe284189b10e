//! The server: joins the wings of meaning, memory and motion, and runs them.

pub mod options;

pub use options::{IdlePolicy, ServerOptions};

//! The tests of the running server once more, with the driver that works everywhere: the name of
//! this file tells them.

#[path = "server.rs"]
mod server;

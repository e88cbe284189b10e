//! The tests of TLS once more, with the driver that works everywhere: the name of this file tells
//! them.

#[path = "tls.rs"]
mod tls;

//! The tests of bad peers once more, with the driver that works everywhere: the name of this file
//! tells them.

#[path = "peers.rs"]
mod peers;

//! The tests of large answers once more, with the driver that works everywhere: the name of this
//! file tells them.

#[path = "large.rs"]
mod large;

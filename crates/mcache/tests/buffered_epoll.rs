//! What connections may hold once more, with the driver that works everywhere: the name of this
//! file tells them.

#[path = "buffered.rs"]
mod buffered;

//! What the driver knows of a connection.

use std::os::fd::OwnedFd;

use super::buffers::Inbox;

/// One connection. Without a socket the slot is free.
pub(super) struct Slot {
    pub(super) socket: Option<OwnedFd>,
    pub(super) receiving: Receiving,
    pub(super) inbox: Inbox,
    /// The place of the send under way.
    pub(super) sending: Option<u32>,
    /// The peer's end has arrived, behind what is in the inbox.
    pub(super) ended: bool,
    /// A send has failed.
    pub(super) failed: bool,
    /// To be closed when the kernel is done with it.
    pub(super) closing: bool,
}

/// Whether the kernel receives for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// No.
    Off,
    /// Yes, until it says that it ends.
    On,
    /// It was told to stop and will say so.
    Stopping,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            socket: None,
            receiving: Receiving::Off,
            inbox: Inbox::EMPTY,
            sending: None,
            ended: false,
            failed: false,
            closing: false,
        }
    }
}

//! What the driver knows of a connection.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::buffers::Inbox;
use crate::epoll::receive_both;

/// One connection. Without a socket the slot is free.
pub(super) struct Slot {
    pub(super) socket: Option<OwnedFd>,
    pub(super) receiving: Receiving,
    pub(super) inbox: Inbox,
    /// Much is to come: it stays in the socket until somebody takes it.
    pub(super) expects_much: bool,
    /// More came than was taken, again: what is still to come stays in the socket as well, until
    /// the socket is empty.
    pub(super) floods: bool,
    /// Bytes may be in the socket, for which the kernel does not wait.
    pub(super) readable: bool,
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
    /// No, but it will say when there is something to receive.
    Polled,
    /// It was told to stop and will say so.
    Stopping,
}

impl Slot {
    /// Receives from the socket itself, into a place and, what is behind it, into a buffer;
    /// returns how many bytes.
    pub(super) fn receive_directly(&mut self, place: &mut [u8], behind: &mut [u8]) -> usize {
        let Some(socket) = &self.socket else { return 0 };
        let receive_one = |one: &mut [u8]| recv(socket, one, RecvFlags::DONTWAIT);
        loop {
            let received = match (place.len(), behind.len()) {
                (0, _) => receive_one(behind).map(|(count, _)| count),
                (_, 0) => receive_one(place).map(|(count, _)| count),
                _ => receive_both(socket, place, behind),
            };
            match received {
                Ok(count @ 1..) => {
                    self.readable = count == place.len() + behind.len();
                    self.floods &= self.readable;
                    return count;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Ok(_) | Err(_) => self.ended = true,
            }
            self.readable = false;
            return 0;
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            socket: None,
            receiving: Receiving::Off,
            inbox: Inbox::EMPTY,
            expects_much: false,
            floods: false,
            readable: false,
            sending: None,
            ended: false,
            failed: false,
            closing: false,
        }
    }
}

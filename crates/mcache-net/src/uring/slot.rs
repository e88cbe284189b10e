//! What the driver knows of a connection.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::buffers::Inbox;
use crate::epoll::receive_both;

/// Receives in a row that filled several buffers, after which a connection has none: to receive its
/// bytes where they are wanted costs a call of its own, but less than several receives and a copy.
const BULKS_MIN: u8 = 4;

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
    /// So many times in a row what arrived at once filled several buffers.
    bulks: u8,
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
    /// Whether bytes wait in the socket until somebody takes them, instead of being received into
    /// buffers ahead.
    pub(super) fn leaves_in_socket(&self) -> bool {
        self.expects_much || self.floods || self.bulks >= BULKS_MIN
    }

    /// Notes how many bytes were taken at once that had been received into buffers of this length.
    pub(super) fn note_taken(&mut self, bytes: usize, buffer_len: usize) {
        match bytes {
            0 => {}
            bytes if bytes > buffer_len => self.bulks = self.bulks.saturating_add(1),
            _ => self.bulks = 0,
        }
    }

    /// Receives from the socket itself, into a place and, what is behind it, into a buffer;
    /// returns how many bytes.
    pub(super) fn receive_directly(
        &mut self,
        place: &mut [u8],
        behind: &mut [u8],
        buffer_len: usize,
    ) -> usize {
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
                    if count <= buffer_len {
                        self.bulks = 0;
                    }
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
            bulks: 0,
            readable: false,
            sending: None,
            ended: false,
            failed: false,
            closing: false,
        }
    }
}

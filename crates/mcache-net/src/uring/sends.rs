//! Sends that the kernel knows of: each queue stays in its place until the kernel is done.

use std::io::IoSlice;
use std::os::fd::RawFd;
use std::ptr;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use mcache_base::Outgoing;
use mcache_base::limits::{SEND_MAX, SLICES_PER_SEND};

use super::ring::Ring;
use crate::driver::ConnectionId;

/// Unused places whose room for slices is kept.
const MESSAGES_KEPT: usize = 64;

/// The sends under way, each in a place of its own.
pub(super) struct Sends<O> {
    places: Vec<Box<InFlight<O>>>,
    free: Vec<u32>,
    /// Sends since all were last taken in, which speak up if anything is left to do.
    quiet: Vec<u32>,
    /// Bytes of these.
    quiet_bytes: usize,
}

/// A send. Boxed, because the kernel knows where it is.
struct InFlight<O> {
    queue: Option<O>,
    connection: ConnectionId,
    socket: RawFd,
    /// Bytes that the kernel was given.
    gathered: usize,
    /// It has been tried; what is left waits for room in the kernel.
    waits: bool,
    message: Option<Box<Message>>,
}

/// Slices, as sendmsg(2) takes them.
struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES_PER_SEND],
}

// SAFETY: the pointers lead to the message itself and to the queue beside it.
unsafe impl Send for Message {}

/// What the kernel was given of a queue.
struct Gathered {
    bytes: usize,
    /// Nothing is left behind.
    all: bool,
}

/// How far a send came.
pub(super) enum Progress<O> {
    /// The queue is empty.
    Done(ConnectionId, O),
    /// The rest was handed to the kernel, from the same place; whether for the first time.
    UnderWay(ConnectionId, u32, bool),
    /// The socket failed.
    Failed(ConnectionId),
}

impl<O: Outgoing> Sends<O> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), quiet: Vec::new(), quiet_bytes: 0 }
    }

    /// Hands a queue that is not empty to the kernel; returns its place.
    pub(super) fn begin(
        &mut self,
        ring: &mut Ring,
        connection: ConnectionId,
        socket: RawFd,
        queue: O,
    ) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Box::new(InFlight::new(connection)));
            (self.places.len() - 1) as u32
        });
        let send = &mut self.places[place as usize];
        (send.queue, send.connection, send.socket) = (Some(queue), connection, socket);
        send.waits = false;
        let handed_over = send.hand_over(ring, place);
        debug_assert!(handed_over, "what was just answered is there");
        self.quiet.push(place);
        self.quiet_bytes += send.gathered;
        place
    }

    /// Bytes handed over since all sends were last taken in.
    pub(super) fn quiet_bytes(&self) -> usize {
        self.quiet_bytes
    }

    /// Whether a send waits for room in the kernel, until it goes on or is cancelled.
    pub(super) fn waits(&self, place: u32) -> bool {
        self.places.get(place as usize).is_some_and(|send| send.waits)
    }

    /// Whose send a place holds.
    pub(super) fn connection(&self, place: u32) -> Option<ConnectionId> {
        self.places.get(place as usize).map(|send| send.connection)
    }

    /// Takes in what the kernel says of a send: the bytes that went out, `None` if it
    /// failed or is not to go on.
    pub(super) fn complete(
        &mut self,
        ring: &mut Ring,
        place: u32,
        sent: Option<usize>,
    ) -> Option<Progress<O>> {
        if let Some(sent) = sent {
            return Some(self.advance(ring, place, sent));
        }
        let connection = self.places.get(place as usize)?.connection;
        self.release(place);
        Some(Progress::Failed(connection))
    }

    /// The next of the sends that said nothing although all that was handed over was submitted
    /// and all completions were read: they went out whole.
    pub(super) fn next_quiet(&mut self, ring: &mut Ring) -> Option<Progress<O>> {
        while let Some(place) = self.quiet.pop() {
            let send = &self.places[place as usize];
            if !send.waits && send.queue.is_some() {
                let sent = send.gathered;
                return Some(self.advance(ring, place, sent));
            }
        }
        self.quiet_bytes = 0;
        None
    }

    fn advance(&mut self, ring: &mut Ring, place: u32, sent: usize) -> Progress<O> {
        let send = &mut self.places[place as usize];
        let connection = send.connection;
        let Some(mut queue) = send.queue.take() else { return Progress::Failed(connection) };
        queue.advance(sent);
        if queue.is_empty() {
            self.release(place);
            return Progress::Done(connection, queue);
        }
        queue.shrink();
        send.queue = Some(queue);
        let first = !std::mem::replace(&mut send.waits, true);
        if !send.hand_over(ring, place) {
            self.release(place);
            return Progress::Failed(connection);
        }
        Progress::UnderWay(connection, place, first)
    }

    fn release(&mut self, place: u32) {
        let send = &mut self.places[place as usize];
        send.queue = None;
        if place as usize >= MESSAGES_KEPT {
            send.message = None;
        }
        self.free.push(place);
    }
}

impl<O: Outgoing> InFlight<O> {
    fn new(connection: ConnectionId) -> Self {
        Self { queue: None, connection, socket: -1, gathered: 0, waits: false, message: None }
    }

    /// Hands the front of the queue to the kernel; tells whether there was one.
    fn hand_over(&mut self, ring: &mut Ring, place: u32) -> bool {
        let Some(queue) = &self.queue else { return false };
        // All of it or a word about it: a send that was cut short is not a success.
        let mut flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        if !self.waits {
            flags |= libc::MSG_DONTWAIT;
        }
        // Most queues are one slice, and clearing room for many costs more than looking.
        let mut first = [IoSlice::new(&[]); 2];
        let (entry, gathered) = match queue.gather(&mut first) {
            0 => return false,
            1 => {
                let slice = first[0];
                let bytes = slice.len().min(SEND_MAX);
                let entry = opcode::Send::new(Fd(self.socket), slice.as_ptr(), bytes as u32)
                    .flags(flags)
                    .build();
                (entry, Gathered { bytes, all: bytes == slice.len() && !queue.is_partial() })
            }
            _ => {
                let message = self.message.get_or_insert_with(Message::new);
                let gathered = message.gather(queue);
                let entry = opcode::SendMsg::new(Fd(self.socket), &raw const message.header)
                    .flags(flags as u32)
                    .build();
                (entry, gathered)
            }
        };
        self.gathered = gathered.bytes;
        // Silence ends no wait: only a send that nothing is to follow may succeed in silence.
        let entry_flags = if gathered.all && !self.waits {
            squeue::Flags::SKIP_SUCCESS
        } else {
            squeue::Flags::empty()
        };
        let entry = entry.flags(entry_flags).user_data(super::SEND | u64::from(place));
        // SAFETY: the queue and the message stay in this box, and untouched, until the kernel's
        // word comes, or, without one, until what was pushed was submitted and executed.
        unsafe { ring.push(entry) };
        true
    }
}

impl Message {
    fn new() -> Box<Self> {
        let nothing = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: a header of zeros is a message without parts.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { header, slices: [nothing; SLICES_PER_SEND] })
    }

    /// Points to the front of a queue.
    fn gather<O: Outgoing>(&mut self, queue: &O) -> Gathered {
        let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
        let filled = queue.gather(&mut slices);
        let all = filled < SLICES_PER_SEND && !queue.is_partial();
        let mut gathered = Gathered { bytes: 0, all };
        let mut count = 0;
        for (at, slice) in self.slices.iter_mut().zip(&slices[..filled]) {
            let len = slice.len().min(SEND_MAX - gathered.bytes);
            *at = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: len };
            gathered.bytes += len;
            count += 1;
            if len < slice.len() {
                gathered.all = false;
                break;
            }
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = count;
        gathered
    }
}

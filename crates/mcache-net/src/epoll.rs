//! The readiness driver: tries at once, and finishes sends by itself when the socket is ready.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use mcache_base::Outgoing;
use mcache_base::limits::{EVENTS_PER_WAIT, SLICES_PER_SEND};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use crate::driver::{ConnectionId, Driver, Event, Received, Send, Wake};

/// A [`Driver`] over epoll.
pub struct EpollDriver<O> {
    poll: Poll,
    ready: Events,
    waker: EpollWaker,
    slots: Vec<Slot<O>>,
    /// Slots that can be taken.
    free: Vec<ConnectionId>,
    /// Slots closed since the last wait: its events may still name them.
    closed: Vec<ConnectionId>,
    /// Connections whose end is known to have arrived behind the bytes received last. The
    /// kernel has said so and will not say it again.
    ended: Vec<ConnectionId>,
}

/// One connection. Without a socket the slot is free.
struct Slot<O> {
    socket: Option<OwnedFd>,
    /// A receive is worth a system call.
    readable: bool,
    /// The peer's end has arrived, behind bytes that may still have to be received.
    ended: bool,
    /// The kernel tells when the socket takes bytes again: asked for once it was full.
    tells_writable: bool,
    /// The send under way.
    queue: Option<O>,
}

impl<O: Outgoing> EpollDriver<O> {
    /// A driver without connections.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EpollWaker::new(&poll)?;
        Ok(Self {
            poll,
            ready: Events::with_capacity(EVENTS_PER_WAIT),
            waker,
            slots: Vec::new(),
            free: Vec::new(),
            closed: Vec::new(),
            ended: Vec::new(),
        })
    }

    /// Takes bytes that have arrived with a system call that asks for `len` of them.
    #[inline]
    fn receive_by(
        &mut self,
        connection: ConnectionId,
        len: usize,
        mut receive: impl FnMut(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> Received {
        let Some(slot) = self.slots.get_mut(connection.0) else { return Received::Closed };
        let Some(socket) = &slot.socket else { return Received::Closed };
        if !slot.readable {
            return Received::Nothing;
        }
        loop {
            match receive(socket) {
                Ok(0) => return Received::Closed,
                Ok(count) => {
                    // A receive that was given less than it asked for took all there was (see
                    // epoll(7)): what comes later is announced, and a second call saved.
                    if count < len {
                        slot.readable = slot.ended;
                        if slot.ended {
                            self.ended.push(connection);
                        }
                    }
                    return Received::Bytes(count);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    slot.readable = false;
                    return Received::Nothing;
                }
                Err(_) => return Received::Closed,
            }
        }
    }

    /// Asks to be told when a full socket takes bytes again.
    fn tell_writable(&mut self, connection: ConnectionId) -> io::Result<()> {
        let Some(slot) = self.slots.get_mut(connection.0) else { return Ok(()) };
        if slot.tells_writable {
            return Ok(());
        }
        let Some(socket) = &slot.socket else { return Ok(()) };
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = socket.as_raw_fd();
        self.poll.registry().reregister(&mut SourceFd(&fd), Token(connection.0), interest)?;
        slot.tells_writable = true;
        Ok(())
    }
}

impl<O: Outgoing> Driver<O> for EpollDriver<O> {
    type Waker = EpollWaker;

    fn waker(&self) -> EpollWaker {
        self.waker.clone()
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<ConnectionId> {
        let connection = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            ConnectionId(self.slots.len() - 1)
        });
        let fd = socket.as_raw_fd();
        let token = Token(connection.0);
        // Registering reports bytes that are already there.
        match self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE) {
            Ok(()) => {
                self.slots[connection.0] = Slot { socket: Some(socket), ..Slot::default() };
                Ok(connection)
            }
            Err(error) => {
                self.free.push(connection);
                Err(error)
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event<O>>) -> io::Result<()> {
        self.free.append(&mut self.closed);
        let timeout = if self.ended.is_empty() { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(&mut self.ready, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.ready.clear(),
            result => result?,
        }
        for connection in self.ended.drain(..) {
            if self.slots[connection.0].socket.is_some() {
                events.push(Event::Received(connection));
            }
        }
        for ready in &self.ready {
            if ready.token() == WAKER {
                events.push(Event::Woken);
                continue;
            }
            let connection = ConnectionId(ready.token().0);
            let Some(slot) = self.slots.get_mut(connection.0) else { continue };
            if slot.socket.is_none() {
                continue;
            }
            let failed = ready.is_error() || ready.is_write_closed();
            if ready.is_writable() || failed {
                events.extend(slot.go_on_sending(connection));
            }
            if ready.is_readable() || ready.is_read_closed() || failed {
                slot.readable = true;
                slot.ended |= ready.is_read_closed() || failed;
                events.push(Event::Received(connection));
            }
        }
        Ok(())
    }

    #[inline]
    fn receive(&mut self, connection: ConnectionId, buffer: &mut [u8]) -> Received {
        self.receive_by(connection, buffer.len(), |socket| {
            rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()).map(|(count, _)| count)
        })
    }

    fn receive_into(
        &mut self,
        connection: ConnectionId,
        place: &mut [u8],
        behind: &mut [u8],
    ) -> Received {
        self.receive_by(connection, place.len() + behind.len(), |socket| {
            receive_both(socket, place, behind)
        })
    }

    fn send(&mut self, connection: ConnectionId, mut queue: O) -> Send<O> {
        let Some(slot) = self.slots.get_mut(connection.0) else { return Send::Failed };
        let Some(socket) = &slot.socket else { return Send::Failed };
        debug_assert!(slot.queue.is_none(), "one send at a time");
        match send_all(socket, &mut queue) {
            Progress::Done => Send::Done(queue),
            Progress::Failed => Send::Failed,
            Progress::Full => {
                queue.shrink();
                slot.queue = Some(queue);
                // Registering again also reports a socket that has become writable meanwhile.
                match self.tell_writable(connection) {
                    Ok(()) => Send::UnderWay,
                    Err(_) => Send::Failed,
                }
            }
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(slot) = self.slots.get_mut(connection.0)
            && slot.socket.is_some()
        {
            // Closing the only descriptor of a socket takes it out of the epoll set.
            *slot = Slot::default();
            self.closed.push(connection);
        }
    }
}

impl<O: Outgoing> Slot<O> {
    /// Goes on with the send that is under way, if there is one.
    fn go_on_sending(&mut self, connection: ConnectionId) -> Option<Event<O>> {
        let socket = self.socket.as_ref()?;
        match send_all(socket, self.queue.as_mut()?) {
            Progress::Done => self.queue.take().map(|queue| Event::Sent(connection, queue)),
            Progress::Full => None,
            Progress::Failed => {
                self.queue = None;
                Some(Event::Failed(connection))
            }
        }
    }
}

impl<O> Default for Slot<O> {
    fn default() -> Self {
        Self { socket: None, readable: false, ended: false, tells_writable: false, queue: None }
    }
}

/// Interrupts an [`EpollDriver`]'s wait.
#[derive(Clone, Debug)]
pub struct EpollWaker(Arc<mio::Waker>);

/// The token that a waker's events carry.
pub(crate) const WAKER: Token = Token(usize::MAX);

impl EpollWaker {
    pub(crate) fn new(poll: &Poll) -> io::Result<Self> {
        Ok(Self(Arc::new(mio::Waker::new(poll.registry(), WAKER)?)))
    }
}

impl Wake for EpollWaker {
    fn wake(&self) {
        // It fails only when the process has no memory for an eventfd's counter.
        let _ = self.0.wake();
    }
}

/// One system call that receives into a place and, what is behind it, into a buffer.
pub(crate) fn receive_both(
    socket: &OwnedFd,
    place: &mut [u8],
    behind: &mut [u8],
) -> rustix::io::Result<usize> {
    let mut slices = [IoSliceMut::new(place), IoSliceMut::new(behind)];
    rustix::io::readv(socket, &mut slices) // the socket does not block
}

/// How far a send came.
enum Progress {
    /// The queue is empty.
    Done,
    /// The socket takes no more for now.
    Full,
    /// The socket failed.
    Failed,
}

/// Sends until the queue is empty or the socket is full.
fn send_all<O: Outgoing>(socket: &OwnedFd, queue: &mut O) -> Progress {
    while !queue.is_empty() {
        match send_once(socket, queue) {
            Ok(count) => queue.advance(count),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Progress::Full,
            Err(_) => return Progress::Failed,
        }
    }
    Progress::Done
}

/// One system call: the front of the queue, as much of it as one call takes.
fn send_once<O: Outgoing>(socket: &OwnedFd, queue: &O) -> rustix::io::Result<usize> {
    // Most queues are one slice, and clearing room for many costs more than looking.
    let mut first = [IoSlice::new(&[]); 2];
    match queue.gather(&mut first) {
        0 => Err(Errno::CONNABORTED), // what is to be sent is gone
        1 => rustix::net::send(socket, &first[0], SendFlags::NOSIGNAL),
        _ => send_many(socket, queue),
    }
}

fn send_many<O: Outgoing>(socket: &OwnedFd, queue: &O) -> rustix::io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
    let filled = queue.gather(&mut slices);
    let mut no_control = SendAncillaryBuffer::default();
    rustix::net::sendmsg(socket, &slices[..filled], &mut no_control, SendFlags::NOSIGNAL)
}

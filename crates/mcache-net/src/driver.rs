//! What a worker sees of its sockets: readiness made to look like completion.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use mcache_base::Outgoing;

/// A connection in a driver. Not given to another before the [`Driver::wait`] after its close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub usize);

/// What happened on a socket.
#[derive(Debug)]
pub enum Event<O> {
    /// Bytes, or the end of them, can be taken with [`Driver::receive`].
    Received(ConnectionId),
    /// A send that was begun or under way has finished; here is its queue, empty.
    Sent(ConnectionId, O),
    /// A send that was begun could not finish at once; it goes on by itself.
    Delayed(ConnectionId),
    /// A send that was under way failed. The caller still has to [`Driver::close`] it.
    Failed(ConnectionId),
    /// Another thread called the driver's waker.
    Woken,
}

/// What came of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes were put into the buffer. If they fill it there may be more: receive again.
    /// If they don't, an [`Event::Received`] will tell when there is more.
    Bytes(usize),
    /// Nothing there now; an [`Event::Received`] will tell when there is.
    Nothing,
    /// Nothing will come any more: the peer has closed its side or the socket failed.
    Closed,
}

/// What came of a send.
#[derive(Debug)]
pub enum Send<O> {
    /// All of it went out; here is the queue, empty, for the next answers.
    Done(O),
    /// The driver keeps the queue until the next [`Driver::wait`], whose events tell what came of
    /// it: sent, delayed or failed. That all went out may not end the wait: whoever needs to know
    /// it soon calls one that does not wait.
    Begun,
    /// The driver keeps the queue and goes on by itself; an [`Event::Sent`] brings it back.
    UnderWay,
    /// The socket failed.
    Failed,
}

/// A worker's sockets.
pub trait Driver<O: Outgoing> {
    /// What interrupts a [`Driver::wait`] from another thread.
    type Waker: Wake;

    /// A waker for other threads.
    fn waker(&self) -> Self::Waker;

    /// Takes a connected, non-blocking socket in.
    fn add(&mut self, socket: OwnedFd) -> io::Result<ConnectionId>;

    /// Waits for something to happen, at most `timeout`, and appends it to `events`.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event<O>>) -> io::Result<()>;

    /// Takes bytes that have arrived.
    fn receive(&mut self, connection: ConnectionId, buffer: &mut [u8]) -> Received;

    /// As [`Self::receive`] into a place and, what is behind it, into a buffer, as if both were
    /// one. Neither is empty.
    fn receive_into(
        &mut self,
        connection: ConnectionId,
        place: &mut [u8],
        behind: &mut [u8],
    ) -> Received;

    /// Sends a queue. At most one send of a connection is under way.
    fn send(&mut self, connection: ConnectionId, queue: O) -> Send<O>;

    /// Whether so much was begun to be sent that a [`Driver::wait`] should come before more.
    fn is_full(&self) -> bool {
        false
    }

    /// Whether much is to come on a connection that goes to where it is wanted at once: then it is
    /// left in the socket until it is received.
    fn expect_much(&mut self, _connection: ConnectionId, _much: bool) {}

    /// Bytes that the driver has received for a connection and that were not taken yet.
    fn received_ahead(&self, _connection: ConnectionId) -> usize {
        0
    }

    /// Whether memory is short: then as little as can be is received that was not taken.
    fn save_memory(&mut self, _saves: bool) {}

    /// Closes a connection, whatever is under way.
    fn close(&mut self, connection: ConnectionId);
}

/// Interrupts a driver's wait, now or the next one, with an [`Event::Woken`].
pub trait Wake: Clone + std::marker::Send + Sync + 'static {
    /// Wakes the driver.
    fn wake(&self);
}

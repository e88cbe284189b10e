//! What a worker sees of its sockets: readiness made to look like completion.

use std::io;
use std::time::Duration;

use mcache_base::Outgoing;

/// A connection in a driver. Not reused before its `Closed` was taken from [`Driver::wait`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub usize);

/// What happened on a socket.
#[derive(Debug)]
pub enum Event<O> {
    /// Bytes can be taken with [`Driver::receive`].
    Received(ConnectionId),
    /// A send that could not finish at once has finished; here is its queue, empty.
    Sent(ConnectionId, O),
    /// The peer is gone or the socket failed. The caller still has to [`Driver::close`] it.
    Failed(ConnectionId),
    /// Another thread called the driver's waker.
    Woken,
}

/// What came of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes were put into the buffer.
    Bytes(usize),
    /// Nothing there now; an [`Event::Received`] will tell when there is.
    Nothing,
    /// The peer has closed its side.
    Closed,
}

/// What came of a send.
#[derive(Debug)]
pub enum Send<O> {
    /// All of it went out; here is the queue, empty, for the next answers.
    Done(O),
    /// The driver keeps the queue and goes on by itself; an [`Event::Sent`] brings it back.
    UnderWay,
    /// The socket failed.
    Failed,
}

/// A worker's sockets.
pub trait Driver<O: Outgoing> {
    /// Waits for something to happen, at most `timeout`, and puts it into `events`.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event<O>>) -> io::Result<()>;

    /// Takes bytes that have arrived.
    fn receive(&mut self, connection: ConnectionId, buffer: &mut [u8]) -> Received;

    /// Sends a queue. At most one send of a connection is under way.
    fn send(&mut self, connection: ConnectionId, queue: O) -> Send<O>;

    /// Closes a connection, whatever is under way.
    fn close(&mut self, connection: ConnectionId);
}

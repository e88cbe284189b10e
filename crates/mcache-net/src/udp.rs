//! Datagram sockets: the UDP ports of a server, waited for at once.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::epoll::EpollWaker;

/// A UDP port.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    address: SocketAddr,
    place: usize,
}

impl DatagramSocket {
    /// Binds the port that has this place among all that are bound; port 0 lets the system choose.
    pub fn bind(address: SocketAddr, place: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
        if address.is_ipv6() {
            // So that the same port can be bound for IPv4 beside it.
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        Self::inherit(socket.into(), place)
    }

    /// Goes on with a socket that is bound.
    pub fn inherit(socket: OwnedFd, place: usize) -> io::Result<Self> {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, place })
    }

    /// One more descriptor of it.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// The port, as the system chose it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsRawFd for DatagramSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The UDP ports of a server.
pub struct Datagrams {
    poll: Poll,
    events: Events,
    waker: EpollWaker,
    sockets: Vec<Waiting>,
    /// The socket whose turn it is: a flood on one must not shut out the others.
    turn: usize,
}

/// A socket, and whether datagrams may be waiting there.
struct Waiting {
    socket: DatagramSocket,
    ready: bool,
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its length in bytes.
    pub len: usize,
    /// Who sent it, or is said to have.
    pub from: SocketAddr,
    /// The descriptor of the socket that it came to.
    pub descriptor: RawFd,
    /// The place of that socket's address, among those that were bound.
    pub listener: usize,
    /// The socket that it came to.
    socket: usize,
}

impl Datagrams {
    /// Waits for all of `sockets`.
    pub fn new(sockets: Vec<DatagramSocket>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EpollWaker::new(&poll)?;
        for (token, socket) in sockets.iter().enumerate() {
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
        }
        let events = Events::with_capacity(sockets.len() + 1);
        let sockets = sockets.into_iter().map(|socket| Waiting { socket, ready: true }).collect();
        Ok(Self { poll, events, waker, sockets, turn: 0 })
    }

    /// What interrupts a wait from another thread.
    pub fn waker(&self) -> EpollWaker {
        self.waker.clone()
    }

    /// Waits until a datagram can be received or the waker is called.
    pub fn wait(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if let Some(waiting) = self.sockets.get_mut(event.token().0) {
                waiting.ready = true;
            }
        }
        Ok(())
    }

    /// Receives a datagram, from each socket in turn; `None` if none waits. What is longer than
    /// `buffer` is cut.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Option<Datagram> {
        for _ in 0..self.sockets.len() {
            self.turn = (self.turn + 1) % self.sockets.len();
            let waiting = &mut self.sockets[self.turn];
            if !waiting.ready {
                continue;
            }
            match waiting.socket.socket.recv_from(buffer) {
                Ok((len, from)) => {
                    let descriptor = waiting.socket.as_raw_fd();
                    let listener = waiting.socket.place;
                    return Some(Datagram { len, from, descriptor, listener, socket: self.turn });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing there, or the news that an answer did not arrive: the kernel tells
                // when there is a datagram again.
                Err(_) => waiting.ready = false,
            }
        }
        None
    }

    /// Sends a datagram back to where `request` came from. It is lost if there is no room for it
    /// on the way, as datagrams are. Returns whether it went out.
    pub fn answer(&self, request: &Datagram, packet: &[u8]) -> bool {
        let Some(waiting) = self.sockets.get(request.socket) else { return false };
        waiting.socket.socket.send_to(packet, request.from).is_ok()
    }
}

//! All sockets that a server is found at; those that listen are waited for at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::epoll::EpollWaker;
use crate::inherited::{Inherited, Kept};
use crate::socket::{ListenAddress, Listener};
use crate::udp::DatagramSocket;

/// The sockets that a server is found at.
pub struct Listeners {
    poll: Poll,
    events: Events,
    waker: EpollWaker,
    asked: Vec<ListenAddress>,
    addresses: Vec<ListenAddress>,
    datagrams: Vec<DatagramSocket>,
    listeners: Vec<Waiting>,
    /// The listener whose turn it is: a flood on one must not shut out the others.
    turn: usize,
}

/// A listener, and whether connections may be waiting there.
struct Waiting {
    listener: Listener,
    place: usize,
    ready: bool,
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket, non-blocking.
    pub socket: OwnedFd,
    /// The place of the address where it was, among those that were bound.
    pub listener: usize,
}

impl Listeners {
    /// Binds every address. An error names the address that could not be bound.
    pub fn bind(addresses: &[ListenAddress], backlog: u32) -> io::Result<Self> {
        Self::open(addresses, backlog, &[])
    }

    /// Binds those addresses that none of these sockets is bound to already, and goes on with the
    /// others. An error names the address that could not be had.
    pub fn open(
        addresses: &[ListenAddress],
        backlog: u32,
        inherited: &[Inherited],
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EpollWaker::new(&poll)?;
        let events = Events::with_capacity(addresses.len() + 1);
        let mut all = Self {
            poll,
            events,
            waker,
            asked: addresses.to_vec(),
            addresses: Vec::with_capacity(addresses.len()),
            datagrams: Vec::new(),
            listeners: Vec::new(),
            turn: 0,
        };
        let mut unused: Vec<_> = inherited.iter().collect();
        for (place, address) in addresses.iter().enumerate() {
            let at = unused.iter().position(|it| it.serves(address).is_some());
            let found = at.map(|at| unused.swap_remove(at));
            all.add(address, place, backlog, found)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
        }
        Ok(all)
    }

    fn add(
        &mut self,
        address: &ListenAddress,
        place: usize,
        backlog: u32,
        found: Option<&Inherited>,
    ) -> io::Result<()> {
        let bound = found.and_then(|it| it.serves(address));
        let socket = found.map(Inherited::share).transpose()?.zip(bound);
        let listener = match (address, socket) {
            (ListenAddress::Udp(_), Some((socket, _))) => {
                return self.add_datagrams(DatagramSocket::inherit(socket, place)?);
            }
            (ListenAddress::Udp(address), None) => {
                return self.add_datagrams(DatagramSocket::bind(*address, place)?);
            }
            (_, Some((socket, bound))) => Listener::inherit(socket, &bound, backlog)?,
            (ListenAddress::Tcp(address), None) => Listener::tcp(*address, backlog)?,
            (ListenAddress::Unix { path, mode }, None) => Listener::unix(path, *mode, backlog)?,
        };
        let (fd, token) = (listener.as_fd().as_raw_fd(), Token(self.listeners.len()));
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.addresses.push(listener.address().clone());
        self.listeners.push(Waiting { listener, place, ready: true });
        Ok(())
    }

    fn add_datagrams(&mut self, socket: DatagramSocket) -> io::Result<()> {
        self.addresses.push(ListenAddress::Udp(socket.address()));
        self.datagrams.push(socket);
        Ok(())
    }

    /// Keeps the sockets, none of which is taken out, beside these: they listen on when this is
    /// dropped, and their files stay.
    pub fn keep(&mut self) -> io::Result<Kept> {
        let mut kept = Kept::default();
        let (mut listeners, mut datagrams) = (self.listeners.iter_mut(), self.datagrams.iter());
        for asked in &self.asked {
            let socket = match asked {
                ListenAddress::Udp(_) => datagrams.next().map(DatagramSocket::share),
                ListenAddress::Tcp(_) | ListenAddress::Unix { .. } => listeners.next().map(|it| {
                    kept.files.extend(it.listener.take_file());
                    it.listener.as_fd().try_clone_to_owned()
                }),
            };
            if let Some(socket) = socket.transpose()? {
                kept.sockets.push(Inherited::new(asked.clone(), socket)?);
            }
        }
        Ok(kept)
    }

    /// Where they listen, with the ports that the system chose.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.addresses.iter()
    }

    /// The sockets that are not taken out, by their descriptors.
    pub fn sockets(&self) -> impl Iterator<Item = (RawFd, ListenAddress)> {
        let listening = self.listeners.iter().map(|waiting| {
            (waiting.listener.as_fd().as_raw_fd(), waiting.listener.address().clone())
        });
        let datagrams = self.datagrams.iter();
        listening.chain(datagrams.map(|it| (it.as_raw_fd(), ListenAddress::Udp(it.address()))))
    }

    /// Takes the UDP ports out: they are not listened on but served.
    pub fn take_datagrams(&mut self) -> Vec<DatagramSocket> {
        std::mem::take(&mut self.datagrams)
    }

    /// What interrupts a wait from another thread.
    pub fn waker(&self) -> EpollWaker {
        self.waker.clone()
    }

    /// Waits until a connection can be accepted, the waker is called or `timeout` is over.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            if let Some(waiting) = self.listeners.get_mut(event.token().0) {
                waiting.ready = true;
            }
        }
        Ok(())
    }

    /// Accepts a connection, from each listener in turn; `None` if none waits.
    ///
    /// An error is the process's trouble (no descriptors, no memory); the connection goes on
    /// waiting and can be accepted later.
    pub fn accept(&mut self) -> io::Result<Option<Accepted>> {
        for _ in 0..self.listeners.len() {
            self.turn = (self.turn + 1) % self.listeners.len();
            let waiting = &mut self.listeners[self.turn];
            if !waiting.ready {
                continue;
            }
            match waiting.listener.accept() {
                Ok(socket) => return Ok(Some(Accepted { socket, listener: waiting.place })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => waiting.ready = false,
                // The peer has given up meanwhile, or a signal came: the next may be well.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted)
}

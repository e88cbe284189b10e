//! All listening sockets of a server, waited for at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::epoll::EpollWaker;
use crate::socket::{ListenAddress, Listener};

/// The listening sockets of a server.
pub struct Listeners {
    poll: Poll,
    events: Events,
    waker: EpollWaker,
    listeners: Vec<Waiting>,
    /// The listener whose turn it is: a flood on one must not shut out the others.
    turn: usize,
}

/// A listener, and whether connections may be waiting there.
struct Waiting {
    listener: Listener,
    ready: bool,
}

impl Listeners {
    /// Binds every address. An error names the address that could not be bound.
    pub fn bind(addresses: &[ListenAddress], backlog: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EpollWaker::new(&poll)?;
        let mut listeners = Vec::with_capacity(addresses.len());
        for (token, address) in addresses.iter().enumerate() {
            let listener = Listener::bind(address, backlog)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            let fd = listener.as_fd().as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
            listeners.push(Waiting { listener, ready: true });
        }
        let events = Events::with_capacity(listeners.len() + 1);
        Ok(Self { poll, events, waker, listeners, turn: 0 })
    }

    /// Where they listen, with the ports that the system chose.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listeners.iter().map(|waiting| waiting.listener.address())
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

    /// Accepts a connection (non-blocking), from each listener in turn; `None` if none waits.
    ///
    /// An error is the process's trouble (no descriptors, no memory); the connection goes on
    /// waiting and can be accepted later.
    pub fn accept(&mut self) -> io::Result<Option<OwnedFd>> {
        for _ in 0..self.listeners.len() {
            self.turn = (self.turn + 1) % self.listeners.len();
            let waiting = &mut self.listeners[self.turn];
            if !waiting.ready {
                continue;
            }
            match waiting.listener.accept() {
                Ok(socket) => return Ok(Some(socket)),
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

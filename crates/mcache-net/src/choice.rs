//! Which driver a server's workers have: the better one that the system allows.

use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mcache_base::Outgoing;

use crate::driver::{ConnectionId, Driver, Event, Received, Send, Wake};
use crate::epoll::{EpollDriver, EpollWaker};
use crate::uring::{UringDriver, UringWaker};

/// How long a driver that is tried may take to answer itself, in waits of [`TRIAL_WAIT`].
const TRIAL_WAITS: usize = 50;

/// One wait of a trial.
const TRIAL_WAIT: Duration = Duration::from_millis(20);

/// Which driver is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring, or none.
    Uring,
    /// epoll.
    Epoll,
}

impl Io {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Uring, Self::Epoll];

    /// The name that settings use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// Drivers for some workers, and which kind they are.
pub struct Chosen<O> {
    /// One for each worker.
    pub drivers: Vec<AnyDriver<O>>,
    /// The kernel interface's name.
    pub name: &'static str,
    /// Why this one.
    pub why: String,
}

impl<O: Outgoing> Chosen<O> {
    /// `count` drivers. An error if the kind that is wanted does not work.
    pub fn new(io: Io, count: usize) -> io::Result<Self> {
        let why = match io {
            Io::Epoll => "it was asked for".to_owned(),
            Io::Auto | Io::Uring => match Self::uring(count) {
                Ok(drivers) => {
                    let why = if io == Io::Auto { "it works here" } else { "it was asked for" };
                    return Ok(Self { drivers, name: "io_uring", why: why.to_owned() });
                }
                Err(error) if io == Io::Uring => {
                    return Err(io::Error::new(error.kind(), format!("io_uring: {error}")));
                }
                Err(error) => format!("io_uring does not work here: {error}"),
            },
        };
        let drivers = (0..count).map(|_| Ok(AnyDriver::Epoll(EpollDriver::new()?)));
        Ok(Self { drivers: drivers.collect::<io::Result<_>>()?, name: "epoll", why })
    }

    fn uring(count: usize) -> io::Result<Vec<AnyDriver<O>>> {
        try_out(UringDriver::new()?)?;
        (0..count).map(|_| Ok(AnyDriver::Uring(Box::new(UringDriver::new()?)))).collect()
    }
}

/// Lets a driver receive and send. Kernels and containers forbid parts of io_uring in ways that
/// only show when it is used.
fn try_out(mut driver: UringDriver<Word>) -> io::Result<()> {
    let (mut peer, socket) = UnixStream::pair()?;
    peer.set_nonblocking(true)?;
    socket.set_nonblocking(true)?;
    let connection = driver.add(socket.into())?;
    peer.write_all(Word::TEXT)?;
    let (mut events, mut buffer) = (Vec::new(), [0; Word::TEXT.len() + 1]);
    let mut heard = false;
    for _ in 0..TRIAL_WAITS {
        let timeout = if heard { Duration::ZERO } else { TRIAL_WAIT };
        driver.wait(Some(timeout), &mut events)?;
        for event in events.drain(..) {
            match event {
                Event::Received(_) => match driver.receive(connection, &mut buffer) {
                    Received::Bytes(count) if buffer[..count] == *Word::TEXT => {
                        heard = true;
                        driver.send(connection, Word(false));
                    }
                    _ => return Err(io::Error::other("it does not receive")),
                },
                Event::Sent(..) => return Ok(()),
                Event::Failed(_) => return Err(io::Error::other("it does not send")),
                Event::Woken | Event::Delayed(_) => {}
            }
        }
    }
    Err(io::Error::other("it does not answer"))
}

/// What a driver says to itself, and whether it was sent.
struct Word(bool);

impl Word {
    const TEXT: &[u8] = b"hello";
}

impl Outgoing for Word {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        slices[0] = IoSlice::new(Self::TEXT);
        1
    }

    fn advance(&mut self, _: usize) {
        self.0 = true;
    }

    fn is_empty(&self) -> bool {
        self.0
    }
}

/// One of the drivers.
pub enum AnyDriver<O> {
    /// Readiness.
    Epoll(EpollDriver<O>),
    /// Completion.
    Uring(Box<UringDriver<O>>),
}

macro_rules! either {
    ($driver:expr, $it:ident => $call:expr) => {
        match $driver {
            Self::Epoll($it) => $call,
            Self::Uring($it) => $call,
        }
    };
}

impl<O: Outgoing> Driver<O> for AnyDriver<O> {
    type Waker = AnyWaker;

    fn waker(&self) -> AnyWaker {
        match self {
            Self::Epoll(driver) => AnyWaker::Epoll(driver.waker()),
            Self::Uring(driver) => AnyWaker::Uring(driver.waker()),
        }
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<ConnectionId> {
        either!(self, driver => driver.add(socket))
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event<O>>) -> io::Result<()> {
        either!(self, driver => driver.wait(timeout, events))
    }

    fn receive(&mut self, connection: ConnectionId, buffer: &mut [u8]) -> Received {
        either!(self, driver => driver.receive(connection, buffer))
    }

    fn receive_into(
        &mut self,
        connection: ConnectionId,
        place: &mut [u8],
        behind: &mut [u8],
    ) -> Received {
        either!(self, driver => driver.receive_into(connection, place, behind))
    }

    fn send(&mut self, connection: ConnectionId, queue: O) -> Send<O> {
        either!(self, driver => driver.send(connection, queue))
    }

    fn is_full(&self) -> bool {
        match self {
            Self::Epoll(driver) => driver.is_full(),
            Self::Uring(driver) => driver.is_full(),
        }
    }

    fn expect_much(&mut self, connection: ConnectionId, much: bool) {
        either!(self, driver => driver.expect_much(connection, much));
    }

    fn received_ahead(&self, connection: ConnectionId) -> usize {
        either!(self, driver => driver.received_ahead(connection))
    }

    fn save_memory(&mut self, saves: bool) {
        either!(self, driver => driver.save_memory(saves));
    }

    fn close(&mut self, connection: ConnectionId) {
        either!(self, driver => driver.close(connection));
    }
}

/// One of the wakers.
#[derive(Clone, Debug)]
pub enum AnyWaker {
    /// Of an [`AnyDriver::Epoll`].
    Epoll(EpollWaker),
    /// Of an [`AnyDriver::Uring`].
    Uring(UringWaker),
}

impl Wake for AnyWaker {
    fn wake(&self) {
        either!(self, waker => waker.wake());
    }
}

//! A conversation in datagrams: what is sent in one piece is one, and what comes is put together
//! in the order in which it comes.
//!
//! Nobody tells when a server has said its last. So a request of the house's own follows that the
//! server must answer: what has not come before its answer does not come any more.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::house::{Connection, Received};

/// The house's own request: its id, one packet, the shortest command that has an answer.
const QUESTION: &[u8] = b"\xff\xff\0\0\0\x01\0\0mn\r\n";

/// The answer to it.
const ANSWER: &[u8] = b"\xff\xff\0\0\0\x01\0\0MN\r\n";

/// Longest datagram, in bytes.
const DATAGRAM_MAX: usize = 64 << 10;

/// How long the first answer may take; then it is asked again.
const PATIENCE: Duration = Duration::from_millis(100);

/// A socket that talks to one server.
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// Fails if the server does not answer yet.
    pub fn connect(port: u16) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect((Ipv4Addr::LOCALHOST, port))?;
        let mut datagrams = Self(socket);
        datagrams.0.send(QUESTION)?;
        match datagrams.receive(PATIENCE) {
            Received::Closed => Ok(datagrams),
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Connection for Datagrams {
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.send(bytes);
    }

    fn hang_up(&mut self) {
        let _ = self.0.send(QUESTION);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        let mut buffer = vec![0; DATAGRAM_MAX];
        let received = self.0.set_read_timeout(Some(patience)).and_then(|()| {
            let len = self.0.recv(&mut buffer)?;
            buffer.truncate(len);
            Ok(())
        });
        match received {
            Ok(()) if buffer == ANSWER => Received::Closed,
            Ok(()) => Received::Bytes(buffer),
            Err(_) => Received::Silence,
        }
    }
}

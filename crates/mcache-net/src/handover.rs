//! From one process to the next: messages over a Unix socket, each with a descriptor at most.
//!
//! Who connects to whom is checked by the user at the other end, as the kernel tells it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use mcache_base::limits::{HANDOVER_MESSAGE_MAX, HANDOVERS_WAITING_MAX};
use rustix::cmsg_space;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::socket::{SocketFile, bind_unix, make_way, no_one};

/// Only its owner may connect to a server's socket for its successor.
const MODE: u32 = 0o700;

/// The user that may do everything.
const ROOT: u32 = 0;

/// Messages in order, each whole.
fn kind() -> Type {
    Type::from(libc::SOCK_SEQPACKET)
}

/// A connection over which messages go, each whole.
#[derive(Debug)]
pub struct Channel {
    socket: Socket,
}

/// What was received.
#[derive(Debug)]
pub struct Message {
    /// Its words.
    pub text: Vec<u8>,
    /// What was sent along.
    pub descriptor: Option<OwnedFd>,
}

impl Channel {
    /// Connects to who listens at `path`, waiting so long for room at most; `None` if nobody does.
    pub fn connect(path: &Path, patience: Duration) -> io::Result<Option<Self>> {
        let socket = Socket::new(Domain::UNIX, kind(), None)?;
        socket.set_write_timeout(Some(patience))?;
        match socket.connect(&SockAddr::unix(path)?) {
            Ok(()) => Ok(Some(Self { socket })),
            Err(error) if no_one(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the process at the other end is of the same user as this one, or root's.
    pub fn is_trusted(&self) -> io::Result<bool> {
        let peer = socket_peercred(&self.socket)?.uid.as_raw();
        Ok(peer == rustix::process::geteuid().as_raw() || peer == ROOT)
    }

    /// Sends a message, waiting so long for room at most.
    pub fn send(
        &self,
        text: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
        patience: Duration,
    ) -> io::Result<()> {
        self.socket.set_write_timeout(Some(patience))?;
        let descriptors = descriptor.map_or(Vec::new(), |descriptor| vec![descriptor]);
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut along = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !along.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            let slices = [IoSlice::new(text)];
            match sendmsg(&self.socket, &slices, &mut along, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                sent => return Ok(sent.map(drop)?),
            }
        }
    }

    /// Receives a message, waiting so long for it at most; `None` if the other end is closed.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Message>> {
        self.socket.set_read_timeout(Some(patience))?;
        let mut text = vec![0; HANDOVER_MESSAGE_MAX];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut along = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut slices = [IoSliceMut::new(&mut text)];
            match recvmsg(&self.socket, &mut slices, &mut along, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Ok(None),
                received => break received?.bytes,
            }
        };
        text.truncate(received);
        let rights = along.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let descriptor = rights.flatten().last();
        Ok((received > 0).then_some(Message { text, descriptor }))
    }
}

/// Where a server is found by its successor.
#[derive(Debug)]
pub struct HandoverListener {
    socket: Socket,
}

impl HandoverListener {
    /// Listens at a path. A socket that nobody answers at is replaced. The second value removes the
    /// file when it is dropped.
    pub fn bind(path: &Path) -> io::Result<(Self, SocketFile)> {
        make_way(path, kind())?;
        let socket = Socket::new(Domain::UNIX, kind(), None)?;
        let file = bind_unix(&socket, path, MODE)?;
        socket.listen(HANDOVERS_WAITING_MAX)?;
        Ok((Self { socket }, file))
    }

    /// Goes on with a socket that listens already.
    pub fn inherit(socket: OwnedFd) -> Self {
        Self { socket: socket.into() }
    }

    /// Waits for a process that connects.
    pub fn accept(&self) -> io::Result<Channel> {
        loop {
            match self.socket.accept() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                accepted => return accepted.map(|(socket, _)| Channel { socket }),
            }
        }
    }
}

impl AsFd for HandoverListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn messages_come_whole_and_with_what_was_sent_along() {
        let path = std::env::temp_dir().join(format!("mcache-handover-{}", std::process::id()));
        assert!(Channel::connect(&path, PATIENCE).unwrap().is_none(), "nobody is there");
        let (listener, file) = HandoverListener::bind(&path).unwrap();
        let here = Channel::connect(&path, PATIENCE).unwrap().unwrap();
        let there = listener.accept().unwrap();
        assert!(here.is_trusted().unwrap() && there.is_trusted().unwrap());
        let (mut reader, writer) = io::pipe().unwrap();
        here.send(b"one", None, PATIENCE).unwrap();
        here.send(b"two", Some(writer.as_fd()), PATIENCE).unwrap();
        drop(writer);
        let one = there.receive(PATIENCE).unwrap().unwrap();
        assert_eq!((&one.text[..], one.descriptor.is_none()), (&b"one"[..], true));
        let two = there.receive(PATIENCE).unwrap().unwrap();
        std::fs::File::from(two.descriptor.unwrap()).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((&two.text[..], text.as_str()), (&b"two"[..], "through"));
        let began = Instant::now();
        let waited = there.receive(Duration::from_millis(20)).unwrap_err();
        assert!(waited.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE);
        drop(here);
        assert!(there.receive(PATIENCE).unwrap().is_none(), "the other end is closed");
        assert_eq!(
            HandoverListener::bind(&path).map(drop).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop((listener, file));
        assert!(!path.exists());
    }
}

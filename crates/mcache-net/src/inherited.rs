//! The sockets that a server is found at, kept beside those that serve so that the next process can
//! have them, and as that process gets them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::sockopt::socket_acceptconn;
use socket2::{SockRef, Type};

use crate::socket::{ListenAddress, SocketFile};

/// A socket that another process has bound, or this one before.
#[derive(Clone, Debug)]
pub struct Inherited {
    asked: ListenAddress,
    bound: ListenAddress,
    socket: Arc<OwnedFd>,
}

impl Inherited {
    /// A socket that was bound when `asked` was asked for. An error if it is none of that kind.
    pub fn new(asked: ListenAddress, socket: OwnedFd) -> io::Result<Self> {
        let found = SockRef::from(&socket);
        let (kind, listens) = match &asked {
            ListenAddress::Udp(_) => (Type::DGRAM, false),
            ListenAddress::Tcp(_) | ListenAddress::Unix { .. } => (Type::STREAM, true),
        };
        let at = found.local_addr()?;
        let bound = match (&asked, at.as_socket()) {
            (ListenAddress::Tcp(_), Some(at)) => Some(ListenAddress::Tcp(at)),
            (ListenAddress::Udp(_), Some(at)) => Some(ListenAddress::Udp(at)),
            (ListenAddress::Unix { .. }, None) if at.is_unix() => Some(asked.clone()),
            _ => None,
        };
        match bound {
            Some(bound) if found.r#type()? == kind && socket_acceptconn(&socket)? == listens => {
                Ok(Self { asked, bound, socket: Arc::new(socket) })
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// What was asked for when it was bound: its port may be 0.
    pub fn asked(&self) -> &ListenAddress {
        &self.asked
    }

    /// Where it is bound, if it is what somebody wants who asks for `wanted`.
    pub(crate) fn serves(&self, wanted: &ListenAddress) -> Option<ListenAddress> {
        match (wanted, &self.bound) {
            (ListenAddress::Unix { path, .. }, ListenAddress::Unix { path: at, .. }) => {
                (path == at).then(|| wanted.clone())
            }
            _ => [&self.asked, &self.bound].contains(&wanted).then(|| self.bound.clone()),
        }
    }

    /// One more descriptor of it.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Its socket file, to be removed when that is dropped.
    pub fn file(&self) -> Option<SocketFile> {
        let ListenAddress::Unix { path, .. } = &self.bound else { return None };
        SocketFile::new(path).ok() // somebody has removed it
    }
}

impl AsFd for Inherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What of a server's sockets outlives it. Dropping it removes the socket files that are its own.
#[derive(Debug, Default)]
pub struct Kept {
    /// The sockets, in the order of the addresses.
    pub sockets: Vec<Inherited>,
    /// Files of Unix sockets that are to be removed at the end.
    pub files: Vec<SocketFile>,
}

impl Kept {
    /// Takes over the files of sockets that were another process's.
    pub fn own_files(&mut self) {
        self.leave_files();
        self.files.extend(self.sockets.iter().filter_map(Inherited::file));
    }

    /// Leaves all files to another process.
    pub fn leave_files(&mut self) {
        self.files.drain(..).for_each(SocketFile::leave);
    }
}

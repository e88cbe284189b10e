//! Where a server listens, and its listening sockets: TCP over IPv4 and IPv6, and Unix sockets.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::{SendFlags, SocketFlags};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP port; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// A UDP port; port 0 lets the system choose one.
    Udp(SocketAddr),
    /// A Unix socket.
    Unix {
        /// Its path. A socket that nobody answers at is replaced; anything else is an error.
        path: PathBuf,
        /// Permission bits of the socket file, at most `0o777`.
        mode: u32,
    },
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Udp(address) => write!(f, "udp:{address}"),
            Self::Unix { path, .. } => path.display().fmt(f),
        }
    }
}

/// A socket that listens. Dropping it stops listening and removes its socket file.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddress,
    _file: Option<SocketFile>,
}

impl Listener {
    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Accepts a connection, non-blocking; the listener itself does not block either.
    pub fn accept(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        Ok(rustix::net::accept_with(&self.socket, flags)?)
    }

    /// Binds a TCP port and listens; `backlog` connections may wait to be accepted.
    pub fn tcp(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            // So that the same port can be bound for IPv4 beside it.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        // Accepted connections inherit these two.
        socket.set_keepalive(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(clamp(backlog))?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address: ListenAddress::Tcp(bound), _file: None })
    }

    /// Binds a Unix socket and listens; `backlog` connections may wait to be accepted.
    pub fn unix(path: &Path, mode: u32, backlog: u32) -> io::Result<Self> {
        let is_socket = |metadata: fs::Metadata| metadata.file_type().is_socket();
        if fs::symlink_metadata(path).is_ok_and(is_socket) {
            if is_answered(path)? {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?; // left behind by a server that was killed
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::new(path)?;
        // Nobody can connect before listen(), so the mode is never too wide for a moment, and
        // the umask, which all threads share, is left alone.
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
        socket.listen(clamp(backlog))?;
        let address = ListenAddress::Unix { path: path.to_owned(), mode };
        Ok(Self { socket, address, _file: Some(file) })
    }
}

/// Whether a server listens at a socket file. An error is that it cannot be known.
fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?; // its queue may be full
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(error) => Err(error),
    }
}

fn clamp(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

/// Both ends of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The peer's.
    pub peer: End,
    /// Ours.
    pub own: End,
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, and its path if it has one.
    Unix(Option<PathBuf>),
}

impl Ends {
    /// The ends of a connected socket.
    pub fn of(socket: &OwnedFd) -> Self {
        let socket = SockRef::from(socket);
        Self { peer: End::of(socket.peer_addr()), own: End::of(socket.local_addr()) }
    }
}

impl End {
    fn of(address: io::Result<SockAddr>) -> Self {
        let Ok(address) = address else { return Self::Unix(None) };
        match address.as_socket() {
            Some(address) => Self::Tcp(address),
            None => Self::Unix(address.as_pathname().map(Path::to_owned)),
        }
    }
}

/// Sends a few last bytes if the socket takes them at once, and closes it.
pub fn send_and_close(socket: OwnedFd, bytes: &[u8]) {
    // A peer that cannot be told is closed all the same.
    let _ = rustix::net::send(&socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    drop(socket);
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A Unix socket's file, removed when dropped unless another server has put its own there.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            // Nothing can be done about a failure, and the next server replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

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
    file: Option<SocketFile>,
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
        Ok(Self { socket, address: ListenAddress::Tcp(bound), file: None })
    }

    /// Binds a Unix socket and listens; `backlog` connections may wait to be accepted.
    pub fn unix(path: &Path, mode: u32, backlog: u32) -> io::Result<Self> {
        make_way(path, Type::STREAM)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let file = bind_unix(&socket, path, mode)?;
        socket.listen(clamp(backlog))?;
        let address = ListenAddress::Unix { path: path.to_owned(), mode };
        Ok(Self { socket, address, file: Some(file) })
    }

    /// Goes on with a socket that another process has bound to `address`, in which no port is 0.
    /// Its socket file, if it has one, is not removed.
    pub fn inherit(socket: OwnedFd, address: &ListenAddress, backlog: u32) -> io::Result<Self> {
        let socket = Socket::from(socket);
        if let ListenAddress::Unix { path, mode } = address {
            fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
        }
        socket.set_nonblocking(true)?;
        socket.listen(clamp(backlog))?;
        Ok(Self { socket, address: address.clone(), file: None })
    }

    /// Leaves its socket file to the caller, if it has one.
    pub fn take_file(&mut self) -> Option<SocketFile> {
        self.file.take()
    }
}

/// Binds a Unix socket to a path that is free.
pub(crate) fn bind_unix(socket: &Socket, path: &Path, mode: u32) -> io::Result<SocketFile> {
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::new(path)?;
    // Nobody can connect before listen(), so the mode is never too wide for a moment, and
    // the umask, which all threads share, is left alone.
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    Ok(file)
}

/// Makes way for a socket of this type: an error if a server listens there, or if that cannot be
/// known. The file that one left behind that was killed is removed.
pub(crate) fn make_way(path: &Path, kind: Type) -> io::Result<()> {
    let is_socket = |metadata: fs::Metadata| metadata.file_type().is_socket();
    if !fs::symlink_metadata(path).is_ok_and(is_socket) {
        return Ok(());
    }
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.set_nonblocking(true)?; // its queue may be full
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::AddrInUse.into())
        }
        Err(error) if no_one(&error) => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Whether an error is that nobody listens at a socket file, or that there is none.
pub(crate) fn no_one(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
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
pub struct SocketFile {
    path: PathBuf,
    /// `None` if it is another process's by now.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file that is there now.
    pub fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), identity: Some((metadata.dev(), metadata.ino())) })
    }

    /// Leaves the file to another process.
    pub fn leave(mut self) {
        self.identity = None;
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| Some((metadata.dev(), metadata.ino())) == self.identity)
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

//! A server that was started to be besieged.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::resident::{cpu_ns, resident};

/// Longer than any server takes to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. It is killed when this is dropped.
pub struct Target {
    child: Child,
    /// Where it is found.
    pub address: SocketAddr,
}

impl Target {
    /// Starts a program that takes memcached's options, and some more of them.
    pub fn start(program: &Path, options: &str) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
        command.args(options.split_whitespace()).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(Stdio::null()).spawn()?;
        let target = Self { child, address: (Ipv4Addr::LOCALHOST, port).into() };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(target.address).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("nobody listens"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(target)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What its threads have had of processors, in nanoseconds.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        cpu_ns(&self.child)
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> io::Result<u64> {
        resident(&self.child)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that asks one thing after the other and does not wait forever.
pub struct Client(TcpStream);

impl Client {
    /// Connects; every wait ends after `patience`.
    pub fn connect(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self(stream))
    }

    /// Sends a request; what is answered has to be this.
    pub fn ask(&mut self, request: &[u8], expected: &[u8]) -> io::Result<()> {
        self.0.write_all(request)?;
        let mut heard = vec![0; expected.len()];
        self.0.read_exact(&mut heard)?;
        if heard == expected { Ok(()) } else { Err(io::Error::other("another answer")) }
    }
}

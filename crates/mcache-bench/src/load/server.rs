//! A server that was started to be measured, alone on the first processor.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

use super::workloads::Row;
use crate::resident::{cpu_ns, resident};

/// Longer than any server takes to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Kind {
    /// Its name in the table.
    pub name: String,
    /// The program and its arguments, in which `{listen}`, `{port}` and `{mb}` are filled in.
    pub command: String,
}

/// Where a server is found.
#[derive(Clone, Debug)]
pub enum Address {
    /// At a port of this machine.
    Tcp(SocketAddr),
    /// At a Unix socket.
    Unix(PathBuf),
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: Address,
}

impl Server {
    /// Starts a server for a workload; `Ok(None)` if it cannot listen at a Unix socket.
    pub fn start(kind: &Kind, row: &Row) -> io::Result<Option<Self>> {
        let (unix, megabytes) = (row.unix, row.megabytes);
        if unix && !kind.command.contains("{listen}") {
            return Ok(None);
        }
        let address = if unix { Address::new_unix() } else { Address::new_tcp()? };
        let (listen, port) = match &address {
            Address::Tcp(at) => (format!("-l 127.0.0.1 -p {}", at.port()), at.port()),
            Address::Unix(path) => (format!("-s {}", path.display()), 0),
        };
        let line = kind.command.replace("{listen}", &listen);
        let line =
            line.replace("{port}", &port.to_string()).replace("{mb}", &megabytes.to_string());
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdout(Stdio::null()).stderr(Stdio::null());
        stay_on(0)?; // what is started inherits it
        let child = command.spawn();
        stay_on(1)?;
        let child = child.map_err(|error| named(kind, &error.to_string()))?;
        let server = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while server.address.connect().is_err() {
            if Instant::now() > deadline {
                return Err(named(kind, "nobody listens"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(server))
    }

    /// Where it is found.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What the system has charged to its threads, in user and system time, in nanoseconds.
    pub fn cpu_ns(&self) -> io::Result<u64> {
        cpu_ns(&self.child)
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> io::Result<u64> {
        resident(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Address::Unix(path) = &self.address {
            let _ = fs::remove_file(path);
        }
    }
}

impl Address {
    /// A connection.
    pub fn connect_blocking(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
            Self::Unix(path) => Ok(UnixStream::connect(path)?.into()),
        }
    }

    /// A connection that does not block.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        let socket = self.connect_blocking()?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(socket)
    }

    /// A port that is free.
    fn new_tcp() -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?))
    }

    /// A path that nobody else has.
    fn new_unix() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mcache-load-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        Self::Unix(std::env::temp_dir().join(name))
    }
}

/// Keeps this thread, and what it starts, on a processor, if the machine has so many.
fn stay_on(processor: usize) -> io::Result<()> {
    if std::thread::available_parallelism()?.get() == 1 && processor > 0 {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

fn named(kind: &Kind, what: &str) -> io::Error {
    io::Error::other(format!("{}: {what}", kind.command))
}

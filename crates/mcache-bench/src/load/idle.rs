//! Connections that were answered once and then say nothing: what one of them costs a server.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::server::Server;

/// Connections that are opened before their answers are read.
const TOGETHER: usize = 500;

/// Connections that are idle until this is dropped.
pub struct Idle {
    sockets: Vec<OwnedFd>,
    /// Resident memory that the server took for each, in bytes.
    pub bytes_each: f64,
}

impl Idle {
    /// Opens so many.
    pub fn open(server: &Server, count: usize) -> io::Result<Self> {
        let before = server.resident()?;
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            let begin = sockets.len();
            for _ in 0..TOGETHER.min(count - begin) {
                let socket = server.address().connect_blocking()?;
                rustix::io::write(&socket, b"version\r\n")?;
                sockets.push(socket);
            }
            for socket in &sockets[begin..] {
                if rustix::io::read(socket, &mut [0; 64])? == 0 {
                    return Err(io::Error::other("the server has closed an idle connection"));
                }
            }
        }
        let grown = server.resident()?.saturating_sub(before);
        Ok(Self { sockets, bytes_each: grown as f64 / count as f64 })
    }

    /// Lets this process, and those that it starts, have as many descriptors as it may.
    pub fn allow() -> io::Result<()> {
        let maximum = getrlimit(Resource::Nofile).maximum;
        Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // By resets, which leave no ports behind that wait.
        for socket in &self.sockets {
            let _ = set_socket_linger(socket, Some(Duration::ZERO));
        }
    }
}

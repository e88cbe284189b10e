//! A server that does no work: one thread, one read and one write for a socket that is ready, and
//! the same value for every line. What it costs is the kernel's price of the traffic.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use mcache_net::{Accepted, ListenAddress, Listeners};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::workloads::KEY_LEN;

/// Bytes read at once.
const READ: usize = 256 << 10;

/// Serves at a port (`-p`) or a Unix socket (`-s`) until it is killed.
pub fn serve(words: &[String]) -> Result<(), String> {
    let (mut address, mut len) = (None, 100);
    for pair in words.chunks(2) {
        match pair {
            [name, port] if name == "-p" => {
                let port: u16 = port.parse().map_err(|_| "no port")?;
                address = Some(ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port))));
            }
            [name, path] if name == "-s" => {
                address = Some(ListenAddress::Unix { path: PathBuf::from(path), mode: 0o600 });
            }
            [name, value] if name == "--len" => len = value.parse().map_err(|_| "no length")?,
            _ => {}
        }
    }
    run(address.ok_or("where?")?, len).map_err(|error| error.to_string())
}

fn run(address: ListenAddress, len: usize) -> io::Result<()> {
    let mut listeners = Listeners::bind(&[address], 1024)?;
    let answer = [
        format!("VALUE {} 0 {len}\r\n", "k".repeat(KEY_LEN)).into_bytes(),
        vec![b'v'; len],
        b"\r\nEND\r\n".to_vec(),
    ]
    .concat();
    let answers = answer.repeat((READ / answer.len()).max(1));
    // Connections come before anything is measured: they are looked for between requests.
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let (fd, listening) = (listeners.sockets().next().map_or(-1, |it| it.0), Token(usize::MAX));
    poll.registry().register(&mut SourceFd(&fd), listening, Interest::READABLE)?;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    let mut buffer = vec![0; READ];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == listening {
                listeners.wait(Some(std::time::Duration::ZERO))?;
                while let Some(Accepted { socket, .. }) = listeners.accept()? {
                    let (fd, token) = (socket.as_raw_fd(), Token(sockets.len()));
                    poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
                    sockets.push(socket);
                }
                continue;
            }
            let socket = &sockets[event.token().0];
            let Ok(count) = rustix::io::read(socket, &mut buffer) else { continue };
            let lines = buffer[..count].iter().filter(|byte| **byte == b'\n').count();
            let mut left = lines * answer.len();
            while left > 0 {
                match rustix::io::write(socket, &answers[..left.min(answers.len())]) {
                    Ok(count) => left -= count,
                    Err(rustix::io::Errno::AGAIN) => std::hint::spin_loop(),
                    Err(_) => break,
                }
            }
        }
    }
}

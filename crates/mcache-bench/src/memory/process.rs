//! A server that was started to be measured, and one connection to it.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::resident;

/// Longer than any server takes to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    unanswered: u64,
    refused: u64,
    line: String,
}

impl Process {
    /// Starts a program that takes memcached's options, with so many megabytes and one thread.
    pub fn start(program: &str, megabytes: u64) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-t", "1"]);
        command.args(["-p", &port.to_string(), "-m", &megabytes.to_string()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    let _ = child.kill();
                    return Err(error);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_nodelay(true)?;
        let (stream, line) = (BufReader::new(stream), String::new());
        let name = program.to_owned();
        Ok(Self { name, child, stream, out: Vec::new(), unanswered: 0, refused: 0, line })
    }

    /// The program.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Requests whose answers were not read.
    pub fn unanswered(&self) -> u64 {
        self.unanswered
    }

    /// Their bytes.
    pub fn unanswered_bytes(&self) -> u64 {
        self.out.len() as u64
    }

    /// Adds a set to what will be sent.
    pub fn send_set(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        write!(self.out, "set {key} 0 0 {}\r\n", value.len())?;
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        self.unanswered += 1;
        Ok(())
    }

    /// Sets that the server refused for want of memory.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Sends the sets and reads their answers.
    pub fn read_answers(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.out)?;
        self.out.clear();
        for _ in 0..std::mem::take(&mut self.unanswered) {
            let line = self.read_line()?;
            match line {
                "STORED" => {}
                line if line.starts_with("SERVER_ERROR") => self.refused += 1,
                line => return Err(io::Error::other(format!("a set was answered by {line}"))),
            }
        }
        Ok(())
    }

    /// A statistic that is a number.
    pub fn stat(&mut self, name: &str) -> io::Result<u64> {
        self.stream.get_mut().write_all(b"stats\r\n")?;
        let mut found = None;
        loop {
            let line = self.read_line()?;
            if line == "END" {
                return found.ok_or_else(|| io::Error::other(format!("no statistic {name}")));
            }
            let value = line.strip_prefix("STAT ").and_then(|rest| rest.strip_prefix(name));
            let value = value.and_then(|value| value.strip_prefix(' ')?.parse().ok());
            found = found.or(value);
        }
    }

    /// Its resident memory, in bytes.
    pub fn resident(&self) -> io::Result<u64> {
        resident::resident(&self.child)
    }

    /// The most that it ever was.
    pub fn peak(&self) -> io::Result<u64> {
        resident::peak(&self.child)
    }

    fn read_line(&mut self) -> io::Result<&str> {
        self.line.clear();
        self.stream.read_line(&mut self.line)?;
        Ok(self.line.trim_end())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

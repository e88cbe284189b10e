//! A client of the classic protocol that sends a request and reads its answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes; reaching it is an error.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that a slow client reads between two pauses.
const SLOW_PIECE: usize = 256 << 10;

/// A connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    value: Vec<u8>,
    pause: Option<Duration>,
}

/// The next part of what answers a get.
pub enum Answer<'a> {
    /// A value.
    Value {
        /// The number of its key.
        key: u64,
        /// Its bytes.
        value: &'a [u8],
    },
    /// No more.
    End,
    /// The server could not.
    Error,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let stream = BufReader::with_capacity(64 << 10, stream);
        Ok(Self { stream, line: Vec::new(), value: Vec::new(), pause: None })
    }

    /// The same, reading slowly.
    pub fn with_pause(self, pause: Duration) -> Self {
        Self { pause: Some(pause), ..self }
    }

    /// Stores a value. Returns whether the server did.
    pub fn set(&mut self, key: u64, value: &[u8]) -> io::Result<bool> {
        let mut request = format!("set key-{key} 0 0 {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&request)?;
        Ok(self.read_line()? == b"STORED\r\n")
    }

    /// Deletes a key, whether or not it is there.
    pub fn delete(&mut self, key: u64) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("delete key-{key}\r\n").as_bytes())?;
        match self.read_line()? {
            b"DELETED\r\n" | b"NOT_FOUND\r\n" => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for keys, whose values [`Self::next`] then reads.
    pub fn ask(&mut self, keys: &[u64]) -> io::Result<()> {
        let names: String = keys.iter().map(|key| format!(" key-{key}")).collect();
        self.stream.get_mut().write_all(format!("get{names}\r\n").as_bytes())
    }

    /// The next part of the answer.
    pub fn next(&mut self) -> io::Result<Answer<'_>> {
        let line = self.read_line()?;
        if line == b"END\r\n" {
            return Ok(Answer::End);
        }
        if line.starts_with(b"SERVER_ERROR") {
            return Ok(Answer::Error);
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let mut words = text.split_whitespace();
        let (word, key, _, len) = (words.next(), words.next(), words.next(), words.next());
        let key = key.and_then(|key| key.strip_prefix("key-")?.parse().ok());
        let len = len.and_then(|len| len.parse::<usize>().ok());
        let (Some("VALUE"), Some(key), Some(len)) = (word, key, len) else {
            return Err(unexpected(line));
        };
        self.read_value(len + 2)?;
        match self.value.strip_suffix(b"\r\n") {
            Some(value) => Ok(Answer::Value { key, value }),
            None => Err(io::Error::other("a value without its end")),
        }
    }

    fn read_value(&mut self, len: usize) -> io::Result<()> {
        self.value.resize(len, 0);
        for piece in self.value.chunks_mut(SLOW_PIECE) {
            if let Some(pause) = self.pause {
                std::thread::sleep(pause);
            }
            self.stream.read_exact(piece)?;
        }
        Ok(())
    }

    fn read_line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line)?;
        Ok(&self.line)
    }
}

fn unexpected(line: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected: {}", String::from_utf8_lossy(line)))
}

//! A directory in which the program runs, and connections to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes; reaching it fails the test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that is removed when the test ends.
pub struct Place(pub PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcache-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub fn command(&self, options: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcache"));
        command.current_dir(&self.0).stdin(Stdio::null()).stderr(Stdio::null());
        command.args(options.split_whitespace());
        command
    }

    pub fn start(&self, options: &str) -> Running {
        Running(self.command(options).spawn().expect("the program"))
    }

    /// Connects to the program's Unix socket, once it is there.
    pub fn connect(&self) -> Connection<UnixStream> {
        let began = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.0.join("socket")) {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return Connection(BufReader::new(stream));
            }
            assert!(began.elapsed() < PATIENCE, "nobody listens");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that is killed when the test ends, if it has not ended by then.
pub struct Running(pub Child);

impl Running {
    pub fn end(mut self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        self.0.wait().expect("its end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Connection<S>(pub BufReader<S>);

impl<S: Read + Write> Connection<S> {
    /// The first line of the answer; none if the server is gone.
    pub fn ask(&mut self, request: &[u8]) -> Option<String> {
        self.0.get_mut().write_all(request).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|&len| len > 0)?;
        line.ends_with('\n').then_some(line)
    }

    /// The answer, of so many lines.
    pub fn lines(&mut self, request: &[u8], count: usize) -> String {
        let mut lines = self.ask(request).expect("an answer");
        for _ in 1..count {
            self.0.read_line(&mut lines).expect("a line");
        }
        lines
    }

    /// The value of a key, if there is one; an error if the server is gone.
    pub fn fetch(&mut self, key: &str) -> Result<Option<Vec<u8>>, ()> {
        let line = self.ask(format!("get {key}\r\n").as_bytes()).ok_or(())?;
        if line == "END\r\n" {
            return Ok(None);
        }
        let len: usize = line.trim_end().rsplit(' ').next().unwrap().parse().expect("a length");
        let mut value = vec![0; len + b"\r\nEND\r\n".len()];
        self.0.read_exact(&mut value).map_err(|_| ())?;
        value.truncate(len);
        Ok(Some(value))
    }

    /// The value of a key, if there is one.
    pub fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        self.fetch(key).expect("an answer")
    }

    pub fn stat(&mut self, report: &str, name: &str) -> String {
        let mut line = self.ask(format!("stats{report}\r\n").as_bytes()).expect("an answer");
        let mut found = None;
        while line != "END\r\n" {
            let mut words = line.split_whitespace().skip(1);
            if words.next() == Some(name) {
                found = words.next().map(str::to_owned);
            }
            line.clear();
            self.0.read_line(&mut line).expect("a line");
        }
        found.expect("the statistic")
    }
}

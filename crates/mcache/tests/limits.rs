//! The built server at its limits: connections, memory, value size, idle time.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use mcache_conformance::{Program, Serving, Transport};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const PATIENCE: Duration = Duration::from_secs(60);

const CONNECTIONS: usize = 10_000;

fn serve(name: &'static str, options: &str) -> Serving {
    let program = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), Transport::Tcp).unwrap();
    let options: Vec<String> = options.split_whitespace().map(str::to_owned).collect();
    program.called(name).serve(&options).unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(serving: &Serving) -> Self {
        let stream = TcpStream::connect(serving.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(64, stream))
    }

    fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request);
        self.line()
    }

    fn set(&mut self, key: &str, len: usize) -> String {
        self.ask(&format!("set {key} 0 0 {len}\r\n{}\r\n", "x".repeat(len)))
    }

    fn stat(&mut self, name: &str) -> u64 {
        self.send("stats\r\n");
        let mut found = None;
        loop {
            let line = self.line();
            if line == "END" {
                return found.unwrap_or_else(|| panic!("no statistic {name}"));
            }
            if let Some(value) = line.strip_prefix(&format!("STAT {name} ")) {
                found = value.parse().ok();
            }
        }
    }
}

/// Lets this process open so many files and sockets, and the servers it starts too.
fn allow_descriptors(wanted: u64) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard >= wanted, "needs {wanted} descriptors, and `ulimit -Hn` is {hard}");
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
}

/// Resident memory of a process in bytes.
fn resident(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Opens the connections, has each answered, and tells what an idle one costs.
fn hold_connections(serving: &Serving) -> usize {
    let before = resident(serving.process());
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(serving)).collect();
    for client in &mut clients {
        client.send("version\r\n");
    }
    for client in &mut clients {
        assert!(client.line().starts_with("VERSION "));
    }
    (resident(serving.process()).saturating_sub(before)) / CONNECTIONS
}

#[test]
fn ten_thousand_connections_are_answered() {
    allow_descriptors(CONNECTIONS as u64 + 200);
    let serving = serve("memcached", "-c 12000");
    let cost = hold_connections(&serving);
    println!("an idle connection costs mcache {cost} bytes of resident memory");
    if let Ok(memcached) = Program::new(Path::new("memcached"), Transport::Tcp) {
        let options = ["-c", "12000"].map(str::to_owned);
        let cost = hold_connections(&memcached.serve(&options).unwrap());
        println!("an idle connection costs memcached {cost} bytes of resident memory");
    }
}

#[test]
fn a_hundred_peers_that_never_read_cost_little() {
    const MOST: usize = 16 << 20;
    let program = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), Transport::Unix).unwrap();
    let serving = program.called("mcache").serve(&[]).unwrap();
    let connect = || UnixStream::connect(serving.address()).unwrap();
    let mut first = connect();
    first.write_all(format!("set v 0 0 8000\r\n{}\r\n", "v".repeat(8000)).as_bytes()).unwrap();
    first.read_exact(&mut [0; 8]).unwrap();
    let before = resident(serving.process());
    let requests = "get v\r\n".repeat(9_000);
    let mut peers: Vec<_> = (0..100).map(|_| connect()).collect();
    for peer in &mut peers {
        peer.set_nonblocking(true).unwrap();
        while peer.write(requests.as_bytes()).is_ok() {}
    }
    let grown = resident(serving.process()).saturating_sub(before);
    assert!(grown < MOST, "{grown} bytes");
    first.write_all(b"version\r\n").unwrap();
    first.read_exact(&mut [0; 16]).unwrap();
}

#[test]
fn a_value_over_the_limit_is_refused() {
    let serving = serve("mcache", "--cap 1048576 --timeout 2 --max-val-size 1024");
    let mut client = Client::connect(&serving);
    assert_eq!(client.set("a", 1024), "STORED");
    assert_eq!(client.set("a", 1025), "SERVER_ERROR object too large for cache");
    assert_eq!(client.ask("get a\r\n"), "END", "an outdated value must not stay");
    assert_eq!(client.set(&"k".repeat(250), 1024), "STORED", "the key does not count");
}

#[test]
fn an_idle_connection_is_closed() {
    let serving = serve("mcache", "--cap 1048576 --timeout 2 --max-val-size 1024");
    let mut client = Client::connect(&serving);
    let begin = Instant::now();
    assert_eq!(client.ask("version\r\n"), "VERSION 1.6.45");
    let mut rest = Vec::new();
    client.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() && begin.elapsed() >= Duration::from_secs(2));
}

#[test]
fn keys_and_values_stay_below_the_capacity() {
    const CAPACITY: u64 = 1_048_576;
    let serving = serve("mcache", "--cap 1048576 --timeout 0 --max-val-size 1024");
    let mut client = Client::connect(&serving);
    let mut most = 0;
    for number in 0..4_000 {
        assert_eq!(client.set(&format!("key{number}"), 1 + number % 1024), "STORED");
        if number % 100 == 0 {
            let bytes = client.stat("bytes");
            assert!(bytes <= CAPACITY, "{bytes} bytes after {number} items");
            most = most.max(bytes);
        }
    }
    assert!(most > CAPACITY / 2, "the capacity is not made use of: {most} bytes at most");
    let mut held = 0;
    for number in 0..4_000 {
        let key = format!("key{number}");
        if client.ask(&format!("get {key}\r\n")) != "END" {
            held += (key.len() + client.line().len()) as u64;
            assert_eq!(client.line(), "END");
        }
    }
    assert!(held <= CAPACITY, "{held} bytes of keys and values");
    assert!(client.stat("evictions") > 0);
}

//! A server to test, and a client that knows what it wants to hear.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mcache::{Server, ServerOptions};
use mcache_conformance::uninterrupted;
use mcache_net::{Io, ListenAddress};
use mcache_store::eviction::policy;
use mcache_store::{EngineOptions, SimpleStorageEngine, SizeLimit, StorageEngine};

/// Longer than anything here takes; reaching it fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// An ephemeral port on `address`.
pub fn tcp(address: impl Into<IpAddr>) -> ListenAddress {
    ListenAddress::Tcp(SocketAddr::new(address.into(), 0))
}

/// A server with two workers on an ephemeral port.
pub fn start() -> Server {
    start_with(|_| {})
}

/// A server whose options `change` has changed.
pub fn start_with(change: impl FnOnce(&mut ServerOptions)) -> Server {
    start_on(engine(), change)
}

/// A server with this engine, whose options `change` has changed.
pub fn start_on<E: StorageEngine>(engine: E, change: impl FnOnce(&mut ServerOptions)) -> Server {
    let mut options = ServerOptions {
        listeners: vec![tcp(Ipv4Addr::LOCALHOST)],
        threads: 2,
        // The tests are built once more under a name that says which driver they are for.
        io: if env!("CARGO_CRATE_NAME").ends_with("epoll") { Io::Epoll } else { Io::Auto },
        ..ServerOptions::default()
    };
    change(&mut options);
    Server::start(options, Arc::new(engine)).unwrap()
}

/// Waits until `condition` holds.
pub fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never held");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A statistic of the server, asked for on a connection of its own.
pub fn stat(server: &Server, name: &str) -> u64 {
    Client::connect(server).stat(name)
}

/// A client.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Connects to the server's first listener.
    pub fn connect(server: &Server) -> Self {
        Self::connect_to(&server.addresses()[0])
    }

    /// Connects to a TCP listener.
    pub fn connect_to(address: &ListenAddress) -> Self {
        let ListenAddress::Tcp(address) = address else { panic!("{address} is not TCP") };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream }
    }

    /// Sends bytes.
    pub fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Receives exactly these bytes.
    pub fn hear(&mut self, expected: &[u8]) {
        hear(&mut self.stream, expected);
    }

    /// Receives exactly these bytes and then the end.
    pub fn hear_last(&mut self, expected: &[u8]) {
        let mut heard = Vec::new();
        self.stream.read_to_end(&mut heard).unwrap();
        assert_same(&heard, expected);
    }

    /// Sends bytes and receives the answer.
    pub fn ask(&mut self, request: &[u8], expected: &[u8]) {
        exchange(&mut self.stream, request, expected);
    }

    /// A statistic of the server.
    pub fn stat(&mut self, name: &str) -> u64 {
        let report = self.report("stats");
        let prefix = format!("STAT {name} ");
        let line = report.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no {name} in {report}")).parse().unwrap()
    }

    /// A report, up to its `END`.
    pub fn report(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n").as_bytes());
        let mut report = Vec::new();
        let mut chunk = [0; 4096];
        while !report.ends_with(b"END\r\n") {
            let n = uninterrupted(|| self.stream.read(&mut chunk)).unwrap();
            assert!(n > 0, "the report was cut: {}", String::from_utf8_lossy(&report));
            report.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8(report).unwrap()
    }
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap() }
    }
}

/// Connects to a Unix socket.
pub fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and receives the answer.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8], expected: &[u8]) {
    stream.write_all(request).unwrap();
    hear(stream, expected);
}

fn hear(stream: &mut impl Read, expected: &[u8]) {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_same(&heard, expected);
}

/// Compares without printing megabytes.
fn assert_same(heard: &[u8], expected: &[u8]) {
    if heard != expected {
        let same = heard.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let near = |bytes: &[u8]| {
            let end = bytes.len().min(same + 60);
            String::from_utf8_lossy(&bytes[same.saturating_sub(20)..end]).into_owned()
        };
        panic!(
            "from byte {same} of {} on heard {:?}, expected {:?}",
            expected.len(),
            near(heard),
            near(expected)
        );
    }
}

fn engine() -> SimpleStorageEngine {
    SimpleStorageEngine::new(&engine_options())
}

/// Those of a small engine.
pub fn engine_options() -> EngineOptions {
    EngineOptions {
        capacity: 64 << 20,
        item_size: SizeLimit::Item(8 << 20),
        evict: true,
        policy: policy("lru").unwrap(),
    }
}

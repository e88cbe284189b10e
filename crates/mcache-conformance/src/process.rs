//! A server program as a house: started on a free port or a unix socket, killed at the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::datagrams::Datagrams;
use crate::house::{Connection, Feed, House, Received, Started};
use crate::transcript::Server;
use crate::{DATAGRAM_TOPICS, TOPICS, tls};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where ports are taken from: below those that the system hands to clients, or else a client
/// that tries a port nobody listens on may be given that very port, and be connected to itself.
const PORTS: std::ops::Range<u32> = 15_000..30_000;

/// Starts that are tried: somebody else may take a port between the look and the start.
const STARTS: usize = 3;

/// A real server's clock cannot be wound; longer waits than this end the transcript.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// What clients connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP port of the loopback interface.
    Tcp,
    /// The same with TLS.
    Tls,
    /// A unix socket.
    Unix,
    /// A UDP port of the loopback interface, served by one thread.
    Udp,
}

/// A server program with memcached's options.
pub struct Program {
    path: PathBuf,
    /// What it is told it is called.
    called: &'static str,
    transport: Transport,
    server: Server,
    /// Options of every start.
    always: &'static [&'static str],
}

impl Program {
    /// The program at `path`, or found in PATH; its version is asked with `-V`.
    ///
    /// It is started under the name `memcached`, so that mcache takes memcached's defaults.
    pub fn new(path: &Path, transport: Transport) -> Result<Self, String> {
        let stem = path.file_name().unwrap_or_default().to_string_lossy();
        let name = if stem.starts_with("mcache") { "mcache" } else { "memcached" };
        let output = Command::new(path).arg("-V").output();
        let output = output.map_err(|error| format!("{}: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
        // With TLS some reports have more lines.
        let tls = if transport == Transport::Tls { "-tls" } else { "" };
        let server = Server { name: format!("{name}{tls}"), version };
        Ok(Self { path: path.to_owned(), called: "memcached", transport, server, always: &[] })
    }

    /// The same program, always with these options too.
    pub fn with(self, options: &'static [&'static str]) -> Self {
        Self { always: options, ..self }
    }

    /// The same program under another name: mcache's defaults depend on it.
    pub fn called(self, name: &'static str) -> Self {
        Self { called: name, ..self }
    }

    /// Starts the program, with these options besides those that tell it where to listen, and
    /// waits until it accepts connections.
    pub fn serve(&self, options: &[String]) -> Result<Serving, String> {
        let mut last_error = String::new();
        for _ in 0..STARTS {
            let address = Address::free(self.transport)?;
            let child = self.command(&address, options).spawn();
            let child = child.map_err(|error| format!("{}: {error}", self.path.display()))?;
            let mut serving = Serving { child, address };
            match serving.wait() {
                Ok(()) => return Ok(serving),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn command(&self, address: &Address, options: &[String]) -> Command {
        let mut command = Command::new(&self.path);
        command.arg0(self.called).args(["-u", "root"]);
        match address {
            Address::Tls(port) => {
                let certificate = format!("ssl_chain_cert={}", tls::file("server").display());
                let port = port.to_string();
                command.args(["-U", "0", "-l", "127.0.0.1", "-p", &port, "-Z", "-o", &certificate])
            }
            Address::Tcp(port) => {
                command.args(["-U", "0", "-l", "127.0.0.1", "-p", &port.to_string()])
            }
            Address::Unix(path) => command.args(["-U", "0", "-s"]).arg(path),
            // With more threads, who asks twice may be answered in another order.
            Address::Udp(port) => {
                command.args(["-t", "1", "-l", "127.0.0.1", "-U", &port.to_string()])
            }
        };
        command
            .args(self.always)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl House for Program {
    fn name(&self) -> String {
        let transport = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Unix => "a unix socket",
            Transport::Udp => "UDP",
        };
        let options: String = self.always.iter().map(|option| format!(" {option}")).collect();
        format!("{} over {transport}{options}", self.server)
    }

    fn server(&self) -> Server {
        self.server.clone()
    }

    fn topics(&self) -> &'static [&'static str] {
        if self.transport == Transport::Udp { DATAGRAM_TOPICS } else { TOPICS }
    }

    fn feeds(&self) -> &'static [Feed] {
        match self.transport {
            Transport::Tcp | Transport::Tls | Transport::Unix => &[Feed::Whole, Feed::Bytes],
            Transport::Udp => &[Feed::Whole],
        }
    }

    fn start(&self, options: &[String]) -> Result<Option<Box<dyn Started>>, String> {
        Ok(Some(Box::new(self.serve(options)?)))
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
enum Address {
    Tcp(u16),
    Tls(u16),
    Unix(PathBuf),
    Udp(u16),
}

impl Address {
    /// An address that nobody uses.
    fn free(transport: Transport) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let process = std::process::id();
        if transport == Transport::Unix {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("mcache-conformance-{process}-{number}");
            return Ok(Self::Unix(std::env::temp_dir().join(name)));
        }
        // Processes that run side by side begin far apart.
        let first = process.wrapping_mul(97);
        for _ in PORTS {
            let number = first.wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed));
            let port = (PORTS.start + number % (PORTS.end - PORTS.start)) as u16;
            let here = (Ipv4Addr::LOCALHOST, port);
            match transport {
                _ if TcpListener::bind(here).is_err() => {}
                Transport::Udp if UdpSocket::bind(here).is_err() => {}
                Transport::Udp => return Ok(Self::Udp(port)),
                Transport::Tls => return Ok(Self::Tls(port)),
                Transport::Tcp | Transport::Unix => return Ok(Self::Tcp(port)),
            }
        }
        Err("no port is free".to_owned())
    }

    fn connect(&self) -> std::io::Result<Box<dyn Connection>> {
        let socket = match self {
            Self::Udp(port) => return Ok(Box::new(Datagrams::connect(*port)?)),
            Self::Tls(port) => return Ok(Box::new(tls::Stream::connect(*port)?)),
            Self::Tcp(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                Socket::Tcp(stream)
            }
            Self::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        let reader = socket.clone_handle()?;
        Ok(Box::new(Stream { socket, received: drain(reader) }))
    }
}

/// A server that accepts connections. Dropping it kills it.
pub struct Serving {
    child: Child,
    address: Address,
}

impl Serving {
    /// Where it listens: `127.0.0.1:PORT`, or the path of its socket.
    pub fn address(&self) -> String {
        match &self.address {
            Address::Tcp(port) | Address::Tls(port) | Address::Udp(port) => {
                format!("127.0.0.1:{port}")
            }
            Address::Unix(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// Its process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server accepts connections.
    fn wait(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended at once: {status}"));
            }
            if self.address.connect().is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("the server does not accept connections".to_owned())
    }
}

impl Started for Serving {
    fn connect(&mut self) -> Result<Box<dyn Connection>, String> {
        self.address.connect().map_err(|error| error.to_string())
    }

    fn advance(&mut self, time: Duration) -> bool {
        if time > WAIT_MAX {
            return false;
        }
        thread::sleep(time);
        true
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Address::Unix(path) = &self.address {
            let _ = std::fs::remove_file(path);
        }
    }
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    fn clone_handle(&self) -> std::io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn shut(&self, how: Shutdown) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }
}

struct Stream {
    socket: Socket,
    received: Receiver<Vec<u8>>,
}

/// Makes a call again when it was interrupted: the kernel may interrupt a thread on behalf of the
/// rings of a server in its process.
pub fn uninterrupted<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Waits until something is there. Panics if it does not come: for tests.
pub fn wait_for<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a connection's reading thread has told since it was asked last.
pub(crate) fn heard(received: &Receiver<Vec<u8>>, patience: Duration) -> Received {
    match received.recv_timeout(patience) {
        Ok(bytes) => Received::Bytes(bytes),
        Err(RecvTimeoutError::Disconnected) => Received::Closed,
        Err(RecvTimeoutError::Timeout) => Received::Silence,
    }
}

/// Reads all the time, so that a server with much to say never waits for a client that is
/// still sending. The channel's end is the connection's.
fn drain(mut socket: Socket) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match socket.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(len) if sender.send(buffer[..len].to_vec()).is_err() => return,
                Ok(_) => {}
            }
        }
    });
    receiver
}

impl Connection for Stream {
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    fn hang_up(&mut self) {
        let _ = self.socket.shut(Shutdown::Write);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        heard(&self.received, patience)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Ends the reading thread, which holds the socket too.
        let _ = self.socket.shut(Shutdown::Both);
    }
}

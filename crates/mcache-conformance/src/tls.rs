//! A client that speaks TLS, and certificates to try it with: those of conformance/tls/.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};

use crate::house::{Connection, Received};
use crate::process::heard;

/// A file of certificates: `ca`, `server`, `renewed`, `client`, `stranger`, `named` or
/// `authorities`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/tls").join(format!("{name}.pem"))
}

/// The certificate of a file.
pub fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).expect("a certificate of conformance/tls/")
}

/// A client that believes `ca` and speaks these versions; `identity` is the file that it proves
/// itself by, if it does.
pub fn client(
    identity: Option<&str>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate("ca")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions that are spoken")
        .with_root_certificates(authorities);
    match identity {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let key = PrivateKeyDer::from_pem_file(file(name)).expect("a key of conformance/tls/");
            builder.with_client_auth_cert(vec![certificate(name)], key).expect("a key that fits")
        }
    }
}

/// The client's side of a connection to this machine.
pub fn session(config: Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(config, name).expect("a client")
}

/// A connection of a house.
pub struct Stream {
    shared: Arc<Shared>,
    received: Receiver<Vec<u8>>,
}

/// What reads and what writes share. Who locks both locks the socket first.
struct Shared {
    /// Locked by who writes, from sealing to the end of sending.
    socket: Mutex<TcpStream>,
    session: Mutex<ClientConnection>,
}

impl Stream {
    /// Connects to a port of this machine, and shakes hands.
    pub fn connect(port: u16) -> io::Result<Self> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        let mut session = session(Arc::new(client(None, rustls::ALL_VERSIONS)));
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let reader = socket.try_clone()?;
        let shared = Shared { socket: Mutex::new(socket), session: Mutex::new(session) };
        let shared = Arc::new(shared);
        let (sender, received) = channel();
        let reading = shared.clone();
        thread::spawn(move || {
            let _ = read_all(reader, &reading.session, &sender); // the channel's end says it
        });
        Ok(Self { shared, received })
    }

    /// Seals by `write` and sends what comes of it.
    fn write(
        &self,
        write: impl FnOnce(&mut ClientConnection) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut socket = lock(&self.shared.socket);
        let mut sealed = Vec::new();
        let written = {
            let mut session = lock(&self.shared.session);
            let written = write(&mut session)?;
            while session.wants_write() {
                session.write_tls(&mut sealed)?;
            }
            written
        };
        socket.write_all(&sealed)?;
        Ok(written)
    }
}

/// Reads all the time, until the end or an error.
fn read_all(
    mut socket: TcpStream,
    session: &Mutex<ClientConnection>,
    sender: &Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = match socket.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if len == 0 {
            return Ok(());
        }
        let mut sealed = &buffer[..len];
        let mut session = lock(session);
        while !sealed.is_empty() {
            session.read_tls(&mut sealed)?;
            let state = session.process_new_packets().map_err(io::Error::other)?;
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            if !plain.is_empty() {
                session.reader().read_exact(&mut plain)?;
                sender.send(plain).map_err(io::Error::other)?;
            }
            if state.peer_has_closed() {
                return Ok(());
            }
        }
    }
}

impl Connection for Stream {
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.write(|session| session.writer().write(bytes)) {
                Ok(written) => bytes = &bytes[written..],
                Err(_) => return,
            }
        }
    }

    fn hang_up(&mut self) {
        let _ = self.write(|session| {
            session.send_close_notify();
            Ok(0)
        });
        let _ = lock(&self.shared.socket).shutdown(Shutdown::Write);
    }

    fn receive(&mut self, patience: Duration) -> Received {
        heard(&self.received, patience)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Ends the reading thread, which holds the socket too.
        let _ = lock(&self.shared.socket).shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

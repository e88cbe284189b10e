//! What a server is told when it is started: plain values, no settings and no text.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mcache_base::limits::{BUFFERED_MAX, REQUEST_SECONDS};
use mcache_net::{Io, ListenAddress};
use mcache_protocol::{Protocols, StatLine};
use mcache_session::Authentication;

use crate::network::Network;
use crate::tls::{Certificates, ClientCertificate};
use crate::users::Users;

/// What a server is told when it is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where to listen; at least one.
    pub listeners: Vec<ListenAddress>,
    /// Who may be sent answers over UDP that are much longer than their requests.
    pub udp_allow: Vec<Network>,
    /// Protocols spoken on those of them that have none of their own.
    pub protocols: Protocols,
    /// The listeners' own protocols, each at its listener's place.
    pub own_protocols: Vec<Option<Protocols>>,
    /// What the server proves itself by on listeners that have TLS.
    pub tls: Option<Arc<Certificates>>,
    /// What is asked of the clients of each listener, at its place, if it has TLS.
    pub client_certificates: Vec<Option<ClientCertificate>>,
    /// How peers log in.
    pub authentication: Authentication,
    /// Those who may.
    pub users: Arc<Users>,
    /// Connections that may wait to be accepted, per listener.
    pub backlog: u32,
    /// The kernel interface that the workers use.
    pub io: Io,
    /// Worker threads, 1 or more.
    pub threads: usize,
    /// Whether each worker stays on one processor.
    pub pin_workers: bool,
    /// Connections that may be open at once; one more is told so and closed.
    pub connections_max: usize,
    /// Whether connections over the limit are refused; otherwise they wait to be accepted, and
    /// no idle one makes room for them.
    pub refuse_at_once: bool,
    /// Bytes that connections may hold together, of requests that wait and answers that are not
    /// taken.
    pub buffered_max: usize,
    /// Requests served on a connection before the others get their turn, 1 or more.
    pub requests_per_turn: usize,
    /// When idle connections are closed.
    pub idle: IdlePolicy,
    /// How long a peer that has begun a request may take to get on with it, at most a second more.
    pub request_time: Option<Duration>,
    /// Whether a connection is closed on which a command cannot be told from data.
    pub strict_framing: bool,
    /// Whether flush_all is allowed.
    pub flush_allowed: bool,
    /// Whether watch is allowed.
    pub watch_allowed: bool,
    /// Bytes of lines that a worker holds for those who watch.
    pub watch_log_bytes: usize,
    /// Bytes of lines that are held for each connection that watches.
    pub watcher_buffer_bytes: usize,
    /// What `stats settings` reports at the start.
    pub settings_report: Vec<StatLine>,
    /// The engine's name, for `stats mcache`.
    pub engine: &'static str,
    /// The eviction policy's, likewise.
    pub eviction: &'static str,
    /// What ends a key's prefix for `stats detail` and `flush_prefix`.
    pub prefix_delimiter: u8,
    /// Whether `stats detail` counts from the start.
    pub count_prefixes: bool,
    /// Whether peers may move the clocks: for tests only.
    pub for_tests: bool,
    /// The cache's clock goes on: what the machine's clock since its start was when it was 0, in
    /// milliseconds.
    pub clock_origin_ms: Option<i64>,
    /// Whether another process may take over.
    pub handed_over: bool,
    /// Microseconds that it took to have the items back.
    pub recovery_us: u64,
    /// Called when a peer sets the verbosity: 0, 1 or 2.
    pub set_verbosity: fn(u32),
}

impl ServerOptions {
    /// The protocols spoken on the listener at a place.
    pub fn protocols_at(&self, listener: usize) -> Protocols {
        self.own_protocols.get(listener).copied().flatten().unwrap_or(self.protocols)
    }

    /// The certificates of the listener at a place and what is asked of its clients, if it has TLS.
    pub fn tls_at(&self, listener: usize) -> Option<(&Certificates, ClientCertificate)> {
        let asked = self.client_certificates.get(listener).copied().flatten()?;
        Some((self.tls.as_deref()?, asked))
    }

    /// Descriptors of the server itself, beside those of connections: the standard three, the
    /// acceptor's two, two per worker, the listeners, two to wait for UDP; to hand over, the
    /// listeners once more and four.
    pub fn descriptors(&self) -> usize {
        let handed_over = if self.handed_over { 4 + self.listeners.len() } else { 0 };
        7 + 2 * self.threads + self.listeners.len() + handed_over
    }
}

/// When a connection is closed because nothing was received on it for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Never.
    Keep,
    /// When room is needed at the connection limit: one whose peer has begun something and does
    /// not get on, else the longest idle one, if idle this long.
    MakeRoom(Duration),
    /// Once it was idle this long, at most a second late.
    Close(Duration),
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            listeners: vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 11211)))],
            udp_allow: Network::LOOPBACK.to_vec(),
            protocols: Protocols::Negotiated,
            own_protocols: Vec::new(),
            tls: None,
            client_certificates: Vec::new(),
            authentication: Authentication::None,
            users: Arc::default(),
            backlog: 1024,
            io: Io::Auto,
            threads: 4,
            pin_workers: false,
            connections_max: 1024,
            refuse_at_once: true,
            buffered_max: BUFFERED_MAX,
            requests_per_turn: 20,
            idle: IdlePolicy::MakeRoom(Duration::from_secs(5)),
            request_time: Some(Duration::from_secs(REQUEST_SECONDS)),
            strict_framing: false,
            flush_allowed: true,
            watch_allowed: true,
            watch_log_bytes: 64 << 10,
            watcher_buffer_bytes: 256 << 10,
            settings_report: Vec::new(),
            engine: "",
            eviction: "",
            prefix_delimiter: b':',
            count_prefixes: false,
            for_tests: false,
            clock_origin_ms: None,
            handed_over: false,
            recovery_us: 0,
            set_verbosity: |_| {},
        }
    }
}

//! TLS: handshakes whole, cut and wrong, certificates that are read again, records of every shape.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use mcache::tls::{Certificates, ClientCertificate, KeyFormat, TlsOptions, Version, suites};
use mcache::{IdlePolicy, Server, ServerOptions};
use mcache_base::limits::{BUFFERED_MAX, TLS_HANDSHAKE_MAX};
use mcache_conformance::{tls, uninterrupted};
use mcache_protocol::StatLine;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use support::{Client, exchange, start_with, until};

const MIB: usize = 1 << 20;

/// A connection that speaks TLS.
type Sealed = StreamOwned<ClientConnection, TcpStream>;

fn options() -> TlsOptions {
    TlsOptions {
        chain: tls::file("server"),
        key: tls::file("server"),
        key_format: KeyFormat::Pem,
        authorities: Some(tls::file("ca")),
        suites: suites::all(),
        oldest: Version::Tls12,
        handshake: Duration::from_secs(5),
    }
}

/// A server that speaks TLS on its first listener and not on its second.
fn serve(options: TlsOptions, change: impl FnOnce(&mut ServerOptions)) -> Server {
    start_with(|server| {
        server.listeners.push(server.listeners[0].clone());
        server.tls = Some(Arc::new(Certificates::read(options).unwrap()));
        server.client_certificates = vec![Some(ClientCertificate::NotAsked)];
        server.settings_report = vec![on("ssl_enabled")];
        change(server);
    })
}

/// A line of `stats settings`.
fn on(name: &str) -> StatLine {
    StatLine { name: name.to_owned(), value: "yes".to_owned() }
}

fn serve_plainly() -> Server {
    serve(options(), |_| {})
}

/// A statistic, asked for where there is no TLS.
fn count(server: &Server, name: &str) -> u64 {
    Client::connect_to(&server.addresses()[1]).stat(name)
}

/// A figure of `stats mcache`.
fn figure(server: &Server, name: &str) -> u64 {
    let report = Client::connect_to(&server.addresses()[1]).report("stats mcache");
    let line = report.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {report}")).parse().unwrap()
}

fn socket(server: &Server) -> TcpStream {
    Client::connect_to(&server.addresses()[0]).stream
}

fn connect_with(server: &Server, config: &Arc<ClientConfig>) -> Sealed {
    StreamOwned::new(tls::session(config.clone()), socket(server))
}

fn connect(server: &Server) -> Sealed {
    connect_with(server, &Arc::new(tls::client(None, ALL_VERSIONS)))
}

/// The next bytes for the server.
fn next_flight(session: &mut ClientConnection) -> Vec<u8> {
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    flight
}

/// Receives until the handshake is over or more is to be sent.
fn listen(session: &mut ClientConnection, socket: &mut TcpStream) {
    while session.is_handshaking() && !session.wants_write() {
        uninterrupted(|| session.read_tls(socket)).unwrap();
        session.process_new_packets().unwrap();
    }
}

fn hit(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("VALUE {key} 0 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    [format!("set {key} 0 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// Bytes that are not the same wherever one looks.
fn value(len: usize) -> Vec<u8> {
    (len..2 * len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

#[test]
fn both_versions_are_spoken_whatever_pieces_a_handshake_comes_in() {
    let server = serve_plainly();
    for version in [&TLS12, &TLS13] {
        for piece in [1, 7, 100_000] {
            let config = Arc::new(tls::client(None, &[version]));
            let (mut session, mut socket) = (tls::session(config), socket(&server));
            while session.is_handshaking() {
                for bytes in next_flight(&mut session).chunks(piece) {
                    socket.write_all(bytes).unwrap();
                }
                listen(&mut session, &mut socket);
            }
            session.writer().write_all(b"get a\r\n").unwrap();
            for bytes in next_flight(&mut session).chunks(piece) {
                socket.write_all(bytes).unwrap();
            }
            let mut stream = StreamOwned::new(session, socket);
            exchange(&mut stream, b"get b\r\n", b"END\r\nEND\r\n");
            let conns = Client::connect_to(&server.addresses()[1]).report("stats conns");
            let expected = format!(
                "tls {}\r\n",
                ["TLSv1.2", "TLSv1.3"][usize::from(version.version == TLS13.version)]
            );
            assert!(conns.contains(&expected), "{conns}");
            drop(stream);
            until(|| figure(&server, "tls_connections") == 0);
        }
    }
    assert_eq!(count(&server, "ssl_handshake_errors"), 0);
}

#[test]
fn a_record_that_does_not_get_on_ends_its_connection() {
    let server = serve(options(), |server| server.request_time = Some(Duration::from_secs(1)));
    let (mut idle, mut slow) = (connect(&server), connect(&server));
    for stream in [&mut idle, &mut slow] {
        exchange(stream, b"get a\r\n", b"END\r\n");
    }
    let socket = &mut slow.sock;
    socket.write_all(b"\x17\x03\x03\x40\x00").unwrap();
    socket.set_nonblocking(true).unwrap();
    // To send a byte now and then is not to get on.
    until(|| {
        thread::sleep(Duration::from_millis(10));
        socket.write(b"x").is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
    });
    assert_eq!(figure(&server, "request_timeouts"), 1);
    exchange(&mut idle, b"get a\r\n", b"END\r\n");
}

#[test]
fn a_handshake_that_stops_is_ended_and_holds_little() {
    let one_second = TlsOptions { handshake: Duration::from_secs(1), ..options() };
    let server = serve(one_second, |_| {});
    let hello = next_flight(&mut tls::session(Arc::new(tls::client(None, ALL_VERSIONS))));
    // A message that says it is as long as one may be, of which as much comes as is kept.
    let mut endless = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff".to_vec();
    endless.resize(TLS_HANDSHAKE_MAX - 1, 0);
    let cut: [&[u8]; 4] = [b"", &hello[..1], &hello[..hello.len() - 1], &endless];
    let mut sockets = cut.map(|bytes| {
        let mut socket = socket(&server);
        socket.write_all(bytes).unwrap();
        socket
    });
    let held = || figure(&server, "buffered_bytes") as usize;
    until(|| held() >= endless.len() + hello.len());
    assert!(held() < endless.len() + 2 * hello.len() + 1024);
    for socket in &mut sockets {
        assert_eq!(socket.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    assert_eq!(figure(&server, "tls_handshake_timeouts"), 4);
    assert_eq!(count(&server, "ssl_handshake_errors"), 4);
    until(|| figure(&server, "buffered_bytes") == 0);
    exchange(&mut connect(&server), b"get a\r\n", b"END\r\n");
}

#[test]
fn what_is_no_handshake_ends_the_connection_and_is_told() {
    let tls13 = TlsOptions { oldest: Version::Tls13, ..options() };
    let server = serve(tls13, |_| {});
    let mut watcher = Client::connect_to(&server.addresses()[1]);
    watcher.ask(b"watch connevents\r\n", b"OK\r\n");
    let old = next_flight(&mut tls::session(Arc::new(tls::client(None, &[&TLS12]))));
    let mut long = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff".to_vec();
    long.resize(TLS_HANDSHAKE_MAX + 1, 0);
    let record = |bytes: &[u8]| [&b"\x16\x03\x01\x00"[..], &[bytes.len() as u8], bytes].concat();
    let rows: [(&str, Vec<u8>); 5] = [
        ("an older version", old),
        ("no TLS at all", b"get a\r\nget a\r\n".to_vec()),
        ("a message longer than any", long),
        ("a hello without a body", record(b"\x01\x00\x00\x00")),
        ("a hello of nonsense", record(b"\x01\x00\x00\x05abcde")),
    ];
    for (errors, (what, bytes)) in (1..).zip(rows) {
        let mut socket = socket(&server);
        socket.write_all(&bytes).unwrap();
        let _ = socket.read_to_end(&mut Vec::new()); // an alert, or a reset where bytes were left
        assert_eq!(count(&server, "ssl_handshake_errors"), errors, "{what}");
    }
    let mut told = String::new();
    until(|| {
        let mut chunk = [0; 4096];
        let len = uninterrupted(|| watcher.stream.read(&mut chunk)).unwrap();
        told += &String::from_utf8_lossy(&chunk[..len]);
        told.matches("type=conntlserr fd=").count() == 5
    });
    exchange(&mut connect(&server), b"get a\r\n", b"END\r\n");
}

#[test]
fn a_broken_record_ends_a_connection_that_was_well() {
    let server = serve_plainly();
    for version in [&TLS12, &TLS13] {
        let mut stream = connect_with(&server, &Arc::new(tls::client(None, &[version])));
        exchange(&mut stream, b"get a\r\n", b"END\r\n");
        stream.conn.writer().write_all(b"get a\r\n").unwrap();
        let mut record = next_flight(&mut stream.conn);
        *record.last_mut().unwrap() ^= 1;
        stream.sock.write_all(&record).unwrap();
        let error = uninterrupted(|| stream.read(&mut [0; 10])).unwrap_err();
        assert!(error.to_string().contains("BadRecordMac"), "{error}");
    }
    assert_eq!(count(&server, "ssl_proto_errors"), 2);
    assert_eq!(count(&server, "ssl_handshake_errors"), 0);
}

#[test]
fn clients_show_the_certificates_that_their_listener_wants() {
    use ClientCertificate::{Asked, NotAsked, Required};
    let rows = [
        (NotAsked, [true, true, true]),
        (Asked, [true, true, false]),
        (Required, [false, true, false]),
    ];
    for authorities in [Some(tls::file("ca")), None] {
        for (asked, admitted) in rows {
            let options = TlsOptions { authorities: authorities.clone(), ..options() };
            let server = serve(options, |server| server.client_certificates = vec![Some(asked)]);
            let identities = [None, Some("client"), Some("stranger")];
            for (identity, admitted) in identities.into_iter().zip(admitted) {
                for version in [&TLS12, &TLS13] {
                    let config = Arc::new(tls::client(identity, &[version]));
                    let mut stream = connect_with(&server, &config);
                    let answered = stream
                        .write_all(b"get a\r\n")
                        .and_then(|()| stream.read_exact(&mut [0; 5]))
                        .is_ok();
                    // Without authorities nobody's certificate is good.
                    let believed = authorities.is_some() || asked == NotAsked;
                    let expected = admitted && (believed || identity.is_none());
                    assert_eq!(answered, expected, "{asked:?} {identity:?} {version:?}");
                }
            }
        }
    }
}

/// A directory of copies of certificates that a test may change.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("mcache-tls-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("server.pem")
    }

    /// Puts one of the certificates, or a text, in the file's place.
    fn put(&self, text: impl AsRef<[u8]>) {
        let next = self.0.join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.path()).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn certificates_are_read_again_while_connections_are_served() {
    let files = Files::new();
    let (server_pem, renewed) =
        (fs::read(tls::file("server")).unwrap(), fs::read(tls::file("renewed")).unwrap());
    files.put(&server_pem);
    let server = serve(TlsOptions { chain: files.path(), key: files.path(), ..options() }, |_| {});
    let stop = Arc::new(AtomicBool::new(false));
    let loads = [(); 3].map(|()| {
        let (mut stream, stop) = (connect(&server), stop.clone());
        thread::spawn(move || {
            let value = value(40_000);
            while !stop.load(Relaxed) {
                exchange(&mut stream, &set("k", &value), b"STORED\r\n");
                exchange(&mut stream, b"get k\r\n", &hit("k", &value));
            }
        })
    });
    let mut old = connect(&server);
    let shown = |stream: &Sealed| stream.conn.peer_certificates().unwrap()[0].clone();
    let new_one_shows = |name: &str| {
        let mut stream = connect(&server);
        exchange(&mut stream, b"get a\r\n", b"END\r\n");
        assert_eq!(shown(&stream), tls::certificate(name), "{name}");
    };
    exchange(&mut old, b"get a\r\n", b"END\r\n");
    for _ in 0..20 {
        files.put(&renewed);
        exchange(&mut old, b"refresh_certs\r\n", b"OK\r\n");
        new_one_shows("renewed");
        files.put(&server_pem);
        exchange(&mut old, b"refresh_certs\r\n", b"OK\r\n");
        new_one_shows("server");
    }
    let key = &server_pem[server_pem.windows(11).position(|it| it == b"-----BEGIN ").unwrap()..];
    let key_at = String::from_utf8_lossy(key).find("-----BEGIN PRIVATE").unwrap();
    let path = files.path().display().to_string();
    let (chain, loads_key) = ("Error loading the certificate chain: ", "Error loading the key: ");
    for (text, error) in [
        ("".into(), format!("{chain}{path} : no certificate in it")),
        (server_pem[..100].to_vec(), format!("{chain}{path} : ")),
        (server_pem[..key_at].to_vec(), format!("{loads_key}{path} : ")),
        (
            [
                &renewed[..String::from_utf8_lossy(&renewed).find("-----BEGIN PRIVATE").unwrap()],
                &server_pem[key_at..],
            ]
            .concat(),
            "Error validating the certificate: ".to_owned(),
        ),
    ] {
        files.put(text);
        old.write_all(b"refresh_certs\r\n").unwrap();
        let mut answer = vec![0; error.len()];
        old.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), error);
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n") {
            let mut byte = [0];
            old.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        new_one_shows("server");
    }
    exchange(&mut old, b"get a\r\n", b"END\r\n");
    assert_eq!(shown(&old), tls::certificate("server"));
    stop.store(true, Relaxed);
    loads.into_iter().for_each(|load| load.join().unwrap());
    assert_eq!(count(&server, "ssl_handshake_errors") + count(&server, "ssl_proto_errors"), 0);
}

#[test]
fn without_tls_nothing_is_read_again() {
    let server = support::start();
    Client::connect(&server).ask(b"refresh_certs\r\n", b"Error TLS not enabled\r\n");
}

#[test]
fn requests_are_answered_whatever_records_they_come_in() {
    let server = serve_plainly();
    let values: Vec<_> =
        [0, 1, 100, 9_000, 16_000, 17_000, 100_000, MIB, 3 * MIB].map(value).into();
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    for (number, value) in values.iter().enumerate() {
        let key = format!("key{number}");
        requests.extend(set(&key, value));
        requests.extend(format!("get {key}\r\n").bytes());
        answers.extend(b"STORED\r\n");
        answers.extend(hit(&key, value));
    }
    let small: Vec<u8> = (0..2_000).flat_map(|n| set(&format!("s{n}"), b"12345")).collect();
    requests.extend(&small);
    answers.extend(b"STORED\r\n".repeat(2_000));
    for version in [&TLS12, &TLS13] {
        for piece in [13, 1_000, 16_384] {
            // Byte by byte is what the transcripts are played in.
            let mut stream = connect_with(&server, &Arc::new(tls::client(None, &[version])));
            exchange(&mut stream, b"get a\r\n", b"END\r\n");
            let mut heard = vec![0; answers.len()];
            let (requests, mut session) = (requests.clone(), stream.conn);
            let mut writer = stream.sock.try_clone().unwrap();
            let mut sealed = Vec::new();
            for bytes in requests.chunks(piece) {
                session.writer().write_all(bytes).unwrap();
                session.write_tls(&mut sealed).unwrap();
            }
            let writing = thread::spawn(move || {
                // Records are cut and joined as they like.
                for bytes in sealed.chunks(50_021) {
                    writer.write_all(bytes).unwrap();
                }
            });
            let mut stream = StreamOwned::new(session, stream.sock);
            stream.read_exact(&mut heard).unwrap();
            assert!(heard == answers, "{version:?}, records of {piece} bytes");
            writing.join().unwrap();
        }
    }
}

#[test]
fn a_peer_that_stops_reading_is_bounded_and_others_are_served() {
    let server = serve(options(), |server| server.threads = 1);
    let (mut greedy, mut other) = (connect(&server), connect(&server));
    let large = value(3 * MIB);
    exchange(&mut other, &set("large", &large), b"STORED\r\n");
    let small = value(8_000);
    exchange(&mut other, &set("small", &small), b"STORED\r\n");
    let mut writer = greedy.sock.try_clone().unwrap();
    let requests = b"get large\r\nget small\r\nget small\r\n".repeat(1_000);
    greedy.conn.complete_io(&mut greedy.sock).unwrap();
    let mut sealed = Vec::new();
    for bytes in requests.chunks(1_000) {
        greedy.conn.writer().write_all(bytes).unwrap();
        greedy.conn.write_tls(&mut sealed).unwrap();
    }
    let writing = thread::spawn(move || writer.write_all(&sealed));
    until(|| count(&server, "get_hits") > 10);
    let mut hits = 0;
    until(|| {
        exchange(&mut other, b"get small\r\n", &hit("small", &small));
        let asked = count(&server, "get_hits");
        let stands_still = asked == hits + 1;
        hits = asked;
        stands_still
    });
    assert!(figure(&server, "buffered_bytes") < 2 * MIB as u64);
    assert!(figure(&server, "buffered_bytes") < BUFFERED_MAX as u64);
    let (mut large, mut both) = (hit("large", &large), hit("small", &small).repeat(2));
    large.append(&mut both);
    for _ in 0..5 {
        let mut heard = vec![0; large.len()];
        greedy.read_exact(&mut heard).unwrap();
        assert!(heard == large);
    }
    drop(greedy);
    let _ = writing.join().unwrap(); // the server has closed by then, or not
    until(|| figure(&server, "buffered_bytes") == 0);
}

#[test]
fn whoever_is_left_is_told_so() {
    // A peer that is not told takes the end for an attack: `UnexpectedEof`.
    let end_of = |mut stream: Sealed| stream.read_to_end(&mut Vec::new()).map_err(|it| it.kind());
    let server = serve(options(), |server| {
        server.idle = IdlePolicy::Close(Duration::from_secs(1));
    });
    let mut quits = connect(&server);
    quits.write_all(b"get a\r\nquit\r\n").unwrap();
    assert_eq!(end_of(quits), Ok(5));
    let mut breaks_off = connect(&server);
    breaks_off.write_all(&[b'a'; 3_000]).unwrap();
    assert_eq!(end_of(breaks_off), Ok(0));
    let mut idles = connect(&server);
    exchange(&mut idles, b"get a\r\n", b"END\r\n");
    assert_eq!(end_of(idles), Ok(0));
    let mut leaves = connect(&server);
    leaves.write_all(b"get a\r\n").unwrap();
    leaves.conn.send_close_notify();
    leaves.flush().unwrap();
    assert_eq!(end_of(leaves), Ok(5));
    let mut watches = connect(&server);
    exchange(&mut watches, b"watch fetchers\r\n", b"OK\r\n");
    watches.conn.send_close_notify();
    watches.flush().unwrap();
    assert_eq!(end_of(watches), Ok(0));

    let server = serve_plainly();
    let mut stays = connect(&server);
    let value = value(MIB);
    exchange(&mut stays, &set("large", &value), b"STORED\r\n");
    stays.write_all(&b"get large\r\n".repeat(20)).unwrap();
    until(|| count(&server, "get_hits") == 20);
    let stopping = thread::spawn(move || server.stop());
    assert_eq!(end_of(stays), Ok(20 * hit("large", &value).len()));
    stopping.join().unwrap().unwrap();
}

#[test]
fn keys_are_used_again_until_certificates_are_read_again() {
    for version in [&TLS12, &TLS13] {
        let server = serve(options(), |server| {
            server.settings_report.push(on("ssl_session_cache"));
            server.listeners.push(server.listeners[0].clone());
            server.client_certificates.extend([None, Some(ClientCertificate::Asked)]);
        });
        let mut config = tls::client(None, &[version]);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let kind = |listener: usize| {
            let socket = Client::connect_to(&server.addresses()[listener]).stream;
            let mut stream = StreamOwned::new(tls::session(config.clone()), socket);
            exchange(&mut stream, b"get a\r\n", b"END\r\n");
            stream.conn.handshake_kind().unwrap()
        };
        assert_eq!(kind(0), HandshakeKind::Full);
        assert_eq!(count(&server, "ssl_new_sessions"), 1);
        assert_eq!(kind(0), HandshakeKind::Resumed, "{version:?}");
        assert_eq!(count(&server, "ssl_new_sessions"), 1);
        assert_eq!(kind(2), HandshakeKind::Full, "another listener may want a certificate");
        assert_eq!(kind(2), HandshakeKind::Resumed, "{version:?}");
        // Whoever was let in by other certificates has to prove again who it is.
        let mut client = Client::connect_to(&server.addresses()[1]);
        client.ask(b"refresh_certs\r\n", b"OK\r\n");
        assert_eq!(kind(2), HandshakeKind::Full, "{version:?}");
    }
}

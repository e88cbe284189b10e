//! What connections may hold together: peers that do not read, requests that do not end.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcache::Server;
use mcache_base::limits::BUFFERED_IDLE_MS;
use mcache_net::ListenAddress;
use support::{Client, connect_unix, start_with, stat, tcp, until};

const LIMIT: usize = 512 << 10;

/// One turn of one connection may come on top: what it received, and its answers.
const TURN: usize = 128 << 10;

fn serve(name: &str) -> (Server, PathBuf) {
    let path = std::env::temp_dir().join(format!("mcache-{name}-{}", std::process::id()));
    let unix = ListenAddress::Unix { path: path.clone(), mode: 0o700 };
    let server = start_with(|options| {
        options.threads = 1;
        options.requests_per_turn = 1;
        options.buffered_max = LIMIT;
        options.listeners = vec![tcp(Ipv4Addr::LOCALHOST), unix];
    });
    (server, path)
}

/// A line of `stats mcache`.
fn figure(server: &Server, name: &str) -> usize {
    figure_text(server, name).parse().unwrap()
}

fn figure_text(server: &Server, name: &str) -> String {
    let mut client = Client::connect(server);
    client.say(b"stats mcache\r\nquit\r\n");
    let mut report = String::new();
    client.stream.read_to_string(&mut report).unwrap();
    let prefix = format!("STAT {name} ");
    let value = report.lines().find_map(|line| line.strip_prefix(&prefix));
    value.unwrap_or_else(|| panic!("no {name} in {report}")).to_owned()
}

/// A peer that sends `request` again and again, without reading, until nothing more is taken.
/// A socket of the file system takes little by itself.
fn flood(path: &Path, request: &[u8]) -> UnixStream {
    let mut stream = connect_unix(path);
    stream.set_nonblocking(true).unwrap();
    let many = request.repeat((64 << 10) / request.len());
    loop {
        match stream.write(&many) {
            Ok(sent) => assert!(sent > 0),
            Err(error) => {
                let ends =
                    [ErrorKind::WouldBlock, ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                assert!(ends.contains(&error.kind()), "{error}");
                return stream;
            }
        }
    }
}

/// Serves peers that hold memory until `counted` says that some were closed.
fn hold(name: &str, counted: &str, peer: impl Fn(&Path) -> UnixStream) {
    let (server, path) = serve(name);
    let mut other = Client::connect(&server);
    other.say(format!("set v 0 0 8000\r\n{}\r\n", "v".repeat(8000)).as_bytes());
    other.hear(b"STORED\r\n");
    let mut peers = Vec::new();
    until(|| {
        peers.push(peer(&path));
        let held = figure(&server, "buffered_bytes");
        assert!(held <= LIMIT + TURN, "{held} bytes with {} peers", peers.len());
        stat(&server, counted) > 0
    });
    other.ask(b"get nothing\r\n", b"END\r\n");
    drop(peers);
    until(|| figure(&server, "buffered_bytes") == 0);
    other.ask(b"get nothing\r\n", b"END\r\n");
}

/// memcached's issue 102, CVE-2025-21605 of Redis.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    hold("unread", "response_obj_oom", |path| flood(path, b"get v\r\n"));
}

#[test]
fn requests_that_do_not_end_are_bounded() {
    hold("endless", "read_buf_oom", |path| {
        let mut stream = connect_unix(path);
        stream.write_all(b"set k 0 0 16000\r\n").unwrap();
        stream.write_all(&[b'x'; 12_000]).unwrap();
        stream
    });
}

#[test]
fn what_was_received_ahead_is_counted() {
    let (server, path) = serve("ahead");
    let mut other = Client::connect(&server);
    other.say(format!("set v 0 0 8000\r\n{}\r\n", "v".repeat(8000)).as_bytes());
    other.hear(b"STORED\r\n");
    let mut peer = connect_unix(&path);
    peer.write_all(&b"get v\r\n".repeat(100)).unwrap(); // the socket takes a part of the answers
    let (mut before, mut again) = (0, 0);
    until(|| {
        let held = figure(&server, "buffered_bytes");
        again = if held > 0 && held == before { again + 1 } else { 0 };
        before = held;
        again > 20
    });
    peer.write_all(&b"get v\r\n".repeat(1000)).unwrap();
    let ahead = if figure_text(&server, "io_driver") == "epoll" { 0 } else { 7000 };
    until(|| figure(&server, "buffered_bytes") == before + ahead);
    drop(peer);
    until(|| figure(&server, "buffered_bytes") == 0);
}

#[test]
fn peers_that_read_wait_and_lose_nothing() {
    let (server, _) = serve("busy");
    let requests = "get nothing\r\n".repeat(4_000);
    let mut clients: Vec<_> = (0..32).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.say(requests.as_bytes());
    }
    for client in &mut clients {
        client.hear(&b"END\r\n".repeat(4_000));
    }
    assert_eq!((stat(&server, "response_obj_oom"), stat(&server, "read_buf_oom")), (0, 0));
}

#[test]
fn peers_that_dribble_make_room_for_those_who_get_on() {
    let (server, path) = serve("dribble");
    let half = |key: usize, len: usize| {
        let mut stream = connect_unix(&path);
        write!(stream, "set k{key} 0 0 16000\r\n").unwrap();
        stream.write_all(&vec![b'x'; len]).unwrap();
        stream
    };
    let mut dribblers: Vec<_> = (0..30).map(|key| half(key, 12_000)).collect();
    let begin = Instant::now();
    let mut dribble = || dribblers.iter_mut().for_each(|peer| _ = peer.write(b"x"));
    while begin.elapsed() < Duration::from_millis(2 * BUFFERED_IDLE_MS) {
        dribble();
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut honest: Vec<_> = (30..40).map(|key| half(key, 12_000)).collect();
    until(|| {
        dribble();
        stat(&server, "read_buf_oom") > 0
    });
    for stream in &mut honest {
        stream.write_all(&[b'x'; 4_000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"STORED\r\n");
    }
}

//! Answers larger than one send: all of it arrives while nobody says anything more. Values larger
//! than one receive: they are stored whole, and what comes behind them is served.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::Read;
use std::thread;

use mcache::Server;
use mcache_store::eviction::policy;
use mcache_store::{EngineOptions, SegmentStorageEngine, SizeLimit};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use support::{Client, start_on};

const KB: usize = 1000;
const MB: usize = 1000 * KB;
const MIB: usize = 1 << 20;

/// What is asked for in one test.
struct Pattern {
    name: &'static str,
    /// Values' lengths, and how many of each one `get` asks for.
    keys: &'static [(usize, usize)],
    /// How many such requests are sent together.
    pipelined: usize,
    /// Clients that send them, at the same time and to the same worker.
    clients: usize,
    /// Bytes of a client's receive buffer.
    receive_buffer: Option<usize>,
}

const PLAIN: Pattern =
    Pattern { name: "", keys: &[], pipelined: 1, clients: 1, receive_buffer: None };

const PATTERNS: [Pattern; 12] = [
    Pattern { name: "3 MiB", keys: &[(3 * MIB, 1)], ..PLAIN },
    Pattern { name: "6 MiB", keys: &[(6 * MIB, 1)], ..PLAIN },
    Pattern { name: "30 MiB", keys: &[(30 * MIB, 1)], ..PLAIN },
    Pattern { name: "10 x 1 MB", keys: &[(MB, 10)], ..PLAIN },
    Pattern { name: "4 x 1 MB", keys: &[(MB, 4)], ..PLAIN },
    Pattern { name: "6 x 500 KB", keys: &[(500 * KB, 6)], ..PLAIN },
    Pattern { name: "100 x 100 KB", keys: &[(100 * KB, 100)], ..PLAIN },
    Pattern { name: "all", keys: &[(10, 1), (6 * MIB, 1), (9 * KB, 70), (MB, 2)], ..PLAIN },
    Pattern { name: "a pipeline", keys: &[(6 * MIB, 1), (10, 1)], pipelined: 5, ..PLAIN },
    Pattern { name: "lists in a pipeline", keys: &[(500 * KB, 6)], pipelined: 5, ..PLAIN },
    Pattern {
        name: "a slow reader",
        keys: &[(6 * MIB, 1)],
        receive_buffer: Some(16 << 10),
        ..PLAIN
    },
    Pattern { name: "two clients", keys: &[(6 * MIB, 1), (MB, 4)], clients: 2, ..PLAIN },
];

/// A server of one worker that has every pattern's values, each under its length.
fn serve() -> Server {
    let server = start_of(256 << 20);
    let mut client = Client::connect(&server);
    let mut lengths: Vec<_> = PATTERNS.iter().flat_map(|it| it.keys).map(|key| key.0).collect();
    lengths.sort_unstable();
    lengths.dedup();
    for length in lengths {
        store(&mut client, length, &value(length));
    }
    server
}

/// A server of one worker.
fn start_of(capacity: u64) -> Server {
    let options = EngineOptions {
        capacity,
        item_size: SizeLimit::Item(32 << 20),
        evict: true,
        policy: policy("lru").unwrap(),
    };
    start_on(SegmentStorageEngine::new(&options).unwrap(), |options| options.threads = 1)
}

/// Stores a value under its length.
fn store(client: &mut Client, length: usize, value: &[u8]) {
    client.say(format!("set {length} 0 0 {length}\r\n").as_bytes());
    client.say(value);
    client.ask(b"\r\n", b"STORED\r\n");
}

/// Bytes that are not the same wherever one looks.
fn value(length: usize) -> Vec<u8> {
    (length..2 * length).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

impl Pattern {
    /// What is sent, and what is to come.
    fn script(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut request, mut answer) = (b"get".to_vec(), Vec::new());
        for &(length, times) in self.keys {
            request.extend_from_slice(format!(" {length}").repeat(times).as_bytes());
            let mut hit = format!("VALUE {length} 0 {length}\r\n").into_bytes();
            hit.extend_from_slice(&value(length));
            hit.extend_from_slice(b"\r\n");
            answer.extend_from_slice(&hit.repeat(times));
        }
        request.extend_from_slice(b"\r\n");
        answer.extend_from_slice(b"END\r\n");
        (request.repeat(self.pipelined), answer.repeat(self.pipelined))
    }
}

#[test]
fn large_answers_arrive_whole_while_nothing_else_is_said() {
    let server = serve();
    for pattern in &PATTERNS {
        println!("{}", pattern.name); // shown if it fails
        let (request, answer) = pattern.script();
        thread::scope(|scope| {
            for _ in 0..pattern.clients {
                let mut client = Client::connect(&server);
                if let Some(bytes) = pattern.receive_buffer {
                    set_socket_recv_buffer_size(&client.stream, bytes).unwrap();
                }
                let (request, answer) = (&request, &answer);
                scope.spawn(move || client.ask(request, answer));
            }
        });
    }
}

#[test]
fn a_value_of_half_the_memory_arrives_whole_or_its_reader_is_let_go() {
    const LENGTH: usize = 30 * MIB;
    let server = start_of(64 << 20);
    let (mut writer, mut reader) = (Client::connect(&server), Client::connect(&server));
    store(&mut writer, LENGTH, &value(LENGTH));
    let pattern = Pattern { keys: &[(LENGTH, 1)], pipelined: 3, ..PLAIN };
    let (request, answer) = pattern.script();
    reader.ask(&request, &answer);

    let mut reader = Client::connect(&server);
    reader.ask(&request, &answer[..MIB]);
    let other: Vec<u8> = value(LENGTH).iter().map(|byte| !byte).collect();
    for _ in 0..3 {
        store(&mut writer, LENGTH, &other); // needs the room of what is being read
    }
    let mut rest = Vec::new();
    let _ = reader.stream.read_to_end(&mut rest); // it may also be reset
    assert!(rest.len() < LENGTH - MIB, "{} bytes more", rest.len());
    assert!(answer[MIB..].starts_with(&rest), "nothing of another version");
    writer.ask(b"get a\r\n", b"END\r\n");
}

/// Lengths of values on both sides of what is buffered, kept in one record, received at once and
/// held by one place.
const LENGTHS: [usize; 9] =
    [16_300, 16_384, 33_000, 65_500, 65_536, 100_000, 262_076, 262_080, 1_000_000];

/// Sets each value, in every protocol's words, with other requests right behind, and what is to
/// be answered.
fn stores(client: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    for (number, length) in LENGTHS.into_iter().enumerate() {
        let (key, value) = (format!("{client}-{length}"), value(length));
        let (line, said) = match (client + number) % 4 {
            0 => (format!("set {key} 7 0 {length}\r\n"), "STORED\r\n"),
            1 => (format!("set {key} 7 0 {length} noreply\r\n"), ""),
            2 => (format!("ms {key} {length} F7\r\n"), "HD\r\n"),
            _ => (format!("ms {key} {length} F7 q\r\n"), ""),
        };
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(&value);
        request.extend_from_slice(format!("\r\nmn\r\nget {key}\r\n").as_bytes());
        answer.extend_from_slice(format!("{said}MN\r\nVALUE {key} 7 {length}\r\n").as_bytes());
        answer.extend_from_slice(&value);
        answer.extend_from_slice(b"\r\nEND\r\n");
    }
    (request, answer)
}

/// The same in the binary protocol: sets and gets of a key of one byte.
fn binary_stores() -> (Vec<u8>, Vec<u8>) {
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    let header = |magic: u8, opcode: u8, key: u8, extras: u8, body: usize| {
        let mut header = vec![magic, opcode, 0, key, extras, 0, 0, 0];
        header.extend_from_slice(&(body as u32).to_be_bytes());
        header.resize(16, 0);
        header
    };
    for length in LENGTHS {
        let value = value(length);
        request.extend_from_slice(&header(0x80, 0x11, 1, 8, length + 9)); // setq says nothing
        request.extend_from_slice(&[0; 8 + 8]);
        request.push(b'b');
        request.extend_from_slice(&value);
        request.extend_from_slice(&header(0x80, 0x0a, 0, 0, 0)); // noop
        request.extend_from_slice(&[0; 8]);
        answer.extend_from_slice(&header(0x81, 0x0a, 0, 0, 0));
        answer.extend_from_slice(&[0; 8]);
    }
    (request, answer)
}

#[test]
fn large_values_are_stored_whole_whatever_pieces_they_arrive_in() {
    let server = serve();
    let mut scripts: Vec<_> = (0..4).map(stores).collect();
    scripts.push(binary_stores());
    // Somebody who stalls in the midst of a value, and somebody who leaves in it.
    let mut stalled = Client::connect(&server);
    stalled.say(b"set stalled 0 0 500000\r\n");
    stalled.say(&value(500_000)[..300_000]);
    thread::scope(|scope| {
        for (number, (request, answer)) in scripts.iter().enumerate() {
            let mut client = Client::connect(&server);
            let mut writer = client.clone();
            scope.spawn(move || {
                let mut rest = &request[..];
                for size in [1, 4_096, 99_999, 4_095, 65_537, 2, 300_001].into_iter().cycle() {
                    let (piece, behind) = rest.split_at(rest.len().min(size + number));
                    writer.say(piece);
                    rest = behind;
                    if rest.is_empty() {
                        return;
                    }
                }
            });
            scope.spawn(move || client.hear(answer));
        }
        let mut leaving = Client::connect(&server);
        leaving.say(b"set left 0 0 1000000\r\n");
        leaving.say(&value(700_000));
    });
    stalled.say(&value(500_000)[300_000..]);
    stalled.ask(b"\r\n", b"STORED\r\n");
    let found = [b"VALUE stalled 0 500000\r\n", &value(500_000)[..], b"\r\nEND\r\n"].concat();
    stalled.ask(b"get stalled left\r\n", &found);
    let length = LENGTHS[LENGTHS.len() - 1];
    let line = format!("VALUE b 0 {length}\r\n");
    let found = [line.as_bytes(), &value(length), b"\r\nEND\r\n"].concat();
    stalled.ask(b"get b\r\n", &found);
}

#[test]
fn a_large_value_that_cannot_be_kept_leaves_the_next_request_in_sync() {
    let server = serve();
    let mut client = Client::connect(&server);
    let long = value(300_000);
    let rows: [(&[u8], &[u8], &[u8]); 4] = [
        (b"set k 0 0 300000\r\n", b"\r\n", b"STORED\r\n"),
        (b"add k 0 0 300000\r\n", b"\r\n", b"NOT_STORED\r\n"),
        (b"append k 0 0 300000\r\n", b"\r\n", b"STORED\r\n"),
        (b"replace none 0 0 300000\r\n", b"\r\n", b"NOT_STORED\r\n"),
    ];
    for (line, end, answer) in rows {
        client.say(line);
        client.say(&long[..70_001]);
        client.say(&long[70_001..]);
        client.ask(&[end, b"mn\r\n"].concat(), &[answer, b"MN\r\n"].concat());
    }
    let (too_large, too_long) = (vec![0; 33 << 20], 33 << 20);
    client.say(format!("set k 0 0 {too_long}\r\n").as_bytes());
    client.say(&too_large);
    client.ask(b"\r\nmn\r\n", b"SERVER_ERROR object too large for cache\r\nMN\r\n");
    client.ask(b"get k\r\n", b"END\r\n");
}

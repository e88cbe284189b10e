//! Answers larger than one send: all of it arrives while nobody says anything more.

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

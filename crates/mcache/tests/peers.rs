//! Peers that are slow, greedy or gone: each costs itself and nobody else.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use mcache::{IdlePolicy, Server};
use mcache_store::eviction::policy;
use mcache_store::{EngineOptions, SegmentStorageEngine, SizeLimit};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};
use support::{Client, start_on, until};

const MIB: usize = 1 << 20;

/// A server of one worker: whoever holds it up holds everybody up.
fn serve() -> Server {
    let options = EngineOptions {
        capacity: 64 << 20,
        item_size: SizeLimit::Item(32 << 20),
        evict: true,
        policy: policy("lru").unwrap(),
    };
    start_on(SegmentStorageEngine::new(&options).unwrap(), |options| options.threads = 1)
}

/// Bytes that are not the same wherever one looks.
fn value(len: usize) -> Vec<u8> {
    (len..2 * len).map(|n| (n ^ n >> 8 ^ n >> 16) as u8).collect()
}

fn store(client: &mut Client, key: &str, value: &[u8]) {
    client.say(format!("set {key} 0 0 {}\r\n", value.len()).as_bytes());
    client.say(value);
    client.ask(b"\r\n", b"STORED\r\n");
}

fn hit(key: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("VALUE {key} 0 {}\r\n", value.len());
    [head.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

#[test]
fn a_million_requests_in_one_write_are_answered_and_others_too() {
    const REQUESTS: usize = 1_000_000;
    let server = serve();
    let (mut peer, mut other) = (Client::connect(&server), Client::connect(&server));
    let mut writer = peer.clone();
    let writing = thread::spawn(move || writer.say(&b"get a\r\n".repeat(REQUESTS)));
    peer.hear(b"END\r\n");
    for _ in 0..100 {
        other.ask(b"get b\r\n", b"END\r\n");
    }
    for _ in 0..(REQUESTS - 1) / 999 {
        peer.hear(&b"END\r\n".repeat(999));
    }
    writing.join().unwrap();
    other.ask(b"get b\r\n", b"END\r\n");
}

#[test]
fn a_reader_of_one_byte_at_a_time_holds_nobody_up() {
    let server = serve();
    let (mut peer, mut other) = (Client::connect(&server), Client::connect(&server));
    let value = value(30 * MIB); // more than sockets hold
    store(&mut other, "large", &value);
    let answer = hit("large", &value);
    peer.say(b"get large\r\n");
    for byte in &answer[..200] {
        peer.hear(&[*byte]);
        other.ask(b"get b\r\n", b"END\r\n");
    }
    peer.hear(&answer[200..]);
}

#[test]
fn a_value_that_arrives_slowly_holds_nobody_up() {
    let server = serve();
    for len in [100_000, 5 * MIB, 20 * MIB] {
        let (mut peer, mut other) = (Client::connect(&server), Client::connect(&server));
        let value = value(len);
        peer.say(format!("set slow 0 0 {len}\r\n").as_bytes());
        for piece in value.chunks(len / 97) {
            peer.say(piece);
            other.ask(b"get b\r\n", b"END\r\n");
        }
        peer.say(b"\r");
        other.ask(b"get b\r\n", b"END\r\n");
        peer.ask(b"\nget slow\r\n", &[b"STORED\r\n", &*hit("slow", &value)].concat());
    }
}

#[test]
fn a_reset_during_a_send_or_a_value_gives_everything_back() {
    let server = serve();
    let mut other = Client::connect(&server);
    let value = value(5 * MIB);
    store(&mut other, "large", &value);
    for turn in 0..40 {
        let mut peer = Client::connect(&server);
        match turn % 4 {
            0 => peer.ask(b"get large large large\r\n", b"VALUE"),
            1 => peer.say(&b"get large\r\n".repeat(100)),
            2 => {
                peer.say(b"set half 0 0 5000000\r\n");
                peer.say(&value[..100_000 * (turn + 1)]);
            }
            _ => {
                set_socket_recv_buffer_size(&peer.stream, 4096).unwrap();
                peer.ask(b"get large\r\n", b"VALUE large");
            }
        }
        set_socket_linger(&peer.stream, Some(Duration::ZERO)).unwrap(); // so that a reset is sent
        drop(peer);
        other.ask(b"get b\r\n", b"END\r\n");
    }
    until(|| other.stat("curr_connections") == 1);
    other.ask(b"get half\r\n", b"END\r\n");
    other.ask(b"get large\r\n", &hit("large", &value));
}

#[test]
fn more_arrives_at_once_than_there_are_buffers() {
    const PEERS: usize = 100;
    const REQUESTS: usize = 5_000;
    let server = serve();
    let mut peers: Vec<_> = (0..PEERS).map(|_| Client::connect(&server)).collect();
    let requests = b"get a\r\n".repeat(REQUESTS);
    for peer in &mut peers {
        peer.stream.set_nonblocking(true).unwrap();
    }
    // All at once, as much as the sockets take; what is left goes out as answers are read.
    let mut said = [0; PEERS];
    let mut heard = [0; PEERS];
    let mut buffer = vec![0; 1 << 16];
    until(|| {
        for (at, peer) in peers.iter_mut().enumerate() {
            while let Ok(count @ 1..) = peer.stream.write(&requests[said[at]..]) {
                said[at] += count;
            }
        }
        for (at, peer) in peers.iter_mut().enumerate() {
            while let Ok(count @ 1..) = peer.stream.read(&mut buffer) {
                heard[at] += count;
            }
        }
        heard.iter().all(|heard| *heard == REQUESTS * b"END\r\n".len())
    });
}

#[test]
fn who_does_not_get_on_makes_room_for_newcomers() {
    let beginnings: &[&[u8]] = &[b"", b"get half", b"set half 0 0 10\r\n", b"version\r\nget half"];
    let server = start_on(SegmentStorageEngine::new(&small()).unwrap(), |options| {
        options.threads = 1;
        options.connections_max = beginnings.len() + 2;
        options.idle = IdlePolicy::MakeRoom(HOUR);
        options.request_time = None;
    });
    let (mut honest, mut idle) = (Client::connect(&server), Client::connect(&server));
    honest.ask(b"get b\r\n", b"END\r\n");
    idle.ask(b"get b\r\n", b"END\r\n");
    let mut slow: Vec<_> = beginnings.iter().map(|_| Client::connect(&server)).collect();
    slow.iter_mut().zip(beginnings).for_each(|(peer, beginning)| peer.say(beginning));
    slow[3].hear(b"VERSION 1.6.45\r\n");
    let mut newcomers = [(); 3].map(|()| {
        let mut newcomer = Client::connect(&server);
        newcomer.ask(b"get b\r\n", b"END\r\n");
        newcomer
    });
    for peer in &mut slow[..3] {
        peer.hear_last(b"");
    }
    assert_eq!(honest.stat("idle_kicks"), 3);
    newcomers.iter_mut().for_each(|it| it.ask(b"get b\r\n", b"END\r\n"));
    idle.ask(b"get b\r\n", b"END\r\n");
    slow[3].ask(b" b\r\n", b"END\r\n");
}

#[test]
fn a_request_that_does_not_get_on_ends_its_connection() {
    let server = start_on(SegmentStorageEngine::new(&small()).unwrap(), |options| {
        options.request_time = Some(Duration::from_secs(1));
    });
    let mut idle = Client::connect(&server);
    idle.ask(b"get b\r\n", b"END\r\n");
    let beginnings: &[&[u8]] = &[
        b"get b",
        b"set b 0 0 100\r\nx",
        b"set b 0 0 100000\r\nx",
        b"set b 0 0 1000000000\r\n",
        b"get a b",
        b"\x80\x01\x00\x04\x08\x00\x00\x00\x00\x00\x40\x00",
        b"version\r\nversi",
    ];
    let mut slow: Vec<_> = beginnings.iter().map(|_| Client::connect(&server).stream).collect();
    for (peer, beginning) in slow.iter_mut().zip(beginnings) {
        peer.write_all(beginning).unwrap();
        peer.set_nonblocking(true).unwrap();
    }
    // To send a byte now and then is not to get on.
    until(|| {
        thread::sleep(Duration::from_millis(10));
        slow.retain_mut(|peer| match peer.write(b"x") {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        slow.is_empty()
    });
    let report = idle.report("stats mcache");
    assert!(report.contains(&format!("STAT request_timeouts {}\r\n", beginnings.len())));
    idle.ask(b"get b\r\n", b"END\r\n");
}

const HOUR: Duration = Duration::from_secs(3600);

/// An engine for few and small items.
fn small() -> EngineOptions {
    EngineOptions {
        capacity: 4 * MIB as u64,
        item_size: SizeLimit::Value(u64::MAX),
        evict: true,
        policy: policy("lru").unwrap(),
    }
}

//! Inputs that are nearly right, over many connections and all protocols, while a client asks.
//!
//! The server may not end, leave the client without an answer for over 250 ms, keep connections
//! that are gone, or grow. Every input comes of the seed, which is printed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::target::{Client, Target};
use crate::arguments::Arguments;
use crate::numbers::Numbers;

/// Longer than a server may leave its client without an answer.
const GAP_MAX: Duration = Duration::from_millis(250);

/// How long the client waits at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that memory may grow by in the second half.
const GROWTH_MAX: u64 = 2 << 20;

/// Options if none are given: memory for items is little and soon full, or what grows is items.
const OPTIONS: &str = "-m 8";

/// Inputs of one connection, at most.
const INPUTS_EACH: u64 = 64;

/// What inputs are made of: requests of each protocol, which are then damaged.
const SEEDS: &[&[u8]] = &[
    b"get a b c\r\n",
    b"gets a\r\ngat 10 b\r\n",
    b"set a 1 0 5\r\nhello\r\n",
    b"set b 0 1 40000\r\n",
    b"add c 0 0 1 noreply\r\nx\r\n",
    b"append a 0 0 3\r\nabc\r\ncas a 0 0 1 7\r\ny\r\n",
    b"incr n 5\r\ndecr n 18446744073709551615\r\n",
    b"set n 0 0 2\r\n10\r\ntouch n 100\r\ndelete n\r\n",
    b"mg a v t f s k O123 q\r\nmn\r\n",
    b"ms a 3 T30 F5 c MA N9\r\nxyz\r\n",
    b"ma n N0 J10 D5 v t\r\nmd a I T30\r\nme a\r\n",
    b"mg AAEC b k v\r\n",
    b"stats\r\nstats items\r\nstats slabs\r\nstats settings\r\n",
    b"stats conns\r\nstats sizes\r\nstats cachedump 1 10\r\n",
    b"stats detail on\r\nstats detail dump\r\n",
    b"lru_crawler metadump all\r\nlru_crawler mgdump all\r\n",
    b"lru tune 10 20 0.1 0.5\r\nslabs automove 1\r\nslabs reassign 1 2\r\n",
    b"verbosity 0\r\nversion\r\nflush_all 10\r\nflush_prefix a:\r\n",
    b"watch fetchers mutations evictions\r\n",
    b"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\0\0\0\0\0\0\0\0a",
    b"\x80\x01\x00\x01\x08\x00\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x00\0\0\0\0\0\0\0\0\
      \0\0\0\x05\0\0\0\0aabc",
    b"\x80\x05\x00\x01\x14\x00\x00\x00\x00\x00\x00\x15\x00\x00\x00\x00\0\0\0\0\0\0\0\0\
      \0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\0n",
    b"\x80\x1d\x00\x01\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\0\0\0\0\0\0\0\0\
      \0\0\0\x09a",
    b"\x80\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// What is written over parts of them.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b"-1",
    b"0",
    b"250",
    b"2147483647",
    b"4294967296",
    b"1e9",
    b"18446744073709551616",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"noreply",
    b"b",
    b"q",
    b"T",
    b"%n",
    b"set ",
    b"mg ",
    b"get ",
    b"stats ",
    b"\x7f\xff",
];

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let inputs = arguments.number("--inputs", 1_000_000_u64)?;
    let seed = arguments.number("--seed", 1_u64)?;
    let options = arguments.value("--options").unwrap_or(OPTIONS);
    let mut target = super::start_with(arguments, options)?;
    let told = |error: std::io::Error| error.to_string();
    println!("seed {seed}, {inputs} inputs");
    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = target.address;
    let (gap, half) = thread::scope(|scope| {
        let asking = scope.spawn(|| longest_gap(address, &over));
        let resident = scope.spawn(|| resident_at(&target, &sent, inputs / 2, &over));
        let senders = [0, 1].map(|part| {
            let (sent, numbers) = (&sent, Numbers::new(seed * 2 + part));
            scope.spawn(move || send_junk(address, numbers, inputs / 2, sent))
        });
        senders.into_iter().for_each(|sender| _ = sender.join());
        over.store(true, Relaxed);
        (asking.join().unwrap_or(Err("panicked".into())), resident.join().unwrap_or(0))
    });
    let gap = gap?;
    let grown = target.resident().map_err(told)?.saturating_sub(half);
    let mut last = Client::connect(address, PATIENCE).map_err(told)?;
    last.ask(b"mn\r\n", b"MN\r\n").map_err(|error| format!("afterwards: {error}"))?;
    let sent = sent.load(Relaxed);
    println!("{sent} sent; longest gap {:.1} ms", gap.as_secs_f64() * 1000.0);
    println!("resident memory grew by {} KiB since half of them", grown >> 10);
    match (target.is_alive(), gap <= GAP_MAX, grown <= GROWTH_MAX) {
        (true, true, true) => Ok(()),
        (false, ..) => Err("the server has ended".to_owned()),
        (_, false, _) => Err(format!("nobody was answered for {gap:?}")),
        _ => Err(format!("it grew by {grown} bytes")),
    }
}

/// Asks until it is over; the longest time that an answer took.
fn longest_gap(address: SocketAddr, over: &AtomicBool) -> Result<Duration, String> {
    let told = |error: std::io::Error| format!("a client: {error}");
    let mut client = Client::connect(address, PATIENCE).map_err(told)?;
    let mut longest = Duration::ZERO;
    while !over.load(Relaxed) {
        let begun = Instant::now();
        client.ask(b"mn\r\n", b"MN\r\n").map_err(told)?;
        longest = longest.max(begun.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    Ok(longest)
}

/// The resident memory when so many inputs were sent.
fn resident_at(target: &Target, sent: &AtomicU64, inputs: u64, over: &AtomicBool) -> u64 {
    while sent.load(Relaxed) < inputs && !over.load(Relaxed) {
        thread::sleep(Duration::from_millis(5));
    }
    target.resident().unwrap_or(0)
}

/// Sends inputs over one connection after the other, and datagrams between them.
fn send_junk(address: SocketAddr, mut numbers: Numbers, inputs: u64, sent: &AtomicU64) {
    let datagrams = UdpSocket::bind("127.0.0.1:0").ok();
    let mut left = inputs;
    while left > 0 {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, GAP_MAX) else {
            left -= 1;
            continue;
        };
        let _ = stream.set_nonblocking(true);
        for _ in 0..1 + numbers.below(INPUTS_EACH).min(left - 1) {
            let input = damaged(&mut numbers);
            left -= 1;
            sent.fetch_add(1, Relaxed);
            if numbers.below(64) == 0
                && let Some(socket) = &datagrams
            {
                let _ = socket.send_to(&[&[0, 1, 0, 0, 0, 1, 0, 0], &*input].concat(), address);
            }
            if !deliver(&mut stream, &input, &mut numbers) {
                break;
            }
        }
    }
}

/// Sends an input, perhaps in pieces, and takes what has been answered; tells whether the
/// connection is still there.
fn deliver(stream: &mut TcpStream, input: &[u8], numbers: &mut Numbers) -> bool {
    let cut = numbers.below(4 * input.len() as u64 + 1) as usize;
    let (first, second) = input.split_at(cut.min(input.len()));
    for piece in [first, second] {
        match stream.write(piece) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return false,
            _ => {}
        }
    }
    let mut buffer = [0; 1 << 16];
    numbers.below(3) == 0 || !matches!(stream.read(&mut buffer), Ok(0))
}

/// Some requests, most of them damaged.
fn damaged(numbers: &mut Numbers) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..1 + numbers.below(3) {
        input.extend_from_slice(SEEDS[numbers.below(SEEDS.len() as u64) as usize]);
    }
    for _ in 0..numbers.below(4) {
        let at = numbers.below(input.len() as u64) as usize;
        let word = WORDS[numbers.below(WORDS.len() as u64) as usize];
        match numbers.below(5) {
            0 => input[at] = numbers.next() as u8,
            1 => drop(input.splice(at..at, word.iter().copied())),
            2 => drop(input.splice(at..(at + word.len()).min(input.len()), word.iter().copied())),
            3 => input.truncate(at + 1),
            _ => {
                let times = 1 + numbers.below(300) as usize;
                input.splice(at..at, std::iter::repeat_n(word, times).flatten().copied());
            }
        }
    }
    input
}

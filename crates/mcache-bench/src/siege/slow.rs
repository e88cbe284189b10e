//! Peers that never finish what they begin, more of them than the server takes, while a client
//! asks as fast as it is answered and others come and go.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::target::{Client, Target};
use crate::arguments::Arguments;

/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the slow peers wait between two bytes; who was hung up on comes back then.
const PAUSE: Duration = Duration::from_secs(1);

/// A newcomer comes so often.
const NEWCOMER: Duration = Duration::from_millis(100);

/// What slow peers begin with. They go on byte by byte.
const BEGINNINGS: &[&[u8]] = &[
    b"",
    b"get aaaa",
    b"set half 0 0 900000\r\n",
    b"ms half 100000\r\n",
    b"\x80\x01\x00\x04\x08\x00\x00\x00\x00\x00\x40",
    b"get big big big big big big big big big big big big big big big big big big big big\r\n",
];

/// How the client fared.
struct Fared {
    asked: u64,
    answered: u64,
    newcomers: u64,
    let_in: u64,
    latencies: Histogram<u64>,
}

/// Runs it: first without the slow peers, then with them.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let peers = arguments.number("--peers", 2000_usize)?;
    let seconds = Duration::from_secs(arguments.number("--seconds", 10_u64)?);
    let target = super::start(arguments)?;
    let told = |error: std::io::Error| error.to_string();
    let mut client = Client::connect(target.address, PATIENCE).map_err(told)?;
    let value = "v".repeat(100_000);
    let store = format!("set big 0 0 100000\r\n{value}\r\n");
    client.ask(store.as_bytes(), b"STORED\r\n").map_err(told)?;
    let unloaded = fare(&target, seconds);
    let before = target.resident().map_err(told)?;
    let (over, came) = (AtomicBool::new(false), AtomicU64::new(0));
    let (loaded, after) = thread::scope(|scope| {
        scope.spawn(|| besiege(target.address, peers, &came, &over));
        while came.load(Relaxed) < peers as u64 {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(2 * PAUSE);
        let loaded = fare(&target, seconds);
        let after = target.resident();
        over.store(true, Relaxed);
        (loaded, after)
    });
    unloaded.report("alone");
    loaded.report(&format!("with {peers} slow peers"));
    let came = came.load(Relaxed);
    let grown = after.map_err(told)?.saturating_sub(before) >> 10;
    println!("  {came} connections of slow peers; resident memory grew by {grown} KiB");
    match loaded.answered * 1000 >= loaded.asked * 999 && loaded.let_in == loaded.newcomers {
        true => Ok(()),
        false => Err("the client was not served".to_owned()),
    }
}

/// Holds `peers` connections that dribble, and comes back whenever one was closed.
fn besiege(address: SocketAddr, peers: usize, came: &AtomicU64, over: &AtomicBool) {
    let mut slow: Vec<Option<TcpStream>> = (0..peers).map(|_| None).collect();
    while !over.load(Relaxed) {
        let next = Instant::now() + PAUSE;
        for (number, place) in slow.iter_mut().enumerate() {
            let alive = place.as_mut().is_some_and(|stream| dribble(stream, number));
            if !alive {
                *place = begin(address, number);
                came.fetch_add(1, Relaxed);
            }
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn begin(address: SocketAddr, number: usize) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_nonblocking(true).ok()?;
    let _ = stream.write(BEGINNINGS[number % BEGINNINGS.len()]);
    Some(stream)
}

/// Sends a byte, or takes one; tells whether the connection is still there.
fn dribble(stream: &mut TcpStream, number: usize) -> bool {
    let going = |done: std::io::Result<usize>| match done {
        Ok(count) => count > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    };
    match BEGINNINGS[number % BEGINNINGS.len()] {
        [] => going(stream.read(&mut [0])),
        beginning if beginning.ends_with(b"big\r\n") => going(stream.read(&mut [0])),
        _ => going(stream.write(b"a")),
    }
}

/// Asks for a while, as fast as the answers come.
fn fare(target: &Target, time: Duration) -> Fared {
    let latencies = Histogram::new(3).unwrap_or_else(|error| panic!("{error}"));
    let mut fared = Fared { asked: 0, answered: 0, newcomers: 0, let_in: 0, latencies };
    let end = Instant::now() + time;
    let (mut client, mut newcomer) = (None, Instant::now());
    while Instant::now() < end {
        if newcomer <= Instant::now() {
            newcomer = Instant::now() + NEWCOMER;
            fared.newcomers += 1;
            fared.let_in += u64::from(Fared::visit(target.address).is_ok());
        }
        let begun = Instant::now();
        fared.asked += 1;
        let mut here = match client.take() {
            Some(here) => here,
            None => match Client::connect(target.address, PATIENCE) {
                Ok(new) => new,
                Err(_) => continue,
            },
        };
        let set = fared.asked.is_multiple_of(10);
        let done = match set {
            true => here.ask(b"set small 0 0 5\r\nhello\r\n", b"STORED\r\n"),
            false => here.ask(b"get nothing\r\n", b"END\r\n"),
        };
        if done.is_ok() {
            fared.answered += 1;
            let _ = fared.latencies.record(begun.elapsed().as_nanos() as u64);
            client = Some(here);
        }
    }
    fared
}

impl Fared {
    /// Comes, asks once and goes.
    fn visit(address: SocketAddr) -> std::io::Result<()> {
        Client::connect(address, PATIENCE)?.ask(b"get nothing\r\n", b"END\r\n")
    }

    fn report(&self, what: &str) {
        let us = |quantile: f64| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        let Self { asked, answered, newcomers, let_in, .. } = self;
        println!(
            "{what}: {answered} of {asked} answered, {let_in} of {newcomers} newcomers let in"
        );
        println!("  p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us", us(0.5), us(0.99), us(0.999));
    }
}

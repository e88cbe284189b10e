//! Clients that shake hands, ask once and go, as fast as they can: how many a server lets in, and
//! what each costs it. Keys are agreed on anew each time, nobody goes on with those he had.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mcache_conformance::tls;
use rustls::client::Resumption;
use rustls::{ClientConfig, StreamOwned};

use crate::arguments::Arguments;

/// How long a client waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// Handshakes of all clients after which it is enough: each leaves a port behind for a minute.
const ENOUGH: u64 = 20_000;

/// What everybody asks once.
const REQUEST: &[u8] = b"mn\r\n";
const ANSWER: &[u8] = b"MN\r\n";

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<(), String> {
    let clients = arguments.number("--peers", 4_u64)?;
    let time = Duration::from_secs(arguments.number("--seconds", 5_u64)?);
    let file = tls::file("server");
    let (chain, options) = (file.display(), arguments.value("--options").unwrap_or_default());
    let options = format!("-t 4 -Z -o ssl_chain_cert={chain},ssl_key={chain} {options}");
    let target = super::start_with(arguments, &options)?;
    let told = |error: io::Error| error.to_string();
    let (began, before) = (Instant::now(), target.cpu_ns().map_err(told)?);
    let results: Vec<_> = thread::scope(|scope| {
        let one = || shake_hands(target.address, time, ENOUGH / clients.max(1));
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|it| it.join().map_err(|_| "a client panicked")).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let cpu_us = target.cpu_ns().map_err(told)?.saturating_sub(before) as f64 / 1000.0;
    let mut all = histogram();
    for result in results {
        all.add(result?.map_err(told)?).map_err(|error| error.to_string())?;
    }
    let count = all.len() as f64;
    println!(
        "{count} handshakes of {clients} clients: {:.0} a second; p50 {} us, p99 {} us; \
         {:.0} us of the server's processors each",
        count / seconds,
        all.value_at_quantile(0.5),
        all.value_at_quantile(0.99),
        cpu_us / count.max(1.0),
    );
    if count > 0.0 { Ok(()) } else { Err("nobody got in".to_owned()) }
}

/// Shakes hands for a while, or `enough` times. Returns how long each took, in microseconds.
fn shake_hands(address: SocketAddr, time: Duration, enough: u64) -> io::Result<Histogram<u64>> {
    let mut config = tls::client(None, rustls::ALL_VERSIONS);
    config.resumption = Resumption::disabled();
    let (config, end) = (Arc::new(config), Instant::now() + time);
    let mut taken = histogram();
    while Instant::now() < end && taken.len() < enough {
        let began = Instant::now();
        shake_hands_once(address, config.clone())?;
        taken.record(began.elapsed().as_micros() as u64).map_err(io::Error::other)?;
    }
    Ok(taken)
}

fn shake_hands_once(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<()> {
    let socket = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(tls::session(config), socket);
    stream.write_all(REQUEST)?;
    let mut heard = [0; ANSWER.len()];
    stream.read_exact(&mut heard)?;
    if heard == ANSWER { Ok(()) } else { Err(io::Error::other("another answer")) }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap_or_else(|error| panic!("{error}"))
}

//! A server with a memory file that is killed while it is written to, stopped, or taken over from
//! while it is asked: how soon the next one answers, and whether it has what it should.
//!
//! `warm [--server PATH] [--file PATH] [--items N] [--value BYTES] [--mb N] [--kills N]
//! [--stops N] [--takeovers N] [--ms N]`: the file is made anew, and gone at the end.
//! A key is settled if its last change was answered; its value says which change that was.

mod takeover;

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::integrity::client::{Answer, Client};
use crate::numbers::mix;

/// Longer than any server takes to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests that are sent before their answers are read.
const BATCH: u64 = 500;

/// Connections that write at once, each to keys of its own.
const WRITERS: u64 = 2;

/// Of so many changes one is a delete.
const DELETES: u64 = 5;

/// What was asked for.
struct Plan {
    server: PathBuf,
    file: PathBuf,
    items: u64,
    value: usize,
    megabytes: u64,
    takeovers: u64,
}

/// A running server. It is killed when this is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

/// What is known of a key: the number of its last change (0: it is not there), and whether one was
/// asked for that was not answered.
#[derive(Default)]
struct Known {
    version: AtomicU64,
    is_open: AtomicBool,
}

/// What was found of the settled keys.
#[derive(Debug, Default)]
struct Found {
    settled: u64,
    back: u64,
    missing: u64,
    stale: u64,
    resurrected: u64,
    corrupt: u64,
}

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let names = ["--server", "--file", "--items", "--value", "--mb", "--kills", "--stops"];
    let names = [&names[..], &["--takeovers", "--ms"]].concat();
    let arguments = Arguments::parse(words, &names)?;
    let beside = || Ok(std::env::current_exe()?.with_file_name("mcache"));
    let server = match arguments.value("--server") {
        Some(path) => path.into(),
        None => beside().map_err(|error: io::Error| error.to_string())?,
    };
    let file = arguments.value("--file").unwrap_or("/dev/shm/mcache-bench-warm").into();
    let (items, value) =
        (arguments.number("--items", 200_000)?, arguments.number("--value", 1000)?);
    let fits = (items * (value as u64 + 100) / 10 * 12) >> 20;
    let (megabytes, takeovers) =
        (arguments.number("--mb", fits.max(64))?, arguments.number("--takeovers", 3)?);
    let plan = Plan { server, file, items, value, megabytes, takeovers };
    let (kills, stops) = (arguments.number("--kills", 2)?, arguments.number("--stops", 2)?);
    let load = Duration::from_millis(arguments.number("--ms", 2000)?);
    let result = all(&plan, kills, stops, load).map_err(|error| error.to_string());
    let _ = fs::remove_file(&plan.file);
    result
}

fn all(plan: &Plan, kills: u64, stops: u64, load: Duration) -> io::Result<()> {
    let _ = fs::remove_file(&plan.file);
    let known: Vec<Known> = (0..plan.items).map(|_| Known::default()).collect();
    let Plan { items, value, megabytes, takeovers, .. } = plan;
    println!("{items} items of {value} bytes at -m {megabytes}");
    let mut server = Running::start(plan)?;
    fill(plan, &server, &known)?;
    let mut wrong = 0;
    for round in 0..kills {
        let changes = write_until_killed(plan, &mut server, &known, load, round)?;
        let began = Instant::now();
        server = Running::start(plan)?;
        server.first_answer()?;
        let first = began.elapsed();
        let found = check(plan, &server, &known)?;
        wrong += found.stale + found.resurrected + found.corrupt;
        let share = 100.0 * found.back as f64 / found.settled as f64;
        println!("kill: {changes} changes; first answer {first:.1?}; {share:.3} % back; {found:?}");
    }
    for _ in 0..stops {
        let began = Instant::now();
        server.stop()?;
        let stop = began.elapsed();
        let began = Instant::now();
        server = Running::start(plan)?;
        server.first_answer()?;
        let first = began.elapsed();
        let found = check(plan, &server, &known)?;
        wrong += found.stale + found.resurrected + found.corrupt + found.missing;
        println!("stop: {stop:.1?}; first answer {first:.1?}; {found:?}");
    }
    if *takeovers > 0 {
        wrong += takeover::run(plan, &mut server, &known, *takeovers, load)?;
        let found = check(plan, &server, &known)?;
        wrong += found.stale + found.resurrected + found.corrupt + found.missing;
        println!("after them: {found:?}");
    }
    if wrong > 0 { Err(io::Error::other(format!("{wrong} wrong"))) } else { Ok(()) }
}

impl Running {
    fn start(plan: &Plan) -> io::Result<Self> {
        // None that the system gives to who connects, as this process does until it is answered: it
        // would have the port itself.
        let begin = std::process::id() as u16 % 10_000;
        let mut ports = (begin..10_000).chain(0..begin).map(|port| 20_000 + port);
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        let port = ports.find(is_free).ok_or(io::ErrorKind::AddrInUse)?;
        Self::start_at(plan, (Ipv4Addr::LOCALHOST, port).into())
    }

    fn start_at(plan: &Plan, address: SocketAddr) -> io::Result<Self> {
        let mut command = Command::new(&plan.server);
        command.args(["-u", "root", "-l", "127.0.0.1", "-t", "2"]).arg("-e").arg(&plan.file);
        command.args(["-p", &address.port().to_string(), "-m", &plan.megabytes.to_string()]);
        if plan.takeovers > 0 {
            command.arg("--takeover").arg(takeover::control(plan));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { child, address })
    }

    /// Waits until it answers a get.
    fn first_answer(&self) -> io::Result<()> {
        let mut client = self.connect()?;
        client.ask(&[0])?;
        while let Answer::Value { .. } = client.next()? {}
        Ok(())
    }

    fn connect(&self) -> io::Result<Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect(self.address) {
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                connected => return connected,
            }
        }
    }

    fn stop(&mut self) -> io::Result<()> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a key's version: both numbers, and bytes that follow from them.
fn value_of(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut value = [key.to_le_bytes(), version.to_le_bytes()].concat();
    let rest = (0..).flat_map(|word| mix(key ^ version << 32 ^ word << 56).to_le_bytes());
    value.extend(rest.take(len.saturating_sub(value.len())));
    value
}

fn fill(plan: &Plan, server: &Running, known: &[Known]) -> io::Result<()> {
    drop(server.connect()?); // it listens
    let mut stream = BufReader::new(TcpStream::connect(server.address)?);
    for first in (0..plan.items).step_by(BATCH as usize) {
        let (mut out, last) = (Vec::new(), plan.items.min(first + BATCH));
        for key in first..last {
            let value = value_of(key, 1, plan.value);
            write!(out, "set key-{key} 0 0 {}\r\n", value.len())?;
            out.extend_from_slice(&value);
            out.extend_from_slice(b"\r\n");
            known[key as usize].version.store(1, Relaxed);
        }
        stream.get_mut().write_all(&out)?;
        for _ in first..last {
            let mut line = String::new();
            stream.read_line(&mut line)?;
        }
    }
    Ok(())
}

/// Changes keys, and kills the server after a while. Returns how many changes were answered.
fn write_until_killed(
    plan: &Plan,
    server: &mut Running,
    known: &[Known],
    load: Duration,
    round: u64,
) -> io::Result<u64> {
    let changes = AtomicU64::new(0);
    let address = server.address;
    let write = |writer: u64| -> io::Result<()> {
        let mut client = Client::connect(address)?;
        for number in 0.. {
            let random = mix(number ^ writer << 40 ^ round << 50);
            let key = random % (plan.items / WRITERS) * WRITERS + writer;
            let is_delete = (random >> 50).is_multiple_of(DELETES);
            let version = (round + 1) << 40 | (number + 2);
            let Known { version: last, is_open } = &known[key as usize];
            is_open.store(true, Relaxed);
            let version = if is_delete { 0 } else { version };
            let is_answered = match is_delete {
                true => client.delete(key).is_ok(),
                false => client.set(key, &value_of(key, version, plan.value))?,
            };
            if !is_answered {
                return Ok(()); // the server is gone
            }
            last.store(version, Relaxed);
            is_open.store(false, Relaxed);
            changes.fetch_add(1, Relaxed);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let write = &write;
            scope.spawn(move || write(writer)); // it ends with the server
        }
        std::thread::sleep(load);
        server.child.kill()?;
        server.child.wait()
    })?;
    Ok(changes.into_inner())
}

fn check(plan: &Plan, server: &Running, known: &[Known]) -> io::Result<Found> {
    let mut client = server.connect()?;
    let mut found = Found::default();
    for first in (0..plan.items).step_by(BATCH as usize) {
        let keys: Vec<u64> = (first..plan.items.min(first + BATCH)).collect();
        let mut versions = vec![None; keys.len()];
        client.ask(&keys)?;
        while let Answer::Value { key, value } = client.next()? {
            let version = value.get(8..16).and_then(|bytes| bytes.try_into().ok());
            let version = version.map_or(0, u64::from_le_bytes);
            if value != value_of(key, version, plan.value) {
                found.corrupt += 1;
            }
            versions[(key - first) as usize] = Some(version);
        }
        for (&key, version) in keys.iter().zip(versions) {
            let Known { version: last, is_open } = &known[key as usize];
            if is_open.swap(false, Relaxed) {
                last.store(version.unwrap_or(0), Relaxed); // either of two is right
                continue;
            }
            found.settled += 1;
            match (last.load(Relaxed), version) {
                (0, None) => found.back += 1,
                (0, Some(_)) => found.resurrected += 1,
                (_, None) => {
                    found.missing += 1;
                    last.store(0, Relaxed);
                }
                (last, Some(version)) if last == version => found.back += 1,
                _ => found.stale += 1,
            }
        }
    }
    Ok(found)
}

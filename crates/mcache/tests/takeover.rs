//! A process that takes over from the one that runs: under load, with other settings, and when one
//! of the two fails in the midst of it.

#[allow(dead_code, reason = "shared by tests of the program")]
mod place;

use std::fs;
use std::io::{BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use mcache_net::{Channel, HandoverListener};
use mcache_store::MemoryFile;
use place::{Connection, PATIENCE, Place, Running};

/// Clients at once, and the keys that each has for itself.
const CLIENTS: usize = 4;
const KEYS: usize = 20;

/// Answers that all have between two take-overs.
const ANSWERS: usize = 2_000;

const OPTIONS: &str = "-m 64 -t 2 -s socket --takeover control";

/// A port that is free, and stays so for as long as nobody else asks for one.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// How a server ended, which it was to do.
fn end_of(server: &mut Running) -> ExitStatus {
    let mut status = None;
    until("the end of the server before", || {
        status = server.0.try_wait().expect("its state");
        status.is_some()
    });
    status.expect("as just seen")
}

/// What a client has seen.
#[derive(Debug, Default)]
struct Seen {
    refused: usize,
    wrong: Vec<String>,
    cut: usize,
}

/// Changes keys of its own and looks at them, until it is over; connects anew when it was closed.
fn converse(client: usize, at: SocketAddr, over: &AtomicBool, answers: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    // What was answered last, and what was asked for since then without an answer.
    let mut known: Vec<(u64, Vec<u64>)> = vec![(0, Vec::new()); KEYS];
    let mut connection = None;
    for version in 1.. {
        if over.load(Relaxed) {
            break;
        }
        let open = connection.take().or_else(|| TcpStream::connect(at).ok());
        let Some(stream) = open else {
            seen.refused += 1;
            continue;
        };
        let mut open = Connection(BufReader::new(stream));
        let (key, changes) = (version as usize * 7 % KEYS, version % 3 == 0);
        let (name, (answered, asked)) = (format!("{client}:{key}"), &mut known[key]);
        if changes {
            asked.push(version);
            let len = 8 + 3_000 * (key % 3);
            let value = format!("{version:0>len$}");
            let set = format!("set {name} 0 0 {}\r\n{value}\r\n", value.len());
            match open.ask(set.as_bytes()) {
                None => seen.cut += 1,
                Some(line) if line == "STORED\r\n" => {
                    (*answered, connection) = (version, Some(open.0.into_inner()));
                    asked.clear();
                    answers.fetch_add(1, Relaxed);
                }
                Some(line) => seen.wrong.push(line),
            }
            continue;
        }
        let Ok(value) = open.fetch(&name) else {
            seen.cut += 1;
            continue;
        };
        let found = value.map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap_or(1));
        if found == *answered || asked.contains(&found) {
            *answered = found;
            asked.clear(); // what was cut off does not come later
        } else {
            seen.wrong.push(format!("{name}: {found} of {answered} and {asked:?}"));
        }
        connection = Some(open.0.into_inner());
        answers.fetch_add(1, Relaxed);
    }
    seen
}

/// Ends what clients do, also when something has failed.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn take_over_under_load(name: &str, options: &str) {
    let (place, port) = (Place::new(name), free_port());
    let options = format!("{OPTIONS} {options} -l 127.0.0.1 -p {port} -P pid");
    let (over, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut server = place.start(&options);
    place.connect();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let seen: Vec<Seen> = thread::scope(|scope| {
        let ends = Ends(&over);
        let client = |client| {
            let (over, answers) = (&over, &answers);
            scope.spawn(move || converse(client, at, over, answers))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        for _ in 0..3 {
            let wanted = answers.load(Relaxed) + ANSWERS;
            until("answers", || answers.load(Relaxed) >= wanted);
            let next = place.start(&options);
            let mut before = std::mem::replace(&mut server, next);
            assert!(end_of(&mut before).success());
            let id = fs::read_to_string(place.0.join("pid")).expect("the pid file");
            assert_eq!(id.trim(), server.0.id().to_string());
        }
        let wanted = answers.load(Relaxed) + ANSWERS;
        until("answers", || answers.load(Relaxed) >= wanted);
        drop(ends);
        clients.into_iter().map(|client| client.join().expect("its end")).collect()
    });
    let refused: usize = seen.iter().map(|seen| seen.refused).sum();
    assert!(refused == 0 && seen.iter().all(|seen| seen.wrong.is_empty()), "{seen:?}");
    let most = 3 * CLIENTS; // each connection once a take-over
    assert!(seen.iter().map(|seen| seen.cut).sum::<usize>() <= most, "{seen:?}");
    assert_ne!(place.connect().stat(" mcache", "recovered_items"), "0");
}

#[test]
fn no_connection_is_refused_and_no_answer_wrong() {
    take_over_under_load("load", "");
}

#[test]
fn no_connection_is_refused_and_no_answer_wrong_with_epoll() {
    take_over_under_load("load-epoll", "--io epoll");
}

#[test]
fn no_connection_is_refused_and_no_answer_wrong_with_a_file() {
    take_over_under_load("load-file", "-e memory");
}

/// Stores something, so that it can be seen whether it is there.
fn store(place: &Place) {
    assert_eq!(place.connect().ask(b"set k 5 0 5\r\nvalue\r\n").unwrap(), "STORED\r\n");
}

#[test]
fn other_settings_are_those_of_the_next() {
    let (place, ports) = (Place::new("other"), [free_port(), free_port()]);
    let [one, two] = ports;
    let common = "-t 2 -l 127.0.0.1 --takeover control";
    let mut before = place.start(&format!("{common} -m 64 -s socket -p {one}"));
    store(&place);
    let next = format!("{common} -m 32 --eviction lru --io epoll -p {one} -l 127.0.0.1:{two}");
    let mut after = place.start(&next);
    assert!(end_of(&mut before).success());
    for port in ports {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let mut connection = Connection(BufReader::new(stream));
        assert_eq!(connection.get("k").as_deref(), Some(&b"value"[..]));
        assert_eq!(connection.stat(" settings", "maxbytes"), (32 << 20).to_string());
    }
    assert!(!place.0.join("socket").exists(), "it is not among the next one's");
    // More than the memory of the first one reaches.
    let _last = place.start(&format!("{common} -m 20000 -s socket"));
    assert!(end_of(&mut after).success());
    let mut connection = place.connect();
    assert_eq!(connection.get("k").as_deref(), Some(&b"value"[..]));
    assert_eq!(connection.stat(" settings", "maxbytes"), (16_u64 << 30).to_string());
}

/// What a process says on stderr that cannot take over.
fn refused(place: &Place, options: &str) -> String {
    let mut command = place.command(options);
    let output = command.env("RUST_LOG", "error").stderr(Stdio::piped()).output();
    String::from_utf8(output.expect("the program").stderr).expect("text")
}

#[test]
fn who_cannot_take_over_changes_nothing() {
    let place = Place::new("refused");
    let _server = place.start(OPTIONS);
    store(&place);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("its address").port();
    let said = refused(&place, &format!("{OPTIONS} -l 127.0.0.1 -p {port}"));
    assert!(said.starts_with(&format!("failed to listen on 127.0.0.1:{port}: ")), "{said}");
    let said = refused(&place, &format!("{OPTIONS} -e memory"));
    let ends =
        "the running server's items are in no file, they would have to be in memory: stop it\n";
    assert!(said.ends_with(ends), "{said}");
    let said = refused(&place, &format!("{OPTIONS} --engine simple"));
    assert_eq!(said, "--takeover: only --engine segment hands its items over\n");
    let said = refused(&place, &format!("{OPTIONS} -o drop_privileges"));
    assert!(said.starts_with("--takeover: not with -o drop_privileges"), "{said}");
    assert_eq!(place.connect().get("k").as_deref(), Some(&b"value"[..]));
}

fn say(channel: &Channel, text: &[u8]) {
    channel.send(text, None, PATIENCE).expect("room");
}

fn hear(channel: &Channel) -> Vec<u8> {
    channel.receive(PATIENCE).expect("a message").map_or(Vec::new(), |message| message.text)
}

/// Greets a server as a successor does and hears what it offers.
fn greet(control: &Path) -> Channel {
    let channel = Channel::connect(control, PATIENCE).expect("a channel").expect("a server");
    say(&channel, b"mcache takeover 1");
    while hear(&channel) != b"all" {}
    channel
}

#[test]
fn a_successor_that_fails_leaves_the_server_as_it_was() {
    for options in [OPTIONS.to_owned(), format!("{OPTIONS} -e memory")] {
        let place = Place::new("failed");
        let mut server = place.start(&format!("{options} -P pid"));
        store(&place);
        let control = place.0.join("control");
        let other = Channel::connect(&control, PATIENCE).expect("a channel").expect("a server");
        say(&other, b"mcache takeover 2");
        assert!(hear(&other).starts_with(b"no the running server is of a version"));
        drop(greet(&control));
        let channel = greet(&control);
        say(&channel, b"go");
        drop(channel); // while connections end, or when they have
        let channel = greet(&control);
        say(&channel, b"go");
        assert_eq!(hear(&channel), b"at rest");
        fs::remove_file(place.0.join("pid")).expect("the pid file, as a successor may");
        drop(channel);
        let mut connection = place.connect();
        assert_eq!(connection.get("k").as_deref(), Some(&b"value"[..]));
        let id = fs::read_to_string(place.0.join("pid")).expect("the pid file");
        assert_eq!(id.trim(), server.0.id().to_string());
        let _next = place.start(&options);
        assert!(end_of(&mut server).success());
        assert_eq!(place.connect().get("k").as_deref(), Some(&b"value"[..]));
        assert!(place.0.join("socket").exists());
    }
}

/// Listens as a server that has these sockets.
fn offer(listener: &HandoverListener, port: &TcpListener, memory: &MemoryFile) -> Channel {
    let channel = listener.accept().expect("a process that takes over");
    assert_eq!(hear(&channel), b"mcache takeover 1");
    let address = format!("tcp {}", port.local_addr().expect("its address"));
    let file = memory.share();
    for (text, along) in [
        (address.as_bytes(), port.as_fd()),
        (b"control", listener.as_fd()),
        (b"memory", file.as_fd()),
    ] {
        channel.send(text, Some(along), PATIENCE).expect("room");
    }
    say(&channel, b"all");
    channel
}

#[test]
fn a_server_that_fails_is_taken_over_or_left() {
    let place = Place::new("fails");
    let (listener, _file) = HandoverListener::bind(&place.0.join("control")).expect("a socket");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = port.local_addr().expect("its address");
    let memory = MemoryFile::anonymous().expect("memory");
    let options = format!("-m 64 -l 127.0.0.1 -p {} --takeover control", at.port());
    let start = || {
        let mut command = place.command(&options);
        command.env("RUST_LOG", "error").stderr(Stdio::piped());
        Running(command.spawn().expect("the program"))
    };
    for (answer, says) in [(&b"at last"[..], "is not understood\n"), (b"no way", "no way\n")] {
        let mut next = start();
        if answer.starts_with(b"no ") {
            let channel = listener.accept().expect("a process that takes over");
            say(&channel, b"no no way");
            assert!(!end_of(&mut next).success());
        } else {
            let channel = offer(&listener, &port, &memory);
            assert_eq!(hear(&channel), b"go");
            say(&channel, answer);
            assert!(!end_of(&mut next).success());
        }
        let mut said = String::new();
        next.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(said.ends_with(says), "{said}");
    }
    let _next = start();
    let channel = offer(&listener, &port, &memory);
    assert_eq!(hear(&channel), b"go");
    drop(channel); // as the end of its process would
    let mut connection = Connection(BufReader::new(TcpStream::connect(at).expect("a connection")));
    assert_eq!(connection.ask(b"mn\r\n").as_deref(), Some("MN\r\n"));
}

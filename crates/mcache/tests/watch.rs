//! What a server tells of its connections: `stats conns`, and `watch` with peers that read or not.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use support::{Client, start, start_with, stat, until};

/// Lines as they come.
struct Lines(BufReader<TcpStream>);

impl Lines {
    fn of(client: Client) -> Self {
        Self(BufReader::new(client.stream))
    }

    fn next(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection ended");
        line.trim_end().to_owned()
    }

    /// The next line without the time and the number at its front.
    fn event(&mut self) -> String {
        self.next().splitn(3, ' ').nth(2).unwrap_or_default().to_owned()
    }
}

/// The states of the server's sockets, sorted, as `asker` is told.
fn states(asker: &mut Client) -> Vec<String> {
    asker.say(b"stats conns\r\n");
    let mut lines = Lines::of(asker.clone());
    let report = std::iter::from_fn(|| Some(lines.next()).filter(|line| line != "END"));
    let states = report.filter_map(|line| Some(line.split_once(":state ")?.1.to_owned()));
    let mut states: Vec<_> = states.collect();
    states.sort_unstable();
    states
}

#[test]
fn every_connection_says_what_it_does() {
    let server = start();
    let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&server)).collect();
    clients[1].say(b"set a 0 0 6\r\nabc");
    clients[2].say(b"set a 0 0 100000\r\nabc");
    clients[3].say(b"set a 0 0 100000000\r\nabc");
    clients[4].ask(b"watch\r\n", b"OK\r\n");
    let expected = ["listening", "nread", "nread", "parse_cmd", "read", "swallow", "watch"];
    let expected = expected.map(|state| format!("conn_{state}"));
    until(|| states(&mut clients[5]) == expected);
    clients.remove(1);
    until(|| states(&mut clients[4]).len() == expected.len() - 1);
}

#[test]
fn more_connections_than_a_step_shows_are_all_told() {
    let server = start();
    let mut clients: Vec<_> = (0..200).map(|_| Client::connect(&server)).collect();
    until(|| states(&mut clients[0]).len() == 201);
}

#[test]
fn a_command_is_told_before_what_it_does() {
    let server = start();
    let (mut worker, mut watcher) = (Client::connect(&server), Client::connect(&server));
    watcher.ask(b"watch rawcmds fetchers mutations\r\n", b"OK\r\n");
    worker.ask(b"set a 0 0 1\r\n1\r\nget a b\r\n", b"STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\n");
    worker.say(b"set b 0 0 2\r\n");
    worker.ask(b"22\r\nbogus\r\n", b"STORED\r\nERROR\r\n");
    let mut lines = Lines::of(watcher);
    for expected in [
        " set a 0 0 1",
        "type=item_get key=a status=not_found",
        "type=item_store key=a status=stored",
        " get a b",
        "type=item_get key=a status=found",
        "type=item_get key=b status=not_found",
        " set b 0 0 2",
        "type=item_get key=b status=not_found",
        "type=item_store key=b status=stored",
        " bogus",
    ] {
        let event = lines.event();
        assert!(event.contains(expected), "{event}, expected {expected}");
    }
}

#[test]
fn a_watcher_that_does_not_read_costs_others_nothing() {
    const GETS: usize = 50;
    let server = start_with(|options| options.watcher_buffer_bytes = 16 << 10);
    let (mut worker, mut watcher) = (Client::connect(&server), Client::connect(&server));
    let request = format!("get {}\r\n", "k".repeat(200)).repeat(GETS);
    let answer = b"END\r\n".repeat(GETS);
    watcher.ask(b"watch fetchers\r\n", b"OK\r\n");
    let told = || ["log_watcher_sent", "log_watcher_skipped"].map(|it| stat(&server, it));
    let settled = || {
        until(|| {
            told().iter().sum::<u64>() + stat(&server, "log_worker_dropped")
                == stat(&server, "cmd_get")
        });
        told()
    };
    // Until nothing more is held for it: what happens is only counted.
    until(|| {
        let [sent, skipped] = settled();
        worker.ask(request.as_bytes(), &answer);
        let after = settled();
        after[0] == sent && after[1] > skipped
    });

    // Once it reads, it hears how many it has missed.
    let mut lines = Lines::of(watcher);
    let mut missed = None;
    for _ in 0..stat(&server, "log_watcher_sent") {
        missed = missed.or(lines.next().strip_prefix("skipped=").map(str::to_owned));
    }
    worker.ask(b"get b\r\n", b"END\r\n");
    while missed.is_none() {
        missed = lines.next().strip_prefix("skipped=").map(str::to_owned);
    }
    assert!(missed.is_some_and(|number| number.parse::<u64>().unwrap() > 0));
}

#[test]
fn a_watcher_that_sends_is_told_whole_lines() {
    let server = start();
    let mut watcher = Client::connect(&server);
    watcher.ask(b"watch fetchers\r\n", b"OK\r\n");
    let done = Arc::new(AtomicBool::new(false));
    let (mut sender, sent) = (watcher.clone(), done.clone());
    sender.stream.set_nonblocking(false).unwrap();
    let noise = std::thread::spawn(move || {
        let noise = vec![b'x'; 256 << 10];
        while !sent.load(Relaxed) && sender.stream.write_all(&noise).is_ok() {}
    });
    let (mut asker, asked) = (Client::connect(&server), done.clone());
    let traffic = std::thread::spawn(move || {
        while !asked.load(Relaxed) {
            asker.ask(&b"get nothing\r\n".repeat(50), &b"END\r\n".repeat(50));
        }
    });
    let (mut lines, mut last) = (Lines::of(watcher), 0);
    for _ in 0..20_000 {
        let line = lines.next();
        if line.starts_with("skipped=") {
            continue;
        }
        let words: Vec<_> = line.split(' ').collect();
        let number = words.get(1).and_then(|word| word.strip_prefix("gid=")?.parse().ok());
        let number: u64 = number.unwrap_or_else(|| panic!("{line}"));
        let whole = words[0].len() == "ts=1795325032.205809".len() && words.len() == 8;
        assert!(number > last && whole, "{line}");
        last = number;
    }
    done.store(true, Relaxed);
    traffic.join().unwrap();
    drop(lines);
    noise.join().unwrap();
}

//! What a server makes of stores whose length lies: no part of a value becomes a command. And of
//! keys that break lines: none becomes a part of an answer.
//!
//! An application that lets its users choose a key, a length or a value without looking at it
//! sends such requests. Each vector is sent at once, as one packet would bring it.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::{BufRead, BufReader, Read};

use mcache::{Habits, ServerOptions, Settings};
use mcache_conformance::uninterrupted;
use mcache_net::Io;
use support::{Client, start_with, until};

/// What must not be carried out.
const SMUGGLED: &str = "delete canary\r\nset smuggled 0 0 1\r\nx\r\n";

/// What is sent before it, and the answer. Where nothing is said, silence was asked for.
const VECTORS: &[(&str, &str)] = &[
    // A length that is none.
    ("set k 0 0 -1\r\n", BAD_LINE),
    ("set k 0 0 4294967295\r\n", BAD_LINE),
    ("set k 0 0 2147483646\r\n", BAD_LINE),
    ("add k 0 0 0x10\r\n", BAD_LINE),
    ("append k 0 0 1e3 noreply\r\n", BAD_LINE),
    ("cas k 0 0 99999999999999999999 1\r\n", BAD_LINE),
    ("ms k -1\r\n", BAD_LINE),
    ("ms k S1\r\n", BAD_LINE),
    // None at all, as when the key is empty.
    ("set  0 0 40\r\n", BAD_LINE),
    ("prepend k\r\n", BAD_LINE),
    ("ms k\r\n", BAD_LINE),
    ("ms k 2 \u{1}\r\n", BAD_LINE),
    // One that is too short for the value.
    ("set k 0 0 1\r\nabc", BAD_DATA),
    ("set k 0 0 0\r\n", BAD_DATA),
    ("set k 0 0 1 noreply\r\nabc", ""),
    ("ms k 1 q\r\nabc", BAD_DATA),
    // The same where the value is not wanted anyway.
    ("set k flags 0 1\r\nabc", BAD_LINE),
    ("set k flags 0 1 noreply\r\nabc", ""),
    ("set a key 0 0 40\r\n", BAD_LINE),
    ("ms k 1 Z\r\nabc", "CLIENT_ERROR invalid flag\r\n"),
];

const BAD_LINE: &str = "CLIENT_ERROR bad command line format\r\n";
const BAD_DATA: &str = "CLIENT_ERROR bad data chunk\r\n";

/// [`VECTORS`], and some with values that do not fit a buffer.
fn vectors() -> Vec<(String, &'static str)> {
    let mut vectors: Vec<_> =
        VECTORS.iter().map(|(sent, answer)| ((*sent).to_owned(), *answer)).collect();
    let value = "v".repeat(20_000);
    vectors.push((format!("set k 0 0 20000\r\n{value}.."), BAD_DATA));
    vectors.push((format!("set {} 0 0 20000\r\n{value}..", "k".repeat(251)), BAD_LINE));
    vectors
}

fn each_driver(change: fn(&mut ServerOptions), test: impl Fn(&mcache::Server)) {
    for io in [Io::Auto, Io::Epoll] {
        test(&start_with(|options| {
            options.io = io;
            change(options);
        }));
    }
}

/// How often a server lost its place.
fn framing_errors(client: &mut Client) -> usize {
    let report = client.report("stats mcache");
    let line = report.lines().find_map(|line| line.strip_prefix("STAT framing_errors "));
    line.unwrap().parse().unwrap()
}

/// CVE-2022-26635: what a client lets through.
#[test]
fn no_part_of_a_value_becomes_a_command() {
    each_driver(
        |_| {},
        |server| {
            let mut client = Client::connect(server);
            for (number, (sent, answer)) in vectors().into_iter().enumerate() {
                client.ask(b"set canary 0 0 1\r\nc\r\n", b"STORED\r\n");
                client.say(format!("{sent}{SMUGGLED}").as_bytes());
                if answer.is_empty() {
                    client = Client::connect(server);
                    until(|| framing_errors(&mut client) > number);
                }
                client.hear(answer.as_bytes());
                let alive = b"VALUE canary 0 1\r\nc\r\nEND\r\n";
                client.ask(b"get canary smuggled\r\n", alive);
            }
            assert_eq!(framing_errors(&mut client), vectors().len());
        },
    );
}

#[test]
fn a_strict_server_hangs_up() {
    each_driver(
        |options| options.strict_framing = true,
        |server| {
            for (sent, answer) in vectors() {
                let mut client = Client::connect(server);
                client.ask(b"set canary 0 0 1\r\nc\r\n", b"STORED\r\n");
                client.say(format!("{sent}{SMUGGLED}").as_bytes());
                client.hear_last(answer.as_bytes());
                let alive = b"VALUE canary 0 1\r\nc\r\nEND\r\n";
                Client::connect(server).ask(b"get canary smuggled\r\n", alive);
            }
        },
    );
}

#[test]
fn whoever_hangs_up_at_once_still_hears_the_error() {
    each_driver(
        |_| {},
        |server| {
            let mut client = Client::connect(server);
            client.say(format!("version\r\nset k 0 0 1\r\nabc{SMUGGLED}").as_bytes());
            client.stream.shutdown(std::net::Shutdown::Write).unwrap();
            client.hear_last(format!("VERSION 1.6.45\r\n{BAD_DATA}").as_bytes());
        },
    );
}

#[test]
fn the_rest_of_the_line_is_no_command_either() {
    each_driver(
        |_| {},
        |server| {
            let mut client = Client::connect(server);
            client.ask(b"set k 0 0 1\r\nabcdele", BAD_DATA.as_bytes());
            client.ask(b"te canary\r\nversion\r\n", b"VERSION 1.6.45\r\n");
        },
    );
}

/// A key that breaks the lines it stands in, and the same in base64. Binary can store it.
const FORGED: &[u8] = b"x:\r\nEND\r\nEVIL";
const ENCODED: &str = "eDoNCkVORA0KRVZJTA==";

/// All that is said until the answer to `mn`, which the caller sends last.
fn heard(client: &mut Client) -> String {
    let mut heard = Vec::new();
    while !heard.ends_with(b"MN\r\n") {
        let mut piece = [0; 4096];
        let count = uninterrupted(|| client.stream.read(&mut piece)).unwrap();
        assert!(count > 0, "{}", heard.escape_ascii());
        heard.extend_from_slice(&piece[..count]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// CVE-2025-67733 of Valkey: an answer that carries an answer.
#[test]
fn no_key_forges_an_answer() {
    let server = start_with(|options| {
        options.count_prefixes = true;
        options.settings_report = Settings::defaults(Habits::Mcache).each();
    });
    let mut watcher = Client::connect(&server);
    watcher.ask(b"watch fetchers mutations deletions rawcmds\r\n", b"OK\r\n");
    let (key_len, body_len) = (FORGED.len() as u8, FORGED.len() as u8 + 8);
    let head = [0x80, 1, 0, key_len, 8, 0, 0, 0, 0, 0, 0, body_len];
    let mut client = Client::connect(&server);
    client.say(&[&head[..], &[0; 12], &[0; 8], FORGED].concat());
    client.hear(&[&[0x81, 1][..], &[0; 14], &[0, 0, 0, 0, 0, 0, 0, 1]].concat());
    let mut client = Client::connect(&server);
    // Each command, and whether its answer names the key.
    for (command, named) in [
        ("stats cachedump 1 0", None),
        ("lru_crawler mgdump all", Some(format!("mg {ENCODED} b"))),
        ("lru_crawler metadump all", Some("key=x%3A%0D%0AEND%0D%0AEVIL ".to_owned())),
        ("stats detail dump", None),
        (&format!("mg {ENCODED} b k t"), Some(format!("k{ENCODED} b"))),
        (&format!("me {ENCODED} b"), Some(format!("ME {ENCODED} "))),
        (&format!("md {ENCODED} b k q"), None),
        (&format!("md {ENCODED} b k"), Some(format!("k{ENCODED} b"))),
    ] {
        client.say(format!("{command}\r\nmn\r\n").as_bytes());
        let answer = heard(&mut client);
        assert!(!answer.contains("\nEVIL"), "{command}: {answer:?}");
        if let Some(named) = named {
            assert!(answer.contains(&named), "{command}: {answer:?}");
        }
    }
    client.say(b"get end\r\n");
    let mut told = String::new();
    let mut lines = BufReader::new(watcher.stream);
    while !told.contains("key=end") {
        lines.read_line(&mut told).unwrap();
    }
    assert!(told.contains("key=x%3A%0D%0AEND%0D%0AEVIL") && !told.contains("\nEVIL"), "{told}");
}

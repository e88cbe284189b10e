//! Every public advisory about memcached, and its fixes that never got a number, as what a peer
//! sends: the server has to stay well and to answer others rightly.
//!
//! Named elsewhere: what logins have had (CVE-2013-7239, CVE-2021-37519, CVE-2026-47783, the fixes
//! af05c9302 and 57934a1d0) in `login.rs` and `users.rs`; smuggled commands and forged answers in
//! `framing.rs`; peers that do not read (issue 102, CVE-2025-21605 of Redis) in `buffered.rs` and
//! `limits.rs`; amplification (CVE-2018-1000115) and bad datagrams (CVE-2022-48571) in `udp.rs`.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::io::{ErrorKind, Read, Write};
use std::thread;

use mcache::{Habits, Server, Settings};
use mcache_store::SegmentStorageEngine;
use support::{Client, connect_unix, engine_options, start_on};

/// A peer that means harm: what it is known by, and what it sends.
struct Advisory {
    names: &'static str,
    sent: Vec<Vec<u8>>,
}

fn advisory<const N: usize>(names: &'static str, sent: [&[u8]; N]) -> Advisory {
    Advisory { names, sent: sent.map(<[u8]>::to_vec).into() }
}

/// A binary frame whose lengths may lie.
fn frame(opcode: u8, key_len: u16, extras_len: u8, body_len: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, opcode];
    frame.extend(key_len.to_be_bytes());
    frame.extend([extras_len, 0, 0, 0]);
    frame.extend(body_len.to_be_bytes());
    frame.extend([0; 12]);
    frame.extend(body);
    frame
}

/// Frames of each opcode with each pair of lengths of key and body.
fn frames(opcodes: &[u8], extras_len: u8, lens: &[(u16, u32)], body: &[u8]) -> Vec<Vec<u8>> {
    let each = |&opcode: &u8| {
        lens.iter().map(move |&(key, whole)| frame(opcode, key, extras_len, whole, body))
    };
    opcodes.iter().flat_map(each).collect()
}

fn lines<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    lines.into_iter().map(|line| line.as_bytes().to_vec()).collect()
}

/// Lengths that are none, or that nobody has room for.
const LENGTHS: &[&str] = &[
    "-1",
    "-2",
    "2147483646",
    "2147483647",
    "-2147483648",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "10000000000000000000000",
    "0x10",
    "1e3",
    "1073741824",
];

fn oversized() -> Vec<Vec<u8>> {
    let store = |len: &&str| {
        ["set neg 0 0 {}\r\n", "append neg 0 0 {}\r\n", "cas neg 0 0 {} 1\r\n", "ms neg {}\r\n"]
            .map(|line| line.replace("{}", len).into_bytes())
    };
    LENGTHS.iter().flat_map(store).collect()
}

/// Each printable flag, all of them, none that is a number, bad base64.
fn flags() -> Vec<Vec<u8>> {
    let each = (b'!'..=b'~').map(|flag| format!("mg k {}\r\n", char::from(flag)));
    let more = [
        format!("mg k{}\r\n", " v".repeat(100)),
        "mg k vv\r\n".to_owned(),
        format!("mg {}\r\n", "k".repeat(251)),
        "mg k Nx T- S\r\n".to_owned(),
        "mg =*= b v\r\n".to_owned(),
        format!("mg k O{} v\r\n", "o".repeat(64)),
    ];
    each.chain(more).map(String::into_bytes).collect()
}

/// Every verb with ends that are none, or half of one.
fn ends() -> Vec<Vec<u8>> {
    let verbs = ["get k", "set k 0 0 1", "mg k", "delete k", "incr k 1", "stats", "version", "g"];
    let ends = ["\n", "\\n", "\r", "\r\r\n", "\n\r", "\0\r\n"];
    let with = |verb| ends.map(|end| format!("{verb}{end}").into_bytes());
    verbs.into_iter().flat_map(with).collect()
}

#[rustfmt::skip] // one row each
fn advisories() -> Vec<Advisory> {
    let stores = &[0x01, 0x02, 0x03, 0x11, 0x12, 0x13];
    let junk = &[b'A'; 1024];
    let spaces = [100, 200, 772, 1000, 1500, 4000]
        .map(|count| format!("get{}k1 k2\r\n", " ".repeat(count)).into_bytes());
    let unended = ["A", " ", "get k ", "gat 0 k ", "\0", "mg ", "ms k 1 O", "stats "]
        .map(|word| word.repeat((2 << 20) / word.len()).into_bytes());
    let loud = |byte: &str| format!("get {}\r\ndelete {}\r\n", byte.repeat(250), byte.repeat(249));
    vec![
        advisory("CVE-2009-1255 CVE-2009-1494", [b"stats maps\r\nstats malloc\r\n"]),
        Advisory { names: "CVE-2009-2415", sent: oversized() },
        Advisory { names: "CVE-2010-1152", sent: unended.into() },
        Advisory { names: "CVE-2011-4971", sent: frames(stores, 8,
            &[(1, 0xffff_ffe8), (1, u32::MAX), (1, 1 << 31), (1, 8), (1, 9)], junk) },
        Advisory { names: "CVE-2013-0179 CVE-2013-7290 CVE-2013-7291", sent: frames(&[0x04], 0,
            &[(1, 1), (250, 250), (251, 251), (1024, 1024), (u16::MAX, 65_535)], junk) },
        Advisory { names: "CVE-2013-0179, the text protocol",
            sent: lines([&*loud("%"), &*loud("\u{1}"), &*loud("%s")]) },
        Advisory { names: "CVE-2016-8704", sent: frames(&[0x0e, 0x0f, 0x19, 0x1a], 0,
            &[(0xfa, 0)], junk) },
        Advisory { names: "CVE-2016-8705", sent: frames(stores, 8,
            &[(0xfa, 0xffff_ffd0), (0xfa, 0), (0xfa, 1), (0xfa, 101)], junk) },
        Advisory { names: "CVE-2016-8706", sent: frames(&[0x21, 0x22], 0,
            &[(0x20, 1), (250, 249), (0, 0), (0, 65_536)], junk) },
        Advisory { names: "CVE-2017-9951", sent: frames(stores, 8,
            &[(1, 0x7fff_ffff), (0, 0x7fff_fff0), (250, 0x8000_0001), (1, 1 << 20)], junk) },
        advisory("CVE-2019-11596", [b"lru mode\nlo\xb1t\0lrue\xea\x07mNOT_", b"lru\r\n",
            b"lru mode\r\n", b"lru temp_ttl\r\n", b"lru tune 1 1\r\n"]),
        Advisory { names: "CVE-2020-10931", sent: [0x15, 0x18, 0x4c, 0xff].into_iter()
            .flat_map(|extras| frames(&[0, 1, 5, 8, 0x1c, 0x1d, 0x10, 0x21], extras,
                &[(0, 0), (0, u32::from(extras)), (0, 0x1ff)], junk)).collect() },
        Advisory { names: "CVE-2020-22570, Dragonfly #6637", sent: flags() },
        Advisory { names: "CVE-2023-46852", sent: spaces.into() },
        Advisory { names: "CVE-2023-46853, Pelikan #373", sent: ends() },
        advisory("0240ddee0 6ab74b585", [b"slabs reassign 31 64\r\nslabs reassign -1 99\r\n",
            b"slabs automove window 0\r\nslabs automove window 67108864\r\n"]),
        advisory("483e82adc", [
            b"set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\nget n\r\n"]),
        advisory("58d05f1d3", [b"set n 0 0 0\r\n\r\nincr n 1\r\ndecr n 1\r\n"]),
        advisory("issue 101", [&[0; 4096], b"\0\0\0get k\r\n"]),
        advisory("Valkey CVE-2026-27623", [b"\r\n\r\n\r\n\n\nget k\r\n"]),
        Advisory { names: "152ddb68f", sent: vec![
            format!("mg busy v O{}\r\n", "o".repeat(64)).repeat(2000).into_bytes()] },
        Advisory { names: "7af02b0c8", sent: vec![
            format!("get{}\r\n", " busy".repeat(20_000)).into_bytes()] },
    ]
}

/// A server of the default engine with something in it.
fn serve() -> Server {
    let server = start_on(SegmentStorageEngine::new(&engine_options()).unwrap(), |options| {
        options.settings_report = Settings::defaults(Habits::Mcache).each();
    });
    Client::connect(&server).ask(b"set busy 0 0 4\r\nbusy\r\n", b"STORED\r\n");
    server
}

/// Others are served as ever, and nothing has panicked.
fn is_well(server: &Server, names: &str) {
    for _ in 0..8 {
        let mut other = Client::connect(server);
        other.ask(b"get busy absent\r\n", b"VALUE busy 0 4\r\nbusy\r\nEND\r\n");
    }
    let report = Client::connect(server).report("stats mcache");
    assert!(report.contains("STAT panics 0\r\n"), "{names}: {report}");
}

/// Sends something and reads what comes, to the end.
fn harass(server: &Server, sent: &[u8]) -> Vec<u8> {
    let mut peer = Client::connect(server).stream;
    let mut reader = peer.try_clone().unwrap();
    thread::scope(|scope| {
        let heard = scope.spawn(move || {
            let mut heard = Vec::new();
            match reader.read_to_end(&mut heard) {
                Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
                _ => heard,
            }
        });
        // The server may hang up before it has read all.
        let _ = peer.write_all(sent).and_then(|()| peer.shutdown(std::net::Shutdown::Write));
        heard.join().unwrap()
    })
}

#[test]
fn no_advisory_holds() {
    let server = serve();
    for Advisory { names, sent } in advisories() {
        for bytes in &sent {
            let heard = harass(&server, bytes);
            assert!(!heard.windows(5).any(|it| it == b"r-xp "), "{names}: an address map");
        }
        is_well(&server, names);
    }
}

#[test]
fn a_length_that_is_none_is_an_error() {
    let server = serve();
    for line in oversized() {
        let heard = harass(&server, &line);
        let is_error = heard.starts_with(b"CLIENT_ERROR ") || heard.starts_with(b"SERVER_ERROR ");
        assert!(is_error, "{}: {}", line.escape_ascii(), heard.escape_ascii());
    }
}

/// CVE-2018-1000127, and e3b7d33ce: a count of 16 bits per item wrapped.
#[test]
fn seventy_thousand_unread_hits_of_one_item_do_not_free_it() {
    const HITS: usize = 70_000;
    let server = serve();
    let quiet_get = frame(0x0d, 4, 0, 4, b"busy");
    for sent in [b"get busy\r\n".repeat(HITS), quiet_get.repeat(HITS)] {
        let mut greedy = Client::connect(&server).stream;
        greedy.set_nonblocking(true).unwrap();
        let mut rest = &sent[..];
        while let Ok(count @ 1..) = greedy.write(rest) {
            rest = &rest[count..];
        }
        let mut other = Client::connect(&server);
        for number in 0..300 {
            other.ask(format!("set k{number} 0 0 4\r\nevil\r\n").as_bytes(), b"STORED\r\n");
        }
        is_well(&server, "CVE-2018-1000127");
    }
}

/// 229cf41be: a body of over 2^31 bytes made the stream lose its place.
#[test]
fn no_frame_hides_another_in_its_body() {
    let server = serve();
    let smuggled = frame(0x04, 4, 0, 4, b"busy");
    for opcode in [0x00, 0x01, 0x04, 0x05, 0x0e, 0x1c, 0x30] {
        for body_len in [1 << 31, 0x8000_0010, 0xffff_fff0, u32::MAX] {
            harass(&server, &[&frame(opcode, 4, 0, body_len, b"k")[..], &smuggled].concat());
            is_well(&server, "229cf41be");
        }
    }
}

/// 32ea7d8b5: a set that fails was told to watchers without an item. e7793811f, 3a66ebeb1: lines
/// were written to watchers that had gone.
#[test]
fn watchers_come_and_go_while_stores_fail() {
    let server = serve();
    for _ in 0..20 {
        let mut watchers = [(); 4].map(|()| Client::connect(&server));
        watchers.iter_mut().for_each(|it| it.ask(b"watch mutations fetchers\r\n", b"OK\r\n"));
        let too_large = frame(0x01, 1, 8, 16 << 20, &[0; 9]);
        harass(&server, &too_large);
        harass(&server, b"set large 0 0 1000000000\r\n");
        is_well(&server, "32ea7d8b5");
    }
}

/// 7eeac6e9a: a dump to a peer that does not read.
#[test]
fn dumps_that_nobody_reads_harm_nobody() {
    let server = serve();
    let mut other = Client::connect(&server);
    for number in 0..5_000 {
        let key = format!("{number:0>200}");
        other.say(format!("set {key} 0 0 1 noreply\r\nx\r\n").as_bytes());
    }
    let dumps = ["lru_crawler metadump all", "lru_crawler mgdump all", "stats cachedump 1 0"];
    let _unread = dumps.map(|dump| {
        let mut peer = Client::connect(&server);
        peer.say(format!("{dump}\r\n").as_bytes());
        peer
    });
    is_well(&server, "7eeac6e9a");
}

/// CVE-2019-15026: a socket's path without room for its end.
#[test]
fn the_longest_path_of_a_socket_is_reported_whole() {
    let directory = std::env::temp_dir();
    let name = "s".repeat(107 - directory.as_os_str().len() - 1);
    let path = directory.join(name);
    let listener = mcache_net::ListenAddress::Unix { path: path.clone(), mode: 0o700 };
    let engine = SegmentStorageEngine::new(&engine_options()).unwrap();
    let _server = start_on(engine, |options| options.listeners = vec![listener]);
    let mut peer = connect_unix(&path);
    peer.write_all(b"stats conns\r\nquit\r\n").unwrap();
    let mut report = String::new();
    peer.read_to_string(&mut report).unwrap();
    assert!(report.contains(&format!("unix:{}\r\n", path.display())), "{report}");
}

/// CVE-2018-1000115, and #501: UDP is off, and never answers past a login.
#[test]
fn udp_is_off_and_never_without_a_login() {
    use mcache::settings::Port;
    for habits in [Habits::Mcache, Habits::Memcached] {
        assert_eq!(Settings::defaults(habits).udp_port, Port::Off);
        for login in ["-S", "-Y/dev/null"] {
            let words = [login, "-U", "11211"].map(Into::into);
            assert!(Settings::from_command_line(habits, words).is_err(), "{login}");
        }
    }
}

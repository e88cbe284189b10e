//! Plays the transcripts against the built server, over TCP and over a unix socket, with the driver
//! that it chooses itself and with the one that works everywhere; and those of datagrams over UDP.

use std::path::Path;

use mcache_conformance::{House, Program, Transport, play_all, transcripts};

fn check(transport: Transport, options: &'static [&'static str]) {
    let server = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), transport).unwrap();
    let server = server.with(options);
    for topic in server.topics() {
        let report = play_all(&server, &transcripts(topic).unwrap());
        let (name, failures) = (server.name(), report.failures.join("\n"));
        assert!(report.failed == 0, "{name}: {}\n{failures}", report.summary());
        assert!(report.passed > 0, "{name}: nothing of {topic} was played");
    }
}

#[test]
fn the_server_answers_as_written_over_tcp() {
    check(Transport::Tcp, &[]);
}

#[test]
fn the_server_answers_as_written_over_tcp_and_epoll() {
    check(Transport::Tcp, &["--io", "epoll"]);
}

#[test]
fn the_server_answers_as_written_over_a_unix_socket() {
    check(Transport::Unix, &[]);
}

#[test]
fn the_server_answers_as_written_over_a_unix_socket_and_epoll() {
    check(Transport::Unix, &["--io", "epoll"]);
}

#[test]
fn the_server_answers_as_written_over_udp() {
    check(Transport::Udp, &[]);
}

#[test]
fn the_server_answers_as_written_over_tls() {
    check(Transport::Tls, &[]);
}

#[test]
fn the_server_answers_as_written_over_tls_and_epoll() {
    check(Transport::Tls, &["--io", "epoll"]);
}

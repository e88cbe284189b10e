//! Plays the transcripts against the built server, over TCP and over a unix socket.

use std::path::Path;

use mcache_conformance::{House, Program, TOPICS, Transport, play_all, transcripts};

fn check(transport: Transport) {
    let server = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), transport).unwrap();
    for topic in TOPICS {
        let report = play_all(&server, &transcripts(topic).unwrap());
        let (name, failures) = (server.name(), report.failures.join("\n"));
        assert!(report.failed == 0, "{name}: {}\n{failures}", report.summary());
        assert!(report.passed > 0, "{name}: nothing of {topic} was played");
    }
}

#[test]
fn the_server_answers_as_written_over_tcp() {
    check(Transport::Tcp);
}

#[test]
fn the_server_answers_as_written_over_a_unix_socket() {
    check(Transport::Unix);
}

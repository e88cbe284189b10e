//! A server over UDP: frames, answers in many packets, and who gets long ones.

#[allow(dead_code, reason = "shared by all tests of a whole server")]
mod support;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use mcache::network::Network;
use mcache::{Server, ServerOptions};
use mcache_conformance::uninterrupted;
use mcache_net::ListenAddress;
use support::{Client, start_with, tcp};

/// A request's header: its id, one packet.
const HEADER: [u8; 8] = [0x12, 0x34, 0, 0, 0, 1, 0, 0];

fn with_udp(options: &mut ServerOptions) {
    options.listeners =
        vec![tcp(Ipv4Addr::LOCALHOST), ListenAddress::Udp((Ipv4Addr::LOCALHOST, 0).into())];
}

/// A socket that talks to the server's UDP port.
fn connect(server: &Server) -> UdpSocket {
    let udp = server.addresses().iter().find_map(|address| match address {
        ListenAddress::Udp(address) => Some(*address),
        _ => None,
    });
    let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    socket.connect(udp.expect("a UDP port was asked for")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

fn say(socket: &UdpSocket, commands: &[u8]) {
    socket.send(&[&HEADER, commands].concat()).unwrap();
}

/// An answer, put together from its packets.
fn hear(socket: &UdpSocket) -> Vec<u8> {
    let mut pieces: Vec<Option<Vec<u8>>> = vec![None];
    while pieces.iter().any(Option::is_none) {
        let mut packet = [0; 2000];
        let len = uninterrupted(|| socket.recv(&mut packet)).unwrap();
        assert!(len <= 1400, "a packet of {len} bytes");
        let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        assert_eq!((word(0), word(6)), (0x1234, 0));
        pieces.resize(usize::from(word(4)), None);
        pieces[usize::from(word(2))] = Some(packet[8..len].to_vec());
    }
    pieces.into_iter().flatten().flatten().collect()
}

#[test]
fn commands_of_both_protocols_are_answered() {
    let server = start_with(with_udp);
    let socket = connect(&server);
    let get = b"\x80\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0\0k";
    let hit = b"\x81\0\0\0\x04\0\0\0\0\0\0\x09\0\0\0\x07\0\0\0\0\0\0\0\x01\0\0\0\x05hello";
    let rows: &[(&[u8], &[u8])] = &[
        (b"set k 5 0 5\r\nhello\r\n", b"STORED\r\n"),
        (b"get k absent k\r\n", b"VALUE k 5 5\r\nhello\r\nVALUE k 5 5\r\nhello\r\nEND\r\n"),
        (b"mg k v\r\nmn\r\n", b"VA 5\r\nhello\r\nMN\r\n"),
        (get, hit),
        (b"what\r\n", b"ERROR\r\n"),
        (b"version\r\nquit\r\nversion\r\n", b"VERSION 1.6.45\r\n"),
    ];
    for (commands, expected) in rows {
        say(&socket, commands);
        assert_eq!(hear(&socket), *expected, "{}", commands.escape_ascii());
    }
}

/// CVE-2022-48571: a request that says it has several packets, or none.
#[test]
fn junk_is_dropped_and_half_a_command_is_forgotten() {
    let server = start_with(with_udp);
    let socket = connect(&server);
    let drops: &[&[u8]] = &[
        b"",
        b"version\r\n",
        &HEADER,
        b"\0\0\0\0\0\x02\0\0version\r\n",
        b"\0\0\0\0\0\0\0\0version\r\n",
        &[&HEADER[..], b"versio"].concat(),
        &[&HEADER[..], b"set k 0 0 5\r\nhel"].concat(),
        &[&HEADER[..], b"set k 0 0 50000\r\n", &[b'x'; 20_000]].concat(),
        &[&HEADER[..], b"set k 0 0 1 noreply\r\nx\r\n"].concat(),
    ];
    for packet in drops {
        socket.send(packet).unwrap();
    }
    // The next answer that arrives is that to the next request.
    say(&socket, b"get k\r\n");
    assert_eq!(hear(&socket), b"VALUE k 0 1\r\nx\r\nEND\r\n");
}

#[test]
fn a_long_answer_comes_in_many_packets() {
    let server = start_with(with_udp);
    let socket = connect(&server);
    for len in [1000, 1392 - 22, 1393 - 22, 20_000, 60_000] {
        let value = vec![b'v'; len];
        let mut expected = format!("VALUE key 0 {len}\r\n").into_bytes();
        expected.extend_from_slice(&value);
        expected.extend_from_slice(b"\r\nEND\r\n");
        let mut request = format!("set key 0 0 {len}\r\n").into_bytes();
        request.extend_from_slice(&value);
        request.extend_from_slice(b"\r\n");
        Client::connect(&server).ask(&request, b"STORED\r\n");
        say(&socket, b"get key\r\n");
        assert!(hear(&socket) == expected, "{len} bytes");
    }
}

/// CVE-2018-1000115: amplification.
#[test]
fn only_who_may_have_long_answers_gets_them() {
    let somebody_else = Network::parse("192.0.2.1").unwrap();
    let server = start_with(|options| {
        with_udp(options);
        options.udp_allow = vec![somebody_else];
    });
    let socket = connect(&server);
    // 17 bytes with the header: 51 may come back, and 8 + 16 + 2 + 5 of them are no value.
    for (len, answered) in [(20, true), (21, false), (5000, false)] {
        let request = format!("set key 0 0 {len}\r\n{}\r\n", "v".repeat(len));
        Client::connect(&server).ask(request.as_bytes(), b"STORED\r\n");
        say(&socket, b"get key\r\n");
        say(&socket, b"mn\r\n");
        if answered {
            assert_eq!(hear(&socket).len(), 51 - 8);
        }
        assert_eq!(hear(&socket), b"MN\r\n", "{len} bytes");
    }
}

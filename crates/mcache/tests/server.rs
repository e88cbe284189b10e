//! A whole server in this process: how connections live, and how they end.

mod support;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener};
use std::time::Duration;

use mcache::{IdlePolicy, Server, ServerOptions};
use mcache_base::figures::FIGURES;
use mcache_base::stats::Source;
use mcache_net::ListenAddress;
use mcache_store::SegmentStorageEngine;

use support::{Client, engine_options, start, start_on, start_with, stat, tcp, until};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn requests_may_arrive_one_byte_at_a_time() {
    let server = start();
    let mut client = Client::connect(&server);
    for byte in b"set k 5 0 5\r\nhello\r\ngets nothing\r\nget k\r\n" {
        client.say(&[*byte]);
    }
    client.hear(b"STORED\r\nEND\r\nVALUE k 5 5\r\nhello\r\nEND\r\n");
}

#[test]
fn a_pipeline_is_answered_in_order() {
    for requests_per_turn in [1, 20, 100_000] {
        let server = start_with(|options| options.requests_per_turn = requests_per_turn);
        let mut client = Client::connect(&server);
        // Longer than any buffer, so that requests are cut wherever buffers end.
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for n in 0..20_000 {
            write!(requests, "set key{n} 0 0 {}\r\n{n}\r\nget key{n}\r\n", digits(n)).unwrap();
            write!(answers, "STORED\r\nVALUE key{n} 0 {}\r\n{n}\r\nEND\r\n", digits(n)).unwrap();
        }
        let mut writer = client.clone();
        let writing = std::thread::spawn(move || writer.say(&requests));
        client.hear(&answers);
        writing.join().unwrap();
        let yields = stat(&server, "conn_yields");
        assert_eq!(yields > 0, requests_per_turn < 100_000, "{yields} yields");
    }
}

#[test]
fn groups_end_with_the_delimiter_that_is_set() {
    let server = start_with(|options| options.prefix_delimiter = b'/');
    let mut client = Client::connect(&server);
    for key in ["a/1", "a/b/2", "a:1", "b/1"] {
        client.ask(format!("set {key} 0 0 1\r\nx\r\n").as_bytes(), b"STORED\r\n");
    }
    client.ask(b"flush_prefix a:\r\n", b"CLIENT_ERROR a prefix ends with the delimiter\r\n");
    client.ask(b"flush_prefix a/\r\n", b"OK\r\n");
    let left = b"VALUE a:1 0 1\r\nx\r\nVALUE b/1 0 1\r\nx\r\nEND\r\n";
    client.ask(b"get a/1 a/b/2 a:1 b/1\r\n", left);
}

#[test]
fn the_own_report_and_its_table_name_the_same() {
    let names = |server: &Server| {
        let report = Client::connect(server).report("stats mcache");
        let names = report.lines().filter_map(|line| line.split(' ').nth(1));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let host = FIGURES.iter().filter(|figure| figure.source == Source::Host);
    assert_eq!(names(&start()), host.map(|figure| figure.name).collect::<Vec<_>>());
    let segment = SegmentStorageEngine::new(&engine_options()).unwrap();
    let all: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
    assert_eq!(names(&start_on(segment, |_| {})), all);
}

#[test]
fn a_class_that_has_evicted_is_shown_when_nothing_is_left_in_it() {
    let server = start();
    let mut client = Client::connect(&server);
    let request = [b"set # 0 0 1000000\r\n", &*vec![b'v'; 1_000_000], b"\r\n"].concat();
    for number in 0..100 {
        let request = [format!("set {number}").as_bytes(), &request[5..]].concat();
        client.ask(&request, b"STORED\r\n");
    }
    let evictions = client.stat("evictions");
    assert!(evictions > 0);
    for number in 0..100 {
        client.say(format!("delete {number} noreply\r\n").as_bytes());
    }
    assert_eq!(client.stat("curr_items"), 0);
    let report = client.report("stats items");
    let evicted =
        report.lines().filter_map(|line| line.split_once(":evicted ")?.1.parse::<u64>().ok());
    assert_eq!(evicted.sum::<u64>(), evictions, "{report}");
    client.ask(b"stats reset\r\n", b"RESET\r\n");
    client.ask(b"stats items\r\n", b"END\r\n");
}

#[test]
fn every_meta_command_that_is_understood_counts_once() {
    let server = start();
    let mut client = Client::connect(&server);
    let value = [&*vec![b'v'; 100_000], b"\r\n"].concat();
    let mut large = b"ms large 100000\r\n".to_vec();
    large.extend_from_slice(&value);
    let rows: &[(&[u8], &[u8], u64)] = &[
        (b"mn\r\n", b"MN\r\n", 1),
        (b"mg k\r\n", b"EN\r\n", 2),
        (b"ms k 1\r\n1\r\n", b"HD\r\n", 3),
        (b"mg k v\r\n", b"VA 1\r\n1\r\n", 4),
        (b"ma k q\r\nma k\r\n", b"HD\r\n", 6),
        (b"md k\r\n", b"HD\r\n", 7),
        (b"me k\r\n", b"EN\r\n", 8),
        (&large, b"HD\r\n", 9),
        (b"mg\r\n", b"CLIENT_ERROR bad command line format\r\n", 9),
        (b"get k\r\nset k 0 0 1\r\n1\r\n", b"END\r\nSTORED\r\n", 9),
    ];
    for (request, answer, count) in rows {
        client.ask(request, answer);
        assert_eq!(client.stat("cmd_meta"), *count, "{}", request.escape_ascii());
    }
}

fn digits(n: usize) -> usize {
    n.to_string().len()
}

#[test]
fn a_peer_that_closes_mid_value_leaves_nothing() {
    let server = start();
    for length in [100, 100_000] {
        let mut client = Client::connect(&server);
        client.say(format!("set half 0 0 {length}\r\nbegin").as_bytes());
        drop(client);
        until(|| stat(&server, "curr_connections") == 1);
        Client::connect(&server).ask(b"get half\r\n", b"END\r\n");
        until(|| stat(&server, "curr_connections") == 1);
    }
}

#[test]
fn the_gauges_follow_a_flush() {
    let server = start();
    let mut client = Client::connect(&server);
    for number in 0..500 {
        client.ask(format!("set {number} 0 0 1\r\nv\r\n").as_bytes(), b"STORED\r\n");
    }
    client.ask(b"flush_all\r\n", b"OK\r\n");
    client.ask(b"set later 0 0 1\r\nv\r\n", b"STORED\r\n");
    until(|| client.stat("curr_items") == 1 && client.stat("bytes") < 1_000);
    client.ask(b"get later\r\n", b"VALUE later 0 1\r\nv\r\nEND\r\n");
}

#[test]
fn a_peer_that_never_reads_is_held_back_and_the_others_are_served() {
    let server = start_with(|options| options.threads = 1);
    let value = vec![b'v'; 100_000];
    let mut client = Client::connect(&server);
    client.say(b"set big 0 0 100000\r\n");
    client.say(&value);
    client.ask(b"\r\n", b"STORED\r\n");

    let mut greedy = Client::connect(&server);
    let mut asked = 0;
    greedy.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let request = b"get big\r\n";
    let stuck = loop {
        match greedy.stream.write(request) {
            Ok(n) if n == request.len() => asked += 1,
            Ok(n) => break n, // the last request is cut
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
                break 0;
            }
        }
        assert!(asked < 10_000_000, "the server takes requests that it cannot answer");
        if asked % 10_000 == 0 {
            client.ask(b"get nothing\r\n", b"END\r\n");
        }
    };
    client.ask(b"get nothing\r\n", b"END\r\n");
    let answered = stat(&server, "get_hits");
    assert!(answered < 1_000, "{answered} answers were made for a peer that does not read");

    // Nothing is lost when it reads at last.
    let mut answer = b"VALUE big 0 100000\r\n".to_vec();
    answer.extend_from_slice(&value);
    answer.extend_from_slice(b"\r\nEND\r\n");
    for _ in 0..answered {
        greedy.hear(&answer);
    }
    assert!(stuck < request.len());
}

#[test]
fn a_half_closed_peer_gets_all_its_answers() {
    let server = start();
    let mut client = Client::connect(&server);
    client.say(b"set k 0 0 1\r\nx\r\nget k\r\nget k\r\nget incompl");
    client.stream.shutdown(Shutdown::Write).unwrap();
    let hit = "VALUE k 0 1\r\nx\r\nEND\r\n";
    client.hear_last(format!("STORED\r\n{hit}{hit}").as_bytes());
}

#[test]
fn quit_sends_what_is_owed_first() {
    let server = start();
    let mut client = Client::connect(&server);
    client.say(b"get a\r\nget b\r\nquit\r\n");
    client.hear_last(b"END\r\nEND\r\n");
}

#[test]
fn every_listener_is_served() {
    let path = std::env::temp_dir().join(format!("mcache-server-{}", std::process::id()));
    let server = start_with(|options| {
        options.listeners = vec![
            tcp(Ipv4Addr::LOCALHOST),
            tcp(Ipv6Addr::LOCALHOST),
            ListenAddress::Unix { path: path.clone(), mode: 0o700 },
        ];
    });
    let v4 = Client::connect_to(&server.addresses()[0]);
    let v6 = Client::connect_to(&server.addresses()[1]);
    for (n, mut client) in [v4, v6].into_iter().enumerate() {
        client.ask(format!("set k{n} 0 0 1\r\n{n}\r\n").as_bytes(), b"STORED\r\n");
    }
    let mut unix = support::connect_unix(&path);
    support::exchange(
        &mut unix,
        b"get k0\r\nget k1\r\n",
        b"VALUE k0 0 1\r\n0\r\nEND\r\nVALUE k1 0 1\r\n1\r\nEND\r\n",
    );
    server.stop().unwrap();
    assert!(!path.exists(), "the socket file goes with the server");
}

#[test]
fn one_connection_too_many_is_told_so() {
    for idle in [IdlePolicy::Keep, IdlePolicy::MakeRoom(HOUR), IdlePolicy::Close(HOUR)] {
        let server = start_with(|options| {
            options.connections_max = 2;
            options.idle = idle;
        });
        let mut clients = [(); 2].map(|()| Client::connect(&server));
        clients.iter_mut().for_each(|client| client.ask(b"get k\r\n", b"END\r\n"));
        Client::connect(&server).hear_last(b"ERROR Too many open connections\r\n");
        assert_eq!(clients[0].stat("rejected_connections"), 1, "{idle:?}");
        assert_eq!(clients[0].stat("total_connections"), 2, "{idle:?}");

        let [mut client, other] = clients;
        drop(other);
        until(|| client.stat("curr_connections") == 1);
        Client::connect(&server).ask(b"get k\r\n", b"END\r\n");
    }
}

#[test]
fn one_connection_too_many_may_wait_instead() {
    let server = start_with(|options| {
        options.connections_max = 2;
        options.refuse_at_once = false;
    });
    let mut clients = [(); 2].map(|()| Client::connect(&server));
    clients.iter_mut().for_each(|client| client.ask(b"get k\r\n", b"END\r\n"));
    let mut third = Client::connect(&server);
    third.say(b"get k\r\n");
    until(|| clients[0].stat("accepting_conns") == 0);
    assert_eq!(clients[0].stat("curr_connections"), 2);
    let [mut first, second] = clients;
    drop(second);
    third.hear(b"END\r\n");
    assert_eq!(first.stat("total_connections"), 3);
    assert!(first.stat("listen_disabled_num") > 0);
}

#[test]
fn the_longest_idle_connection_makes_room() {
    let server = start_with(|options| {
        options.connections_max = 3;
        options.threads = 2;
        options.idle = IdlePolicy::MakeRoom(Duration::ZERO);
    });
    let mut clients = [(); 3].map(|()| Client::connect(&server));
    clients.iter_mut().for_each(|client| client.ask(b"get k\r\n", b"END\r\n"));
    // The newcomer's worker is asked first, and each has an idle connection.
    let mut newcomer = Client::connect(&server);
    newcomer.ask(b"get k\r\n", b"END\r\n");
    assert_eq!(newcomer.stat("curr_connections"), 3);
    assert_eq!(newcomer.stat("total_connections"), 4);
    assert_eq!(newcomer.stat("rejected_connections"), 0);
    assert_eq!(newcomer.stat("idle_kicks"), 1);
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let server = start_with(|options| {
        options.idle = IdlePolicy::Close(Duration::from_secs(1));
    });
    let mut idle = Client::connect(&server);
    idle.ask(b"get k\r\n", b"END\r\n");
    let mut never_spoke = Client::connect(&server);
    idle.hear_last(b"");
    never_spoke.hear_last(b"");
    assert_eq!(stat(&server, "idle_kicks"), 2);
}

#[test]
fn a_connection_that_is_sent_to_is_not_idle() {
    let server = start_with(|options| {
        options.idle = IdlePolicy::Close(Duration::from_secs(1));
    });
    let mut slow = Client::connect(&server);
    let value = vec![b'v'; 1_000_000];
    slow.say(b"set big 0 0 1000000\r\n");
    slow.say(&value);
    slow.ask(b"\r\n", b"STORED\r\n");
    slow.say("get big\r\n".repeat(20).as_bytes());
    until(|| stat(&server, "get_hits") == 20);
    // One that came later is idle for its whole time first.
    Client::connect(&server).hear_last(b"");
    for _ in 0..20 {
        slow.hear(b"VALUE big 0 1000000\r\n");
        slow.hear(&value);
        slow.hear(b"\r\nEND\r\n");
    }
}

#[test]
fn a_panic_costs_one_connection() {
    let server = start_with(|options| {
        options.threads = 1;
        options.set_verbosity = |_| panic!("a test of what a panic costs");
    });
    let mut other = Client::connect(&server);
    other.ask(b"get k\r\n", b"END\r\n");
    let mut unlucky = Client::connect(&server);
    unlucky.say(b"get k\r\nverbosity 1\r\n");
    unlucky.hear_last(b"");
    other.ask(b"get k\r\n", b"END\r\n");
    assert_eq!(other.stat("curr_connections"), 1);
}

#[test]
fn a_key_list_is_not_torn_between_turns() {
    let server = start_with(|options| options.requests_per_turn = 1);
    let mut client = Client::connect(&server);
    client.ask(b"set k 0 0 1\r\nx\r\n", b"STORED\r\n");
    let request = format!("get k k k {}\r\n", "l".repeat(251));
    client.ask(request.as_bytes(), b"CLIENT_ERROR bad command line format\r\n");
    let hit = "VALUE k 0 1\r\nx\r\n";
    client.ask(b"get k k k\r\nget k\r\n", format!("{hit}{hit}{hit}END\r\n{hit}END\r\n").as_bytes());
}

#[test]
fn a_stopping_server_sends_the_answers_that_it_owes() {
    let server = start();
    let mut client = Client::connect(&server);
    let value = vec![b'v'; 1_000_000];
    client.say(b"set big 0 0 1000000\r\n");
    client.say(&value);
    client.ask(b"\r\n", b"STORED\r\n");
    let hits = 20;
    client.say("get big\r\n".repeat(hits).as_bytes());
    until(|| stat(&server, "get_hits") == hits as u64);

    let address = server.addresses()[0].clone();
    let stopping = std::thread::spawn(move || server.stop());
    let mut answers = Vec::new();
    for _ in 0..hits {
        answers.extend_from_slice(b"VALUE big 0 1000000\r\n");
        answers.extend_from_slice(&value);
        answers.extend_from_slice(b"\r\nEND\r\n");
    }
    client.hear_last(&answers);
    stopping.join().unwrap().unwrap();
    let ListenAddress::Tcp(address) = address else { panic!("a TCP address was bound") };
    assert!(TcpListener::bind(address).is_ok(), "the port is free again");
}

#[test]
fn a_server_stops_while_connections_are_idle() {
    let server = start();
    let mut clients = [(); 10].map(|()| Client::connect(&server));
    clients.iter_mut().for_each(|client| client.ask(b"get k\r\n", b"END\r\n"));
    server.stop().unwrap();
    clients.iter_mut().for_each(|client| client.hear_last(b""));
}

#[test]
fn two_servers_share_nothing() {
    let (one, other) = (start(), start());
    Client::connect(&one).ask(b"set k 0 0 1\r\nx\r\n", b"STORED\r\n");
    Client::connect(&other).ask(b"get k\r\n", b"END\r\n");
    assert_eq!((stat(&one, "cmd_set"), stat(&other, "cmd_set")), (1, 0));
    assert_eq!((stat(&one, "cmd_get"), stat(&other, "cmd_get")), (0, 1));
}

#[test]
fn the_defaults_are_loopback_only() {
    let options = ServerOptions::default();
    let loopback = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) | ListenAddress::Udp(address) => address.ip().is_loopback(),
        ListenAddress::Unix { .. } => true,
    };
    assert!(options.listeners.iter().all(loopback));
}

#[test]
fn what_is_made_or_marked_counts_as_in_memcached() {
    type Row = (&'static str, &'static str, &'static [(&'static str, u64)]);
    let rows: &[Row] = &[
        ("ma made N0\r\n", "HD\r\n", &[("incr_misses", 0), ("incr_hits", 0)]),
        ("ma none\r\n", "NF\r\n", &[("incr_misses", 1)]),
        ("mg empty N0\r\n", "HD W\r\n", &[("get_hits", 1), ("get_misses", 0)]),
        ("ms k 1\r\nx\r\n", "HD\r\n", &[("cmd_set", 1)]),
        ("md k I\r\n", "HD\r\n", &[("delete_hits", 0), ("delete_misses", 0)]),
        ("md k C1\r\n", "EX\r\n", &[("delete_hits", 0), ("delete_misses", 1)]),
        ("md k x\r\n", "HD\r\n", &[("delete_hits", 1)]),
    ];
    let server = start();
    let mut client = Client::connect(&server);
    for (request, answer, counts) in rows {
        client.ask(b"stats reset\r\n", b"RESET\r\n");
        client.ask(request.as_bytes(), answer.as_bytes());
        for (name, count) in *counts {
            assert_eq!(client.stat(name), *count, "{request}: {name}");
        }
    }
}

//! What the server gives up once it serves, as /proc tells it, and that it still does its work
//! then: with each driver, TLS, a memory file, files that are replaced and read again, and an
//! orderly stop.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mcache_conformance::{tls, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use rustls::{ClientConnection, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(20);

/// Whom the server becomes, if it can; everybody's files are open to it here.
const NOBODY: u32 = 65_534;

/// A directory for a server, removed when the test ends.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let name = format!("mcache-sandbox-{}-{name}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        for directory in ["", "etc", "run"] {
            fs::create_dir_all(place.file(directory)).expect("a directory");
            let everybodys = fs::Permissions::from_mode(0o777);
            fs::set_permissions(place.file(directory), everybodys).expect("its mode");
        }
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file into the place of another, as those do who renew certificates.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let next = self.file(&format!("{name}.next"));
        fs::write(&next, text).expect("a file");
        fs::rename(next, self.file(name)).expect("its place");
    }

    fn start(&self, options: &str) -> Server {
        let log = fs::File::options().create(true).append(true).open(self.file("log"));
        let child = Command::new(env!("CARGO_BIN_EXE_mcache"))
            .current_dir(&self.0)
            .env_remove("RUST_LOG")
            // A sanitizer looks for leaks by a process that it starts, which is forbidden here.
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .env("MEMCACHED_PORT_FILENAME", "run/ports")
            .args(["-s", "run/socket", "-P", "run/pid"])
            .args(options.split_whitespace())
            .stdin(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("the program");
        let server = Server(child);
        // It listens before it has given up anything; it answers after.
        wait_for("an answer", || self.try_ask("version\r\n"));
        server
    }

    /// The answer to a request on the unix socket, up to what `quit` ends.
    fn ask(&self, request: &str) -> String {
        self.try_ask(request).expect("an answer")
    }

    fn try_ask(&self, request: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.file("run/socket")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("{request}quit\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn port(&self, kind: &str) -> u16 {
        let ports = fs::read_to_string(self.file("run/ports")).expect("the port file");
        let line = ports.lines().find_map(|line| line.strip_prefix(&format!("{kind} INET: ")));
        line.expect("a port").parse().expect("a number")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).expect("the log")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that is killed when the test ends, if it has not ended by then.
struct Server(Child);

impl Server {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("it runs");
    }

    fn end(mut self) {
        self.signal(Signal::SIGTERM);
        assert!(self.0.wait().expect("its end").success());
    }

    /// What the system says of each of its threads, by name.
    fn threads(&self, name: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("its threads");
        tasks
            .map(|task| {
                let status = fs::read_to_string(task.expect("a thread").path().join("status"));
                let status = status.expect("its status");
                let line = status.lines().find_map(|it| it.strip_prefix(&format!("{name}:")));
                line.unwrap_or_else(|| panic!("no {name}")).trim().to_owned()
            })
            .collect()
    }

    fn assert_threads(&self, name: &str, expected: &str) {
        let threads = self.threads(name);
        assert!(
            threads.len() > 1 && threads.iter().all(|it| it == expected),
            "{name}: {threads:?}"
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The user that a server is told to become, by its number.
fn user() -> (&'static str, u32) {
    if geteuid().is_root() { ("nobody", NOBODY) } else { ("root", geteuid().as_raw()) }
}

fn connect(place: &Place) -> StreamOwned<ClientConnection, TcpStream> {
    let socket = TcpStream::connect(("127.0.0.1", place.port("TCP"))).expect("a server");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let config = Arc::new(tls::client(None, rustls::ALL_VERSIONS));
    StreamOwned::new(tls::session(config), socket)
}

fn exchange(mut stream: impl Read + Write, request: &[u8], answer: &[u8]) {
    stream.write_all(request).expect("sent");
    let mut heard = vec![0; answer.len()];
    stream.read_exact(&mut heard).expect("an answer");
    assert!(heard == answer, "{}", String::from_utf8_lossy(&heard));
}

/// A session over everything that the server offers.
fn session(place: &Place) {
    let mut stream = connect(place);
    let value = "v".repeat(700_000);
    let set = format!("set large 0 0 {}\r\n{value}\r\n", value.len());
    exchange(&mut stream, set.as_bytes(), b"STORED\r\n");
    let hit = format!("VALUE large 0 {}\r\n{value}\r\nEND\r\n", value.len());
    exchange(&mut stream, b"get large\r\n", hit.as_bytes());
    exchange(&mut stream, b"set kept 0 0 1\r\nx\r\nrefresh_certs\r\n", b"STORED\r\nOK\r\n");
    let mut watcher = UnixStream::connect(place.file("run/socket")).expect("a server");
    watcher.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    exchange(&mut watcher, b"watch fetchers\r\n", b"OK\r\n");
    exchange(&mut stream, b"get nothing\r\n", b"END\r\n");
    exchange(&mut watcher, b"", b"ts=");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = b"\0\x07\0\0\0\x01\0\0get kept\r\n";
    socket.send_to(request, ("127.0.0.1", place.port("UDP"))).expect("sent");
    let mut answer = [0; 100];
    let len = socket.recv(&mut answer).expect("an answer");
    assert_eq!(&answer[8..len], b"VALUE kept 0 1\r\nx\r\nEND\r\n");
    assert!(place.ask("stats\r\n").contains("STAT rusage_user "));
    assert!(
        place.ask("stats settings\r\nstats conns\r\nlru_crawler metadump all\r\n").len() > 1000
    );
    assert_eq!(place.ask("cache_memlimit 65\r\n"), "OK\r\n");
}

/// Files are replaced; SIGHUP has them read again.
fn hangup(place: &Place, server: &Server) {
    let shown = || {
        let mut stream = connect(place);
        exchange(&mut stream, b"get nothing\r\n", b"END\r\n");
        stream.conn.peer_certificates().expect("a certificate")[0].clone()
    };
    assert_eq!(shown(), tls::certificate("server"));
    place.put("etc/server.pem", fs::read(tls::file("renewed")).expect("a certificate"));
    place.put("etc/settings.toml", "cap = \"32m\"\n");
    server.signal(Signal::SIGHUP);
    wait_for("another limit", || {
        place.ask("stats\r\n").contains("STAT limit_maxbytes 33554432\r\n").then_some(())
    });
    assert_eq!(shown(), tls::certificate("renewed"));
    let log = fs::read_to_string(place.file("log")).expect("the log");
    assert!(log.contains("SIGHUP: the certificates were read again"), "{log}");
}

fn works_shut_in(io: &str) {
    let (place, (user, id)) = (Place::new(io), user());
    place.put("etc/server.pem", fs::read(tls::file("server")).expect("a certificate"));
    place.put("etc/settings.toml", "cap = \"64m\"\n");
    let line = format!(
        "-o drop_privileges --io {io} -u {user} -l 127.0.0.1 -p -1 -U -1 \
         --config etc/settings.toml -e memory -Z -o ssl_chain_cert=etc/server.pem"
    );
    let server = place.start(&line);
    server.assert_threads("Seccomp", "2");
    server.assert_threads("NoNewPrivs", "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        server.assert_threads(set, "0000000000000000");
    }
    server.assert_threads("Uid", &vec![id.to_string(); 4].join("\t"));
    if geteuid().is_root() {
        server.assert_threads("CapBnd", "0000000000000000");
        server.assert_threads("Groups", "");
    }
    session(&place);
    hangup(&place, &server);
    server.end();
    assert!(!place.file("run/pid").exists() && !place.file("run/socket").exists());
    assert!(place.log().contains("shut in: seccomp"), "{}", place.log());
    // What it stored is there again.
    let server = place.start(&line);
    assert_eq!(place.ask("get kept\r\n"), "VALUE kept 0 1\r\nx\r\nEND\r\n");
    server.end();
}

#[test]
fn a_server_that_is_shut_in_works_with_epoll() {
    works_shut_in("epoll");
}

#[test]
fn a_server_that_is_shut_in_works_with_the_driver_that_it_chooses() {
    works_shut_in("auto");
}

#[test]
fn users_are_read_again_by_a_server_that_is_shut_in() {
    let place = Place::new("users");
    place.put("etc/users", "ann:one\n");
    let line = format!("-o drop_privileges -u {} -Y etc/users -m 32", user().0);
    let server = place.start(&line);
    let log_in = |word: &str| place.ask(&format!("set a 0 0 7\r\nann {word}\r\nget b\r\n"));
    assert_eq!(log_in("one"), "STORED\r\nEND\r\n");
    place.put("etc/users", "ann:two\n");
    server.signal(Signal::SIGHUP);
    wait_for("another password", || (log_in("two") == "STORED\r\nEND\r\n").then_some(()));
    server.end();
}

#[test]
fn rights_are_given_up_without_being_asked_to() {
    let (place, (user, _)) = (Place::new("rights"), user());
    let server = place.start(&format!("-u {user} -m 32"));
    server.assert_threads("NoNewPrivs", "1");
    server.assert_threads("Seccomp", "0");
    server.assert_threads("CapEff", "0000000000000000");
    server.end();
    if geteuid().is_root() {
        // CAP_DAC_OVERRIDE, to read the files of others again; with -k CAP_IPC_LOCK.
        for (options, left) in [("", "0000000000000002"), ("-k", "0000000000004002")] {
            let server = place.start(&format!("-u root -m 32 {options}"));
            for (set, left) in [("CapPrm", left), ("CapEff", left), ("CapBnd", "0000000000000000")]
            {
                server.assert_threads(set, left);
            }
            server.end();
        }
    }
}

#[test]
fn core_files_are_left_only_with_r() {
    let (place, (user, id)) = (Place::new("core"), user());
    for (options, has_cores) in [("", false), ("-r", true)] {
        let server = place.start(&format!("-u {user} -m 32 {options}"));
        let process = PathBuf::from("/proc").join(server.0.id().to_string());
        let limits = fs::read_to_string(process.join("limits")).expect("its limits");
        let limit = limits.lines().find(|line| line.starts_with("Max core file size"));
        let is_zero = limit.expect("a limit").split_whitespace().nth(4) == Some("0");
        assert_eq!(is_zero, !has_cores, "{limit:?}");
        // The files of a process that leaves no core belong to root.
        let owner = fs::metadata(process.join("environ")).expect("a file").uid();
        assert_eq!(owner, if has_cores { id } else { 0 }, "{options}");
        server.end();
    }
}

#[test]
fn sockets_and_memory_files_are_for_those_that_were_named() {
    let place = Place::new("modes");
    let mode = |name: &str| fs::metadata(place.file(name)).expect("a file").mode() & 0o7777;
    for (options, socket) in [("", 0o700), ("-a 0770", 0o770), ("-a 777", 0o777), ("-a 600", 0o600)]
    {
        let server = place.start(&format!("-u root -m 32 -e memory {options}"));
        assert_eq!((mode("run/socket"), mode("memory")), (socket, 0o600), "{options}");
        server.end();
    }
}

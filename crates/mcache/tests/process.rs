//! The program as an operator meets it: what it prints, how it fails, the files it leaves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use mcache_conformance::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A directory that is removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcache-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    /// The program under the name `name`.
    fn program(&self, name: &str) -> Command {
        let link = self.0.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_mcache"), &link).expect("a link");
        }
        let mut command = Command::new(link);
        command.current_dir(&self.0).stdin(Stdio::null()).env_remove("RUST_LOG");
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that is killed when the test ends, if it has not ended by then.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in the background, that is killed when the test ends.
struct Background(String);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0]).stderr(Stdio::null()).status();
    }
}

fn signal(signal: &str, id: &str) {
    let status = Command::new("kill").args([signal, id]).status().expect("kill");
    assert!(status.success(), "kill {signal} {id}");
}

fn ask(mut stream: impl Read + Write) -> String {
    stream.write_all(b"version\r\nquit\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn output(directory: &Directory, name: &str, line: &str) -> Output {
    directory.program(name).args(line.split_whitespace()).output().expect("the program")
}

#[test]
fn refusals_are_one_line_and_an_exit_code() {
    let directory = Directory::new("refusals");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address");
    fs::write(directory.0.join("file"), "x").expect("a file");
    let in_use = format!("failed to listen on {taken}: Address already in use (os error 98)");
    let mut rows = vec![
        (
            "mcache",
            "-p x".to_owned(),
            64,
            "-p x: should be a port from 1 to 65535, 0 for none or -1 \
                                           for any",
        ),
        ("mcache", "--cap 100k".to_owned(), 64, "--cap 102400: should be at least 256k"),
        (
            "mcache",
            "22005".to_owned(),
            64,
            "22005: should be an option or ADDRESS:PORT; a port alone is -p 22005",
        ),
        ("mcache", "lru".to_owned(), 64, "lru: should be an option or ADDRESS:PORT"),
        ("mcache", "--prot".to_owned(), 64, "--protocol: needs a value: NAME"),
        ("mcache", "-o bogus".to_owned(), 1, "Illegal suboption \"bogus\""),
        (
            "mcache",
            format!("-v=0 --verbose=0 -l {taken}"),
            64,
            "unexpected argument for option \
                                                               '-v': \"0\"",
        ),
        (
            "mcache",
            "--config nowhere".to_owned(),
            64,
            "nowhere: No such file or directory (os \
                                                       error 2)",
        ),
        ("mcache", "--verbose=0 -s file".to_owned(), 71, ""),
        ("memcached", format!("-u root -l {taken}"), 71, in_use.as_str()),
    ];
    if is_root() {
        rows.push(("memcached", String::new(), 64, "must add '-u root' to start as root"));
        let mistake = "can't find the user nobody-at-all to switch to";
        rows.push(("memcached-debug", "-u nobody-at-all".to_owned(), 67, mistake));
    }
    for (name, line, exit_code, message) in rows {
        let output = output(&directory, name, &line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let said: Vec<_> = said.lines().filter(|line| !line.contains(" WARN ")).collect();
        assert_eq!(output.status.code(), Some(exit_code), "{name} {line}: {said:?}");
        assert_eq!(said.len(), 1, "{name} {line}: {said:?}");
        assert!(message.is_empty() || said[0] == message, "{name} {line}: {said:?}");
        assert!(output.stdout.is_empty(), "{name} {line}");
    }
}

#[test]
fn texts_go_to_stdout() {
    let directory = Directory::new("texts");
    for (name, line, first) in [
        ("memcached-debug", "-h", "memcached 1.6.45"),
        ("memcached", "--version", "memcached 1.6.45"),
        (
            "mcache",
            "--version",
            concat!("mcache ", env!("CARGO_PKG_VERSION"), " (memcached 1.6.45)"),
        ),
        ("mcache", "-i", "memcached 1.6.45"),
    ] {
        let output = output(&directory, name, line);
        assert!(output.status.success() && output.stderr.is_empty(), "{name} {line}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(text.lines().next(), Some(first), "{name} {line}");
    }
}

#[test]
fn a_server_tells_its_port_and_its_id_and_cleans_up() {
    for (stop, name) in [("-INT", "mcache"), ("-TERM", "memcached"), ("-USR1", "memcached")] {
        let directory = Directory::new(&format!("files{stop}"));
        let mut server = Running(
            directory
                .program(name)
                .env("MEMCACHED_PORT_FILENAME", "ports")
                .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-P", "pid"])
                .stderr(Stdio::null())
                .spawn()
                .expect("the program"),
        );
        let pid_file = directory.0.join("pid");
        let id = wait_for("the pid file", || fs::read_to_string(&pid_file).ok());
        assert_eq!(id.trim(), server.0.id().to_string());
        let ports = fs::read_to_string(directory.0.join("ports")).expect("the port file");
        let port = ports.strip_prefix("TCP INET: ").expect("a TCP port").trim();
        let address = format!("127.0.0.1:{port}");
        assert_eq!(ask(TcpStream::connect(&address).expect("a server")), "VERSION 1.6.45\r\n");
        signal("-HUP", id.trim());
        assert_eq!(ask(TcpStream::connect(&address).expect("a server")), "VERSION 1.6.45\r\n");
        signal(stop, id.trim());
        assert!(server.0.wait().expect("its end").success(), "{stop}");
        assert!(!pid_file.exists());
    }
}

/// The address of a server whose port file is in `directory`.
fn address_of(directory: &Directory) -> String {
    let file = directory.0.join("ports");
    let ports = wait_for("the port file", || fs::read_to_string(&file).ok());
    format!("127.0.0.1:{}", ports.strip_prefix("TCP INET: ").expect("a TCP port").trim())
}

#[test]
fn a_second_signal_ends_at_once_and_leaves_no_pid_file() {
    let directory = Directory::new("second-signal");
    let mut server = Running(
        directory
            .program("mcache")
            .env("MEMCACHED_PORT_FILENAME", "ports")
            .args(["-u", "root", "-l", "127.0.0.1", "-p", "-1", "-P", "pid"])
            .stderr(Stdio::null())
            .spawn()
            .expect("the program"),
    );
    let mut slow = TcpStream::connect(address_of(&directory)).expect("a server");
    let pid_file = directory.0.join("pid");
    wait_for("the pid file", || pid_file.exists().then_some(()));
    // An answer that nobody reads keeps the server from ending.
    let value = "x".repeat(1_000_000);
    slow.write_all(format!("set a 0 0 {}\r\n{value}\r\n", value.len()).as_bytes()).expect("a set");
    slow.write_all("get a\r\n".repeat(50).as_bytes()).expect("gets");
    let mut stored = [0; 8];
    slow.read_exact(&mut stored).expect("an answer");
    let id = server.0.id().to_string();
    let code = wait_for("its end", || {
        let _ = Command::new("kill").args(["-TERM", &id]).stderr(Stdio::null()).status();
        server.0.try_wait().expect("a child")
    });
    assert_eq!(code.code(), Some(130));
    assert!(!pid_file.exists());
}

#[test]
fn a_socket_file_is_replaced_unless_a_server_answers_there() {
    let directory = Directory::new("socket");
    let socket = directory.0.join("socket");
    drop(
        std::os::unix::net::UnixListener::bind(&socket).expect("a socket file that is left behind"),
    );
    let start = || {
        let mut server = directory.program("mcache");
        server.args(["-u", "root", "-s", "socket"]).stderr(Stdio::null()).spawn()
    };
    let _first = Running(start().expect("the program"));
    wait_for("the server", || UnixStream::connect(&socket).ok());
    let second = Running(start().expect("the program")).0.wait().expect("its end");
    assert_eq!(second.code(), Some(71));
    let answer = ask(UnixStream::connect(&socket).expect("the first server"));
    assert_eq!(answer, "VERSION 1.6.45\r\n");
}

#[test]
fn who_asks_to_debug_sees_connections_and_commands() {
    // What is logged at each level, and what is not yet.
    let rows = [
        ("-v", "listening", "type="),
        ("-vv", "type=conn_new", "type=item_get"),
        ("-vv", "version", "type=item_get"),
        ("-vvv", "type=item_get", "a line that is nowhere"),
    ];
    for (level, expected, absent) in rows {
        let directory = Directory::new(&format!("log{level}-{}", expected.len()));
        let log = directory.0.join("log");
        let _server = Running(
            directory
                .program("memcached")
                .env("MEMCACHED_PORT_FILENAME", "ports")
                .args([level, "-u", "root", "-l", "127.0.0.1", "-p", "-1"])
                .stderr(fs::File::create(&log).expect("a log"))
                .spawn()
                .expect("the program"),
        );
        let mut stream = TcpStream::connect(address_of(&directory)).expect("a server");
        stream.write_all(b"get a\r\n").expect("a request");
        ask(stream);
        let read = || fs::read_to_string(&log).ok();
        let said = wait_for(expected, || read().filter(|said| said.contains(expected)));
        assert!(!said.contains(absent), "{level}: {said}");
    }
}

#[test]
fn a_hangup_has_the_memory_read_again() {
    let directory = Directory::new("hangup");
    let file = directory.0.join("settings.toml");
    let limit = |text: &str| fs::write(&file, format!("cap = \"{text}\"\n")).expect("a file");
    limit("64m");
    // In the background the working directory is another: the file still has to be found.
    let line = "-d --config settings.toml -u root -s socket -P pid";
    let status = directory.program("mcache").args(line.split(' ')).stderr(Stdio::null()).status();
    assert!(status.expect("the program").success());
    let id = wait_for("the pid file", || fs::read_to_string(directory.0.join("pid")).ok());
    let _server = Background(id.trim().to_owned());
    let is_limit = |bytes: u64| {
        let mut stream = UnixStream::connect(directory.0.join("socket")).ok()?;
        stream.write_all(b"stats\r\nstats settings\r\nquit\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let has = |name| answer.contains(&format!("STAT {name} {bytes}\r\n"));
        (has("limit_maxbytes") && has("maxbytes")).then_some(())
    };
    wait_for("the first limit", || is_limit(64 << 20));
    for (text, bytes) in [("32m", 32 << 20), ("nonsense", 32 << 20), ("128m", 128 << 20)] {
        limit(text);
        signal("-HUP", id.trim());
        wait_for(text, || is_limit(bytes));
    }
}

#[test]
fn a_hangup_leaves_a_limit_alone_that_the_settings_do_not_change() {
    let directory = Directory::new("hangup-limit");
    let (socket, log) = (directory.0.join("socket"), directory.0.join("log"));
    let server = Running(
        directory
            .program("mcache")
            .args(["-u", "root", "-s", "socket", "-m", "64"])
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the program"),
    );
    let mut stream = wait_for("the server", || UnixStream::connect(&socket).ok());
    stream.write_all(b"cache_memlimit 32\r\n").expect("sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"OK\r\n");
    signal("-HUP", &server.0.id().to_string());
    wait_for("the hangup", || {
        fs::read_to_string(&log).ok()?.contains("memory is not changed").then_some(())
    });
    stream.write_all(b"stats\r\nquit\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("STAT limit_maxbytes 33554432\r\n"), "{answer}");
}

#[test]
fn without_a_pid_file_it_serves_all_the_same() {
    let directory = Directory::new("no-pid");
    let (socket, log) = (directory.0.join("socket"), directory.0.join("log"));
    let _server = Running(
        directory
            .program("memcached")
            .args(["-u", "root", "-s", "socket", "-P", "nowhere/pid"])
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the program"),
    );
    let stream = wait_for("the server", || UnixStream::connect(&socket).ok());
    assert_eq!(ask(stream), "VERSION 1.6.45\r\n");
    let said = fs::read_to_string(&log).expect("the log");
    assert!(said.contains("no pid file: cannot write") && said.contains("nowhere/pid"), "{said}");
}

#[test]
fn too_little_address_space_is_named() {
    let directory = Directory::new("address-space");
    let program = env!("CARGO_BIN_EXE_mcache");
    let line = format!("ulimit -v 2000000; exec {program} -u root -s socket");
    let output = Command::new("sh").args(["-c", &line]).current_dir(&directory.0).output();
    let output = output.expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{said}");
    assert!(said.contains("(ulimit -v)"), "{said}");
}

/// Whoever asks for the help would else be asked for the password of a user of that name.
#[test]
fn the_help_of_passwd_asks_for_nothing() {
    let directory = Directory::new("passwd-help");
    for word in ["-h", "--help"] {
        let output = output(&directory, "mcache", &format!("passwd {word}"));
        assert!(output.status.success() && output.stderr.is_empty(), "{word}");
        assert!(output.stdout.starts_with(b"usage: mcache passwd NAME\n"), "{word}");
    }
}

/// The system counts address space against the limit, and would refuse threads their stacks later.
#[test]
fn memory_that_may_not_be_locked_is_no_failure() {
    let directory = Directory::new("lock");
    let everybodys = fs::Permissions::from_mode(0o777);
    fs::set_permissions(&directory.0, everybodys).expect("its mode");
    let (socket, log) = (directory.0.join("socket"), directory.0.join("log"));
    let program = env!("CARGO_BIN_EXE_mcache");
    let line = format!("ulimit -l 8192; exec {program} -k -u nobody -s socket");
    let _server = Running(
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(&directory.0)
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("the program"),
    );
    let stream = wait_for("the server", || UnixStream::connect(&socket).ok());
    assert_eq!(ask(stream), "VERSION 1.6.45\r\n");
    let said = fs::read_to_string(&log).expect("the log");
    assert!(said.contains("-k has no effect: 8388608 bytes may be locked (ulimit -l)"), "{said}");
}

/// timeout(1) sends a signal to the process and to its group.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let directory = Directory::new("twice");
    let socket = directory.0.join("socket");
    let mut server = Running(
        directory
            .program("mcache")
            .args(["-u", "root", "-s", "socket"])
            .stderr(Stdio::null())
            .spawn()
            .expect("the program"),
    );
    let stream = wait_for("the server", || UnixStream::connect(&socket).ok());
    assert_eq!(ask(stream), "VERSION 1.6.45\r\n");
    let id = Pid::from_raw(server.0.id().cast_signed());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        kill(id, signal).expect("a signal");
    }
    let code = wait_for("its end", || server.0.try_wait().expect("a child"));
    assert_eq!(code.code(), Some(0));
}

#[test]
fn a_daemon_serves_after_its_parent_has_ended() {
    let directory = Directory::new("daemon");
    let socket = directory.0.join("socket");
    let status = directory
        .program("memcached")
        .args(["-d", "-u", "root", "-s", "socket", "-P", "pid"])
        .status()
        .expect("the program");
    assert!(status.success());
    let pid_file = directory.0.join("pid");
    let id = wait_for("the pid file", || fs::read_to_string(&pid_file).ok());
    assert_eq!(ask(UnixStream::connect(&socket).expect("a server")), "VERSION 1.6.45\r\n");
    signal("-TERM", id.trim());
    wait_for("its end", || (!Path::new("/proc").join(id.trim()).exists()).then_some(()));
    assert!(!pid_file.exists() && !socket.exists());
}

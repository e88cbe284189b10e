//! Peers that have to log in, on the built server over both drivers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use mcache_conformance::frame::{answer, frame};
use mcache_conformance::{Program, Serving, Transport};

const PATIENCE: Duration = Duration::from_secs(30);

const DRIVERS: [&str; 2] = ["auto", "epoll"];

/// A file of users, removed at the end.
struct Users(PathBuf);

impl Users {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcache-{name}-{}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn serve(options: &[&str], users: &Users) -> Serving {
    serve_called("memcached", options, users)
}

fn serve_called(name: &'static str, options: &[&str], users: &Users) -> Serving {
    let program = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), Transport::Tcp).unwrap();
    let mut options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    options.push(users.0.display().to_string());
    program.called(name).serve(&options).unwrap()
}

struct Client(TcpStream);

impl Client {
    fn connect(serving: &Serving) -> Self {
        let stream = TcpStream::connect(serving.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// Sends a request and reads an answer of this length.
    fn ask(&mut self, request: &[u8], answer: &[u8]) {
        self.0.write_all(request).unwrap();
        let mut received = vec![0; answer.len()];
        self.0.read_exact(&mut received).unwrap();
        let [request, answer, received] = [request, answer, &received].map(<[u8]>::escape_ascii);
        assert_eq!(received.to_string(), answer.to_string(), "{request}");
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// af05c9302, 9981d748f: empty lines and endless lengths before a login.
#[test]
fn text_is_served_after_a_login() {
    let users = Users::new("text", "foo:bar\nbaaaz:qu:ux\n");
    for driver in DRIVERS {
        let serving = serve(&["--io", driver, "-Y"], &users);
        let mut client = Client::connect(&serving);
        client.ask(b"set foo 0 0 2\r\nhi\r\n", b"CLIENT_ERROR bad authentication token format\r\n");
        client.ask(b"get foo\r\n", b"CLIENT_ERROR unauthenticated\r\n");
        client.ask(b"stats\r\nquit now\r\n", &b"CLIENT_ERROR unauthenticated\r\n".repeat(2));
        client.ask(b"set foo 0 0 7\r\nfoo bab\r\n", b"CLIENT_ERROR authentication failure\r\n");
        client.ask(b"set foo 0 0 2147483646\r\n", b"CLIENT_ERROR auth token too long\r\n");
        client.ask(b"set k 0 0 7\r\nfoo bar\r\nget k\r\n", b"STORED\r\nEND\r\n");
        client.ask(b"set k 0 0 2\r\nhi\r\nget k\r\n", b"STORED\r\nVALUE k 0 2\r\nhi\r\nEND\r\n");

        // What is answered before it is still being sent while the login is judged.
        let mut hasty = Client::connect(&serving);
        hasty.ask(
            b"get k\r\nset k 0 0 7\r\nfoo bad\r\nset k 0 0 7\r\nfoo bar\r\n",
            b"CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR authentication failure\r\nSTORED\r\n",
        );
        hasty.ask(b"get nothing\r\n", b"END\r\n");

        let mut slow = Client::connect(&serving);
        for byte in b"set k 0 0 11\r\nbaaaz qu:ux\r" {
            slow.0.write_all(&[*byte]).unwrap();
        }
        slow.ask(b"\n", b"STORED\r\n");
        slow.ask(b"get k\r\n", b"VALUE k 0 2\r\nhi\r\nEND\r\n");

        let mut rude = Client::connect(&serving);
        rude.0.write_all(&[b'a'; 3000]).unwrap();
        assert!(rude.is_closed(), "an endless line before the login");
    }
}

/// CVE-2013-7239: after a login that failed the next request counted as logged in.
#[test]
fn binary_is_served_after_sasl() {
    const PLAIN: &[u8] = b"PLAIN";
    let users = Users::new("sasl", "user@realm:pass\n");
    let good: &[u8] = b"\0user@realm\0pass";
    let failed = b"Auth failure.";
    for driver in DRIVERS {
        let serving = serve(&["--io", driver, "-S", "--sasl-users"], &users);
        let mut client = Client::connect(&serving);
        let rows: &[(Vec<u8>, Vec<u8>)] = &[
            (frame(0x0b, b"", b"", b""), answer(0x0b, 0, b"1.6.45")),
            (frame(0x20, b"", b"", b""), answer(0x20, 0, PLAIN)),
            (frame(0x21, b"", &[b'X'; 40], good), answer(0x21, 4, b"Invalid arguments")),
            (frame(0x21, b"", b"CRAM-MD5", good), answer(0x21, 0x20, failed)),
            (frame(0x21, b"", PLAIN, b"\0user@realm\0past"), answer(0x21, 0x20, failed)),
            (frame(0x21, b"", PLAIN, b"user@realm"), answer(0x21, 0x20, failed)),
            (frame(0x22, b"", PLAIN, good), answer(0x22, 0x20, failed)),
            (frame(0x21, b"", PLAIN, b""), answer(0x21, 0x21, b"")),
            (frame(0x22, b"", PLAIN, good), answer(0x22, 0, b"Authenticated")),
            (frame(0x07, b"", b"", b""), answer(0x07, 0, b"")),
        ];
        for (request, answer) in rows {
            client.ask(request, answer);
        }
        let store = frame(0x01, &[0; 8], b"k", b"v");
        let mut other = Client::connect(&serving);
        other.ask(&frame(0x21, b"", PLAIN, good), &answer(0x21, 0, b"Authenticated"));
        other.0.write_all(&store).unwrap();
        other.0.read_exact(&mut [0; 24]).unwrap();
        // Who begins again is nobody until it is through, also within one packet.
        let both = [frame(0x21, b"", PLAIN, b"\0user@realm\0"), store.clone()].concat();
        let refused = [answer(0x21, 0x20, failed), answer(0x01, 0x20, failed)].concat();
        other.ask(&both, &refused);
        assert!(other.is_closed());
        let mut stranger = Client::connect(&serving);
        stranger.ask(&store, &answer(0x01, 0x20, failed));
        assert!(stranger.is_closed());
    }
}

#[test]
fn failures_are_told_one_after_the_other() {
    const CLIENTS: u32 = 20;
    let users = Users::new("pace", "foo:bar\n");
    let serving = serve(&["-Y"], &users);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Client::connect(&serving)).collect();
    let begin = Instant::now();
    for client in &mut clients {
        client.0.write_all(b"set k 0 0 7\r\nfoo bab\r\n").unwrap();
    }
    // Whoever knows the password does not wait behind them.
    Client::connect(&serving).ask(b"set k 0 0 7\r\nfoo bar\r\n", b"STORED\r\n");
    for client in &mut clients {
        client.ask(b"", b"CLIENT_ERROR authentication failure\r\n");
    }
    assert!(begin.elapsed() >= Duration::from_millis(5) * CLIENTS);
}

/// Before, whoever waited to be told that a login had failed kept its place: as many as there are
/// places, and nobody else got in.
#[test]
fn who_guesses_makes_room_for_who_knows() {
    const LOGIN: &[u8] = b"set k 0 0 7\r\nfoo bar\r\n";
    let users = Users::new("room", "foo:bar\n");
    for driver in DRIVERS {
        let options = ["--io", driver, "-c", "4", "-Y"];
        let serving = serve_called("mcache", &options, &users);
        let mut known = Client::connect(&serving);
        known.ask(LOGIN, b"STORED\r\n");
        let mut guessing = [(); 3].map(|()| {
            let mut client = Client::connect(&serving);
            client.ask(b"set k 0 0 7\r\nfoo bab\r\n", b"CLIENT_ERROR authentication failure\r\n");
            client.0.write_all(&b"set k 0 0 7\r\nfoo bab\r\n".repeat(2000)).unwrap();
            client
        });
        let mut newcomers = [(); 3].map(|()| {
            let mut newcomer = Client::connect(&serving);
            newcomer.ask(LOGIN, b"STORED\r\n");
            newcomer
        });
        known.ask(b"get k\r\n", b"END\r\n");
        newcomers.iter_mut().for_each(|it| it.ask(b"get k\r\n", b"END\r\n"));
        for client in &mut guessing {
            assert!(client.0.read_to_end(&mut Vec::new()).is_ok_and(|told| told < 70_000));
        }
    }
}

fn passwd(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcache"));
    command.args(["passwd", name]).stdout(Stdio::piped());
    command
}

#[test]
fn passwd_writes_lines_of_the_file_of_users() {
    let hashed = |name: &str, input: &[u8]| {
        let mut child = passwd(name).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // It may have ended without having read it.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    };
    let lines = [hashed("foo", b"s3cret: word\r\nmore\n"), hashed("bar", b"x")];
    let text: String = lines.map(|it| String::from_utf8(it.stdout).unwrap()).concat();
    assert!(!text.contains("s3cret"), "{text}");
    let users = Users::new("passwd", &text);
    let serving = serve(&["-Y"], &users);
    let mut client = Client::connect(&serving);
    client.ask(b"set k 0 0 5\r\nfoo x\r\n", b"CLIENT_ERROR authentication failure\r\n");
    client.ask(b"set k 0 0 16\r\nfoo s3cret: word\r\n", b"STORED\r\n");
    Client::connect(&serving).ask(b"set k 0 0 5\r\nbar x\r\n", b"STORED\r\n");

    let long = [b'x'; 20_000];
    for (name, input) in [
        ("", &b"x"[..]),
        ("a:b", b"x"),
        ("a b", b"x"),
        ("foo", b""),
        ("foo", b"\r\n"),
        ("foo", &long),
    ] {
        let refused = hashed(name, input);
        assert_eq!(refused.status.code(), Some(64), "{name:?}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{name:?}");
    }
}

#[test]
fn a_password_that_is_typed_does_not_show() {
    for (second, good) in [("s3cret", true), ("s3cret\x03", false), ("other", false)] {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let side = || fs::File::options().read(true).write(true).open(&name).unwrap();
        let child = passwd("foo").stdin(side()).stderr(side()).spawn().unwrap();
        let mut terminal = fs::File::from(terminal);
        let mut shown = String::new();
        for (prompt, typed) in [("Password: ", "s3cret"), ("Again: ", second)] {
            while !shown.ends_with(prompt) {
                let mut bytes = [0; 64];
                let count = terminal.read(&mut bytes).unwrap();
                shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            terminal.write_all(format!("{typed}\n").as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.success(), good, "{second:?}");
        assert_eq!(output.stdout.starts_with(b"foo:$argon2id$"), good, "{second:?}");
        assert!(!shown.contains("s3cret"), "{shown:?}");
    }
}

/// 57934a1d0: logins while the file was read again.
#[test]
fn a_hangup_has_the_users_read_again() {
    let users = Users::new("again", "foo:bar\n");
    let serving = serve(&["-Y"], &users);
    Client::connect(&serving).ask(b"set k 0 0 7\r\nfoo bar\r\n", b"STORED\r\n");
    fs::write(&users.0, "foo:baz\n").unwrap();
    let hang_up = || {
        let process = nix::unistd::Pid::from_raw(serving.process() as i32);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGHUP).unwrap();
    };
    hang_up();
    let deadline = Instant::now() + PATIENCE;
    let login = |password: &str| {
        let mut client = Client::connect(&serving);
        client.0.write_all(format!("set k 0 0 7\r\nfoo {password}\r\n").as_bytes()).unwrap();
        let mut first = [0];
        client.0.read_exact(&mut first).unwrap();
        first == [b'S']
    };
    while !login("baz") {
        assert!(Instant::now() < deadline, "the new password is not known");
    }
    assert!(!login("bar"));
}

//! Users with rights, on the built server: known by a password or by a certificate.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mcache_conformance::frame::{answer, frame};
use mcache_conformance::{Program, Serving, Transport, tls};
use rustls::{ALL_VERSIONS, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);
const DRIVERS: [&str; 2] = ["auto", "epoll"];
const REFUSED: &[u8] = b"CLIENT_ERROR unauthorized\r\n";
const STRANGER: &[u8] = b"CLIENT_ERROR unauthenticated\r\n";

/// A file of settings, removed at the end.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcache-{name}-{}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn serve(transport: Transport, options: &[&str], config: &Config) -> Serving {
    let program = Program::new(Path::new(env!("CARGO_BIN_EXE_mcache")), transport).unwrap();
    let mut options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
    options.extend(["--config".to_owned(), config.0.display().to_string()]);
    program.serve(&options).unwrap()
}

/// The hash of the password `secret`, as `mcache passwd` writes it.
fn hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcache"));
        command.args(["passwd", "anyone"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"secret\n").unwrap();
        let line = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        line.trim_end().strip_prefix("anyone:").unwrap().to_owned()
    })
}

/// A user with the password `secret`.
fn user(name: &str, more: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"{}\"\n{more}\n", hash())
}

trait Wire: Read + Write {}
impl<W: Read + Write> Wire for W {}

struct Client(Box<dyn Wire>);

impl Client {
    fn socket(serving: &Serving) -> TcpStream {
        let stream = TcpStream::connect(serving.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn connect(serving: &Serving) -> Self {
        Self(Box::new(Self::socket(serving)))
    }

    /// Over TLS, proving itself by the certificate of a file.
    fn sealed(serving: &Serving, identity: Option<&str>) -> Self {
        let session = tls::session(Arc::new(tls::client(identity, ALL_VERSIONS)));
        Self(Box::new(StreamOwned::new(session, Self::socket(serving))))
    }

    /// Sends a request and reads an answer of this length.
    fn ask(&mut self, request: &[u8], answer: &[u8]) {
        self.0.write_all(request).unwrap();
        let mut received = vec![0; answer.len()];
        self.0.read_exact(&mut received).unwrap();
        let [request, answer, received] = [request, answer, &received].map(<[u8]>::escape_ascii);
        assert_eq!(received.to_string(), answer.to_string(), "{request}");
    }

    fn log_in(&mut self, name: &str) {
        let said = format!("{name} secret");
        self.ask(format!("set x 0 0 {}\r\n{said}\r\n", said.len()).as_bytes(), b"STORED\r\n");
    }

    /// A figure of `stats mcache`.
    fn figure(&mut self, name: &str) -> u64 {
        self.0.write_all(b"stats mcache\r\n").unwrap();
        let mut report = Vec::new();
        while !report.ends_with(b"END\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            report.extend(byte);
        }
        let report = String::from_utf8(report).unwrap();
        let line = report.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.unwrap().parse().unwrap()
    }
}

#[test]
fn passwords_let_users_ask_what_they_may_in_either_protocol() {
    let text =
        user("app", "keys = [\"app:\"]\nrights = \"write\"") + &user("ops", "rights = [\"admin\"]");
    let config = Config::new("users", &text);
    for driver in DRIVERS {
        let serving = serve(Transport::Tcp, &["--io", driver], &config);
        let mut app = Client::connect(&serving);
        app.ask(b"get app:1\r\n", STRANGER);
        app.ask(b"set x 0 0 9\r\napp secre\r\n", b"CLIENT_ERROR authentication failure\r\n");
        app.ask(b"set x 0 0 7\r\napp bar\r\n", b"CLIENT_ERROR authentication failure\r\n");
        app.log_in("app");
        app.ask(b"set app:1 0 0 1\r\na\r\n", b"STORED\r\n");
        app.ask(b"get app:1\r\nset b 0 0 1\r\nb\r\nflush_all\r\n", &REFUSED.repeat(3));
        app.ask(b"set b 0 0 1 noreply\r\nb\r\ndelete app:1\r\n", b"DELETED\r\n");

        let mut ops = Client::connect(&serving);
        ops.log_in("ops");
        assert_eq!(ops.figure("denials"), 4);
        ops.ask(b"flush_all\r\nget app:1\r\n", &[b"OK\r\n", REFUSED].concat());

        let mut binary = Client::connect(&serving);
        let failed = b"Auth failure.";
        binary
            .ask(&frame(0x21, b"", b"PLAIN", b"\0app\0secret"), &answer(0x21, 0, b"Authenticated"));
        let requests = [
            frame(0x19, b"", b"b", b"more"), // appendq
            frame(0x11, &[0; 8], b"b", b"value"),
            frame(0x11, &[0; 8], b"app:2", b"value"),
            frame(0x09, b"", b"app:2", b""),
            frame(0x0a, b"", b"", b""),
        ];
        let answers = [
            answer(0x19, 0x20, failed),
            answer(0x11, 0x20, failed),
            answer(0x09, 0x20, failed),
            answer(0x0a, 0, b""),
        ];
        binary.ask(&requests.concat(), &answers.concat());
        // Whoever logs in as another has the other's rights.
        binary.ask(
            &[frame(0x21, b"", b"PLAIN", b"\0ops\0secret"), frame(0x08, b"", b"", b"")].concat(),
            &[answer(0x21, 0, b"Authenticated"), answer(0x08, 0, b"")].concat(),
        );
    }
}

#[test]
fn certificates_let_users_in_without_a_login() {
    let text = "[[user]]\nname = \"uri\"\ncertificate = \"URI:spiffe://example/app\"\n\
                rights = [\"read\"]\n"
        .to_owned()
        + "[[user]]\nname = \"dns\"\ncertificate = \"DNS:app.example\"\nrights = [\"admin\"]\n"
        + &user("ops", "certificate = \"somebody else\"\nrights = [\"read\", \"write\"]");
    let config = Config::new("certified", &text);
    let authorities =
        format!("ssl_verify_mode=1,ssl_ca_cert={}", tls::file("authorities").display());
    for driver in DRIVERS {
        let serving = serve(Transport::Tls, &["--io", driver, "-o", &authorities], &config);
        // The first of the users that it names.
        let mut named = Client::sealed(&serving, Some("named"));
        named.ask(b"get k\r\nset k 0 0 1\r\na\r\n", &[b"END\r\n", REFUSED].concat());
        named.ask(b"flush_all\r\n", REFUSED);
        let mut binary = Client::sealed(&serving, Some("named"));
        binary.ask(&frame(0x00, b"", b"k", b""), &answer(0x00, 1, b"Not found"));

        for identity in [None, Some("client")] {
            let mut other = Client::sealed(&serving, identity);
            other.ask(b"get k\r\n", STRANGER);
            other.log_in("ops");
            other.ask(b"set k 0 0 1\r\na\r\n", b"STORED\r\n");
        }
        named.ask(b"get k\r\n", b"VALUE k 0 1\r\na\r\nEND\r\n");
        let mut stranger = Client::sealed(&serving, Some("stranger"));
        let heard =
            stranger.0.write_all(b"get k\r\n").and_then(|()| stranger.0.read_exact(&mut [0]));
        assert!(heard.is_err(), "nobody vouches for it");
    }
}

#[test]
fn a_hangup_changes_rights_without_ending_connections() {
    let app = user("app", "rights = [\"read\"]");
    let config = Config::new("reread", &(app + &user("ops", "") + &user("gone", "")));
    let serving = serve(Transport::Tcp, &[], &config);
    let [mut app, mut ops, mut gone] = ["app", "ops", "gone"].map(|name| {
        let mut client = Client::connect(&serving);
        client.log_in(name);
        client.ask(b"get k\r\n", b"END\r\n");
        client
    });
    let store = b"set k 0 0 1\r\na\r\n";
    app.ask(store, REFUSED);
    let hang_up = || {
        let process = nix::unistd::Pid::from_raw(serving.process() as i32);
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGHUP).unwrap();
    };
    // What cannot be used changes nothing, nor does what would let everybody in.
    for unusable in ["[[user]]\nname = \"app\"\n", ""] {
        fs::write(&config.0, unusable).unwrap();
        hang_up();
    }
    fs::write(&config.0, user("app", "rights = [\"write\"]") + &user("ops", "")).unwrap();
    hang_up();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut answer = [0; 8];
        app.0.write_all(store).unwrap();
        app.0.read_exact(&mut answer).unwrap();
        if answer == *b"STORED\r\n" {
            break;
        }
        app.0.read_exact(&mut vec![0; REFUSED.len() - answer.len()]).unwrap();
        assert!(Instant::now() < deadline, "the new rights are not in force");
    }
    app.ask(b"get k\r\n", REFUSED);
    ops.ask(b"get k\r\n", b"VALUE k 0 1\r\na\r\nEND\r\n");
    gone.ask(b"get k\r\n", STRANGER);
    gone.ask(b"set x 0 0 11\r\ngone secret\r\n", b"CLIENT_ERROR authentication failure\r\n");
    gone.log_in("ops");
    gone.ask(b"get k\r\n", b"VALUE k 0 1\r\na\r\nEND\r\n");
}

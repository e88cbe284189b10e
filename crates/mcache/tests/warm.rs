//! A server with a memory file that is killed while it is written to, again and again: what it
//! answered before is there in the next one, and nothing older.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// Writers at once, and the keys that each has for itself.
const WRITERS: usize = 3;
const KEYS: usize = 40;

/// Changes that are answered between a start and a kill.
const CHANGES: usize = 3_000;

const ROUNDS: usize = 6;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcache-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn command(&self, options: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcache"));
        command.current_dir(&self.0).stdin(Stdio::null()).stderr(Stdio::null());
        command.args(["-s", "socket", "-e", "memory"]).args(options.split_whitespace());
        command
    }

    fn start(&self, options: &str) -> Running {
        Running(self.command(options).spawn().expect("the program"))
    }

    fn connect(&self) -> Connection {
        let began = Instant::now();
        loop {
            if let Ok(stream) = UnixStream::connect(self.0.join("socket")) {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return Connection(BufReader::new(stream));
            }
            assert!(began.elapsed() < PATIENCE, "nobody listens");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Running(Child);

impl Running {
    fn end(mut self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        self.0.wait().expect("its end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Connection(BufReader<UnixStream>);

impl Connection {
    /// The first line of the answer; none if the server is gone.
    fn ask(&mut self, request: &[u8]) -> Option<String> {
        self.0.get_mut().write_all(request).ok()?;
        let mut line = String::new();
        self.0.read_line(&mut line).ok().filter(|&len| len > 0)?;
        line.ends_with('\n').then_some(line)
    }

    /// The answer, of so many lines.
    fn lines(&mut self, request: &[u8], count: usize) -> String {
        let mut lines = self.ask(request).expect("an answer");
        for _ in 1..count {
            self.0.read_line(&mut lines).expect("a line");
        }
        lines
    }

    fn get(&mut self, key: &str) -> Option<Vec<u8>> {
        let line = self.ask(format!("get {key}\r\n").as_bytes()).expect("an answer");
        if line == "END\r\n" {
            return None;
        }
        let len: usize = line.trim_end().rsplit(' ').next().unwrap().parse().expect("a length");
        let mut value = vec![0; len + b"\r\nEND\r\n".len()];
        self.0.read_exact(&mut value).expect("the value");
        value.truncate(len);
        Some(value)
    }

    fn stat(&mut self, report: &str, name: &str) -> String {
        let mut line = self.ask(format!("stats{report}\r\n").as_bytes()).expect("an answer");
        let mut found = None;
        while line != "END\r\n" {
            let mut words = line.split_whitespace().skip(1);
            if words.next() == Some(name) {
                found = words.next().map(str::to_owned);
            }
            line.clear();
            self.0.read_line(&mut line).expect("a line");
        }
        found.expect("the statistic")
    }
}

fn value(number: usize) -> Vec<u8> {
    let len = [3, 60, 900, 5_000, 40_000][number % 5];
    let mut value = format!("{number:08}").into_bytes();
    value.resize(len.max(8), b'.');
    value
}

/// What a writer knows of its keys: the value that was answered last, and one that was not.
#[derive(Default)]
struct Known {
    answered: HashMap<String, Option<usize>>,
    asked: Option<(String, Option<usize>)>,
}

/// Changes keys until the server is gone.
fn write(place: &Place, writer: usize, round: usize, done: &AtomicUsize, known: &mut Known) {
    let mut connection = place.connect();
    for number in round * 1_000_000.. {
        let key = format!("{writer}:{}", number * 7 % KEYS);
        let to = (number % 4 > 0).then_some(number);
        let request = match to {
            None => format!("delete {key}\r\n").into_bytes(),
            Some(number) => {
                let value = value(number);
                let mut set = format!("set {key} 0 0 {}\r\n", value.len()).into_bytes();
                set.extend_from_slice(&value);
                set.extend_from_slice(b"\r\n");
                set
            }
        };
        known.asked = Some((key.clone(), to));
        if connection.ask(&request).is_none() {
            return;
        }
        known.answered.insert(key, to);
        known.asked = None;
        done.fetch_add(1, Relaxed);
    }
}

/// Compares what is there with what is known, and takes it for known from now on.
fn judge(place: &Place, known: &mut Known) {
    let mut connection = place.connect();
    for (key, answered) in &mut known.answered {
        let found = connection.get(key);
        let asked = known.asked.as_ref().filter(|(asked, _)| asked == key).map(|asked| asked.1);
        let is = |number: Option<usize>| found == number.map(value);
        if let Some(asked) = asked.filter(|&asked| is(asked)) {
            *answered = asked;
        }
        let seen = found.as_ref().map(|value| String::from_utf8_lossy(&value[..8]).into_owned());
        assert!(is(*answered), "{key}: {seen:?} of {answered:?} and {asked:?}");
    }
    known.asked = None;
}

#[test]
fn a_killed_server_forgets_nothing_that_it_answered() {
    let place = Place::new("killed");
    let mut known: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for round in 0..ROUNDS {
        let server = place.start("-m 64 -t 2");
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (writer, known) in known.iter_mut().enumerate() {
                let (place, done) = (&place, &done);
                scope.spawn(move || write(place, writer, round, done, known));
            }
            let began = Instant::now();
            while done.load(Relaxed) < CHANGES {
                assert!(began.elapsed() < PATIENCE, "{done:?} changes");
                thread::yield_now();
            }
            server.end("-KILL");
        });
        let _server = place.start(["-m 64 -t 1", "-m 32 -t 2 --eviction s3fifo"][round % 2]);
        known.iter_mut().for_each(|known| judge(&place, known));
        let mut connection = place.connect();
        assert_eq!(connection.stat(" mcache", "recovery_segments_damaged"), "0");
    }
}

#[test]
fn a_stopped_server_goes_on_at_once() {
    let place = Place::new("stopped");
    for signal in ["-TERM", "-USR1", "-INT"] {
        let server = place.start("-m 64");
        let mut connection = place.connect();
        assert_eq!(connection.ask(b"set k 5 100 5\r\nvalue\r\n").unwrap(), "STORED\r\n");
        let gets = connection.lines(b"gets k\r\n", 3);
        server.end(signal);
        let server = place.start("-m 64");
        let mut connection = place.connect();
        assert_eq!(connection.lines(b"gets k\r\n", 3), gets);
        assert_eq!(connection.stat(" mcache", "recovered_items"), "1");
        assert_eq!(connection.stat(" settings", "memory_file"), "memory");
        server.end("-KILL");
    }
}

#[test]
fn a_file_that_cannot_be_had_is_one_line() {
    let place = Place::new("refused");
    let _server = place.start("-m 64");
    place.connect();
    fs::write(place.0.join("letter"), "dear reader").expect("a file");
    for (options, said) in [
        ("-e memory", "-e memory: another server is using it\n"),
        ("-e letter", "-e letter: it is not a memory file of mcache; nothing was changed\n"),
        ("-e .", "-e .: cannot open it: Is a directory (os error 21)\n"),
        ("-e no/such", "-e no/such: cannot open it: No such file or directory (os error 2)\n"),
        ("-e x --engine simple", "-e: only --engine segment has its items in a file\n"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcache"));
        command.current_dir(&place.0).args(["-s", "other"]).stdin(Stdio::null());
        let output = command.args(options.split_whitespace()).env("RUST_LOG", "error").output();
        let output = output.expect("the program");
        assert_eq!(String::from_utf8_lossy(&output.stderr), said, "{options}");
    }
}

//! A server with a memory file that is killed while it is written to, again and again: what it
//! answered before is there in the next one, and nothing older.

#[allow(dead_code, reason = "shared by tests of the program")]
mod place;

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use place::{PATIENCE, Place};

/// What every server here has.
const OPTIONS: &str = "-s socket -e memory";

/// Writers at once, and the keys that each has for itself.
const WRITERS: usize = 3;
const KEYS: usize = 40;

/// Changes that are answered between a start and a kill.
const CHANGES: usize = 3_000;

const ROUNDS: usize = 6;

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
        let server = place.start(&format!("{OPTIONS} -m 64 -t 2"));
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
        let next = ["-m 64 -t 1", "-m 32 -t 2 --eviction s3fifo"][round % 2];
        let _server = place.start(&format!("{OPTIONS} {next}"));
        known.iter_mut().for_each(|known| judge(&place, known));
        let mut connection = place.connect();
        assert_eq!(connection.stat(" mcache", "recovery_segments_damaged"), "0");
    }
}

#[test]
fn a_stopped_server_goes_on_at_once() {
    let place = Place::new("stopped");
    for signal in ["-TERM", "-USR1", "-INT"] {
        let server = place.start(&format!("{OPTIONS} -m 64"));
        let mut connection = place.connect();
        assert_eq!(connection.ask(b"set k 5 100 5\r\nvalue\r\n").unwrap(), "STORED\r\n");
        let gets = connection.lines(b"gets k\r\n", 3);
        server.end(signal);
        let server = place.start(&format!("{OPTIONS} -m 64"));
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
    let _server = place.start(&format!("{OPTIONS} -m 64"));
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

//! Plays transcripts in a house and compares every answer byte for byte.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::house::{Connection, Feed, House, Received, Started};
use crate::pattern::{Bindings, Comparison, show};
use crate::transcript::{Action, Answer, Difference, Step, Transcript};

/// Transcripts played at the same time: most of their time is waiting.
const PLAYERS: usize = 4;

/// Bytes at either end of a send that are fed one by one.
const SINGLE_BYTES: usize = 2048;

/// Bytes in a piece of what is between: odd, so that it meets no buffer's size.
const PIECE: usize = 4093;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection whose answer was wrong must be silent before the next step.
const SILENCE: Duration = Duration::from_millis(200);

/// What came of playing transcripts in one house.
#[derive(Debug, Default)]
pub struct Report {
    /// Transcripts that went as written, counted once for each way of feeding.
    pub passed: usize,
    /// Answers that were compared.
    pub answers: usize,
    /// Transcripts that did not.
    pub failed: usize,
    /// Answers that were wrong, and how.
    pub failures: Vec<String>,
    /// Differences that were met and are known.
    pub known: Vec<String>,
    /// Transcripts or ends of transcripts that could not be played here.
    pub skipped: Vec<String>,
}

impl Report {
    /// The last line of a report.
    pub fn summary(&self) -> String {
        format!(
            "{} passed, {} failed ({} answers, {} known differences, {} skipped)",
            self.passed,
            self.failed,
            self.answers,
            self.known.len(),
            self.skipped.len()
        )
    }

    fn take(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.answers += other.answers;
        self.failures.extend(other.failures);
        self.known.extend(other.known);
        self.skipped.extend(other.skipped);
    }
}

/// Plays every transcript in each way in which requests can be fed to the house.
pub fn play_all(house: &dyn House, transcripts: &[Transcript]) -> Report {
    let next = AtomicUsize::new(0);
    let report = Mutex::new(Report::default());
    thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                while let Some(transcript) = transcripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for feed in house.feeds() {
                        let played = play(house, transcript, *feed);
                        report.lock().unwrap_or_else(|broken| broken.into_inner()).take(played);
                    }
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(|broken| broken.into_inner());
    for list in [&mut report.failures, &mut report.known, &mut report.skipped] {
        list.sort();
        list.dedup();
    }
    report
}

/// Plays one transcript in a fresh server.
pub fn play(house: &dyn House, transcript: &Transcript, feed: Feed) -> Report {
    let mut report = Report::default();
    if let Some(skip) = Difference::find(&transcript.skips, &house.server()) {
        report.skipped.push(format!("{}: {}", transcript.name, skip.reason));
        return report;
    }
    let started = match house.start(&transcript.requires) {
        Ok(Some(started)) => started,
        Ok(None) => {
            let options = transcript.requires.join(" ");
            report.skipped.push(format!("{}: needs a server with {options}", transcript.name));
            return report;
        }
        Err(error) => {
            report.failed += 1;
            report.failures.push(format!("{}: {error}", transcript.name));
            return report;
        }
    };
    let mut player = Player {
        house,
        transcript,
        feed,
        started,
        connections: BTreeMap::new(),
        bindings: Bindings::default(),
        report,
    };
    player.run();
    match player.report.failures.len() {
        0 => player.report.passed += 1,
        _ => player.report.failed += 1,
    }
    player.report
}

struct Player<'p> {
    house: &'p dyn House,
    transcript: &'p Transcript,
    feed: Feed,
    // Before the server: connections end first.
    connections: BTreeMap<u32, Talk>,
    started: Box<dyn Started>,
    bindings: Bindings,
    report: Report,
}

struct Talk {
    connection: Box<dyn Connection>,
    /// Received and not yet compared.
    received: Vec<u8>,
    closed: bool,
    /// What was sent last, for reports.
    sent: Vec<u8>,
}

impl Player<'_> {
    /// Does all steps, then looks whether anything came that nobody expected.
    fn run(&mut self) {
        let feed = if self.feed == Feed::Bytes { ", byte by byte" } else { "" };
        for step in &self.transcript.steps {
            let place = format!("{}:{}{feed}", self.transcript.name, step.line);
            match self.step(step) {
                Ok(true) => {}
                Ok(false) => {
                    let why = "takes too long without a clock to wind";
                    self.report.skipped.push(format!("{place} to its end: {why}"));
                    break;
                }
                Err(error) => self.report.failures.push(format!("{place}: {error}")),
            }
        }
        for (number, talk) in &mut self.connections {
            talk.connection.hang_up();
            let nothing = Answer { closes: true, ..Answer::default() };
            if let Err(error) = talk.expect(&nothing, &mut self.bindings) {
                let place = format!("{}{feed}: end of connection {number}", self.transcript.name);
                self.report.failures.push(format!("{place}: {error}"));
            }
        }
    }

    /// Does one step; false if it takes too long here.
    fn step(&mut self, step: &Step) -> Result<bool, String> {
        match &step.action {
            Action::Advance(time) => return Ok(self.started.advance(*time)),
            Action::Send(pattern) => {
                let bytes = pattern.bytes(&self.bindings)?;
                let feed = self.feed;
                self.talk(step.connection)?.send(bytes, feed);
            }
            Action::Hangup => self.talk(step.connection)?.connection.hang_up(),
            Action::Expect(answer, known) => {
                let known = Difference::find(known, &self.house.server());
                let mut bindings = std::mem::take(&mut self.bindings);
                let expected = known.map_or(answer, |known| &known.instead);
                let result = self.talk(step.connection)?.expect(expected, &mut bindings);
                self.bindings = bindings;
                self.report.answers += 1;
                result?;
                if let Some(known) = known {
                    let place = format!("{}:{}", self.transcript.name, step.line);
                    self.report.known.push(format!("{place}: {}: {}", known.server, known.reason));
                }
            }
        }
        Ok(true)
    }

    /// The connection of this number, opened when it is first used.
    fn talk(&mut self, number: u32) -> Result<&mut Talk, String> {
        if !self.connections.contains_key(&number) {
            let connection = self.started.connect()?;
            let talk = Talk { connection, received: Vec::new(), closed: false, sent: Vec::new() };
            self.connections.insert(number, talk);
        }
        self.connections.get_mut(&number).ok_or("no such connection".to_owned())
    }
}

impl Talk {
    fn send(&mut self, bytes: Vec<u8>, feed: Feed) {
        let mut at = 0;
        while at < bytes.len() {
            let left = bytes.len() - at;
            let piece = match feed {
                Feed::Whole => left,
                Feed::Bytes if at < SINGLE_BYTES || left <= SINGLE_BYTES => 1,
                Feed::Bytes => PIECE.min(left - SINGLE_BYTES),
            };
            self.connection.send(&bytes[at..at + piece]);
            at += piece;
        }
        self.sent = bytes;
    }

    /// Receives until `answer` is there, or something else is.
    fn expect(&mut self, answer: &Answer, bindings: &mut Bindings) -> Result<(), String> {
        loop {
            let why = match answer.bytes.compare(&self.received, bindings) {
                Comparison::Equal(len) if !answer.closes => {
                    self.received.drain(..len);
                    return Ok(());
                }
                Comparison::Equal(len) if len < self.received.len() => "but more came".to_owned(),
                Comparison::Equal(_) if self.closed => {
                    self.received.clear();
                    return Ok(());
                }
                Comparison::Differs(at) => format!("differs from byte {at} on"),
                Comparison::NeedMore if self.closed => "but the server closed".to_owned(),
                Comparison::NeedMore | Comparison::Equal(_) => {
                    match self.connection.receive(PATIENCE) {
                        Received::Bytes(bytes) => self.received.extend(bytes),
                        Received::Closed => self.closed = true,
                        Received::Silence => {
                            return Err(self.differs(answer, bindings, "but nothing more came"));
                        }
                    }
                    continue;
                }
            };
            self.drain();
            let failure = self.differs(answer, bindings, &why);
            self.received.clear();
            return Err(failure);
        }
    }

    /// Takes in all that still comes, so that one wrong answer does not make the next ones wrong.
    fn drain(&mut self) {
        while let Received::Bytes(bytes) = self.connection.receive(SILENCE) {
            self.received.extend(bytes);
        }
    }

    fn differs(&self, answer: &Answer, bindings: &Bindings, why: &str) -> String {
        let end = |closes: bool| if closes { " EOF" } else { "" };
        format!(
            "{why}\n    sent      {}\n    expected  {}{}\n    received  {}{}",
            show(&self.sent),
            answer.bytes.show(bindings),
            end(answer.closes),
            show(&self.received),
            end(self.closed)
        )
    }
}

//! One thread that asks on many connections: as fast as it is answered, or at a given rate.
//!
//! At a given rate requests are due whether or not earlier ones were answered, and their latency
//! counts from when they were due: a server that stands still is charged for all who wait.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;

use super::requests::{Answers, Batch, Requests, Tally};
use super::server::Address;
use super::workloads::{Protocol, Row};
use crate::numbers::Numbers;

/// Bytes read at once.
const READ: usize = 256 << 10;

/// A server that says nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest latency that is told from longer ones, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;

/// When batches are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// On each connection when the one before was answered.
    Closed,
    /// So many in a second, at random, on the connections in turn.
    Open(f64),
}

/// What came of a run.
pub struct Outcome {
    /// Keys of the requests that were answered.
    pub keys: u64,
    /// What was answered.
    pub tally: Tally,
    /// How long it took.
    pub elapsed: Duration,
    /// From when a batch was sent, or due, until its last answer, in nanoseconds.
    pub latencies: Histogram<u64>,
}

/// The connections of a workload.
pub struct Generator {
    protocol: Protocol,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    outcome: Outcome,
}

struct Connection {
    socket: OwnedFd,
    /// What is sent, of which the first bytes have gone out.
    out: Vec<u8>,
    sent: usize,
    /// Batches that were not answered.
    awaited: VecDeque<Awaited>,
    answers: Answers,
    /// The beginning of an answer.
    rest: Vec<u8>,
}

/// A batch that was not answered.
struct Awaited {
    /// When it was sent, or due.
    since: Instant,
    /// Answers that are missing.
    missing: usize,
    keys: u64,
}

impl Generator {
    /// Connects.
    pub fn new(row: &Row, address: &Address, connections: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..connections).map(|number| {
            let socket = address.connect()?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let fd = socket.as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), Token(number), interest)?;
            Ok(Connection {
                socket,
                out: Vec::new(),
                sent: 0,
                awaited: VecDeque::new(),
                answers: Answers::default(),
                rest: Vec::new(),
            })
        });
        let connections = connections.collect::<io::Result<_>>()?;
        Ok(Self {
            protocol: row.protocol,
            poll,
            events: Events::with_capacity(1024),
            connections,
            buffer: vec![0; READ],
            outcome: Outcome::nothing()?,
        })
    }

    /// Stores every key once.
    pub fn fill(&mut self, requests: &mut Requests<'_>) -> io::Result<Tally> {
        let mut next = 0;
        while let Some(batch) = requests.filling(&mut next) {
            self.connections[0].start(&batch, Instant::now())?;
            while !self.connections[0].awaited.is_empty() {
                self.step(Some(PATIENCE), &mut |_| None)?;
            }
        }
        Ok(self.outcome.tally)
    }

    /// Sends the batches, again and again, for so long.
    pub fn run(mut self, batches: &[Batch], pace: Pace, length: Duration) -> io::Result<Outcome> {
        self.outcome = Outcome::nothing()?;
        let begin = Instant::now();
        match pace {
            Pace::Closed => self.run_closed(batches, begin + length)?,
            Pace::Open(rate) => self.run_open(batches, rate, begin, begin + length)?,
        }
        let end = Instant::now();
        for awaited in self.connections.iter().flat_map(|it| &it.awaited) {
            if matches!(pace, Pace::Open(_)) {
                self.outcome.record(end - awaited.since);
            }
        }
        self.outcome.elapsed = end - begin;
        Ok(self.outcome)
    }

    fn run_closed(&mut self, batches: &[Batch], end: Instant) -> io::Result<()> {
        let mut turn = batches.iter().cycle();
        for number in 0..self.connections.len() {
            if let Some(batch) = turn.next() {
                self.connections[number].start(batch, Instant::now())?;
            }
        }
        while Instant::now() < end {
            self.step(Some(PATIENCE), &mut |_| turn.next())?;
        }
        Ok(())
    }

    fn run_open(
        &mut self,
        batches: &[Batch],
        rate: f64,
        begin: Instant,
        end: Instant,
    ) -> io::Result<()> {
        let mut numbers = Numbers::new(7);
        let (mut due, mut number) = (begin, 0);
        let mut turn = batches.iter().cycle();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            while due <= now {
                if let Some(batch) = turn.next() {
                    self.connections[number].start(batch, due)?;
                }
                number = (number + 1) % self.connections.len();
                let share = (numbers.next() >> 11) as f64 / (1_u64 << 53) as f64;
                due += Duration::from_secs_f64(-(1.0 - share).ln() / rate);
            }
            self.step(Some(Duration::ZERO), &mut |_| None)?;
        }
    }

    /// Waits, reads answers, and sends what `next` gives to a connection that has none to await.
    fn step<'b>(
        &mut self,
        timeout: Option<Duration>,
        next: &mut dyn FnMut(usize) -> Option<&'b Batch>,
    ) -> io::Result<()> {
        self.poll.poll(&mut self.events, timeout)?;
        if self.events.is_empty() && timeout == Some(PATIENCE) {
            return Err(io::Error::other("the server does not answer"));
        }
        for event in &self.events {
            let number = event.token().0;
            let connection = &mut self.connections[number];
            connection.flush()?;
            loop {
                let whole = connection.read(self.protocol, &mut self.buffer, &mut self.outcome)?;
                if connection.awaited.is_empty()
                    && let Some(batch) = next(number)
                {
                    connection.start(batch, Instant::now())?;
                }
                if whole {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Connection {
    fn start(&mut self, batch: &Batch, since: Instant) -> io::Result<()> {
        self.awaited.push_back(Awaited { since, missing: batch.answers, keys: batch.keys });
        self.out.extend_from_slice(&batch.bytes);
        self.flush()
    }

    /// Sends what the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.out.len() {
            match rustix::io::write(&self.socket, &self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads once. Returns whether nothing is left to read.
    fn read(
        &mut self,
        protocol: Protocol,
        buffer: &mut [u8],
        outcome: &mut Outcome,
    ) -> io::Result<bool> {
        let (rest, room) = buffer.split_at_mut(self.rest.len());
        rest.copy_from_slice(&self.rest);
        let count = match rustix::io::read(&self.socket, &mut *room) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(count) => count,
            Err(Errno::AGAIN) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let whole = count < room.len();
        let bytes = &buffer[..self.rest.len() + count];
        let (used, mut ended) = self.answers.take(protocol, bytes, &mut outcome.tally);
        self.rest.clear();
        self.rest.extend_from_slice(&bytes[used..]);
        while let Some(first) = self.awaited.front_mut()
            && ended > 0
        {
            let taken = ended.min(first.missing);
            first.missing -= taken;
            ended -= taken;
            if first.missing == 0 {
                outcome.record(first.since.elapsed());
                outcome.keys += first.keys;
                self.awaited.pop_front();
            }
        }
        Ok(whole)
    }
}

impl Outcome {
    fn nothing() -> io::Result<Self> {
        let latencies = Histogram::new_with_max(LATENCY_MAX, 3).map_err(io::Error::other)?;
        Ok(Self { keys: 0, tally: Tally::default(), elapsed: Duration::ZERO, latencies })
    }

    fn record(&mut self, latency: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }
}

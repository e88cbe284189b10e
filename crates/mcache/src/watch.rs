//! `watch`: lines from the threads that work, through a logger, to the connections that watch.
//!
//! Every thread has a bounded log. The logger takes the lines out, in the order of their numbers,
//! and puts them into the bounded buffer of each watcher; the watcher's worker sends them. Nobody
//! waits for a watcher: what finds no room is counted and dropped.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcache_base::limits::WATCHERS_MAX;
use mcache_net::{ConnectionId, Wake};
use mcache_session::{EventLog, Kinds};

use crate::logging;
use crate::mailbox::Mailbox;
use crate::stop::Stop;

/// How long the logger sleeps at most: it looks then whether the server is to stop.
const LOGGER_SLEEP: Duration = Duration::from_millis(200);

/// Bytes of a watcher's buffer kept for the line that says how many were skipped.
const SKIPPED_LINE: usize = 32;

/// Everything about watching that threads share.
pub struct Watch {
    /// Kinds that somebody wants: all that is looked at while nobody watches.
    wanted: AtomicU16,
    /// Kinds that the server's own log wants.
    logged: AtomicU16,
    /// The number of the last line.
    sequence: AtomicU64,
    /// One log for each worker, one for the UDP thread, and one for evictions.
    logs: Vec<Log>,
    watchers: Mutex<Vec<Arc<Watcher>>>,
    /// Bytes of lines that a watcher's buffer holds.
    watcher_capacity: usize,
    /// Set when a log has lines.
    bell: Mutex<bool>,
    rung: Condvar,
    /// Lines written to logs, lines that found a log full, lines put into watchers' buffers and
    /// lines that found one full.
    pub figures: Figures,
}

/// What is counted.
#[derive(Default)]
pub struct Figures {
    /// Lines that workers wrote.
    pub written: AtomicU64,
    /// Lines that found a worker's log full.
    pub dropped: AtomicU64,
    /// Lines that were put into a watcher's buffer.
    pub sent: AtomicU64,
    /// Lines that found a watcher's buffer full.
    pub skipped: AtomicU64,
}

/// One thread's log.
struct Log {
    lines: Mutex<Lines>,
    capacity: usize,
}

#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    ends: Vec<Line>,
}

/// A line in a log.
#[derive(Clone, Copy)]
struct Line {
    number: u64,
    kind: Kinds,
    /// Where its text ends; it begins where the one before ends.
    end: usize,
}

/// A connection that watches.
pub struct Watcher {
    kinds: Kinds,
    /// The number of the last line before it watched.
    since: u64,
    worker: usize,
    connection: ConnectionId,
    pending: Mutex<Pending>,
}

/// What a watcher has not been sent yet.
#[derive(Default)]
struct Pending {
    text: Vec<u8>,
    skipped: u64,
    /// Its worker was told and has not come yet.
    announced: bool,
}

impl Watch {
    /// For so many workers, with logs and watchers' buffers of so many bytes.
    pub fn new(workers: usize, log_capacity: usize, watcher_capacity: usize) -> Self {
        let log = || Log { lines: Mutex::default(), capacity: log_capacity };
        Self {
            wanted: AtomicU16::new(0),
            logged: AtomicU16::new(0),
            sequence: AtomicU64::new(0),
            logs: (0..workers + 2).map(|_| log()).collect(),
            watchers: Mutex::default(),
            watcher_capacity,
            bell: Mutex::new(false),
            rung: Condvar::new(),
            figures: Figures::default(),
        }
    }

    /// The kinds that somebody wants.
    #[inline]
    pub fn wanted(&self) -> Kinds {
        Kinds::from_bits(self.wanted.load(Relaxed))
    }

    /// Where the worker writes, or the UDP thread behind the last worker.
    pub fn log(&self, thread: usize) -> LogOf<'_> {
        LogOf { watch: self, log: &self.logs[thread] }
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        lock(&self.watchers).len()
    }

    /// Makes a connection a watcher, unless there are too many. It is sent `OK` first.
    pub fn add(
        &self,
        kinds: Kinds,
        worker: usize,
        connection: ConnectionId,
    ) -> Option<Arc<Watcher>> {
        let mut watchers = lock(&self.watchers);
        if watchers.len() >= WATCHERS_MAX {
            return None;
        }
        let pending = Pending { text: b"OK\r\n".to_vec(), ..Pending::default() };
        let watcher = Arc::new(Watcher {
            kinds,
            since: self.sequence.load(Relaxed),
            worker,
            connection,
            pending: Mutex::new(pending),
        });
        watchers.push(watcher.clone());
        self.note_wanted(&watchers);
        Some(watcher)
    }

    /// Forgets a watcher.
    pub fn remove(&self, watcher: &Arc<Watcher>) {
        let mut watchers = lock(&self.watchers);
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        self.note_wanted(&watchers);
    }

    /// Looks how much the server's own log wants to know; to be told when its level has changed.
    pub fn heed_log(&self) {
        let watchers = lock(&self.watchers);
        self.logged.store(logging::followed().bits(), Relaxed);
        self.note_wanted(&watchers);
    }

    fn note_wanted(&self, watchers: &[Arc<Watcher>]) {
        let logged = Kinds::from_bits(self.logged.load(Relaxed));
        let wanted = watchers.iter().fold(logged, |all, watcher| all.with(watcher.kinds));
        self.wanted.store(wanted.bits(), Relaxed);
    }

    /// Wakes the thread that moves lines.
    pub fn wake(&self) {
        *lock(&self.bell) = true;
        self.rung.notify_one();
    }

    /// Moves lines to watchers until the server is to stop.
    pub fn run<W: Wake>(&self, stop: &Stop, mailboxes: &[Mailbox<W>]) -> io::Result<()> {
        while !stop.is_asked() {
            let bell = lock(&self.bell);
            let waited = self.rung.wait_timeout_while(bell, LOGGER_SLEEP, |rung| !*rung);
            let (mut bell, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut *bell) {
                continue;
            }
            drop(bell);
            self.deliver(mailboxes);
        }
        Ok(())
    }

    /// Moves what is in the logs to the watchers, and to the server's own log.
    fn deliver<W: Wake>(&self, mailboxes: &[Mailbox<W>]) {
        let taken: Vec<Lines> =
            self.logs.iter().map(|log| std::mem::take(&mut *lock(&log.lines))).collect();
        let mut lines: Vec<(u64, Kinds, &[u8])> = Vec::new();
        for Lines { text, ends } in &taken {
            let mut begin = 0;
            for line in ends {
                lines.push((line.number, line.kind, &text[begin..line.end]));
                begin = line.end;
            }
        }
        lines.sort_unstable_by_key(|(number, ..)| *number);
        let logged = Kinds::from_bits(self.logged.load(Relaxed));
        for (_, kind, text) in lines.iter().filter(|(_, kind, _)| kind.meet(logged)) {
            logging::event(*kind, text);
        }
        let watchers = lock(&self.watchers).clone();
        for watcher in &watchers {
            let meant = |number: u64, kind| watcher.since < number && watcher.kinds.meet(kind);
            let theirs = lines.iter().filter(|(number, kind, _)| meant(*number, *kind));
            if watcher.take_in(theirs.map(|(_, _, text)| *text), self) {
                mailboxes[watcher.worker].announce(watcher.connection);
            }
        }
    }
}

impl Watcher {
    /// Takes lines in; whether its worker has to be told.
    fn take_in<'l>(&self, lines: impl Iterator<Item = &'l [u8]>, watch: &Watch) -> bool {
        let mut pending = lock(&self.pending);
        for line in lines {
            if pending.text.len() + SKIPPED_LINE + line.len() > watch.watcher_capacity {
                pending.skipped += 1;
                watch.figures.skipped.fetch_add(1, Relaxed);
                continue;
            }
            let skipped = std::mem::take(&mut pending.skipped);
            if skipped > 0 {
                let _ = writeln!(pending.text, "skipped={skipped}");
            }
            pending.text.extend_from_slice(line);
            watch.figures.sent.fetch_add(1, Relaxed);
        }
        let tell = !pending.text.is_empty() && !pending.announced;
        pending.announced |= tell;
        tell
    }

    /// What is to be sent now; the buffer is empty then.
    pub fn take(&self) -> Vec<u8> {
        let mut pending = lock(&self.pending);
        pending.announced = false;
        std::mem::take(&mut pending.text)
    }
}

/// A log, as the thread that writes it sees it.
pub struct LogOf<'w> {
    watch: &'w Watch,
    log: &'w Log,
}

impl EventLog for LogOf<'_> {
    fn log(&self, kind: Kinds, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut lines = lock(&self.log.lines);
        // A number is given under the lock, so that a log's lines are in their order.
        let number = self.watch.sequence.fetch_add(1, Relaxed) + 1;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (begin, first) = (lines.text.len(), lines.ends.is_empty());
        let _ =
            write!(lines.text, "ts={}.{:06} gid={number} ", time.as_secs(), time.subsec_micros());
        write(&mut lines.text);
        lines.text.push(b'\n');
        let held = lines.text.len() + lines.ends.len() * size_of::<Line>();
        if held > self.log.capacity {
            lines.text.truncate(begin);
            self.watch.figures.dropped.fetch_add(1, Relaxed);
            return;
        }
        let end = lines.text.len();
        lines.ends.push(Line { number, kind, end });
        drop(lines);
        self.watch.figures.written.fetch_add(1, Relaxed);
        if first {
            *lock(&self.watch.bell) = true;
            self.watch.rung.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `stats conns`: what every socket is doing, published by its thread for whoever asks.
//!
//! A worker writes an [`Entry`]'s state with plain stores, twice a turn. It takes the lock of its
//! shelf only when a connection comes or goes; whoever asks takes it for a few entries at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mcache_net::ListenAddress;
use mcache_net::socket::{End, Ends};
use mcache_protocol::StatLine;
use mcache_session::Awaited;

/// All sockets of a server.
pub struct Roster {
    /// One for each worker, and one for the sockets that the server is found at.
    shelves: Vec<Mutex<Shelf>>,
}

/// Some sockets, by their descriptors.
type Shelf = BTreeMap<RawFd, Arc<Entry>>;

/// One socket, as reports know it.
pub struct Entry {
    /// The number under which reports know it.
    pub descriptor: RawFd,
    /// What it is.
    pub role: Role,
    state: AtomicU8,
    /// When it last did something, in milliseconds of the cache's clock.
    active_ms: AtomicU64,
    /// The version of TLS that it speaks, once it does.
    pub tls: OnceLock<&'static str>,
}

/// What a socket is.
pub enum Role {
    /// One that the server is found at.
    Found(ListenAddress),
    /// A connection.
    Connected(Ends),
}

macro_rules! states {
    ($( $(#[doc = $about:literal])+ $name:ident = $word:literal; )+) => {
        /// What a socket is doing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum State { $( $(#[doc = $about])+ $name, )+ }

        /// memcached's words for the states.
        const STATES: &[&str] = &[ $( $word, )+ ];
    };
}

states! {
    /// It waits for a request.
    Reading = "conn_read";
    /// It waits for the rest of a value.
    ReadingValue = "conn_nread";
    /// It waits for the rest of a value that was refused.
    Swallowing = "conn_swallow";
    /// Its requests are being served, or wait for their turn.
    Serving = "conn_parse_cmd";
    /// Its peer does not take the answers as fast as they come.
    Sending = "conn_mwrite";
    /// It watches.
    Watching = "conn_watch";
    /// Others connect to it.
    Listening = "conn_listening";
}

impl From<Awaited> for State {
    fn from(awaited: Awaited) -> Self {
        match awaited {
            Awaited::Command => Self::Reading,
            Awaited::Value => Self::ReadingValue,
            Awaited::Refused => Self::Swallowing,
        }
    }
}

impl Entry {
    /// A connection that was accepted at `now_ms`.
    pub fn connected(descriptor: RawFd, ends: Ends, now_ms: u64) -> Self {
        Self {
            descriptor,
            role: Role::Connected(ends),
            state: AtomicU8::new(State::Reading as u8),
            active_ms: AtomicU64::new(now_ms),
            tls: OnceLock::new(),
        }
    }

    /// A socket that the server is found at since `now_ms`.
    pub fn found(descriptor: RawFd, address: ListenAddress, now_ms: u64) -> Self {
        let state = match address {
            ListenAddress::Udp(_) => State::Reading,
            ListenAddress::Tcp(_) | ListenAddress::Unix { .. } => State::Listening,
        };
        Self {
            descriptor,
            role: Role::Found(address),
            state: AtomicU8::new(state as u8),
            active_ms: AtomicU64::new(now_ms),
            tls: OnceLock::new(),
        }
    }

    /// Says what the socket is doing from now on.
    #[inline]
    pub fn is_now(&self, state: State) {
        self.state.store(state as u8, Relaxed);
    }

    /// Says that the socket has just done something.
    #[inline]
    pub fn was_active(&self, now_ms: u64) {
        self.active_ms.store(now_ms, Relaxed);
    }

    /// When it last did something.
    pub fn active_ms(&self) -> u64 {
        self.active_ms.load(Relaxed)
    }

    /// Its lines of the report.
    fn lines(&self, now_ms: u64, lines: &mut Vec<StatLine>) {
        let mut push = |name: &str, value: String| {
            lines.push(StatLine { name: format!("{}:{name}", self.descriptor), value });
        };
        match &self.role {
            Role::Found(address) => {
                if matches!(address, ListenAddress::Udp(_)) {
                    push("UDP", "UDP".to_owned());
                }
                push("addr", found_at(address));
            }
            Role::Connected(Ends { peer, own }) => {
                push("addr", end(peer));
                push("listen_addr", end(own));
            }
        }
        if let Some(version) = self.tls.get() {
            push("tls", (*version).to_owned());
        }
        let state = STATES.get(usize::from(self.state.load(Relaxed)));
        push("state", state.copied().unwrap_or_default().to_owned());
        let idle_ms = now_ms.saturating_sub(self.active_ms());
        push("secs_since_last_cmd", (idle_ms / 1000).to_string());
    }
}

impl Roster {
    /// For so many workers, and these sockets that the server is found at.
    pub fn new(workers: usize, found: impl IntoIterator<Item = Entry>) -> Self {
        let shelves = (0..=workers).map(|_| Mutex::default()).collect();
        let roster = Self { shelves };
        for entry in found {
            roster.enter(workers, Arc::new(entry));
        }
        roster
    }

    /// Enters a connection of a worker.
    pub fn enter(&self, worker: usize, entry: Arc<Entry>) {
        self.shelf(worker).insert(entry.descriptor, entry);
    }

    /// Says that a socket that the server is found at has just been sent something.
    pub fn found_was_active(&self, descriptor: RawFd, now_ms: u64) {
        if let Some(entry) = self.shelf(self.shelves.len() - 1).get(&descriptor) {
            entry.was_active(now_ms);
        }
    }

    /// Forgets a connection of a worker.
    pub fn leave(&self, worker: usize, descriptor: RawFd) {
        self.shelf(worker).remove(&descriptor);
    }

    /// Appends the lines of at most `most` sockets with higher descriptors than `after`, in the
    /// order of their descriptors. Returns the last one's, unless that was all.
    pub fn report(
        &self,
        after: RawFd,
        most: usize,
        now_ms: u64,
        lines: &mut Vec<StatLine>,
    ) -> Option<RawFd> {
        let mut entries = Vec::new();
        for worker in 0..self.shelves.len() {
            let shelf = self.shelf(worker);
            let next = shelf.range((Excluded(after), Unbounded)).take(most);
            entries.extend(next.map(|(_, entry)| entry.clone()));
        }
        entries.sort_unstable_by_key(|entry| entry.descriptor);
        entries.truncate(most);
        for entry in &entries {
            entry.lines(now_ms, lines);
        }
        entries.last().filter(|_| entries.len() == most).map(|last| last.descriptor)
    }

    fn shelf(&self, worker: usize) -> MutexGuard<'_, Shelf> {
        self.shelves[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the server is found, in memcached's words.
fn found_at(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => socket("tcp", address),
        ListenAddress::Udp(address) => socket("udp", address),
        ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
    }
}

/// An end of a connection, in memcached's words.
fn end(end: &End) -> String {
    match end {
        End::Tcp(address) => socket("tcp", address),
        End::Unix(Some(path)) => format!("unix:{}", path.display()),
        End::Unix(None) => "unix:".to_owned(),
    }
}

fn socket(transport: &str, address: &SocketAddr) -> String {
    let six = if address.is_ipv6() { "6" } else { "" };
    format!("{transport}{six}:{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(descriptor: RawFd) -> Arc<Entry> {
        let [peer, own] = ["10.0.0.1:5", "[::1]:6"].map(|it| End::Tcp(it.parse().unwrap()));
        Arc::new(Entry::connected(descriptor, Ends { peer, own }, 1000))
    }

    fn report(roster: &Roster, after: RawFd, most: usize) -> (Vec<String>, Option<RawFd>) {
        let mut lines = Vec::new();
        let next = roster.report(after, most, 3999, &mut lines);
        (lines.into_iter().map(|line| format!("{} {}", line.name, line.value)).collect(), next)
    }

    #[test]
    fn a_connection_has_memcacheds_lines() {
        let found = |descriptor, address| Entry::found(descriptor, address, 0);
        let tcp = ListenAddress::Tcp("0.0.0.0:1".parse().unwrap());
        let udp = ListenAddress::Udp("[::]:2".parse().unwrap());
        let roster = Roster::new(1, [found(3, tcp), found(4, udp)]);
        roster.found_was_active(4, 2500);
        let connection = entry(9);
        roster.enter(0, connection.clone());
        connection.is_now(Awaited::Value.into());
        let expected = [
            "3:addr tcp:0.0.0.0:1",
            "3:state conn_listening",
            "3:secs_since_last_cmd 3",
            "4:UDP UDP",
            "4:addr udp6:[::]:2",
            "4:state conn_read",
            "4:secs_since_last_cmd 1",
            "9:addr tcp:10.0.0.1:5",
            "9:listen_addr tcp6:[::1]:6",
            "9:state conn_nread",
            "9:secs_since_last_cmd 2",
        ];
        assert_eq!(report(&roster, -1, 4), (expected.map(str::to_owned).to_vec(), None));
        roster.leave(0, 9);
        assert_eq!(report(&roster, 4, 1), (Vec::new(), None));
    }

    #[test]
    fn a_report_goes_on_where_it_stopped() {
        let roster = Roster::new(3, []);
        for descriptor in 0..100 {
            roster.enter(descriptor as usize % 3, entry(descriptor));
        }
        let (mut all, mut after) = (Vec::new(), Some(-1));
        while let Some(from) = after {
            let (lines, next) = report(&roster, from, 7);
            assert!(lines.len() <= 7 * 4);
            all.extend(lines);
            after = next;
        }
        let numbers = all.iter().step_by(4).map(|it| it.split(':').next().unwrap().to_owned());
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            (0..100).map(|it| it.to_string()).collect::<Vec<_>>()
        );
    }
}

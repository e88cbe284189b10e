//! The completion driver: receives stand with the kernel, sends are handed over together, and one
//! system call per turn does both.
//!
//! A connection's receive is given to the kernel once and completes again and again, into buffers
//! that all connections share. Where much is to come for one of them it is polled instead, and its
//! bytes go from the socket to where they are wanted, without the way over a buffer.
//!
//! Sends are tried by the kernel as they are submitted, and say something only if more is to be
//! sent: one that said nothing is done when the call returns, and its queue is empty. The rest of
//! a queue is sent by an entry that waits for room by itself.

#[allow(unsafe_code)] // memory that the kernel writes to
mod buffers;
#[allow(unsafe_code)] // queues shared with the kernel
mod ring;
#[allow(unsafe_code)] // memory that the kernel reads
mod sends;
mod slot;
mod waker;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use mcache_base::Outgoing;
use mcache_base::limits::{
    LENT_BUFFER_LEN, LENT_BUFFERS, RECEIVED_AHEAD_MAX, RING_COMPLETIONS, RING_SUBMISSIONS,
    SENDS_GATHERED_MAX,
};
use rustix::io::Errno;

pub use waker::UringWaker;

use self::buffers::{Buffers, GROUP};
use self::ring::{Completion, Ring};
use self::sends::{Progress, Sends};
use self::slot::{Receiving, Slot};
use crate::driver::{ConnectionId, Driver, Event, Received, Send};

/// What an entry is marked with: its kind, and in the lower half the number of a slot or place.
const RECEIVE: u64 = 0;
const SEND: u64 = 1 << 32;
const CANCEL: u64 = 2 << 32;
const WAKE: u64 = 3 << 32;
const KINDS: u64 = 3 << 32;

/// How large a driver's queues and buffers are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Entries that can be submitted at once.
    pub submissions: u32,
    /// Completions that can be read at once; the kernel keeps those beyond.
    pub completions: u32,
    /// Buffers for what arrives, a power of two, at most 2^15.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_len: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            submissions: RING_SUBMISSIONS,
            completions: RING_COMPLETIONS,
            buffers: LENT_BUFFERS,
            buffer_len: LENT_BUFFER_LEN,
        }
    }
}

/// A [`Driver`] over io_uring. The thread that waits first is the one it belongs to.
pub struct UringDriver<O> {
    // The kernel lets go of the memory below when the ring is closed: it has to be dropped first.
    ring: Ring,
    buffers: Buffers,
    sends: Sends<O>,
    slots: Vec<Slot>,
    /// Slots that can be taken.
    free: Vec<ConnectionId>,
    /// Slots closed since the last wait: its events may still name them.
    closed: Vec<ConnectionId>,
    /// Connections that were lent buffers since the last wait.
    filled: Vec<ConnectionId>,
    /// Connections that the kernel had no buffer for.
    starved: Vec<ConnectionId>,
    /// Connections whose end is known to have arrived behind the bytes received last.
    ended: Vec<ConnectionId>,
    /// What there is to tell.
    events: Vec<Event<O>>,
    /// Somebody called the waker.
    woken: bool,
    /// A connection receives no more before all that came was taken.
    saves: bool,
    completions: Vec<Completion>,
    waker: UringWaker,
}

impl<O: Outgoing> UringDriver<O> {
    /// A driver without connections. An error if the kernel does not let it work.
    pub fn new() -> io::Result<Self> {
        Self::with_sizes(Sizes::default())
    }

    /// A driver whose queues and buffers are of these sizes.
    pub fn with_sizes(sizes: Sizes) -> io::Result<Self> {
        let ring = Ring::new(&sizes)?;
        let buffers = Buffers::new(&ring, &sizes)?;
        let mut driver = Self {
            ring,
            buffers,
            sends: Sends::new(),
            slots: Vec::new(),
            free: Vec::new(),
            closed: Vec::new(),
            filled: Vec::new(),
            starved: Vec::new(),
            ended: Vec::new(),
            events: Vec::new(),
            woken: false,
            saves: false,
            completions: Vec::new(),
            waker: UringWaker::new()?,
        };
        driver.watch_waker();
        Ok(driver)
    }

    fn watch_waker(&mut self) {
        let descriptor = Fd(self.waker.descriptor());
        let entry = opcode::PollAdd::new(descriptor, libc::POLLIN as u32).multi(true).build();
        self.ring.push_plain(entry.user_data(WAKE));
    }

    /// Lets the kernel receive for a connection.
    fn receive_on(&mut self, connection: ConnectionId) {
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        let Some(socket) = &slot.socket else { return };
        if slot.receiving != Receiving::Off || slot.ended || slot.closing {
            return;
        }
        let socket = Fd(socket.as_raw_fd());
        if slot.leaves_in_socket() {
            let entry = opcode::PollAdd::new(socket, libc::POLLIN as u32).build();
            self.ring.push_plain(entry.user_data(RECEIVE | connection.0 as u64));
            slot.receiving = Receiving::Polled;
            return;
        }
        let entry = if self.saves {
            let any = self.buffers.any();
            let entry = opcode::Recv::new(socket, any.0, any.1).buf_group(GROUP).build();
            entry.flags(Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(socket, GROUP).build()
        };
        self.ring.push_plain(entry.user_data(RECEIVE | connection.0 as u64));
        slot.receiving = Receiving::On;
    }

    /// Hands over what was pushed, waits at most `timeout` and takes in what the kernel says.
    fn exchange(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut timeout = timeout;
        loop {
            let settled = self.ring.enter(timeout)?;
            let mut completions = std::mem::take(&mut self.completions);
            self.ring.read(&mut completions);
            for completion in completions.drain(..) {
                self.take_in(completion);
            }
            self.completions = completions;
            if settled {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        while let Some(progress) = self.sends.next_quiet(&mut self.ring) {
            self.sent(progress);
        }
        Ok(())
    }

    fn take_in(&mut self, completion: Completion) {
        let number = (completion.mark & !KINDS) as usize;
        match completion.mark & KINDS {
            RECEIVE => self.received(ConnectionId(number), completion),
            SEND => {
                let closing = self
                    .sends
                    .connection(number as u32)
                    .and_then(|connection| self.slots.get(connection.0).map(|slot| slot.closing));
                let sent = match completion.result {
                    _ if closing == Some(true) => None,
                    error if is_passing(error) => Some(0),
                    count => usize::try_from(count).ok(),
                };
                if let Some(it) = self.sends.complete(&mut self.ring, number as u32, sent) {
                    self.sent(it);
                }
            }
            WAKE => {
                self.woken = true;
                if !completion.more {
                    self.watch_waker();
                }
            }
            // A cancelled entry says itself how it ended.
            _ => {}
        }
    }

    /// Takes in that bytes have arrived, or that no more will.
    fn received(&mut self, connection: ConnectionId, completion: Completion) {
        let Completion { result, buffer, more, .. } = completion;
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        let polled = slot.receiving == Receiving::Polled;
        if !more {
            slot.receiving = Receiving::Off;
        }
        match buffer {
            Some(buffer) if slot.closing || result <= 0 => self.buffers.give_back(buffer),
            Some(buffer) => {
                if !slot.inbox.holds_buffers() {
                    self.filled.push(connection);
                    self.events.push(Event::Received(connection));
                }
                slot.inbox.put(&mut self.buffers, buffer, result as u32);
            }
            None => {}
        }
        if slot.closing {
            self.let_go(connection, true);
        } else if polled && result > 0 {
            slot.readable = true;
            self.events.push(Event::Received(connection));
        } else if result == -Errno::NOBUFS.raw_os_error() {
            self.starved.push(connection);
        } else if result == -Errno::CANCELED.raw_os_error() {
            // It was told to stop because nobody took what had come; that may have changed.
            if slot.inbox.is_empty() {
                self.receive_on(connection);
            }
        } else if result <= 0 && !is_passing(result) {
            slot.ended = true;
            self.events.push(Event::Received(connection));
        } else if !more && slot.inbox.is_empty() {
            self.receive_on(connection);
        }
    }

    /// Takes in how far a send came.
    fn sent(&mut self, progress: Progress<O>) {
        let (connection, event) = match progress {
            Progress::UnderWay(connection, place, first) => {
                if self.slots.get(connection.0).is_some_and(|slot| slot.closing) {
                    self.cancel(SEND | u64::from(place));
                } else if first {
                    self.events.push(Event::Delayed(connection));
                }
                return;
            }
            Progress::Done(connection, queue) => (connection, Event::Sent(connection, queue)),
            Progress::Failed(connection) => (connection, Event::Failed(connection)),
        };
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        slot.sending = None;
        slot.failed |= matches!(event, Event::Failed(_));
        if slot.closing {
            self.let_go(connection, true);
        } else {
            self.events.push(event);
        }
    }

    /// Closes a socket that is to be closed, once the kernel has nothing to do with it any more.
    fn let_go(&mut self, connection: ConnectionId, in_wait: bool) {
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        if slot.closing && slot.receiving == Receiving::Off && slot.sending.is_none() {
            *slot = Slot::default();
            let list = if in_wait { &mut self.free } else { &mut self.closed };
            list.push(connection);
        }
    }

    fn cancel(&mut self, mark: u64) {
        self.ring.push_plain(opcode::AsyncCancel::new(mark).build().user_data(CANCEL));
    }

    /// Has the kernel receive no more for a connection into buffers.
    fn stop_receiving(&mut self, connection: ConnectionId) {
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        if slot.receiving == Receiving::On {
            slot.receiving = Receiving::Stopping;
            self.cancel(RECEIVE | connection.0 as u64);
        }
    }

    /// Takes back the buffers of those that did not take what is in them, and stops receiving for
    /// those that let too much come together.
    fn collect_buffers(&mut self) {
        let mut filled = std::mem::take(&mut self.filled);
        let receivers = filled.len();
        let most = if self.saves { 0 } else { RECEIVED_AHEAD_MAX };
        for connection in filled.drain(..) {
            let Some(slot) = self.slots.get_mut(connection.0) else { continue };
            if !slot.inbox.holds_buffers() {
                continue;
            }
            slot.inbox.keep(&mut self.buffers);
            if slot.inbox.len() < most {
                continue;
            }
            slot.floods = !self.saves;
            self.stop_receiving(connection);
        }
        self.filled = filled;
        if !self.starved.is_empty() {
            self.buffers.lend_more(receivers);
        }
        for connection in std::mem::take(&mut self.starved) {
            // One that has much goes on when that is taken.
            if self.slots.get(connection.0).is_some_and(|slot| slot.inbox.len() <= most) {
                self.receive_on(connection);
            }
        }
    }
}

impl<O: Outgoing> Driver<O> for UringDriver<O> {
    type Waker = UringWaker;

    fn waker(&self) -> UringWaker {
        self.waker.clone()
    }

    fn add(&mut self, socket: OwnedFd) -> io::Result<ConnectionId> {
        let connection = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            ConnectionId(self.slots.len() - 1)
        });
        self.slots[connection.0].socket = Some(socket);
        self.receive_on(connection);
        Ok(connection)
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event<O>>) -> io::Result<()> {
        self.free.append(&mut self.closed);
        self.collect_buffers();
        for connection in self.ended.drain(..) {
            if self.slots[connection.0].socket.is_some() {
                self.events.push(Event::Received(connection));
            }
        }
        let waits = self.events.is_empty() && !self.woken;
        self.exchange(if waits { timeout } else { Some(Duration::ZERO) })?;
        events.append(&mut self.events);
        if std::mem::take(&mut self.woken) {
            events.push(Event::Woken);
        }
        Ok(())
    }

    fn receive(&mut self, connection: ConnectionId, buffer: &mut [u8]) -> Received {
        self.receive_into(connection, buffer, &mut [])
    }

    fn receive_into(
        &mut self,
        connection: ConnectionId,
        place: &mut [u8],
        behind: &mut [u8],
    ) -> Received {
        let Some(slot) = self.slots.get_mut(connection.0) else { return Received::Closed };
        if slot.socket.is_none() || slot.closing {
            return Received::Closed;
        }
        let taken = slot.inbox.take(&mut self.buffers, place);
        let place = &mut place[taken..];
        let taken_behind = match place.len() {
            0 => slot.inbox.take(&mut self.buffers, behind),
            _ => 0,
        };
        let behind = &mut behind[taken_behind..];
        let mut count = taken + taken_behind;
        if slot.readable && slot.receiving == Receiving::Off && place.len() + behind.len() > 0 {
            // All that the kernel received was taken, and it does not receive meanwhile.
            count += slot.receive_directly(place, behind, self.buffers.buffer_len());
        } else {
            slot.note_taken(count, self.buffers.buffer_len());
        }
        let (ended, is_empty, readable) = (slot.ended, slot.inbox.is_empty(), slot.readable);
        if slot.leaves_in_socket() {
            self.stop_receiving(connection);
        }
        if is_empty && !readable {
            self.receive_on(connection);
        }
        match count {
            0 if ended => Received::Closed,
            0 => Received::Nothing,
            _ => {
                if ended && is_empty {
                    self.ended.push(connection);
                }
                Received::Bytes(count)
            }
        }
    }

    fn send(&mut self, connection: ConnectionId, queue: O) -> Send<O> {
        let Some(slot) = self.slots.get_mut(connection.0) else { return Send::Failed };
        let Some(socket) = &slot.socket else { return Send::Failed };
        if slot.closing || slot.failed {
            return Send::Failed;
        }
        debug_assert!(slot.sending.is_none(), "one send at a time");
        if queue.is_empty() {
            return Send::Done(queue);
        }
        let socket = socket.as_raw_fd();
        slot.sending = Some(self.sends.begin(&mut self.ring, connection, socket, queue));
        Send::Begun
    }

    fn is_full(&self) -> bool {
        self.sends.quiet_bytes() >= SENDS_GATHERED_MAX
    }

    fn expect_much(&mut self, connection: ConnectionId, much: bool) {
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        slot.expects_much = much;
        if much {
            self.stop_receiving(connection);
        }
    }

    fn received_ahead(&self, connection: ConnectionId) -> usize {
        self.slots.get(connection.0).map_or(0, |slot| slot.inbox.len())
    }

    fn save_memory(&mut self, saves: bool) {
        self.saves = saves;
    }

    fn close(&mut self, connection: ConnectionId) {
        let Some(slot) = self.slots.get_mut(connection.0) else { return };
        if slot.socket.is_none() || slot.closing {
            return;
        }
        slot.closing = true;
        slot.inbox.clear(&mut self.buffers);
        let waits = slot.sending.filter(|&place| self.sends.waits(place));
        if matches!(slot.receiving, Receiving::On | Receiving::Polled) {
            slot.receiving = Receiving::Stopping;
            self.cancel(RECEIVE | connection.0 as u64);
        }
        if let Some(place) = waits {
            self.cancel(SEND | u64::from(place));
        }
        self.let_go(connection, false);
    }
}

/// Whether an error of the kernel's means to try again.
fn is_passing(error: i32) -> bool {
    [Errno::AGAIN, Errno::INTR].iter().any(|it| error == -it.raw_os_error())
}

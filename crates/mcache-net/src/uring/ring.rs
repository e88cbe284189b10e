//! The queues that are shared with the kernel: set up, filled, handed over, read.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use io_uring::register::Restriction;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;

use super::Sizes;

/// `IORING_ENTER_GETEVENTS`: runs what the kernel has put off until somebody asks for events.
const GET_EVENTS: u32 = 1;

/// What a ring does once it is in use, and nothing else: it goes past whatever forbids the process
/// to open and to connect.
const OPERATIONS: [u8; 5] = [
    opcode::Recv::CODE, // that of many receives too
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
];

/// The flags that its entries may have.
const FLAGS: squeue::Flags = squeue::Flags::BUFFER_SELECT.union(squeue::Flags::SKIP_SUCCESS);

/// A submission and a completion queue.
pub(super) struct Ring {
    ring: IoUring,
    /// The ring belongs to the thread that enables it, and it is made by another.
    enabled: bool,
    /// Entries for which there was no room, in order. At most a few per connection.
    backlog: VecDeque<squeue::Entry>,
}

/// What the kernel tells about an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// What the entry was marked with.
    pub(super) mark: u64,
    /// A count, or an error below 0.
    pub(super) result: i32,
    /// The kernel's buffer that was filled, if one was.
    pub(super) buffer: Option<u16>,
    /// More completions of the same entry will follow.
    pub(super) more: bool,
}

impl Ring {
    /// Rings that are not in use yet. An error if the kernel has none, or too old ones, or if
    /// they are forbidden.
    pub(super) fn new(sizes: &Sizes) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_r_disabled()
            .setup_cqsize(sizes.completions)
            .build(sizes.submissions)?;
        let has = ring.params();
        // Nothing is lost when completions overflow, waits end, what an entry points to may go
        // once it was submitted, and sends that went well keep quiet.
        let enough = has.is_feature_nodrop()
            && has.is_feature_ext_arg()
            && has.is_feature_submit_stable()
            && has.is_feature_skip_cqe_on_success();
        if !enough {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel is too old"));
        }
        let flags = Restriction::sqe_flags_allowed(FLAGS.bits());
        let mut allowed: Vec<_> = OPERATIONS.into_iter().map(Restriction::sqe_op).collect();
        allowed.push(flags);
        // They hold from when it is enabled; then nothing can be registered any more either.
        ring.submitter().register_restrictions(&mut allowed)?;
        Ok(Self { ring, enabled: false, backlog: VecDeque::new() })
    }

    /// Lends the kernel a group of buffers, described in `entries` entries at `address`.
    ///
    /// # Safety
    ///
    /// The descriptions and the buffers stay where they are for as long as this ring is.
    pub(super) unsafe fn lend(&self, address: u64, entries: u16, group: u16) -> io::Result<()> {
        // SAFETY: the caller keeps the memory.
        unsafe { self.ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) }
    }

    /// Queues an entry for the next [`Ring::enter`].
    ///
    /// # Safety
    ///
    /// What the entry points to stays where it is, and unchanged, until it has completed.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller keeps what the entry points to.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Queues an entry that points to nothing.
    pub(super) fn push_plain(&mut self, entry: squeue::Entry) {
        // SAFETY: receives into lent buffers, polls and cancellations point to no memory.
        unsafe { self.push(entry) };
    }

    /// Hands the entries over and waits for completions, at most `timeout`. Tells whether all
    /// entries were taken and all completions can be read; if not, read those that can and
    /// enter again.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        self.fill();
        let timeout = if self.backlog.is_empty() { timeout } else { Some(Duration::ZERO) };
        let entries = self.ring.submission().len() as u32;
        match self
            .enter_once(entries, timeout)
            .map_err(|error| Errno::from_io_error(&error).ok_or(error))
        {
            // A wait that ended without completions, or one that has to be tried again.
            Ok(_) | Err(Ok(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN)) => {}
            Err(Ok(error)) => return Err(error.into()),
            Err(Err(error)) => return Err(error),
        }
        let queue = self.ring.submission();
        Ok(queue.is_empty() && !queue.cq_overflow() && self.backlog.is_empty())
    }

    fn enter_once(&self, entries: u32, timeout: Option<Duration>) -> io::Result<usize> {
        let submitter = self.ring.submitter();
        match timeout {
            None => submitter.submit_and_wait(1),
            Some(Duration::ZERO) => {
                // SAFETY: the arguments are the plain ones: all entries, no wait, no signal mask.
                unsafe { submitter.enter::<libc::sigset_t>(entries, 0, GET_EVENTS, None) }
            }
            Some(timeout) => {
                let timeout = Timespec::from(timeout);
                submitter.submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        }
    }

    /// Moves entries from the backlog to the queue.
    fn fill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry keeps what it points to.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Reads the completions that are there.
    pub(super) fn read(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.ring.completion().map(|entry| Completion {
            mark: entry.user_data(),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_in_use_does_what_the_driver_needs_and_no_more() {
        let mut ring = match Ring::new(&Sizes::default()) {
            Ok(ring) => ring,
            Err(error) => return eprintln!("io_uring is not to be had here: {error}"),
        };
        let entries: [(squeue::Entry, i32); 4] = [
            (opcode::AsyncCancel::new(99).build(), -libc::ENOENT),
            (opcode::AsyncCancel::new(99).build().flags(squeue::Flags::ASYNC), -libc::EACCES),
            (opcode::Nop::new().build(), -libc::EACCES),
            (opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(), -libc::EACCES),
        ];
        let mut results = Vec::new();
        for (entry, expected) in entries {
            ring.push_plain(entry);
            ring.enter(Some(Duration::from_secs(1))).unwrap();
            ring.read(&mut results);
            assert_eq!(results.pop().map(|it| it.result), Some(expected));
        }
        let registered = ring.ring.submitter().unregister_files();
        assert_eq!(registered.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }
}

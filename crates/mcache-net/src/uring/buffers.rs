//! Buffers lent to the kernel: it fills one when bytes arrive, whoever they are for, so that a
//! connection has none while nothing arrives. And what each connection has received in them.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use mcache_base::limits::{LENT_BUFFERS_FIRST, RECEIVED_AHEAD_MAX};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::Sizes;
use super::ring::Ring;

/// The group of buffers that receives name.
pub(super) const GROUP: u16 = 0;

/// Bytes between two buffers' ends and beginnings: if all began at the same place of a page, they
/// would all want the same lines of the processor's cache.
const STAGGER: usize = 128;

/// No buffer.
const NONE: u16 = u16::MAX;

/// The buffers, after a ring of their descriptions that the kernel takes them from.
pub(super) struct Buffers {
    memory: NonNull<u8>,
    size: usize,
    /// How many there are, a power of two.
    count: u16,
    /// Those from here on were never lent: nobody needed so many yet, and they have no memory.
    unused: u16,
    /// Bytes of each.
    len: usize,
    /// Descriptions written so far, modulo 2^16.
    tail: u16,
    /// For each buffer with something in it: how many bytes, and the next of its inbox.
    filled: Box<[(u32, u16)]>,
}

// SAFETY: the mapping belongs to this value alone, wherever it goes.
unsafe impl Send for Buffers {}

impl Buffers {
    /// Maps the buffers and lends some of them to the kernel. They have to outlive the ring.
    pub(super) fn new(ring: &Ring, sizes: &Sizes) -> io::Result<Self> {
        let (count, len) = (sizes.buffers, sizes.buffer_len);
        let size = Self::offset(count, count, len);
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping, wherever the system likes.
        let memory = unsafe { mmap_anonymous(ptr::null_mut(), size, protection, flags) }?;
        // What peers send does not belong into a core file. A refusal is no failure.
        // SAFETY: that changes nothing in the mapping.
        let _ = unsafe { madvise(memory, size, Advice::LinuxDontDump) };
        let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let filled = vec![(0, NONE); count.into()].into_boxed_slice();
        let mut buffers = Self { memory, size, count, unused: 0, len, tail: 0, filled };
        // SAFETY: the driver drops the ring before the buffers.
        unsafe { ring.lend(memory.as_ptr() as u64, count, GROUP) }?;
        buffers.lend_up_to(LENT_BUFFERS_FIRST);
        Ok(buffers)
    }

    /// Lends twice as many as before, as far as there are so many: the kernel found none for
    /// `receivers` connections. It takes them in turn, so that all that were ever lent have
    /// memory; so few that send much do not get more, what they send can wait in the socket.
    pub(super) fn lend_more(&mut self, receivers: usize) {
        if receivers * (RECEIVED_AHEAD_MAX / self.len) >= usize::from(self.unused) {
            self.lend_up_to(self.unused.saturating_mul(2));
        }
    }

    fn lend_up_to(&mut self, count: u16) {
        let count = count.min(self.count);
        (self.unused..count).for_each(|buffer| self.lend(buffer));
        self.unused = self.unused.max(count);
    }

    /// Where a buffer begins, behind the descriptions.
    fn offset(buffer: u16, count: u16, len: usize) -> usize {
        usize::from(count) * size_of::<BufRingEntry>() + usize::from(buffer) * (len + STAGGER)
    }

    /// Bytes of each.
    pub(super) fn buffer_len(&self) -> usize {
        self.len
    }

    /// What a receive into one of them is told: no place, and how much each takes.
    pub(super) fn any(&self) -> (*mut u8, u32) {
        (ptr::null_mut(), self.len as u32)
    }

    /// Gives a buffer to the kernel. What was in it is lost.
    fn lend(&mut self, buffer: u16) {
        debug_assert!(buffer < self.count);
        let offset = Self::offset(buffer, self.count, self.len);
        let base = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the place lies within the ring of descriptions, at the front of the mapping,
        // and the kernel reads it only once the tail has passed it; zeros are a description.
        let description = unsafe { &mut *base.add(usize::from(self.tail & (self.count - 1))) };
        description.set_addr(self.memory.as_ptr() as u64 + offset as u64);
        description.set_len(self.len as u32);
        description.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in an unused field of the first description; it is aligned, and
        // both sides access it atomically.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// What the kernel has put into a buffer.
    fn bytes(&self, buffer: u16) -> &[u8] {
        let len = self.filled[usize::from(buffer)].0 as usize;
        debug_assert!(len <= self.len);
        let offset = Self::offset(buffer, self.count, self.len);
        // SAFETY: the buffer lies within the mapping, and it is in an inbox: the kernel does not
        // touch it until it is lent again.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(offset), len.min(self.len)) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the ring is closed, and nothing borrows from the mapping any more. That it fails
        // cannot be helped.
        let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.size) };
    }
}

/// What a connection has received and not yet taken. Its owner clears it before it goes.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Older bytes, copied because they waited for long.
    kept: Option<Box<Kept>>,
    /// A chain of buffers.
    first: u16,
    last: u16,
    /// Bytes of the first buffer that were taken.
    taken: u32,
    /// Bytes in all of it.
    len: usize,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { kept: None, first: NONE, last: NONE, taken: 0, len: 0 };

    /// Whether all was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that were not taken.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds buffers.
    pub(super) fn holds_buffers(&self) -> bool {
        self.first != NONE
    }

    /// Puts in what the kernel has received: `len` bytes, in a buffer.
    pub(super) fn put(&mut self, buffers: &mut Buffers, buffer: u16, len: u32) {
        let Some(filled) = buffers.filled.get_mut(usize::from(buffer)) else { return };
        *filled = (len, NONE);
        self.len += len as usize;
        match self.first {
            NONE => self.first = buffer,
            _ => buffers.filled[usize::from(self.last)].1 = buffer,
        }
        self.last = buffer;
    }

    /// Takes bytes out, as many as there are or `into` holds.
    pub(super) fn take(&mut self, buffers: &mut Buffers, into: &mut [u8]) -> usize {
        let mut count = 0;
        if let Some(kept) = &mut self.kept {
            count = copy(&kept.bytes[kept.taken..], into);
            kept.taken += count;
            self.len -= count;
            if kept.taken < kept.bytes.len() {
                return count;
            }
            self.kept = None;
        }
        while self.first != NONE && count < into.len() {
            let bytes = buffers.bytes(self.first);
            let copied = copy(&bytes[self.taken as usize..], &mut into[count..]);
            count += copied;
            self.taken += copied as u32;
            self.len -= copied;
            if self.taken as usize == bytes.len() {
                self.give_first_back(buffers);
            }
        }
        count
    }

    /// Copies what is in buffers, to give them back.
    pub(super) fn keep(&mut self, buffers: &mut Buffers) {
        let kept = self.kept.get_or_insert_default();
        kept.bytes.drain(..kept.taken);
        kept.taken = 0;
        kept.bytes.reserve_exact(self.len - kept.bytes.len());
        let mut at = self.first;
        while at != NONE {
            let from = if at == self.first { self.taken as usize } else { 0 };
            kept.bytes.extend_from_slice(&buffers.bytes(at)[from..]);
            at = buffers.filled[usize::from(at)].1;
        }
        while self.first != NONE {
            self.give_first_back(buffers);
        }
    }

    /// Throws everything away.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        (self.kept, self.len) = (None, 0);
        while self.first != NONE {
            self.give_first_back(buffers);
        }
    }

    fn give_first_back(&mut self, buffers: &mut Buffers) {
        let buffer = self.first;
        (self.first, self.taken) = (buffers.filled[usize::from(buffer)].1, 0);
        buffers.lend(buffer);
    }
}

impl Buffers {
    /// Gives back a buffer whose bytes nobody wants.
    pub(super) fn give_back(&mut self, buffer: u16) {
        if buffer < self.count {
            self.lend(buffer);
        }
    }
}

/// Copies from the front of `from` to the front of `to`; returns how many bytes.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    to[..count].copy_from_slice(&from[..count]);
    count
}

//! Answers on their way out: small bytes copied, large values by reference.

use std::io::IoSlice;

use mcache_base::limits::{
    OUTPUT_PINS_MAX, OUTPUT_SLACK, VALUE_COPIED_MAX, VALUE_COPIED_UNPINNED_MAX,
};
use mcache_base::{Item, Outgoing, Pin};

/// A queue of answers.
///
/// Invariants: `sent <= bytes.len()`; the pins' positions rise and are at least `sent`;
/// `pin_sent` bytes of the first pin went out, and are 0 unless its position is `sent`.
#[derive(Debug)]
pub struct Output<P> {
    bytes: Vec<u8>,
    sent: usize,
    pins: Vec<(usize, P)>,
    pin_sent: usize,
}

/// A place in an [`Output`] to go back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    bytes: usize,
    pins: usize,
}

impl<P> Default for Output<P> {
    fn default() -> Self {
        Self { bytes: Vec::new(), sent: 0, pins: Vec::new(), pin_sent: 0 }
    }
}

impl<P: Pin> Output<P> {
    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes being gathered, to append to.
    #[inline]
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends an item's value: copied if small, held by reference if large. Returns `false`, and
    /// appends nothing, if it can't be held and is too large to be copied for a reader who may
    /// never read: then it is to be told as a miss.
    #[inline(always)] // with copies where it is called out of line, so that none is needed here
    #[must_use]
    pub fn push_value<I: Item<Pin = P>>(&mut self, item: &I) -> bool {
        let len = item.value_len();
        if len > VALUE_COPIED_MAX {
            return self.push_large(&item.clone());
        }
        let run = item.value_at(0);
        self.bytes.extend_from_slice(run);
        if run.len() < len {
            self.push_from(&item.clone(), run.len());
        }
        true
    }

    #[inline(never)]
    fn push_large<I: Item<Pin = P>>(&mut self, item: &I) -> bool {
        if let Some(pin) = item.pin() {
            self.pins.push((self.bytes.len(), pin));
            return true;
        }
        let is_kept = item.value_len() <= VALUE_COPIED_UNPINNED_MAX;
        if is_kept {
            self.push_from(item, 0);
        }
        is_kept
    }

    /// Copies an item's value from `offset` on.
    #[inline(never)]
    fn push_from<I: Item<Pin = P>>(&mut self, item: &I, mut offset: usize) {
        while offset < item.value_len() {
            let run = item.value_at(offset);
            self.bytes.extend_from_slice(run);
            offset += run.len();
        }
    }

    /// Whether so much waits to be sent that the session should stop serving: `high_water` bytes,
    /// or too many values by reference.
    #[inline]
    pub fn is_full(&self, high_water: usize) -> bool {
        self.bytes.len() - self.sent >= high_water || self.pins.len() >= OUTPUT_PINS_MAX
    }

    /// The end of what has been said so far.
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), pins: self.pins.len() }
    }

    /// Takes back what was said since `mark`, which was made when nothing was being sent.
    pub fn rollback(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.pins.truncate(mark.pins);
    }

    /// Forgets everything but keeps the memory, for the next answers.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.pins.clear();
        self.sent = 0;
        self.pin_sent = 0;
    }

    /// Whether values by reference wait to be sent.
    pub fn is_pinned(&self) -> bool {
        !self.pins.is_empty()
    }

    /// Bytes that wait to be sent, values by reference included.
    pub fn unsent(&self) -> usize {
        let pinned: usize = self.pins.iter().map(|(_, pin)| pin.len()).sum();
        self.bytes.len() - self.sent + pinned - self.pin_sent
    }

    /// Most memory that is held while what is left is being sent; what values by reference take
    /// is the store's.
    pub fn held(&self) -> usize {
        self.bytes.capacity().min(kept(self.bytes.len() - self.sent))
    }

    /// Memory held for bytes that are to be sent.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Memory that may stay held for so many bytes.
fn kept(bytes: usize) -> usize {
    2 * bytes + OUTPUT_SLACK
}

impl<P: Pin> Outgoing for Output<P> {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.sent;
        let mut value_from = self.pin_sent;
        for (position, pin) in &self.pins {
            if at < *position && filled < slices.len() {
                slices[filled] = IoSlice::new(&self.bytes[at..*position]);
                filled += 1;
                at = *position;
            }
            while value_from < pin.len() && filled < slices.len() {
                let run = pin.value_at(value_from);
                if run.is_empty() {
                    return filled; // of this value no more is held now
                }
                slices[filled] = IoSlice::new(run);
                filled += 1;
                value_from += run.len();
            }
            if filled == slices.len() {
                return filled;
            }
            value_from = 0;
        }
        if at < self.bytes.len() && filled < slices.len() {
            slices[filled] = IoSlice::new(&self.bytes[at..]);
            filled += 1;
        }
        filled
    }

    fn is_partial(&self) -> bool {
        self.pins.iter().any(|(_, pin)| pin.is_partial())
    }

    fn advance(&mut self, mut n: usize) {
        let mut done_pins = 0;
        for (position, pin) in &mut self.pins {
            let step = n.min(*position - self.sent);
            self.sent += step;
            n -= step;
            if self.sent < *position {
                break;
            }
            let step = n.min(pin.len() - self.pin_sent);
            self.pin_sent += step;
            n -= step;
            if self.pin_sent < pin.len() {
                pin.move_to(self.pin_sent);
                break;
            }
            self.pin_sent = 0;
            done_pins += 1;
        }
        self.pins.drain(..done_pins);
        self.sent += n;
        debug_assert!(self.sent <= self.bytes.len(), "advanced past the end");
        if Outgoing::is_empty(self) {
            self.clear();
        }
    }

    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len() && self.pins.is_empty()
    }

    fn shrink(&mut self) {
        if self.bytes.capacity() <= kept(self.bytes.len() - self.sent) {
            return; // moving the bytes would gain little
        }
        self.bytes.drain(..self.sent);
        self.bytes.shrink_to_fit();
        self.pins.iter_mut().for_each(|(position, _)| *position -= self.sent);
        self.sent = 0;
    }
}

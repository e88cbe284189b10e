//! Bytes on their way to a socket, as a driver sees them.

use std::io::IoSlice;

/// A queue of bytes that a driver sends: gathered into slices, then advanced by what went out.
pub trait Outgoing {
    /// Fills `slices` from the front of the queue; returns how many were filled: all of them, or
    /// as many as the whole queue takes. Fewer if the queue is [partial](Self::is_partial);
    /// none although it is not empty if its front is gone, and it cannot be sent.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize;

    /// Whether more may be had once that was sent which can be had now.
    fn is_partial(&self) -> bool {
        false
    }

    /// Drops the first `n` bytes: they were sent. `n` is at most what was gathered.
    fn advance(&mut self, n: usize);

    /// Whether everything was sent.
    fn is_empty(&self) -> bool;

    /// Gives memory back that what is left does not need: sending has come to a stop.
    fn shrink(&mut self) {}
}

impl<O: Outgoing + ?Sized> Outgoing for Box<O> {
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        (**self).gather(slices)
    }

    fn is_partial(&self) -> bool {
        (**self).is_partial()
    }

    fn advance(&mut self, n: usize) {
        (**self).advance(n);
    }

    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }

    fn shrink(&mut self) {
        (**self).shrink();
    }
}

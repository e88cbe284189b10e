//! Wakes a driver that waits for completions.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use crate::driver::Wake;

/// Interrupts a [`super::UringDriver`]'s wait.
#[derive(Clone, Debug)]
pub struct UringWaker(Arc<OwnedFd>);

impl UringWaker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wake for UringWaker {
    fn wake(&self) {
        // Every write is an event. It fails only when 2^64 of them were never read; the counter is
        // emptied then, and the next one is an event again.
        if rustix::io::write(&*self.0, &1u64.to_ne_bytes()).is_err() {
            let _ = rustix::io::read(&*self.0, &mut [0; 8]);
            let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
        }
    }
}

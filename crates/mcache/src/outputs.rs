//! Output queues at rest: a connection holds none while it has nothing to say.

use mcache_base::limits::OUTPUTS_KEPT_MAX;
use mcache_base::{Outgoing, Pin};
use mcache_protocol::Output;

/// A queue of answers on its way through the server, cheap to move.
pub type Answers<P> = Box<Output<P>>;

/// Empty queues that wait for the next answers.
pub struct Outputs<P> {
    kept: Vec<Answers<P>>,
    /// Bytes of memory that they hold.
    bytes: usize,
}

impl<P: Pin> Outputs<P> {
    /// An empty queue.
    pub fn take(&mut self) -> Answers<P> {
        let Some(queue) = self.kept.pop() else { return Box::default() };
        self.bytes -= queue.capacity();
        queue
    }

    /// Keeps an empty queue, unless enough memory is kept.
    pub fn keep(&mut self, queue: Answers<P>) {
        debug_assert!(queue.is_empty(), "answers were not sent");
        let capacity = queue.capacity();
        if capacity > 0 && self.bytes + capacity <= OUTPUTS_KEPT_MAX {
            self.bytes += capacity;
            self.kept.push(queue);
        }
    }
}

impl<P> Default for Outputs<P> {
    fn default() -> Self {
        Self { kept: Vec::new(), bytes: 0 }
    }
}

//! What a policy is asked when segments are emptied.

/// Queues of segments that a policy may tell apart.
pub const QUEUES: usize = 2;

/// An item of a segment that is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The hash of its key.
    pub hash: u64,
    /// The queue that its segment belongs to.
    pub queue: usize,
    /// How often it was fetched lately, 0 to 3.
    pub frequency: u32,
    /// Fetched at least once since it was stored.
    pub fetched: bool,
    /// Seconds since it was last fetched or stored.
    pub idle_s: u64,
    /// Bytes that it takes.
    pub size: usize,
}

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves.
    Drop,
    /// It is moved to the end of a queue.
    Keep {
        /// The queue.
        queue: usize,
        /// The frequency it goes on with.
        frequency: u32,
    },
}

/// Which segment is emptied next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of this queue, if it has any.
    pub queue: usize,
    /// The newest instead of the oldest.
    pub newest: bool,
}

/// Who leaves when segments are emptied. Judges; never moves memory.
pub trait SegmentPolicy: Send {
    /// Which segment is emptied next, given how many full ones each queue has.
    fn choose(&mut self, lengths: [usize; QUEUES]) -> Choice;

    /// What becomes of an item of that segment.
    fn judge(&mut self, candidate: &Candidate) -> Verdict;

    /// An item that was judged, or found no room to be kept in, has left its queue.
    fn dropped(&mut self, _hash: u64, _queue: usize) {}
}

/// Two queues (S3-FIFO, SOSP '23, by segments): new items pass through a short one, and those
/// that were fetched there live in a long one.
#[derive(Default)]
pub(super) struct TwoQueues;

impl SegmentPolicy for TwoQueues {
    fn choose(&mut self, [short, long]: [usize; QUEUES]) -> Choice {
        let queue = usize::from(short * 10 <= long);
        Choice { queue, newest: false }
    }

    fn judge(&mut self, candidate: &Candidate) -> Verdict {
        match candidate.frequency {
            0 => Verdict::Drop,
            frequency => {
                let frequency = if candidate.queue == 0 { 0 } else { frequency - 1 };
                Verdict::Keep { queue: 1, frequency }
            }
        }
    }
}

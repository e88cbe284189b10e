//! What a policy is asked where items lie in segments: which segment is emptied next, and which
//! of its items are worth being copied out of it.

use std::sync::Arc;

/// Queues of segments that a policy may tell apart.
pub const QUEUES: usize = 2;

/// Highest frequency that a record tells apart.
pub const FREQUENCY_MAX: u32 = 3;

/// What a record says about its item's past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The queue that its segment belongs to.
    pub queue: usize,
    /// Fetches since the record was written, up to [`FREQUENCY_MAX`].
    pub frequency: u32,
    /// A level of [`super::scale`], given when the record is written.
    pub heat: u32,
}

/// The store as a policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Bytes that the store may take.
    pub capacity: u64,
    /// The byte clock: bytes that stores have filled, copies excluded.
    pub written: u64,
    /// Items there are.
    pub items: u64,
    /// Bytes of a segment.
    pub segment_size: usize,
    /// Full segments of each queue.
    pub lengths: [usize; QUEUES],
}

/// An item of a segment that is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The hash of its key.
    pub hash: u64,
    /// Its past.
    pub standing: Standing,
    /// By how much the byte clock went on since its segment was opened.
    pub age: u64,
    /// Bytes that it takes.
    pub size: usize,
}

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves.
    Drop,
    /// It is moved to the end of a queue, and goes on with this.
    Keep(Standing),
}

/// Which segment of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that was filled first.
    Oldest,
    /// The one that was filled last.
    Newest,
    /// The one with this number, from the oldest on.
    At(usize),
}

/// Which segment is emptied next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Of this queue, if it has any.
    pub queue: usize,
    /// This one, or the next that is not held still.
    pub place: Place,
}

/// Who leaves when segments are emptied. Judges; never moves memory. Works under one lock.
///
/// However often all items are judged without a fetch in between, the policy drops some in the
/// end: otherwise there would be no room.
pub trait SegmentPolicy: Send {
    /// The part that all threads ask when they store.
    fn admission(&self) -> Arc<dyn Admission> {
        Arc::new(Plain)
    }

    /// Which segment is emptied next.
    fn choose(&mut self, view: &View) -> Choice;

    /// What becomes of an item of that segment.
    fn judge(&mut self, candidate: &Candidate) -> Verdict;

    /// The item that was judged last has left.
    fn dropped(&mut self, _candidate: &Candidate) {}

    /// A chosen segment of this queue was emptied, and so many bytes of its items were kept.
    fn emptied(&mut self, _view: &View, _queue: usize, _kept: usize) {}
}

/// What is asked when an item is stored whose key is not there. Called by many threads.
pub trait Admission: Send + Sync {
    /// What the item begins with, at a time of the byte clock.
    fn admit(&self, hash: u64, size: usize, written: u64) -> Standing;

    /// Bytes of memory that this needs, as part of the store's capacity.
    fn bytes(&self) -> u64 {
        0
    }
}

/// All items begin alike.
#[derive(Debug)]
pub(super) struct Plain;

impl Admission for Plain {
    fn admit(&self, _hash: u64, _size: usize, _written: u64) -> Standing {
        Standing::default()
    }
}

//! Where items live: the wing of memory. Knows neither protocol nor sockets.
//!
//! `semantics` says what an operation means for an item; the engines differ only in where items
//! live and who is locked meanwhile: `segment` is the one to use, `simple` the model of every test.

pub mod engine;
pub mod eviction;
mod flush;
mod groups;
pub mod hash;
mod observer;
pub mod segment;
pub mod semantics;
mod sequence;
mod simple;
mod tally;

pub use engine::{Access, EngineOptions, Reservation, SizeLimit, StorageEngine};
pub use groups::TooManyGroups;
pub use observer::{Evicted, Observed, Observer};
pub use segment::{
    AfterReboot, Boot, CAPACITY_MIN as SEGMENT_CAPACITY_MIN, Cold, MemoryFile, MemoryFileError,
    Recovery, SegmentStorageEngine,
};
pub use simple::{Arriving, Blob, Held, SimpleStorageEngine};

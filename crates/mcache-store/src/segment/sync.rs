//! The atomics and locks of the parts that loom explores. tests/loom.rs compiles those parts with
//! loom's in this module's place.

pub use std::hint::spin_loop;
pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
pub use std::sync::{Arc, Mutex, MutexGuard};
pub use std::thread::yield_now;

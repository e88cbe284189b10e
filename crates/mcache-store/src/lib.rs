//! Where items live: the wing of memory. Knows neither protocol nor sockets.

pub mod engine;
pub mod eviction;

pub use engine::{EngineOptions, Reservation, StorageEngine};

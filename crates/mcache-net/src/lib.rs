//! Sockets and readiness: the wing of motion. Knows neither protocol nor store.

pub mod driver;

//! Sockets and readiness: the wing of motion. Knows neither protocol nor store.

pub mod driver;
pub mod epoll;
pub mod socket;

pub use driver::{ConnectionId, Driver, Event, Received, Send, Wake};
pub use epoll::EpollDriver;
pub use socket::{ListenAddress, Listener};

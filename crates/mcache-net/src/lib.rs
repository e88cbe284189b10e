//! Sockets and readiness: the wing of motion. Knows neither protocol nor store.

pub mod choice;
pub mod driver;
pub mod epoll;
pub mod handover;
pub mod inherited;
pub mod listeners;
pub mod socket;
pub mod udp;
pub mod uring;

pub use choice::{Chosen, Io};
pub use driver::{ConnectionId, Driver, Event, Received, Send, Wake};
pub use epoll::EpollDriver;
pub use handover::{Channel, HandoverListener, Message};
pub use inherited::{Inherited, Kept};
pub use listeners::{Accepted, Listeners};
pub use socket::ListenAddress;
pub use uring::UringDriver;

//! Where a transcript can be played: something that connections can be opened to.

use std::time::Duration;

use crate::TOPICS;
use crate::transcript::Server;

/// A kind of server, ready to be started as often as there are transcripts.
pub trait House: Sync {
    /// What reports call it.
    fn name(&self) -> String;

    /// Which program it is, so that its known differences can be found.
    fn server(&self) -> Server;

    /// The directories of conformance/ that can be played here.
    fn topics(&self) -> &'static [&'static str] {
        TOPICS
    }

    /// The ways in which requests are fed to it, one playing for each.
    fn feeds(&self) -> &'static [Feed] {
        &[Feed::Whole, Feed::Bytes]
    }

    /// Starts a fresh one. `Ok(None)` if it cannot have these options.
    fn start(&self, options: &[String]) -> Result<Option<Box<dyn Started>>, String>;
}

/// How the bytes of a request are fed to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// At once.
    Whole,
    /// One by one. Of a very long request the two ends; what is between in odd pieces.
    Bytes,
}

/// A started server; dropping it stops it.
pub trait Started {
    /// Opens a connection.
    fn connect(&mut self) -> Result<Box<dyn Connection>, String>;

    /// Lets time pass. False if so much cannot be waited for.
    fn advance(&mut self, time: Duration) -> bool;
}

/// An open connection.
pub trait Connection {
    /// Sends bytes. That the server has closed is not an error here: the answers will tell.
    fn send(&mut self, bytes: &[u8]);

    /// Tells the server that no more will be sent.
    fn hang_up(&mut self);

    /// Waits for the server, at most so long.
    fn receive(&mut self, patience: Duration) -> Received;
}

/// What came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// The end of the connection.
    Closed,
    /// Nothing, in the time given.
    Silence,
}

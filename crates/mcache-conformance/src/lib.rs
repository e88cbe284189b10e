//! Transcripts of conversations with a cache server, and the houses they are played in.
//!
//! A transcript (conformance/README.md describes the format) says what a client sends and what
//! the server must answer, byte for byte. The same transcripts are played against real
//! memcached, which proves them, and against mcache in memory and over real sockets.

mod datagrams;
pub mod frame;
mod house;
mod memory;
mod pattern;
mod play;
mod process;
pub mod tls;
mod transcript;

use std::path::{Path, PathBuf};

pub use house::{Connection, Feed, House, Received, Started};
pub use memory::{Memory, Quiet, memory_houses};
pub use play::{Report, play, play_all};
pub use process::{Program, Serving, Transport, uninterrupted, wait_for};
pub use transcript::{Server, Transcript};

/// The directories of conformance/ whose transcripts are conversations over a stream.
pub const TOPICS: &[&str] = &["text", "meta", "binary"];

/// Those whose transcripts are datagrams.
pub const DATAGRAM_TOPICS: &[&str] = &["udp"];

/// The transcripts of the project: `topic` is a directory of conformance/.
pub fn transcripts(topic: &str) -> Result<Vec<Transcript>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance").join(topic);
    let entries = root.read_dir().map_err(|error| format!("{}: {error}", root.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files.iter().map(|file| Transcript::read(file)).collect()
}

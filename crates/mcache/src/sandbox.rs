//! `-o drop_privileges`: the process shut in by the kernel once everything is open, so that whoever
//! gets to run code in it finds no door: landlock for files and connections, seccomp for system
//! calls. docs/decisions/0012-sandbox.md has the reasons.

mod files;
mod system_calls;

use std::io;

pub use self::files::Files;

/// What holds a process that was shut in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// How much of landlock the kernel has: `full`, `partial` (an older kernel: what it does not
    /// know it does not forbid) or `none`.
    pub landlock: &'static str,
}

/// Shuts in the calling thread and all that it starts from now on; the process is to have no other.
/// There is no way back. An error is that the kernel has no seccomp filters: then nothing that
/// matters would hold. Without landlock it goes on, and says so.
pub fn enter(files: &Files) -> io::Result<InForce> {
    let landlock = files.confine()?;
    system_calls::confine()?;
    Ok(InForce { landlock })
}

//! What a thread's work took: wall time, and the CPU time that the system charged it.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

/// Both clocks at a moment of one thread.
pub struct Reading {
    wall: Instant,
    cpu_ns: u64,
}

/// What passed between two readings, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// On the wall.
    pub wall_ns: u64,
    /// That the thread was running.
    pub cpu_ns: u64,
}

impl Reading {
    /// Both clocks now.
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::ThreadCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        Self { wall: Instant::now(), cpu_ns }
    }

    /// What passed since, in this thread.
    pub fn passed(&self) -> Passed {
        let wall_ns = self.wall.elapsed().as_nanos() as u64;
        Passed { wall_ns, cpu_ns: Self::now().cpu_ns - self.cpu_ns }
    }
}

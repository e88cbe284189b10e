//! What a process takes of memory and processors, as the system tells it.

use std::fs;
use std::io;
use std::process::Child;

/// What it is now, in bytes.
pub fn resident(process: &Child) -> io::Result<u64> {
    row(process, "VmRSS:")
}

/// What the system has charged to its threads, in user and system time, in nanoseconds.
pub fn cpu_ns(process: &Child) -> io::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", process.id()))? {
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// The most that it ever was, in bytes.
pub fn peak(process: &Child) -> io::Result<u64> {
    row(process, "VmHWM:")
}

fn row(process: &Child, name: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.map(|it| it * 1024).ok_or_else(|| io::Error::other(format!("no {name}")))
}

//! THE TABLE OF SYSTEM CALLS that a process which is shut in still has: seccomp.
//!
//! What is not listed fails as if the kernel did not have it, so that a libc that asks for
//! something newer takes the older way (`clone3` cannot be looked into, so it has to be `clone`).
//! What only somebody wants who has broken in ends the process.
//!
//! io_uring does what it is told past this table: so no new ring can be made, and those that are
//! there only receive, send, poll and cancel (mcache-net, uring/ring.rs).

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
    apply_filter,
};

/// Allowed, whatever their arguments.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Connections: those that come.
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_shutdown, libc::SYS_close,
    libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_recvmmsg,
    libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg,
    libc::SYS_getsockopt, libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername,
    libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_ppoll, libc::SYS_io_uring_enter,
    // Files: those that are open, and those that landlock leaves.
    libc::SYS_read, libc::SYS_readv, libc::SYS_pread64, libc::SYS_preadv,
    libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_pwritev,
    libc::SYS_lseek, libc::SYS_fcntl, libc::SYS_flock, libc::SYS_fsync, libc::SYS_fdatasync,
    libc::SYS_ftruncate, libc::SYS_fallocate, libc::SYS_fstatfs,
    libc::SYS_openat, libc::SYS_unlinkat, libc::SYS_fstat, libc::SYS_newfstatat, libc::SYS_statx,
    libc::SYS_readlinkat, libc::SYS_getcwd,
    // Memory; mmap and mprotect have rows below.
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_madvise, libc::SYS_msync,
    libc::SYS_mincore,
    // Threads and signals; clone and tgkill have rows below.
    libc::SYS_futex, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_set_robust_list,
    libc::SYS_set_tid_address, libc::SYS_rseq, libc::SYS_membarrier, libc::SYS_gettid,
    libc::SYS_getpid, libc::SYS_sched_yield, libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity, libc::SYS_sigaltstack, libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_restart_syscall,
    // Time, chance and what is reported.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep, libc::SYS_gettimeofday, libc::SYS_getrandom, libc::SYS_getrusage,
];

/// The same by the names that only the first 64-bit architecture has.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_OLD: &[c_long] = &[
    libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_open, libc::SYS_unlink, libc::SYS_stat,
    libc::SYS_lstat, libc::SYS_readlink, libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// Allowed with these arguments: the call, the argument's place, and the bits that it has to have
/// under a mask.
const ALLOWED_SO: &[(c_long, u8, u64, u64)] = &[
    // A thread, not a process.
    (libc::SYS_clone, 0, THREAD, THREAD),
    // Memory that is not run.
    (libc::SYS_mmap, 2, EXECUTABLE, 0),
    (libc::SYS_mprotect, 2, EXECUTABLE, 0),
    // A ring that is there is taken into use.
    (libc::SYS_io_uring_register, 1, ALL, ENABLE_RINGS),
    (libc::SYS_ioctl, 1, ALL, libc::FIONBIO),
    (libc::SYS_ioctl, 1, ALL, libc::FIONREAD),
    (libc::SYS_ioctl, 1, ALL, libc::TCGETS),
    // A thread's name.
    (libc::SYS_prctl, 0, ALL, libc::PR_SET_NAME as u64),
    // To look, not to set.
    (libc::SYS_prlimit64, 2, u64::MAX, 0),
];

/// What ends the process: nothing in the server asks for it.
#[rustfmt::skip]
const DEADLY: &[c_long] = &[
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace,
    libc::SYS_process_vm_readv, libc::SYS_process_vm_writev,
    libc::SYS_socket, libc::SYS_connect, libc::SYS_bind, libc::SYS_io_uring_setup,
    libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot,
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_kexec_load, libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd,
];

#[cfg(target_arch = "x86_64")]
const DEADLY_OLD: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const DEADLY_OLD: &[c_long] = &[];

const THREAD: u64 = libc::CLONE_THREAD as u64;
const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
/// All that the kernel looks at of an argument of 32 bits.
const ALL: u64 = u32::MAX as u64;
/// `IORING_REGISTER_ENABLE_RINGS`.
const ENABLE_RINGS: u64 = 12;

/// Leaves the calling thread, and those that it starts, only the system calls of this table.
pub(super) fn confine() -> io::Result<()> {
    let filters = deadly().and_then(|deadly| Ok([deadly, allowed()?]));
    let filters = filters.map_err(|error| io::Error::other(format!("seccomp: {error}")))?;
    // The stricter word counts, so what ends the process does so though it is not allowed either.
    filters.iter().try_for_each(|filter| apply_filter(filter)).map_err(|error| match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => {
            io::Error::new(error.kind(), format!("seccomp: {error}"))
        }
        error => io::Error::other(format!("seccomp: {error}")),
    })
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn allowed() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = anyhow(&[ALLOWED, ALLOWED_OLD]);
    let itself = u64::from(std::process::id());
    for &(call, place, mask, bits) in ALLOWED_SO.iter().chain(&[(libc::SYS_tgkill, 0, ALL, itself)])
    {
        rules.entry(call).or_default().push(rule(place, mask, bits)?);
    }
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    program(rules, unknown, SeccompAction::Allow)
}

fn deadly() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = anyhow(&[DEADLY, DEADLY_OLD]);
    rules.insert(libc::SYS_clone, vec![rule(0, THREAD, 0)?]);
    program(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// Calls whatever their arguments.
fn anyhow(lists: &[&[c_long]]) -> Rules {
    lists.iter().copied().flatten().map(|&call| (call, Vec::new())).collect()
}

fn rule(place: u8, mask: u64, bits: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    let (width, how) = if mask == ALL { (Dword, Eq) } else { (Qword, MaskedEq(mask)) };
    SeccompRule::new(vec![SeccompCondition::new(place, width, how, bits)?])
}

fn program(
    rules: Rules,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let here = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, listed, here)?.try_into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_deadly() {
        let allowed = anyhow(&[ALLOWED, ALLOWED_OLD]);
        let deadly = anyhow(&[DEADLY, DEADLY_OLD]);
        assert!(allowed.keys().all(|call| !deadly.contains_key(call)));
        assert!(ALLOWED_SO.iter().all(|(call, ..)| !allowed.contains_key(call)));
        assert_eq!(allowed.len(), ALLOWED.len() + ALLOWED_OLD.len(), "a call is listed twice");
        assert_eq!(deadly.len(), DEADLY.len() + DEADLY_OLD.len(), "a call is listed twice");
    }
}

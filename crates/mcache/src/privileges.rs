//! What the process may do: whom it runs as, and how much of the system it may take.

use std::fs;
use std::io;

use mcache_store::SegmentStorageEngine;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, User, geteuid, getuid, setgid, setgroups, setuid};
use rustix::mm::{MlockAllFlags, mlockall};

use crate::failure::{Failure, NO_USER};
use crate::options::ServerOptions;
use crate::settings::{Habits, Settings};

/// Where the system says whether it has huge pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Takes what the server needs and gives up the rest. The options come back with the number of
/// connections that there is room for.
pub fn take(settings: &Settings, mut options: ServerOptions) -> Result<ServerOptions, Failure> {
    if settings.core_dumps {
        core_dumps()?;
    }
    options.connections_max = open_files(options.connections_max, options.descriptors())?;
    become_user(settings)?;
    Ok(options)
}

/// Becomes the user of `-u`, if started as root; says what it thinks of staying root.
fn become_user(settings: &Settings) -> Result<(), Failure> {
    let Some(name) = settings.user.as_deref() else {
        return match settings.habits {
            _ if !is_root() => Ok(()),
            Habits::Memcached => Err(Failure::usage("must add '-u root' to start as root")),
            Habits::Mcache => {
                tracing::warn!("running as root: -u USER would give up its rights");
                Ok(())
            }
        };
    };
    if !is_root() {
        tracing::debug!(user = name, "-u changes nothing: not started as root");
        return Ok(());
    }
    let user = User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| Failure::new(NO_USER, format!("can't find the user {name} to switch to")))?;
    match setgroups(&[]) {
        // Not allowed to: so the process had few rights from the beginning.
        Err(Errno::EPERM) => tracing::warn!("could not give up supplementary groups"),
        Err(error) => {
            return Err(Failure::system(format!("failed to drop supplementary groups: {error}")));
        }
        Ok(()) => {}
    }
    setgid(user.gid).and_then(|()| setuid(user.uid)).map_err(|error| {
        Failure::system(format!("failed to assume identity of user {name}: {error}"))
    })
}

/// Makes room for `wanted` connections beside `own` descriptors of the server itself. Returns how
/// many there is room for: fewer, with a warning, if the system does not allow more.
fn open_files(wanted: usize, own: usize) -> Result<usize, Failure> {
    let refused = |error: Errno| Failure::system(format!("limit on open files: {error}"));
    let needed = (wanted + own) as u64;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(refused)?;
    if soft >= needed {
        return Ok(wanted);
    }
    if setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed)).is_ok() {
        return Ok(wanted);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(refused)?;
    let granted = usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(own);
    if granted == 0 {
        let mistake = format!("{hard} open files are allowed, {own} needed without a connection");
        return Err(Failure::system(mistake));
    }
    tracing::warn!("room for {granted} connections, not {wanted}: {hard} open files are allowed");
    Ok(granted)
}

/// Lets the process leave a core file of any size, or as large as the system allows.
fn core_dumps() -> Result<(), Failure> {
    let raise = |hard| setrlimit(Resource::RLIMIT_CORE, hard, hard);
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap_or_default();
    let raised = raise(RLIM_INFINITY).or_else(|_| raise(hard));
    if raised.is_err() || (hard == 0 && raise(RLIM_INFINITY).is_err()) {
        return Err(Failure::system("failed to ensure corefile creation"));
    }
    Ok(())
}

/// Keeps the process's memory, present and future, from being paged out. A refusal is no failure.
pub fn lock_memory() {
    // As it is touched: more address space is reserved than memory will ever be used.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(flags) {
        tracing::warn!("-k has no effect: mlockall: {error}");
    }
}

/// Why address space for the items could not be had, if a limit of the process is the reason.
pub fn explain_memory(error: io::Error) -> io::Error {
    match getrlimit(Resource::RLIMIT_AS) {
        Ok((limit, _)) if limit != RLIM_INFINITY => {
            let mistake = format!(
                "{error}: address space is reserved for as much memory as may be asked for later, \
                 some 16 GB or more; the limit is {limit} bytes (ulimit -v)"
            );
            io::Error::new(error.kind(), mistake)
        }
        _ => error,
    }
}

/// Keeps items in huge pages, if the system allows. A refusal is no failure.
pub fn use_huge_pages(engine: &SegmentStorageEngine) {
    let allowed = match fs::read_to_string(HUGE_PAGES) {
        Ok(modes) if modes.contains("[never]") => Err("switched off".into()),
        Ok(_) => engine.use_huge_pages().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = allowed {
        tracing::warn!("-L has no effect: transparent huge pages: {why}");
    }
}

fn is_root() -> bool {
    let root = Uid::from_raw(0);
    getuid() == root || geteuid() == root
}

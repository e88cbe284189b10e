//! What the process may do: whom it runs as, and how much of the system it may take.

use std::fs;
use std::io;

use std::path::Path;

use mcache_net::ListenAddress;
use mcache_session::Authentication;
use mcache_store::SegmentStorageEngine;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::{Uid, User, geteuid, getuid, setgid, setgroups, setuid};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use crate::failure::{Failure, NO_USER};
use crate::options::ServerOptions;
use crate::sandbox::{self, Files};
use crate::settings::{Habits, Settings};

/// Where the system says whether it has huge pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Takes what the server needs and gives up the rest. The options come back with the number of
/// connections that there is room for.
pub fn take(settings: &Settings, mut options: ServerOptions) -> Result<ServerOptions, Failure> {
    let dumpable = core_dumps(settings)?;
    options.connections_max = open_files(options.connections_max, options.descriptors())?;
    empty_bounding_set(); // while it may
    become_user(settings)?;
    // Last: whoever becomes another user is made not dumpable by the system.
    set_dumpable_behavior(dumpable)
        .map_err(|error| Failure::system(format!("core files: {error}")))?;
    Ok(options)
}

/// What a server still needs once everything is open. Until then it keeps what it was started with.
pub struct Needs {
    capabilities: CapabilitySet,
    /// With `-k`.
    lock_memory: bool,
    /// With `-o drop_privileges`.
    shut_in: Option<Files>,
}

impl Needs {
    /// Those of a server that listens here and has this pid file.
    pub fn of<'a>(
        settings: &'a Settings,
        addresses: impl Iterator<Item = &'a ListenAddress>,
        pid_file: Option<&'a Path>,
    ) -> Self {
        let mut capabilities = CapabilitySet::empty();
        if settings.lock_memory {
            capabilities |= CapabilitySet::IPC_LOCK; // for memory that is taken later
        }
        if !settings.drop_privileges {
            // Root goes on reading certificates, and removing files from directories, that belong
            // to others.
            capabilities |= CapabilitySet::DAC_OVERRIDE;
        }
        let sockets = addresses.filter_map(|address| match address {
            ListenAddress::Unix { path, .. } => Some(path.as_path()),
            ListenAddress::Tcp(_) | ListenAddress::Udp(_) => None,
        });
        let shut_in = settings.drop_privileges.then(|| {
            // A pid file is read before it is removed: it may be another's by then.
            let read = settings.files_read_again().chain(pid_file);
            Files::new(read, sockets.chain(pid_file))
        });
        Self { capabilities, lock_memory: settings.lock_memory, shut_in }
    }

    /// Gives up all else, for the calling thread and those that it starts: the process is to have
    /// no other. An error is that `-o drop_privileges` cannot be had.
    pub fn keep_only(&self) -> io::Result<()> {
        if self.lock_memory {
            lock_memory();
        }
        match (drop_capabilities(self.capabilities), &self.shut_in) {
            (Ok(()), _) => {}
            (Err(error), None) => tracing::warn!("could not give up rights: {error}"),
            (Err(error), Some(_)) => return Err(error.into()),
        }
        let Some(files) = &self.shut_in else { return Ok(()) };
        let at_fault = |error| io::Error::other(format!("-o drop_privileges: {error}"));
        let in_force = sandbox::enter(files).map_err(at_fault)?;
        if in_force.landlock == "full" {
            tracing::info!("shut in: seccomp, landlock");
        } else {
            let landlock = in_force.landlock;
            tracing::warn!(landlock, "shut in: seccomp; files and connections as the kernel can");
        }
        Ok(())
    }
}

/// Gives up the capabilities that programs which are started from here could gain: there are none.
fn empty_bounding_set() {
    let mut all = (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    // An error: the kernel knows no more of them, or the process had few rights from the start.
    let _ = all.try_for_each(remove_capability_from_bounding_set);
}

/// Gives up all capabilities but these, and that a program started from here could gain rights.
fn drop_capabilities(keep: CapabilitySet) -> rustix::io::Result<()> {
    let has = capabilities(None)?;
    let keep = has.permitted & keep;
    let left =
        CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    if has != left {
        set_capabilities(None, left)?;
    }
    set_no_new_privs(true)
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

/// With `-r` lets the process leave a core file of any size, or as large as the system allows; else
/// none at all. Returns what the system is to be told at the end.
fn core_dumps(settings: &Settings) -> Result<DumpableBehavior, Failure> {
    let limit = |soft, hard| setrlimit(Resource::RLIMIT_CORE, soft, hard);
    if !settings.core_dumps {
        let refused = |error| Failure::system(format!("limit on core files: {error}"));
        limit(0, 0).map_err(refused)?;
        // A program that takes core files in a pipe gets them whatever the limit is.
        return Ok(DumpableBehavior::NotDumpable);
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap_or_default();
    let raised = limit(RLIM_INFINITY, RLIM_INFINITY).or_else(|_| limit(hard, hard));
    if raised.is_err() || (hard == 0 && limit(RLIM_INFINITY, RLIM_INFINITY).is_err()) {
        return Err(Failure::system("failed to ensure corefile creation"));
    }
    if settings.tls || settings.authentication() != Authentication::None {
        tracing::warn!("-r: core files may have the private key and password hashes in them");
    }
    Ok(DumpableBehavior::Dumpable)
}

/// Keeps the process's memory, present and future, from being paged out. A refusal is no failure:
/// so all address space has to be there, or it would be refused later.
fn lock_memory() {
    // As it is touched: more address space is reserved than memory will ever be used.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let Err(error) = mlockall(flags) else { return };
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((limit, _)) if limit != RLIM_INFINITY => tracing::warn!(
            "-k has no effect: {limit} bytes may be locked (ulimit -l); all address space counts, \
             so it has to be unlimited: LimitMEMLOCK=infinity in a unit of systemd"
        ),
        _ => tracing::warn!("-k has no effect: mlockall: {error}"),
    }
}

/// Says what could not be had, where address space for so many bytes of items could not.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn explain_memory(error: io::Error, capacity: u64) -> io::Error {
    let limited = match getrlimit(Resource::RLIMIT_AS) {
        Ok((limit, _)) if limit != RLIM_INFINITY => {
            format!("; the limit is {limit} bytes (ulimit -v)")
        }
        _ => String::new(),
    };
    let mistake = format!(
        "{error}: for {capacity} bytes of items, address space is reserved for twice as much, \
         16 GB or more{limited}"
    );
    io::Error::new(error.kind(), mistake)
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

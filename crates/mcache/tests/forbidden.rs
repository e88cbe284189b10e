//! What a process that is shut in cannot do any more, and what it still can. Each row is tried by a
//! process of its own: this program again, which shuts itself in as the server does. It may be
//! killed for what it tries, so the usual harness is not in place. And what a server does on
//! kernels that have less: a process to which a filter refuses that much becomes the server.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, exit};
use std::time::{Duration, Instant};

use mcache::sandbox::{self, Files};
use mcache_base::Outgoing;
use mcache_net::UringDriver;
use nix::libc::{
    EACCES, ENOSYS, EOPNOTSUPP, SIGSYS, SYS_landlock_create_ruleset, SYS_seccomp, c_long,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, Uid, setuid};
use rustix::net::{AddressFamily, SocketType};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// What the harness knows it by.
const NAME: &str = "what_is_forbidden_ends_the_process";

/// In the environment of a process that tries something: which row.
const ROW: &str = "MCACHE_FORBIDDEN_ROW";

/// Its exit code where landlock, which forbids the row, is not to be had.
const NOT_HERE: i32 = 255;

/// In the environment of a process that becomes a server: which kernel it is to find.
const KERNEL: &str = "MCACHE_OLD_KERNEL";

/// Longer than a server takes to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kernel that has less: the call that it refuses, with which error, what the server says of
/// that, and whether it starts.
type Kernel = (&'static str, c_long, i32, &'static str, bool);

const KERNELS: &[Kernel] = &[
    ("has no landlock", SYS_landlock_create_ruleset, ENOSYS, "landlock=\"none\"", true),
    ("is told to do without", SYS_landlock_create_ruleset, EOPNOTSUPP, "landlock=\"none\"", true),
    ("has no seccomp filters", SYS_seccomp, ENOSYS, "seccomp: Function not implemented", false),
];

/// How a try ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The kernel ends the process.
    Killed,
    /// With this error, from seccomp.
    Error(i32),
    /// The kernel refuses the file.
    NoSuchFile,
    /// Well.
    Works,
}

use End::{Error, Killed, NoSuchFile, Works};

/// What is tried once the process is shut in.
type Deed = Box<dyn FnOnce() -> io::Result<()>>;

/// What is tried, how it ends, and what is made ready for it.
type Row = (&'static str, End, fn(&Place) -> Deed);

const ROWS: &[Row] = &[
    ("runs a program", Killed, |_| Box::new(|| Err(Command::new("/bin/true").exec()))),
    ("starts a process", Killed, |_| Box::new(|| Command::new("/bin/true").spawn().map(drop))),
    ("connects", Killed, |_| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        Box::new(|| Ok(rustix::net::connect(socket?, &nobody())?))
    }),
    ("has a socket", Killed, |_| Box::new(|| TcpStream::connect(nobody()).map(drop))),
    ("has a port", Killed, |_| {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None);
        Box::new(|| Ok(rustix::net::bind(socket?, &nobody())?))
    }),
    ("is traced", Killed, |_| Box::new(|| Ok(nix::sys::ptrace::traceme()?))),
    ("reads a process's memory", Killed, |_| {
        Box::new(|| {
            let (mut byte, from) = ([0], RemoteIoVec { base: ROW.as_ptr().addr(), len: 1 });
            Ok(process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut byte)], &[from])
                .map(drop)?)
        })
    }),
    ("mounts", Killed, |place| {
        let at = place.file("read");
        let (none, flags) = (None::<&str>, MsFlags::empty());
        Box::new(move || Ok(mount(none, &at, Some("tmpfs"), flags, none)?))
    }),
    ("leaves its namespaces", Killed, |_| Box::new(|| Ok(unshare(CloneFlags::CLONE_NEWUSER)?))),
    ("has a ring that is held by nothing", Killed, |_| {
        Box::new(|| UringDriver::<Nothing>::new().map(drop))
    }),
    ("sends a signal", Error(ENOSYS), |_| Box::new(|| Ok(kill(Pid::parent(), None)?))),
    ("becomes another user", Error(ENOSYS), |_| Box::new(|| Ok(setuid(Uid::from_raw(1))?))),
    ("has a file in memory", Error(ENOSYS), |_| {
        let flags = rustix::fs::MemfdFlags::empty();
        Box::new(move || Ok(rustix::fs::memfd_create("program", flags).map(drop)?))
    }),
    ("reads another file", NoSuchFile, |_| Box::new(|| fs::read("/etc/passwd").map(drop))),
    ("lists its files", NoSuchFile, |place| {
        let directory = place.file("read");
        Box::new(|| fs::read_dir(directory).map(drop))
    }),
    ("writes a file that it reads", NoSuchFile, |place| {
        let file = place.file("read/key");
        Box::new(|| fs::OpenOptions::new().append(true).open(file).map(drop))
    }),
    ("makes a file", NoSuchFile, |place| {
        let file = place.file("remove/new");
        Box::new(|| fs::File::create_new(file).map(drop))
    }),
    ("removes a file that it reads", NoSuchFile, |place| {
        let file = place.file("read/key");
        Box::new(|| fs::remove_file(file))
    }),
    ("reads a file that took the place of another", Works, |place| {
        let file = place.file("read/key");
        fs::rename(place.file("read/next"), &file).expect("another file");
        Box::new(|| fs::read(file).map(drop))
    }),
    ("removes its pid file", Works, |place| {
        let file = place.file("remove/pid");
        Box::new(|| fs::remove_file(file))
    }),
    ("starts a thread", Works, |_| {
        Box::new(|| std::thread::Builder::new().spawn(|| ())?.join().map_err(|_| io_error()))
    }),
];

fn main() {
    if let Ok(row) = std::env::var(ROW) {
        try_row(row.parse().expect("a row's number"));
    }
    if let Ok(kernel) = std::env::var(KERNEL) {
        become_server(kernel.parse().expect("a kernel's number"));
    }
    if !is_asked_to_run() {
        return;
    }
    let place = Place::new();
    let mut failed = 0;
    for (number, &(what, expected, _)) in ROWS.iter().enumerate() {
        place.make();
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.env(ROW, number.to_string()).current_dir(&place.0);
        // A sanitizer looks for leaks by a process that it starts, which is forbidden here.
        command.env("ASAN_OPTIONS", "detect_leaks=0");
        let status = command.status().expect("this program runs");
        let ended = match (status.signal(), status.code()) {
            (Some(SIGSYS), _) => Some(Killed),
            (_, Some(0)) => Some(Works),
            (_, Some(EACCES)) => Some(NoSuchFile),
            (_, Some(NOT_HERE)) if expected == NoSuchFile => Some(expected),
            (_, Some(code)) => Some(Error(code)),
            _ => None,
        };
        if ended != Some(expected) {
            println!("{what}: should end as {expected:?}: {status}");
            failed += 1;
        }
    }
    for (number, (what, .., said, starts)) in KERNELS.iter().enumerate() {
        let (log, served) = serve_on(number, &place);
        if served != *starts || !log.contains(said) {
            println!("a kernel that {what}: served: {served}; {log}");
            failed += 1;
        }
    }
    println!("forbidden: {} passed, {failed} failed", ROWS.len() + KERNELS.len() - failed);
    drop(place);
    exit(i32::from(failed > 0));
}

/// What a harness does with its arguments: lists its tests, all of which this one is, or runs those
/// that are named.
fn is_asked_to_run() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("--list") && !has("--ignored") {
        println!("{NAME}: test");
    }
    let mut names = arguments.iter().filter(|argument| !argument.starts_with("--")).peekable();
    let is_named = names.peek().is_none() || names.any(|name| NAME.contains(name.as_str()));
    is_named && !has("--list") && !has("--ignored")
}

/// Tries a row in this process, and ends it.
fn try_row(number: usize) -> ! {
    let (_, expected, prepare) = ROWS[number];
    let place = Place(std::env::current_dir().expect("a directory"));
    let (read, remove) = (place.file("read/key"), place.file("remove/pid"));
    let files = Files::new([read.as_path()], [remove.as_path()]);
    let deed = prepare(&place);
    std::mem::forget(place); // it is the other process's
    let in_force = sandbox::enter(&files).expect("seccomp");
    if expected == NoSuchFile && in_force.landlock == "none" {
        exit(NOT_HERE);
    }
    exit(deed().map_or_else(|error| error.raw_os_error().unwrap_or(1), |()| 0))
}

/// Has a server start on a kernel. What it logs, and whether it answers.
fn serve_on(kernel: usize, place: &Place) -> (String, bool) {
    let program = std::env::current_exe().expect("this program");
    let log = fs::File::create(place.file("log")).expect("a log");
    let mut command = Command::new(program);
    command.env(KERNEL, kernel.to_string()).env_remove("RUST_LOG").current_dir(&place.0);
    let mut server = command.stderr(log).spawn().expect("this program runs");
    let served = answers(&mut server, &place.file("socket"));
    let _ = server.kill(); // it may have ended
    server.wait().expect("its end");
    (fs::read_to_string(place.file("log")).expect("the log"), served)
}

/// Whether a server answers before it ends.
fn answers(server: &mut Child, socket: &Path) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"mn\r\nquit\r\n")?;
        let mut answer = String::new();
        Ok(stream.read_to_string(&mut answer).is_ok() && answer == "MN\r\n")
    };
    let begin = Instant::now();
    while server.try_wait().expect("its state").is_none() {
        assert!(begin.elapsed() < PATIENCE, "it neither answers nor ends");
        if ask().unwrap_or(false) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Becomes a server on a kernel that has less.
fn become_server(kernel: usize) -> ! {
    let (_, call, error, ..) = KERNELS[kernel];
    let here = std::env::consts::ARCH.try_into().expect("an architecture");
    let (refused, allowed) = (SeccompAction::Errno(error as u32), SeccompAction::Allow);
    let filter = SeccompFilter::new([(call, Vec::new())].into(), allowed, refused, here);
    let program = filter.and_then(BpfProgram::try_from).expect("a filter");
    apply_filter(&program).expect("seccomp");
    let mut server = Command::new(env!("CARGO_BIN_EXE_mcache"));
    let error = server.args(["-s", "socket", "-o", "drop_privileges"]).exec();
    panic!("{error}")
}

/// A directory with a file to read and one to remove.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let name = format!("mcache-forbidden-{}", std::process::id());
        let place = Self(std::env::temp_dir().join(name));
        for directory in ["read", "remove"] {
            fs::create_dir_all(place.file(directory)).expect("a directory");
        }
        place
    }

    fn make(&self) {
        for file in ["read/key", "read/next", "remove/pid"] {
            fs::write(self.file(file), "x").expect("a file");
        }
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An address of this machine, at a port of the system's choice: nobody listens there.
fn nobody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn io_error() -> io::Error {
    io::ErrorKind::Other.into()
}

struct Nothing;

impl Outgoing for Nothing {
    fn gather<'a>(&'a self, _: &mut [IoSlice<'a>]) -> usize {
        0
    }

    fn advance(&mut self, _: usize) {}

    fn is_empty(&self) -> bool {
        true
    }
}

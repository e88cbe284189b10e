//! What a process that is shut in cannot do any more, and what it still can. Each row is tried by a
//! process of its own: this program again, which shuts itself in as the server does. It may be
//! killed for what it tries, so the usual harness is not in place.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use mcache::sandbox::{self, Files};
use mcache_base::Outgoing;
use mcache_net::UringDriver;
use nix::libc::{EACCES, ENOSYS, SIGSYS};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Pid, Uid, setuid};
use rustix::net::{AddressFamily, SocketType};

/// What the harness knows it by.
const NAME: &str = "what_is_forbidden_ends_the_process";

/// In the environment of a process that tries something: which row.
const ROW: &str = "MCACHE_FORBIDDEN_ROW";

/// Its exit code where landlock, which forbids the row, is not to be had.
const NOT_HERE: i32 = 255;

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
    println!("forbidden: {} passed, {failed} failed", ROWS.len() - failed);
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

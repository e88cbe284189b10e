//! The process towards the system: in the background, and files that say where to find it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mcache_net::ListenAddress;

use crate::failure::Failure;
use crate::settings::Settings;

/// Names a file to write the ports to; memcached's own test-suite waits for it.
const PORT_FILE_VARIABLE: &str = "MEMCACHED_PORT_FILENAME";

/// Goes on in the background if asked to, and says where the server is found. Has to be called
/// before any thread is started: only the calling thread goes on. The pid file is there as long as
/// what is returned; as in memcached, one that cannot be written is no reason not to serve. It may
/// name a process that runs if this one takes over from it.
pub fn settle<'a>(
    settings: &Settings,
    addresses: impl Iterator<Item = &'a ListenAddress>,
    takes_over: bool,
) -> Result<Option<PidFile>, Failure> {
    let open = |path| without(PidFile::open(path, takes_over));
    let mut pid_file = settings.pid_file.as_deref().and_then(open);
    write_port_file(addresses)?;
    daemonize(settings)?;
    if pid_file.as_ref().is_some_and(|file| without(file.write()).is_none()) {
        pid_file = None;
    }
    Ok(pid_file)
}

/// Goes on without a pid file that could not be opened or written, and says so.
fn without<T>(result: Result<T, Failure>) -> Option<T> {
    result.inspect_err(|failure| tracing::warn!("no pid file: {failure}")).ok()
}

/// Goes on in the background, if asked to.
fn daemonize(settings: &Settings) -> Result<(), Failure> {
    if !settings.daemon {
        return Ok(());
    }
    // Who asks for more in the log wants to see it; who wants core files needs a place for them.
    let (stay_in_directory, keep_streams) = (settings.core_dumps, settings.is_given("verbosity"));
    if !keep_streams {
        tracing::info!("going into the background, where nothing is logged: -v keeps the log");
    }
    nix::unistd::daemon(stay_in_directory, keep_streams)
        .map_err(|error| Failure::system(format!("failed to daemonize: {error}")))
}

/// The file that holds the process id. Dropping it removes the file, unless it is
/// another's by then.
pub struct PidFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl PidFile {
    /// Makes sure that `path` can be written, before anyone depends on it.
    fn open(path: &Path, takes_over: bool) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(|error| cannot_write(path, error))?;
        if !takes_over
            && let Ok(text) = fs::read_to_string(&path)
            && let Ok(id) = text.trim().parse::<u32>()
            && Path::new("/proc").join(id.to_string()).exists()
        {
            tracing::warn!("the pid file contained the id of a running process: {id}");
        }
        let temporary = beside(&path, "tmp");
        File::create(&temporary).map_err(|error| cannot_write(&temporary, error))?;
        Ok(Self { path, temporary })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the id of this process, which a reader sees whole or not at all.
    pub fn write(&self) -> Result<(), Failure> {
        fs::write(&self.temporary, format!("{}\n", std::process::id()))
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .map_err(|error| cannot_write(&self.path, error))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        remove_pid_file(&self.path);
        let _ = fs::remove_file(&self.temporary); // it may never have come to be the file itself
    }
}

/// Removes a pid file, unless it is that of another process, which has taken over.
pub fn remove_pid_file(path: &Path) {
    let is_own = |text: String| text.trim() == std::process::id().to_string();
    if fs::read_to_string(path).is_ok_and(is_own) {
        let _ = fs::remove_file(path); // the process ends in any case
    }
}

/// Writes the ports to the file that the environment names, if it does.
fn write_port_file<'a>(addresses: impl Iterator<Item = &'a ListenAddress>) -> Result<(), Failure> {
    let Some(path) = std::env::var_os(PORT_FILE_VARIABLE).map(PathBuf::from) else {
        return Ok(());
    };
    let text = port_lines(addresses);
    let temporary = beside(&path, "lck");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|error| cannot_write(&path, error))
}

fn port_lines<'a>(addresses: impl Iterator<Item = &'a ListenAddress>) -> String {
    addresses
        .filter_map(|address| match address {
            ListenAddress::Tcp(SocketAddr::V4(it)) => Some(format!("TCP INET: {}\n", it.port())),
            ListenAddress::Tcp(SocketAddr::V6(it)) => Some(format!("TCP INET6: {}\n", it.port())),
            ListenAddress::Udp(SocketAddr::V4(it)) => Some(format!("UDP INET: {}\n", it.port())),
            ListenAddress::Udp(SocketAddr::V6(it)) => Some(format!("UDP INET6: {}\n", it.port())),
            ListenAddress::Unix { .. } => None,
        })
        .collect()
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::system(format!("cannot write {}: {error}", path.display()))
}

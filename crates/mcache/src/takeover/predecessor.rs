//! The server that runs, as the process sees it that takes over from it.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mcache_base::limits::HANDOVER_MS;
use mcache_net::{Channel, Inherited, ListenAddress};

use super::Bond;
use super::words::{ALL, AT_REST, GO, GREETING, NO, Offer, SERVING};
use crate::failure::Failure;

/// How long an answer of the running server may take.
const PATIENCE: Duration = Duration::from_millis(HANDOVER_MS);

/// The server that runs, and what it has offered. It serves until it is told to go.
pub struct Predecessor {
    path: PathBuf,
    bond: Bond,
    /// The sockets that it is found at.
    pub sockets: Vec<Inherited>,
    /// Where it waits for successors.
    pub control: OwnedFd,
    memory: File,
    memory_path: Option<PathBuf>,
}

impl Predecessor {
    /// Asks the server that is found at `path` what it has; `None` if none is.
    pub fn find(path: &Path) -> Result<Option<Self>, Failure> {
        let failure = |error: io::Error| about(path, &explain(&error));
        let Some(channel) = Channel::connect(path, PATIENCE).map_err(failure)? else {
            return Ok(None);
        };
        if !channel.is_trusted().map_err(failure)? {
            return Err(about(path, "what listens there is another user's"));
        }
        channel.send(GREETING, None, PATIENCE).map_err(failure)?;
        let (mut sockets, mut control, mut memory) = (Vec::new(), None, None);
        loop {
            let message = channel.receive(PATIENCE).map_err(failure)?;
            let message = message.ok_or_else(|| about(path, "the running server hung up"))?;
            if message.text == ALL {
                break;
            }
            if let Some(why) = message.text.strip_prefix(NO) {
                return Err(about(path, &String::from_utf8_lossy(why)));
            }
            match (Offer::read(&message.text), message.descriptor) {
                (Some(Offer::Socket(asked)), Some(socket)) => {
                    sockets.push(Inherited::new(asked, socket).map_err(failure)?);
                }
                (Some(Offer::Control), Some(socket)) => control = Some(socket),
                (Some(Offer::Memory(at)), Some(file)) => memory = Some((file.into(), at)),
                _ => return Err(about(path, "what answers there is not understood")),
            }
        }
        let (Some(control), Some((memory, memory_path))) = (control, memory) else {
            return Err(about(path, "the running server keeps something back"));
        };
        // The process may leave the directory that the path begins in.
        let (path, bond) = (std::path::absolute(path).map_err(failure)?, Bond::new(channel));
        Ok(Some(Self { path, bond, sockets, control, memory, memory_path }))
    }

    /// The memory of the running server, for a server that is to have its items at `wanted`. An
    /// error if they are elsewhere.
    pub fn memory(&self, wanted: Option<&Path>) -> Result<File, Failure> {
        let identity = |about: fs::Metadata| (about.dev(), about.ino());
        let is_wanted = match (wanted, &self.memory_path) {
            (None, None) => true,
            (Some(path), Some(_)) => fs::metadata(path).is_ok_and(|found| {
                self.memory.metadata().is_ok_and(|own| identity(own) == identity(found))
            }),
            _ => false,
        };
        if is_wanted {
            return self.memory.try_clone().map_err(|error| about(&self.path, &error.to_string()));
        }
        let name = |path: Option<&Path>| match path {
            Some(path) => format!("in {}", path.display()),
            None => "in no file".to_owned(),
        };
        let (here, there) = (name(wanted), name(self.memory_path.as_deref()));
        let mistake = format!(
            "the running server's items are {there}, they would have to be {here}: stop it"
        );
        Err(about(&self.path, &mistake))
    }

    /// Has the running server stop; waits until nobody uses the memory any more. An error if it
    /// does not: it may go on then, once this process has ended.
    pub fn take_over(&self) -> Result<(), Failure> {
        let failure = |error: io::Error| about(&self.path, &explain(&error));
        let deadline = Instant::now() + PATIENCE;
        self.bond.channel().send(GO, None, PATIENCE).map_err(failure)?;
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match self.bond.channel().receive(left).map_err(failure)? {
            Some(message) if message.text == AT_REST => Ok(()),
            Some(_) => Err(about(&self.path, "the running server's answer is not understood")),
            None if self.has_files() => {
                // It closes nothing: its process is gone.
                tracing::warn!("the server that was to be taken over has ended before it could");
                Ok(())
            }
            None => Err(about(&self.path, "the running server was stopped")),
        }
    }

    /// Tells the one before that this process serves, and it may end. Of what it was found at this
    /// one may not be: socket files of those are removed.
    pub fn dismiss(self, kept: &[Inherited]) {
        let is_kept = |asked: &ListenAddress| kept.iter().any(|it| same(it.asked(), asked));
        let gone = self.sockets.iter().filter(|it| !is_kept(it.asked()));
        drop(gone.filter_map(Inherited::file).collect::<Vec<_>>());
        if let Err(error) = self.bond.release().send(SERVING, None, PATIENCE) {
            tracing::debug!(%error, "the server before has ended early");
        }
    }

    /// Whether the files of its sockets are there.
    fn has_files(&self) -> bool {
        let files = self.sockets.iter().filter_map(|it| match it.asked() {
            ListenAddress::Unix { path, .. } => Some(path.as_path()),
            _ => None,
        });
        files.chain([self.path.as_path()]).all(Path::exists)
    }
}

/// Whether two addresses are the same but for the mode of a file.
fn same(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Unix { path, .. }, ListenAddress::Unix { path: at, .. }) => path == at,
        _ => one == other,
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "the running server does not answer".to_owned()
        }
        _ => error.to_string(),
    }
}

fn about(path: &Path, what: &str) -> Failure {
    Failure::system(format!("--takeover {}: {what}", path.display()))
}

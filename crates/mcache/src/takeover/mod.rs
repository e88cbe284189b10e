//! `--takeover`: an upgrade that refuses no connection and loses no item.
//!
//! The new process gets the listening sockets and the memory of the one that runs over a Unix
//! socket. It looks whether it can serve with them; only then the running one lets its connections
//! end, leaves its memory in order, and ends itself once the new one serves. Connections that come
//! meanwhile wait in the sockets' queues. Until connections end, a failure of the new process
//! leaves the running one as it was; after that it recovers the memory and goes on.
//!
//! From [`words::GO`] on, both keep their ends of the connection until their processes end. So the
//! end of it says that the other's process is gone, and with it whoever may write to the memory.

mod predecessor;
mod successor;
mod words;

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcache_net::socket::SocketFile;
use mcache_net::{Channel, HandoverListener, Kept, Listeners};

use crate::failure::Failure;
use crate::options::ServerOptions;
use crate::server::Stopper;
pub use predecessor::Predecessor;
pub use successor::Became;
use successor::{Offers, Successor};
use words::Offer;

/// A channel that the end of the process closes, if it is not released.
struct Bond(ManuallyDrop<Channel>);

impl Bond {
    fn new(channel: Channel) -> Self {
        Self(ManuallyDrop::new(channel))
    }

    fn channel(&self) -> &Channel {
        &self.0
    }

    fn release(self) -> Channel {
        ManuallyDrop::into_inner(self.0)
    }
}

/// What a server hands to the next process, and the process before it.
pub struct Estate {
    path: PathBuf,
    memory_path: Option<PathBuf>,
    control: Arc<HandoverListener>,
    kept: Kept,
    predecessor: Option<Predecessor>,
    successor: Successor,
}

impl Estate {
    /// What is handed on of a server with these listeners, which is found by its successor at
    /// `path` and has its items at `memory_path`.
    pub fn new(
        path: &Path,
        memory_path: Option<&Path>,
        predecessor: Option<Predecessor>,
        listeners: &mut Listeners,
    ) -> Result<Self, Failure> {
        let failure = |error| {
            Failure::system(format!("--takeover {}: cannot listen there: {error}", path.display()))
        };
        // The process may leave the directory that its paths begin in.
        let absolute = |path: &Path| std::path::absolute(path).map_err(failure);
        let mut kept = listeners.keep().map_err(failure)?;
        let control = match &predecessor {
            Some(predecessor) => {
                HandoverListener::inherit(predecessor.control.try_clone().map_err(failure)?)
            }
            None => {
                let (control, file) = HandoverListener::bind(path).map_err(failure)?;
                kept.files.push(file);
                control
            }
        };
        Ok(Self {
            path: absolute(path)?,
            memory_path: memory_path.map(absolute).transpose()?,
            control: Arc::new(control),
            kept,
            predecessor,
            successor: Successor::default(),
        })
    }

    /// Has the one before stop, if there is one, and waits for its memory.
    pub fn take_over(&self) -> Result<(), Failure> {
        self.predecessor.as_ref().map_or(Ok(()), Predecessor::take_over)
    }

    /// Notes that this process serves: the one before may end, and another one may take over.
    pub fn serve(&mut self, stopper: Stopper, memory: Arc<File>) -> std::io::Result<()> {
        if let Some(predecessor) = self.predecessor.take() {
            predecessor.dismiss(&self.kept.sockets);
            self.kept.own_files();
            self.kept.files.extend(SocketFile::new(&self.path).ok());
            tracing::info!("taken over");
        }
        let sockets = self.kept.sockets.iter();
        let mut offers: Offers = sockets
            .map(|socket| (Offer::Socket(socket.asked().clone()), Arc::new(socket.clone()) as _))
            .collect();
        offers.push((Offer::Control, self.control.clone()));
        offers.push((Offer::Memory(self.memory_path.clone()), memory));
        self.successor.await_one(self.control.clone(), offers, stopper)
    }

    /// Lets the successor take over, if there is one, now that the server has stopped. Returns what
    /// it was found at if the successor is gone, and this process has to go on.
    pub fn hand_over(
        &mut self,
        options: &ServerOptions,
        is_to_end: impl Fn() -> bool,
    ) -> Result<Option<Listeners>, Failure> {
        match self.successor.let_take_over(is_to_end) {
            None => Ok(None),
            Some(Became::Serving) => {
                self.kept.leave_files();
                tracing::info!("handed over");
                Ok(None)
            }
            Some(Became::Gone) => {
                tracing::warn!("the process that was to take over is gone; going on");
                let listeners =
                    Listeners::open(&options.listeners, options.backlog, &self.kept.sockets);
                let listeners = listeners
                    .map_err(|error| Failure::system(format!("failed to listen on {error}")))?;
                Ok(Some(listeners))
            }
        }
    }
}

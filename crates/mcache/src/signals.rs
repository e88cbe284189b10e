//! SIGINT, SIGTERM and SIGUSR1: the first stops the server, a later one ends the process at once.
//! SIGHUP, which would end it, has the settings read again.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use crate::daemon;
use crate::failure::KILLED;
use crate::server::Stopper;

/// What comes so soon after the first signal is the same one: timeout(1), and a terminal with a
/// supervisor behind it, send it both to the process and to its group.
const SAME_SIGNAL: Duration = Duration::from_millis(200);

/// Signals that no longer end the process but wait to be heard.
pub struct Caught(Signals);

/// Whom signals are for.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Heeding>>);

#[derive(Default)]
struct Heeding {
    server: Option<Stopper>,
    reread: Option<Box<dyn FnMut() + Send>>,
    /// Since when a signal has it stop.
    stopping: Option<Instant>,
}

impl Caught {
    /// Catches the signals. Starts no thread, so the process may still go into the background.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP]).map(Self)
    }

    /// Hears them, those that have come among them, in a thread. If the process ends at once, this
    /// pid file is removed first.
    pub fn hear(mut self, heard: &Heard, pid_file: Option<PathBuf>) -> io::Result<()> {
        let heeding = heard.clone();
        Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in self.0.forever() {
                let mut heeding = heeding.lock();
                if signal == SIGHUP {
                    heeding.reread.iter_mut().for_each(|reread| reread());
                    continue;
                }
                if let Some(since) = heeding.stopping {
                    if since.elapsed() < SAME_SIGNAL {
                        continue;
                    }
                    pid_file.iter().for_each(|path| daemon::remove_pid_file(path));
                    std::process::exit(i32::from(KILLED));
                }
                heeding.stopping = Some(Instant::now());
                let signal = signal_name(signal).unwrap_or_default();
                tracing::info!(signal, "stopping");
                heeding.server.iter().for_each(Stopper::stop);
            }
        })?;
        Ok(())
    }
}

impl Heard {
    /// Has this server stopped when one of them has come or comes, and calls `reread` at each
    /// SIGHUP.
    pub fn heed(&self, server: Stopper, reread: impl FnMut() + Send + 'static) {
        let mut heeding = self.lock();
        if heeding.stopping.is_some() {
            server.stop();
        }
        heeding.server = Some(server);
        heeding.reread = Some(Box::new(reread));
    }

    /// Forgets the server, which has stopped.
    pub fn forget(&self) {
        let mut heeding = self.lock();
        (heeding.server, heeding.reread) = (None, None);
    }

    /// Whether one of them has come that stops the server.
    pub fn is_stopping(&self) -> bool {
        self.lock().stopping.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Heeding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

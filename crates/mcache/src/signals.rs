//! SIGINT, SIGTERM and SIGUSR1: the first stops the server, the second ends the process at once.
//! SIGHUP, which would end it, has the settings read again.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread::Builder;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::failure::KILLED;
use crate::server::Stopper;

/// Signals that no longer end the process but wait to be heard.
pub struct Caught(Signals);

impl Caught {
    /// Catches the signals. Starts no thread, so the process may still go into the background.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP]).map(Self)
    }

    /// Stops the server when one of them has come or comes; calls `reread` at each SIGHUP. If the
    /// process ends at once, this pid file is removed first.
    pub fn stop(
        mut self,
        stopper: Stopper,
        pid_file: Option<PathBuf>,
        mut reread: impl FnMut() + Send + 'static,
    ) -> io::Result<()> {
        Builder::new().name("signals".to_owned()).spawn(move || {
            let mut stopping = false;
            for signal in self.0.forever() {
                if signal == SIGHUP {
                    reread();
                    continue;
                }
                if stopping {
                    if let Some(path) = &pid_file {
                        let _ = fs::remove_file(path); // it ends in any case
                    }
                    std::process::exit(i32::from(KILLED));
                }
                stopping = true;
                tracing::info!(signal, "stopping");
                stopper.stop();
            }
        })?;
        Ok(())
    }
}

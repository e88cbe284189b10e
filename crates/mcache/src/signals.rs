//! SIGINT, SIGTERM and SIGUSR1: the first stops the server, the second ends the process at once.
//! SIGHUP, which would end it, has the settings read again.

use std::io;
use std::thread::Builder;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::server::Stopper;

/// Exit status of a process that a second signal has ended.
const EXIT_KILLED: i32 = 130;

/// Signals that no longer end the process but wait to be heard.
pub struct Caught(Signals);

impl Caught {
    /// Catches the signals. Starts no thread, so the process may still go into the background.
    pub fn new() -> io::Result<Self> {
        Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGHUP]).map(Self)
    }

    /// Stops the server when one of them has come or comes; calls `reread` at each SIGHUP.
    pub fn stop(mut self, stopper: Stopper, reread: impl Fn() + Send + 'static) -> io::Result<()> {
        Builder::new().name("signals".to_owned()).spawn(move || {
            let mut stopping = false;
            for signal in self.0.forever() {
                if signal == SIGHUP {
                    reread();
                    continue;
                }
                if stopping {
                    std::process::exit(EXIT_KILLED);
                }
                stopping = true;
                tracing::info!(signal, "stopping");
                stopper.stop();
            }
        })?;
        Ok(())
    }
}

//! SIGINT and SIGTERM: the first stops the server, the second ends the process at once.

use std::io;
use std::thread::Builder;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::server::Stopper;

/// Exit status of a process that a second signal has ended.
const EXIT_KILLED: i32 = 130;

/// Stops the server on SIGINT and SIGTERM.
pub fn stop_on_signals(stopper: Stopper) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(EXIT_KILLED);
            }
            tracing::info!(signal, "stopping");
            stopper.stop();
        }
    })?;
    Ok(())
}

//! From a command line to a running server, and back: the table of contents.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use mcache::{Failure, Habits, Invocation, Server, ServerOptions, Settings};
use mcache::{daemon, logging, lower, privileges, settings::Engine, signals::Caught};
use mcache_net::Listeners;
use mcache_store::{SegmentStorageEngine, SimpleStorageEngine, StorageEngine};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    match run(Habits::of(Path::new(&program)), arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(habits: Habits, arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let settings = match Settings::from_command_line(habits, arguments)? {
        Invocation::Serve(settings) => settings,
        Invocation::Print(text) => {
            let _ = io::stdout().write_all(text.as_bytes()); // nobody may be reading
            return Ok(());
        }
    };
    logging::start(settings.verbosity);
    let engine = lower::engine_options(&settings)?;
    lower::report(&settings);
    let options = privileges::take(&settings, lower::server_options(&settings)?)?;
    let listeners = Listeners::bind(&options.listeners, options.backlog)
        .map_err(|error| Failure::system(format!("failed to listen on {error}")))?;
    let signals = Caught::new().map_err(|error| Failure::system(error.to_string()))?;
    let _pid_file = daemon::settle(&settings, listeners.addresses())?;
    match settings.engine {
        Engine::Simple => serve(options, listeners, signals, SimpleStorageEngine::new(&engine)),
        Engine::Segment => SegmentStorageEngine::new(&engine)
            .and_then(|engine| serve(options, listeners, signals, engine)),
    }
    .map_err(|error| Failure::system(format!("the server cannot run: {error}")))
}

fn serve<E: StorageEngine>(
    options: ServerOptions,
    listeners: Listeners,
    signals: Caught,
    engine: E,
) -> io::Result<()> {
    let server = Server::start_on(listeners, options, Arc::new(engine))?;
    signals.stop(server.stopper())?;
    server.join()
}

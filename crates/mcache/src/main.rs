//! From a command line to a running server, and back: the table of contents.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use mcache::{Failure, Habits, Invocation, Server, ServerOptions, Settings};
use mcache::{daemon, logging, lower, privileges, settings::Engine, signals::Caught};
use mcache_net::Listeners;
use mcache_store::{SegmentStorageEngine, SimpleStorageEngine, StorageEngine};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    match run(Habits::of(Path::new(&program)), arguments.collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit_code)
        }
    }
}

fn run(habits: Habits, arguments: Vec<OsString>) -> Result<(), Failure> {
    let settings = match Settings::from_command_line(habits, arguments.clone())? {
        Invocation::Serve(settings) => settings,
        Invocation::Print(text) => {
            let _ = io::stdout().write_all(text.as_bytes()); // nobody may be reading
            return Ok(());
        }
    };
    logging::start(settings.verbosity);
    let (engine, large_pages) = (lower::engine_options(&settings)?, settings.large_pages);
    lower::report(&settings);
    let options = privileges::take(&settings, lower::server_options(&settings)?)?;
    let listeners = Listeners::bind(&options.listeners, options.backlog)
        .map_err(|error| Failure::system(format!("failed to listen on {error}")))?;
    let signals = Caught::new().map_err(|error| Failure::system(error.to_string()))?;
    let pid_file = daemon::settle(&settings, listeners.addresses())?;
    let signals = (signals, pid_file.as_ref().map(|file| file.path().to_owned()));
    let kind = settings.engine;
    let capacity = move || capacity(&settings, &arguments);
    match kind {
        Engine::Simple => {
            serve(options, listeners, signals, SimpleStorageEngine::new(&engine), capacity)
        }
        Engine::Segment => SegmentStorageEngine::new(&engine)
            .map_err(privileges::explain_memory)
            .and_then(|engine| {
                if large_pages {
                    privileges::use_huge_pages(&engine);
                }
                serve(options, listeners, signals, engine, capacity)
            }),
    }
    .map_err(|error| Failure::system(format!("the server cannot run: {error}")))
}

fn serve<E: StorageEngine>(
    options: ServerOptions,
    listeners: Listeners,
    (signals, pid_file): (Caught, Option<PathBuf>),
    engine: E,
    capacity: impl Fn() -> Result<u64, Failure> + Send + 'static,
) -> io::Result<()> {
    let engine = Arc::new(engine);
    let server = Server::start_on(listeners, options, engine.clone())?;
    let (clock, report) = (server.clock(), server.settings_report());
    signals.stop(server.stopper(), pid_file, move || match capacity() {
        Ok(memory) if engine.set_capacity(memory, clock()) => {
            report("maxbytes", memory.to_string());
            tracing::info!(memory, "SIGHUP: the memory's limit was read again");
        }
        Ok(memory) => tracing::warn!(memory, "SIGHUP: more than was reserved at the start"),
        Err(failure) => tracing::warn!(%failure, "SIGHUP: nothing changes"),
    })?;
    server.join()
}

/// The memory's limit as the same command line, and the file that it names, say now.
fn capacity(settings: &Settings, arguments: &[OsString]) -> Result<u64, Failure> {
    match settings.again(arguments.iter().cloned())? {
        Invocation::Serve(settings) => Ok(lower::engine_options(&settings)?.capacity),
        Invocation::Print(_) => Err(Failure::usage("nothing to serve")),
    }
}

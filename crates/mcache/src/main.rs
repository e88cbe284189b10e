//! From a command line to a running server, and back: the table of contents.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use mcache::{Failure, Habits, Invocation, Server, ServerOptions, Settings};
use mcache::{daemon, logging, lower, passwd, privileges, settings::Engine, signals::Caught, warm};
use mcache_base::{Now, Stat};
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
    if let [command, rest @ ..] = &*arguments
        && habits == Habits::Mcache
        && command == passwd::COMMAND
    {
        return passwd::run(rest);
    }
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
    let mut options = privileges::take(&settings, lower::server_options(&settings)?)?;
    let memory_file = warm::open(&settings)?;
    let listeners = Listeners::bind(&options.listeners, options.backlog)
        .map_err(|error| Failure::system(format!("failed to listen on {error}")))?;
    let signals = Caught::new().map_err(|error| Failure::system(error.to_string()))?;
    let pid_file = daemon::settle(&settings, listeners.addresses())?;
    let signals = (signals, pid_file.as_ref().map(|file| file.path().to_owned()));
    let cannot_run = |error| Failure::system(format!("the server cannot run: {error}"));
    match settings.engine {
        Engine::Simple => {
            let again = move || again(&settings, &arguments);
            let engine = Arc::new(SimpleStorageEngine::new(&engine));
            serve(options, listeners, signals, engine, again).map(drop).map_err(cannot_run)
        }
        Engine::Segment => {
            let engine = match memory_file {
                None => SegmentStorageEngine::new(&engine)
                    .map_err(privileges::explain_memory)
                    .map_err(cannot_run)?,
                Some(file) => warm::recover(&settings, &mut options, &engine, file)?,
            };
            if large_pages {
                privileges::use_huge_pages(&engine);
            }
            let (engine, again) = (Arc::new(engine), move || again(&settings, &arguments));
            warm::verify(&engine).map_err(cannot_run)?;
            let stopped = serve(options, listeners, signals, engine.clone(), again);
            let now = stopped.map_err(cannot_run)?;
            engine.close(now);
            Ok(())
        }
    }
}

/// Serves until it is stopped. Returns when that was.
fn serve<E: StorageEngine>(
    options: ServerOptions,
    listeners: Listeners,
    (signals, pid_file): (Caught, Option<PathBuf>),
    engine: Arc<E>,
    again: impl Fn() -> Result<Box<Settings>, Failure> + Send + 'static,
) -> io::Result<Now> {
    let certificates = options.tls.clone();
    let server = Server::start_on(listeners, options, engine.clone())?;
    let (clock, report, replace) = (server.clock(), server.settings_report(), server.users());
    let at_the_end = server.clock();
    // What the settings said when they were read last: cache_memlimit may have said otherwise.
    let mut told = engine.stat(Stat::limit_maxbytes);
    signals.stop(server.stopper(), pid_file, move || {
        if let Some(Err(error)) = certificates.as_ref().map(|certificates| certificates.refresh()) {
            tracing::warn!("Could not reload TLS certificates on SIGHUP: {error}");
        }
        let again = again().and_then(|settings| {
            let capacity = lower::engine_options(&settings)?.capacity;
            Ok((capacity, lower::users(&settings)?))
        });
        match again {
            Ok((memory, users)) => {
                replace(users);
                if std::mem::replace(&mut told, memory) == memory {
                    tracing::info!("SIGHUP: the limit of memory is not changed");
                } else if engine.set_capacity(memory, clock()) {
                    report("maxbytes", memory.to_string());
                    tracing::info!(memory, "SIGHUP: the limit of memory was read again");
                } else {
                    tracing::warn!(memory, "SIGHUP: more memory than can be had without a restart");
                }
            }
            Err(failure) => tracing::warn!(%failure, "SIGHUP: nothing changes"),
        }
    })?;
    server.join()?;
    Ok(at_the_end())
}

/// What the same command line, and the file that it names, say now.
fn again(settings: &Settings, arguments: &[OsString]) -> Result<Box<Settings>, Failure> {
    match settings.again(arguments.iter().cloned())? {
        Invocation::Serve(settings) => Ok(settings),
        Invocation::Print(_) => Err(Failure::usage("nothing to serve")),
    }
}

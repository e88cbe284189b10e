//! From a command line to a running server, and back: the table of contents.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use mcache::takeover::{Estate, Predecessor};
use mcache::{Failure, Habits, Invocation, Settings, serve, serve::Ready};
use mcache::{daemon, logging, lower, passwd, privileges, settings::Engine, signals::Caught, warm};
use mcache_net::Listeners;
use mcache_store::{SegmentStorageEngine, SimpleStorageEngine};

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
    let engine = lower::engine_options(&settings)?;
    lower::report(&settings);
    let options = privileges::take(&settings, lower::server_options(&settings)?)?;
    let predecessor = settings.takeover.as_deref().map_or(Ok(None), Predecessor::find)?;
    let takes_over = predecessor.is_some();
    let memory = warm::open(&settings, engine.capacity, predecessor.as_ref())?;
    let inherited = predecessor.as_ref().map_or(&[][..], |it| &it.sockets);
    let mut listeners = Listeners::open(&options.listeners, options.backlog, inherited)
        .map_err(|error| Failure::system(format!("failed to listen on {error}")))?;
    let (path, memory_path) = (settings.takeover.as_deref(), settings.memory_file.as_deref());
    let estate = path.map(|path| Estate::new(path, memory_path, predecessor, &mut listeners));
    let estate = estate.transpose()?;
    let signals = Caught::new().map_err(|error| Failure::system(error.to_string()))?;
    let pid_file = daemon::settle(&settings, listeners.addresses(), takes_over)?;
    let pid_path = pid_file.as_ref().map(|file| file.path());
    let needs = privileges::Needs::of(&settings, listeners.addresses(), pid_path);
    let kind = settings.engine;
    let ready = Ready { settings, arguments, options, engine, listeners, signals, needs, pid_file };
    match (kind, memory) {
        (Engine::Segment, Some(memory)) => ready.serve_file(memory, estate),
        (Engine::Segment, None) => {
            let engine = SegmentStorageEngine::new(&ready.engine)
                .map_err(|error| privileges::explain_memory(error, ready.engine.capacity))
                .map_err(serve::cannot_run)?;
            if ready.settings.large_pages {
                privileges::use_huge_pages(&engine);
            }
            ready.serve(engine)
        }
        (Engine::Simple, _) => {
            let engine = SimpleStorageEngine::new(&ready.engine);
            ready.serve(engine)
        }
    }
}

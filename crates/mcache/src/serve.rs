//! Serving from the start of the threads to the end, and again if a successor fails.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use mcache_base::{Now, Stat};
use mcache_net::Listeners;
use mcache_session::Authentication;
use mcache_store::{EngineOptions, MemoryFile, StorageEngine};

use crate::daemon::PidFile;
use crate::failure::Failure;
use crate::options::ServerOptions;
use crate::privileges::{self, Needs};
use crate::server::Server;
use crate::settings::{Invocation, MemoryFrom, Settings};
use crate::signals::{Caught, Heard};
use crate::takeover::Estate;
use crate::{lower, warm};

/// What a server is made of, all of which is had before it answers.
pub struct Ready {
    /// What the user said.
    pub settings: Box<Settings>,
    /// The command line without the program's name.
    pub arguments: Vec<std::ffi::OsString>,
    /// What the server is told.
    pub options: ServerOptions,
    /// What the engine is told.
    pub engine: EngineOptions,
    /// Where it listens.
    pub listeners: Listeners,
    /// Signals.
    pub signals: Caught,
    /// What is kept once everything is open.
    pub needs: Needs,
    /// The file that says the process's id, if there is one.
    pub pid_file: Option<PidFile>,
}

impl Ready {
    /// Serves with an engine whose items are gone with the process, until it is stopped.
    pub fn serve<E: StorageEngine>(self, engine: E) -> Result<(), Failure> {
        let (engine, heard) = (Arc::new(engine), Heard::default());
        let pid_path = self.pid_file.as_ref().map(|file| file.path().to_owned());
        let before_threads =
            || self.needs.keep_only().and_then(|()| self.signals.hear(&heard, pid_path));
        let server = Server::start_on(self.listeners, self.options, engine.clone(), before_threads);
        let server = server.map_err(cannot_run)?;
        heed(&heard, &server, &engine, again(&self.settings, &self.arguments));
        server.join().map_err(cannot_run)
    }

    /// Serves items in a file until the server is stopped, or another process serves them.
    pub fn serve_file(
        mut self,
        memory: MemoryFile,
        mut estate: Option<Estate>,
    ) -> Result<(), Failure> {
        let heard = Heard::default();
        let mut signals = Some(self.signals); // caught already; to be heard
        let mut next = Some((self.listeners, memory));
        while let Some((listeners, memory)) = next.take() {
            let file = memory.share();
            if let Some(estate) = &estate {
                estate.take_over()?;
            }
            let engine = warm::recover(&self.settings, &mut self.options, &self.engine, memory)?;
            if self.settings.large_pages {
                privileges::use_huge_pages(&engine);
            }
            let engine = Arc::new(engine);
            let mut verifying = None;
            let before_threads = || {
                self.needs.keep_only()?;
                if let Some(signals) = signals.take() {
                    signals.hear(&heard, self.pid_file.as_ref().map(|it| it.path().to_owned()))?;
                }
                verifying = Some(warm::verify(&engine)?);
                Ok(())
            };
            let options = self.options.clone();
            let server = Server::start_on(listeners, options, engine.clone(), before_threads);
            let server = server.map_err(cannot_run)?;
            if let Some(estate) = &mut estate {
                estate.serve(server.stopper(), file.clone()).map_err(cannot_run)?;
            }
            // A file may reach less far than was asked for.
            let memory = engine.stat(Stat::limit_maxbytes);
            server.settings_report()("maxbytes", memory.to_string());
            let clock = server.clock();
            heed(&heard, &server, &engine, again(&self.settings, &self.arguments));
            server.join().map_err(cannot_run)?;
            heard.forget();
            // Whatever it came to: nobody is at work any more.
            let _ = verifying.map(JoinHandle::join);
            engine.close(clock());
            drop(engine);
            let Some(estate) = &mut estate else { break };
            if let Some(listeners) = estate.hand_over(&self.options, || heard.is_stopping())? {
                let file = file.try_clone().map_err(cannot_run)?;
                next = Some((listeners, warm::reopen(&self.settings, file)?));
                if let Some(Err(failure)) = self.pid_file.as_ref().map(PidFile::write) {
                    tracing::warn!("no pid file: {failure}");
                }
            }
        }
        Ok(())
    }
}

/// A failure to serve.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn cannot_run(error: io::Error) -> Failure {
    Failure::system(format!("the server cannot run: {error}"))
}

/// Has signals stop the server, and change what can be changed while it runs.
fn heed<E: StorageEngine>(
    heard: &Heard,
    server: &Server,
    engine: &Arc<E>,
    again: impl Fn() -> Result<Box<Settings>, Failure> + Send + 'static,
) {
    let (clock, report, replace) = (server.clock(), server.settings_report(), server.users());
    let (engine, certificates) = (engine.clone(), server.certificates());
    // What the settings said when they were read last: cache_memlimit may have said otherwise.
    let mut told = engine.stat(Stat::limit_maxbytes);
    heard.heed(server.stopper(), move || {
        match certificates.as_ref().map(|certificates| certificates.refresh()) {
            None => {}
            Some(Ok(())) => tracing::info!("SIGHUP: the certificates were read again"),
            Some(Err(error)) => {
                tracing::warn!("Could not reload TLS certificates on SIGHUP: {error}");
            }
        }
        let again = again().and_then(|settings| {
            let capacity = lower::engine_options(&settings)?.capacity;
            let log_in = settings.authentication() != Authentication::None;
            Ok((capacity, lower::users(&settings)?, log_in))
        });
        match again {
            Ok((memory, users, log_in)) => {
                replace(users);
                if log_in {
                    tracing::info!("SIGHUP: the users were read again");
                }
                set_memory(&*engine, memory, &mut told, clock(), &report);
            }
            Err(failure) => tracing::warn!(%failure, "SIGHUP: nothing changes"),
        }
    });
}

/// Sets the limit of memory, if the settings say something else than when they were read last.
fn set_memory(
    engine: &impl StorageEngine,
    memory: u64,
    told: &mut u64,
    now: Now,
    report: impl Fn(&str, String),
) {
    if std::mem::replace(told, memory) == memory {
        tracing::info!("SIGHUP: the limit of memory is not changed");
    } else if engine.set_capacity(memory, now) {
        report("maxbytes", memory.to_string());
        tracing::info!(memory, "SIGHUP: the limit of memory was read again");
    } else {
        tracing::warn!(memory, "SIGHUP: more memory than can be had without a restart");
    }
}

/// What the same command line, and the file that it names, say whenever it is asked.
fn again(
    settings: &Settings,
    arguments: &[std::ffi::OsString],
) -> impl Fn() -> Result<Box<Settings>, Failure> + Send + 'static {
    let (settings, arguments) = (settings.clone(), arguments.to_vec());
    move || match settings.again(arguments.iter().cloned())? {
        Invocation::Serve(now) if now.authentication() != settings.authentication() => {
            Err(Failure::usage("whether and how peers log in only changes with a restart"))
        }
        Invocation::Serve(mut now) => {
            if settings.drop_privileges {
                // Who is shut in cannot ask for the cgroup's limits.
                now.threads = settings.threads;
                if now.memory_from != MemoryFrom::Here {
                    now.memory = settings.memory;
                }
            }
            let changed = settings.fixed_and_changed(&now);
            if !changed.is_empty() {
                tracing::warn!("SIGHUP: only change with a restart: {}", changed.join(", "));
            }
            Ok(now)
        }
        Invocation::Print(_) => Err(Failure::usage("nothing to serve")),
    }
}

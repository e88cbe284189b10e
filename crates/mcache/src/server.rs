//! A server: listeners, an acceptor, workers and maintenance, started and stopped together.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use mcache_base::Now;
use mcache_net::udp::Datagrams;
use mcache_net::{Chosen, Driver, ListenAddress, Listeners, Wake};
use mcache_session::{Authentication, Host};
use mcache_store::StorageEngine;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::acceptor::Acceptor;
use crate::datagrams::DatagramServer;
use crate::mailbox::Mailbox;
use crate::options::ServerOptions;
use crate::shared::Shared;
use crate::tls::Certificates;
use crate::users::Users;
use crate::worker::Worker;

/// How often the engine is given time for its upkeep.
const MAINTENANCE: Duration = Duration::from_secs(1);

/// How often it is looked whether all connections have ended.
const DRAIN_CHECK: Duration = Duration::from_millis(1);

/// A running server. Dropping it stops it without waiting.
pub struct Server {
    addresses: Vec<ListenAddress>,
    stopper: Stopper,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Binds the listeners and starts the threads. An error names what could not be had.
    pub fn start<E: StorageEngine>(options: ServerOptions, engine: Arc<E>) -> io::Result<Self> {
        let listeners = Listeners::bind(&options.listeners, options.backlog)?;
        Self::start_on(listeners, options, engine, || Ok(()))
    }

    /// Starts the threads on listeners that are bound already. `ready` is called before that, when
    /// all that the server needs of the system is open.
    pub fn start_on<E: StorageEngine>(
        mut listeners: Listeners,
        options: ServerOptions,
        engine: Arc<E>,
        ready: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Self> {
        let addresses: Vec<_> = listeners.addresses().cloned().collect();
        let Chosen { drivers, name: io, why } = Chosen::new(options.io, options.threads)?;
        tracing::info!(io, why, "serving sockets");
        let mailboxes: Arc<[_]> =
            drivers.iter().map(|driver| Mailbox::new(driver.waker())).collect();
        let found = listeners.sockets().collect();
        let shared = Arc::new(Shared::new(options, io, found)?);
        shared.watch.heed_log(); // before the first connection comes
        let datagrams = listeners.take_datagrams();
        let udp = if datagrams.is_empty() { None } else { Some(Datagrams::new(datagrams)?) };
        let own: Vec<_> = udp.iter().map(Datagrams::waker).chain([listeners.waker()]).collect();
        let stopper = Stopper::new(&shared, own, &mailboxes);

        let mut server = Self { addresses, stopper, threads: Vec::new() };
        let acceptor = Acceptor::new(listeners, mailboxes.clone(), shared.clone());
        ready()?;
        server.spawn("acceptor".to_owned(), move || acceptor.run())?;
        if let Some(sockets) = udp {
            let datagrams = DatagramServer::new(sockets, engine.clone(), shared.clone());
            server.spawn("udp".to_owned(), move || datagrams.run())?;
        }
        let processors = if shared.options.pin_workers { processors() } else { Vec::new() };
        for (index, driver) in drivers.into_iter().enumerate() {
            let (engine, shared, mailboxes) = (engine.clone(), shared.clone(), mailboxes.clone());
            let processor = processors.get(index % processors.len().max(1)).copied();
            server.spawn(format!("worker-{index}"), move || {
                processor.into_iter().for_each(stay_on);
                Worker::new(index, driver, engine, shared, mailboxes).run()
            })?;
        }
        let observer = shared.clone();
        let logins_mailboxes = mailboxes.clone();
        engine.observe(observer.clone());
        server
            .spawn("logger".to_owned(), move || observer.watch.run(&observer.stop, &mailboxes))?;
        if shared.logins.authentication != Authentication::None {
            let (judge, judge_mailboxes) = (shared.clone(), logins_mailboxes.clone());
            server.spawn("logins".to_owned(), move || {
                judge.logins.run(&judge.stop, &judge_mailboxes)
            })?;
            let (shared, mailboxes) = (shared.clone(), logins_mailboxes);
            server.spawn("hashes".to_owned(), move || {
                shared.logins.run_hashes(&shared.stop, &mailboxes)
            })?;
        }
        server.spawn("maintenance".to_owned(), move || {
            while shared.stop.sleep(MAINTENANCE) {
                engine.maintain(shared.clock.now());
            }
            Ok(())
        })?;
        for (place, address) in server.addresses.iter().enumerate() {
            match server.stopper.shared.options.tls_at(place) {
                Some(_) => tracing::info!(%address, tls = true, "listening"),
                None => tracing::info!(%address, "listening"),
            }
        }
        Ok(server)
    }

    /// Where the server listens, with the ports that the system chose.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Tells the time as the server has it, in any thread.
    pub fn clock(&self) -> impl Fn() -> Now + Send + 'static {
        let shared = self.stopper.shared.clone();
        move || shared.clock.now()
    }

    /// Changes who may log in, in any thread.
    pub fn users(&self) -> impl Fn(Users) + Send + 'static {
        let shared = self.stopper.shared.clone();
        move |users| shared.logins.replace(users)
    }

    /// What the server proves itself by, if some listener has TLS.
    pub fn certificates(&self) -> Option<Arc<Certificates>> {
        self.stopper.shared.options.tls.clone()
    }

    /// Changes a line of `stats settings`, in any thread: its name and its value from now on.
    pub fn settings_report(&self) -> impl Fn(&str, String) + Send + 'static {
        let shared = self.stopper.shared.clone();
        move |name, value| shared.change_setting(name, value)
    }

    /// What stops the server from any thread.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Stops the server: accepts no more, sends the answers that are owed, closes.
    pub fn stop(self) -> io::Result<()> {
        self.stopper.stop();
        self.join()
    }

    /// Waits until the server has stopped; tells why, if nobody asked it to.
    pub fn join(mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            result = result.and(ended);
        }
        tracing::info!("stopped");
        result
    }

    /// Starts a thread. When one ends, for whatever reason, all are to end.
    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let stop = StopAtEnd(self.stopper.clone());
        let thread = Builder::new().name(name).spawn(move || {
            let _stop = stop;
            run()
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

/// The processors that the process may use.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor)).collect()
}

/// Keeps this thread on a processor.
fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    match sched_setaffinity(None, &set) {
        Ok(()) => tracing::debug!(processor, "a worker stays here"),
        Err(error) => tracing::warn!(processor, %error, "a worker cannot be kept here"),
    }
}

/// Stops a server from any thread, as often as one likes.
#[derive(Clone)]
pub struct Stopper {
    shared: Arc<Shared>,
    wake_all: Arc<dyn Fn() + Send + Sync>,
}

impl Stopper {
    fn new<W: Wake>(
        shared: &Arc<Shared>,
        own: Vec<impl Wake>,
        mailboxes: &Arc<[Mailbox<W>]>,
    ) -> Self {
        let mailboxes = mailboxes.clone();
        let wake_all = move || {
            own.iter().for_each(Wake::wake);
            mailboxes.iter().for_each(Mailbox::wake);
        };
        Self { shared: shared.clone(), wake_all: Arc::new(wake_all) }
    }

    /// Has the server accept nothing more and lets its connections end when nothing is asked on
    /// them. Waits for that, but no longer than `patience`.
    pub fn drain(&self, patience: Duration) {
        let began = Instant::now();
        self.shared.stop.drain();
        (self.wake_all)();
        while !self.shared.connections.are_over() && began.elapsed() < patience {
            if !self.shared.stop.sleep(DRAIN_CHECK) {
                break;
            }
        }
    }

    /// Tells the server to stop; returns at once.
    pub fn stop(&self) {
        self.shared.stop.ask();
        self.shared.watch.wake();
        (self.wake_all)();
    }
}

struct StopAtEnd(Stopper);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.stop();
    }
}

//! The server's command.

use std::io;
use std::sync::Arc;

use mcache::{Server, ServerOptions, signals};
use mcache_store::eviction::POLICIES;
use mcache_store::{EngineOptions, SimpleStorageEngine, SizeLimit};

fn main() -> io::Result<()> {
    let engine = SimpleStorageEngine::new(&EngineOptions {
        capacity: 1 << 30,
        item_size: SizeLimit::Item(1 << 20),
        evict: true,
        policy: &POLICIES[0],
    });
    let server = Server::start(ServerOptions::default(), Arc::new(engine))?;
    signals::stop_on_signals(server.stopper())?;
    server.join()
}

//! The log: on stderr, about the server and never about a request.

use std::io;
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, registry, reload};

/// How to say otherwise: levels by module, such as `info` or `mcache=debug`.
const VARIABLE: &str = "RUST_LOG";

/// Changes the level of the running log; empty while `RUST_LOG` rules.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts the log, once in a process: with what `RUST_LOG` says, or else at `verbosity`.
pub fn start(verbosity: u32) {
    let said = std::env::var(VARIABLE).ok().filter(|said| !said.is_empty());
    let parsed = said.as_ref().map(|said| said.parse::<Targets>());
    let (targets, mistake) = match parsed {
        Some(Ok(targets)) => (Some(targets), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let ruled = targets.is_some();
    let (filter, handle) = reload::Layer::new(targets.unwrap_or_else(|| at(verbosity)));
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(false).with_target(false);
    if registry().with(layer.with_filter(filter)).try_init().is_ok() && !ruled {
        let _ = LEVEL.set(handle);
    }
    if let Some(error) = mistake {
        tracing::warn!("{VARIABLE} is not understood: {error}");
    }
}

/// Sets how much is logged, from 0 (errors and warnings) to 3 (everything).
pub fn set_verbosity(verbosity: u32) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(at(verbosity)); // fails only if the log is gone
    }
}

fn at(verbosity: u32) -> Targets {
    Targets::new().with_default(match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    })
}

//! The log: on stderr, about the server, and about requests only for who asks to debug.

use std::io;
use std::sync::OnceLock;

use mcache_session::Kinds;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, registry, reload};

/// How to say otherwise: levels by module, such as `info` or `mcache=debug`.
const VARIABLE: &str = "RUST_LOG";

/// What is logged for debugging.
const AT_DEBUG: Kinds = Kinds::CONNECTIONS.with(Kinds::COMMANDS);
/// What is logged besides when everything is.
const AT_TRACE: Kinds =
    Kinds::FETCHERS.with(Kinds::MUTATIONS).with(Kinds::DELETIONS).with(Kinds::EVICTIONS);

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

/// What the log wants to know of each request and connection, at the level it has now.
pub fn followed() -> Kinds {
    let at = |enabled, kinds| if enabled { kinds } else { Kinds::NONE };
    let debug = at(tracing::enabled!(tracing::Level::DEBUG), AT_DEBUG);
    debug.with(at(tracing::enabled!(tracing::Level::TRACE), AT_TRACE))
}

/// Logs an event in the words of `watch`, without its time and number.
pub fn event(kind: Kinds, line: &[u8]) {
    let words = line.splitn(3, |&byte| byte == b' ').nth(2).unwrap_or_default();
    let words = words.trim_ascii_end().escape_ascii();
    if kind.meet(AT_DEBUG) {
        tracing::debug!("{words}");
    } else {
        tracing::trace!("{words}");
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

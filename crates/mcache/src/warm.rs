//! The memory file of `-e`: opened before anything is promised, and what came back from it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Instant;

use mcache_store::{
    AfterReboot, EngineOptions, MemoryFile, MemoryFileError, Recovery, SegmentStorageEngine,
};

use crate::clock;
use crate::failure::Failure;
use crate::options::ServerOptions;
use crate::settings::Settings;

/// Opens and locks the file that items are to live in. Changes nothing in it.
pub fn open(settings: &Settings) -> Result<Option<MemoryFile>, Failure> {
    let Some(path) = &settings.memory_file else { return Ok(None) };
    MemoryFile::open(path).map(Some).map_err(|error| about(path, &error))
}

/// The engine whose items live in this file, with those that are there. What the server is to know
/// of it goes into its options; the log has a line.
pub fn recover(
    settings: &Settings,
    options: &mut ServerOptions,
    engine: &EngineOptions,
    file: MemoryFile,
) -> Result<SegmentStorageEngine, Failure> {
    let path = settings.memory_file.as_deref().unwrap_or(Path::new(""));
    let after_reboot = match settings.after_reboot {
        "verify" => AfterReboot::Verify,
        _ => AfterReboot::Cold,
    };
    let began = Instant::now();
    let engine = SegmentStorageEngine::on_file(engine, file, clock::boot(), after_reboot)
        .map_err(|error| about(path, &error))?;
    options.recovery_us = began.elapsed().as_micros() as u64;
    if let Some(recovery) = engine.recovery() {
        options.clock_origin_ms = Some(recovery.clock_origin_ms);
        report(path, &recovery, options.recovery_us);
    }
    Ok(engine)
}

/// Has what came back verified while the server answers.
pub fn verify(engine: &Arc<SegmentStorageEngine>) -> io::Result<()> {
    let engine = engine.clone();
    Builder::new().name("verify".to_owned()).spawn(move || {
        if let Some(recovery) = engine.verify() {
            let Recovery { items, segments_damaged, items_dropped, .. } = recovery;
            tracing::warn!(items, segments_damaged, items_dropped, "the memory file is damaged");
        }
    })?;
    Ok(())
}

fn about(path: &Path, error: &MemoryFileError) -> Failure {
    Failure::system(format!("-e {}: {error}", path.display()))
}

fn report(path: &Path, recovery: &Recovery, us: u64) {
    let &Recovery { cold, was_stopped, items, bytes, segments_damaged, items_dropped, .. } =
        recovery;
    let file = path.display();
    if let Some(cold) = cold {
        tracing::info!(%file, why = cold.why(), "the memory file has no items");
        return;
    }
    let ended = if was_stopped { "stopped" } else { "killed" };
    let index = if recovery.index_was_saved { "saved" } else { "made anew" };
    tracing::info!(
        %file, items, bytes, ms = us / 1000, ended, index, segments_damaged, items_dropped,
        "items are back"
    );
}

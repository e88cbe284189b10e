//! The memory file of `-e`, or that without a name of `--takeover`: opened before anything is
//! promised, and what came back from it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use mcache_base::Stat;
use mcache_store::{
    AfterReboot, EngineOptions, MemoryFile, MemoryFileError, Recovery, SegmentStorageEngine,
    StorageEngine,
};

use crate::clock;
use crate::failure::Failure;
use crate::options::ServerOptions;
use crate::settings::Settings;
use crate::takeover::Predecessor;

/// Opens and locks the file that items are to live in. Changes nothing in it, and finds out whether
/// a store of `capacity` bytes can begin with it before the server that runs is asked to stop.
pub fn open(
    settings: &Settings,
    capacity: u64,
    predecessor: Option<&Predecessor>,
) -> Result<Option<MemoryFile>, Failure> {
    let path = settings.memory_file.as_deref();
    let opened = match (predecessor, path) {
        (Some(predecessor), _) => MemoryFile::new(predecessor.memory(path)?),
        (None, Some(path)) => MemoryFile::open(path),
        (None, None) if settings.takeover.is_some() => MemoryFile::anonymous(),
        (None, None) => return Ok(None),
    };
    let is_usable = |file: MemoryFile| file.check_room(capacity).map(|()| Some(file));
    opened.and_then(is_usable).map_err(|error| about(settings, &error))
}

/// Takes the file again that this process or the one before has used.
pub fn reopen(settings: &Settings, file: File) -> Result<MemoryFile, Failure> {
    MemoryFile::new(file).map_err(|error| about(settings, &error))
}

/// The engine whose items live in this file, with those that are there. What the server is to know
/// of it goes into its options; the log has a line.
pub fn recover(
    settings: &Settings,
    options: &mut ServerOptions,
    engine: &EngineOptions,
    file: MemoryFile,
) -> Result<SegmentStorageEngine, Failure> {
    let after_reboot = match settings.after_reboot {
        "verify" => AfterReboot::Verify,
        _ => AfterReboot::Cold,
    };
    let (began, wanted) = (Instant::now(), engine.capacity);
    let engine = SegmentStorageEngine::on_file(engine, file, clock::boot(), after_reboot)
        .map_err(|error| about(settings, &error))?;
    options.recovery_us = began.elapsed().as_micros() as u64;
    if let Some(recovery) = engine.recovery() {
        options.clock_origin_ms = Some(recovery.clock_origin_ms);
        report(settings, &recovery, options.recovery_us);
        complain(settings, &recovery, engine.stat(Stat::limit_maxbytes), wanted);
    }
    Ok(engine)
}

/// Has what came back verified while the server answers, in a thread that ends then.
pub fn verify(engine: &Arc<SegmentStorageEngine>) -> io::Result<JoinHandle<()>> {
    let engine = engine.clone();
    Builder::new().name("verify".to_owned()).spawn(move || {
        if let Some(recovery) = engine.verify() {
            let Recovery { items, segments_damaged, items_dropped, .. } = recovery;
            tracing::warn!(items, segments_damaged, items_dropped, "the memory file is damaged");
        }
    })
}

/// Where the items live.
fn place(settings: &Settings) -> String {
    match &settings.memory_file {
        Some(path) => path.display().to_string(),
        None => "(without a name)".to_owned(),
    }
}

fn about(settings: &Settings, error: &MemoryFileError) -> Failure {
    Failure::system(match &settings.memory_file {
        Some(path) => format!("-e {}: {error}", path.display()),
        None => format!("--takeover: the memory: {error}"),
    })
}

fn report(settings: &Settings, recovery: &Recovery, us: u64) {
    let &Recovery { cold, was_stopped, items, items_before, bytes, .. } = recovery;
    let &Recovery { segments_damaged, items_dropped, .. } = recovery;
    let file = place(settings);
    if let Some(cold) = cold {
        tracing::info!(%file, why = cold.why(), "the memory file has no items");
        return;
    }
    let ended = if was_stopped { "stopped" } else { "killed" };
    let index = if recovery.index_was_saved { "saved" } else { "made anew" };
    tracing::info!(
        %file, items, items_before, bytes, ms = us / 1000, ended, index, segments_damaged,
        items_dropped, "items are back"
    );
}

/// Says what of the memory limit cannot be had.
fn complain(settings: &Settings, recovery: &Recovery, memory: u64, wanted: u64) {
    let file = place(settings);
    if memory < wanted {
        tracing::warn!(%file, memory, wanted, "the memory file reaches no further; a new one does");
    }
    if recovery.bytes_lacking > 0 {
        let lacking = recovery.bytes_lacking;
        tracing::warn!(%file, lacking, "the memory file's volume has no room for all of it");
    }
}

//! Warm restart: an engine whose segments lie in a file, and outlive the process.
//!
//! `file` is the file towards the system; `header`, `ledger` and `layout` are what it holds beside
//! segments; `scan` and `recover` bring back what is in it after a kill, `saved` and `attach` after
//! a clean stop. docs/decisions/0011 has the argument why a kill at any moment leaves a good file.

#[allow(unsafe_code)] // has segments walked
mod attach;
#[cfg(test)]
mod crash_points;
mod file;
mod header;
mod layout;
mod ledger;
#[allow(unsafe_code)] // has segments walked
mod recover;
mod saved;
#[allow(unsafe_code)] // walks segments
mod scan;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use mcache_base::Now;
use mcache_base::time::CLOCK_START_MS;

use super::SegmentStorageEngine;
use super::arena::{Arena, Geometry, SegmentId};
use attach::Attach;
pub use file::{MemoryFile, MemoryFileError};
use file::{Parts, system};
use header::{Found, Header};
use layout::segments_in;
use ledger::{Cell, IN_USE, Ledger, STOPPED};
use recover::Findings;

use crate::engine::EngineOptions;
use crate::flush::Flush;
use crate::hash::KeyHasher;

/// After a kill, sequence numbers go on so far behind the last that is known of: more than may be
/// drawn between two notes of it.
const SEQUENCE_GAP: u64 = 1 << 32;

/// The machine that a memory file is used on, and the moment.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Tells this run of the machine from all others.
    pub id: [u8; 16],
    /// The system's clock since boot, in milliseconds, time asleep included.
    pub since_ms: i64,
    /// The wall clock, in Unix seconds.
    pub unix: u64,
}

/// What is done with a file that was last used before the machine was booted: a page of it may be
/// older than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReboot {
    /// Nothing of it is used.
    Cold,
    /// What its checksums find whole is used.
    Verify,
}

/// Why an engine begins empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cold {
    /// The file is new.
    New,
    /// What says what the file holds is damaged.
    Damaged,
    /// The machine was booted since.
    Rebooted,
    /// The file is cut for a far higher memory limit.
    OtherSize,
}

/// What came back from a memory file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Why nothing came back, if nothing was looked for.
    pub cold: Option<Cold>,
    /// The server before stopped in order.
    pub was_stopped: bool,
    /// The index was saved then, and is used: what it leads to is verified while others go on.
    pub index_was_saved: bool,
    /// Items that there were, as of late: some may have expired since.
    pub items_before: u64,
    /// Items that are there.
    pub items: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Segments of which a part is damaged; what is behind it is gone.
    pub segments_damaged: u64,
    /// Items that are gone although they are whole themselves: they lack a fragment, or a place in
    /// the index.
    pub items_dropped: u64,
    /// Bytes of the memory limit that the file's volume has no room for: others have filled it.
    pub bytes_lacking: u64,
    /// What the system's clock since boot, in milliseconds, was when the cache's was 0.
    pub clock_origin_ms: i64,
}

/// A memory file in use.
pub(super) struct Warm {
    ledger: Arc<Ledger>,
    recovery: Mutex<Recovery>,
    /// What is not verified yet, after a clean stop.
    attach: Option<Attach>,
    /// Locked as long as this lives.
    file: MemoryFile,
}

impl Cold {
    /// In words.
    pub fn why(self) -> &'static str {
        match self {
            Self::New => "the file is new",
            Self::Damaged => "the file is damaged where it says what it holds",
            Self::Rebooted => "the machine was started anew since the file was used",
            Self::OtherSize => "the file is cut for a far higher memory limit",
        }
    }
}

/// What a file says of itself that recovery begins with.
struct Noted {
    header: Header,
    arena: Arena,
    flush: Flush,
    ledger: Arc<Ledger>,
    was_stopped: bool,
    /// Where the index was saved; 0 if it was not.
    saved_at: u64,
    segments: usize,
    sequence: u64,
    now: Now,
}

impl SegmentStorageEngine {
    /// An engine whose items lie in a file, with those that are there.
    pub fn on_file(
        options: &EngineOptions,
        file: MemoryFile,
        boot: Boot,
        after_reboot: AfterReboot,
    ) -> Result<Self, MemoryFileError> {
        match noted(options, &file, boot, after_reboot)? {
            Ok(noted) => {
                // More than the file reaches would have to be another one, with nothing in it.
                let reach = noted.header.geometry.len() as u64;
                let capacity = options.capacity.min(reach);
                Self::warm(&EngineOptions { capacity, ..*options }, file, noted)
            }
            Err(why) => Self::cold(options, file, boot, why),
        }
    }

    /// What came back when the engine was made, if its items lie in a file.
    pub fn recovery(&self) -> Option<Recovery> {
        let warm = self.warm.as_ref()?;
        Some(*warm.recovery.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Leaves the memory file, if there is one, so that the next process can begin at once. Nobody
    /// is at work any more. Without it the next one recovers what is there from the records.
    pub fn close(&self, now: Now) {
        let Some(warm) = self.warm.as_ref().filter(|_| !self.is_unverified()) else { return };
        self.note_progress(now);
        // A volume that is full costs the next process some time, and nothing else.
        if self.save(&warm.file, &warm.ledger).is_ok() {
            warm.ledger.set(Cell::State, STOPPED);
        }
    }

    /// Notes how far the engine has come. Called about once a second.
    pub(super) fn note_progress(&self, now: Now) {
        if let Some(warm) = &self.warm {
            warm.ledger.note(self.sequence.last(), now);
            warm.ledger.set(Cell::HashLevel, self.hash_level.load(Relaxed));
            warm.ledger.set(Cell::Items, self.index.items());
        }
    }

    fn warm(
        options: &EngineOptions,
        file: MemoryFile,
        noted: Noted,
    ) -> Result<Self, MemoryFileError> {
        let Noted { header, arena, flush, ledger, was_stopped, saved_at, segments, .. } = noted;
        let (sequence, now, geometry) = (noted.sequence, noted.now, header.geometry);
        let bytes_lacking = match file.check_room_anew(options.capacity) {
            Err(MemoryFileError::NoSpace { needed, free }) => needed - free,
            _ => 0,
        };
        let items_before = ledger.get(Cell::Items).unwrap_or(0);
        let mut engine = Self::build(options, arena, header.secret, flush)
            .map_err(system("have memory beside it"))?;
        let is_saved = was_stopped && engine.load(&file, saved_at, segments);
        ledger.set(Cell::State, IN_USE);
        ledger.set(Cell::SavedAt, 0);
        // What was saved, all of it or some when a kill came.
        file.cut(if saved_at > 0 { saved_at } else { layout::segments_end(geometry, segments) })?;
        file.write_header(&header)?;
        let clock_origin_ms = header.clock_origin_ms;
        let recovery = Recovery {
            was_stopped,
            index_was_saved: is_saved,
            clock_origin_ms,
            items_before,
            bytes_lacking,
            ..Recovery::default()
        };
        let recovery = Mutex::new(recovery);
        let attach = is_saved.then(|| Attach::new(segments, now));
        let warm = engine.warm.insert(Warm { ledger, recovery, attach, file });
        let ledger = warm.ledger.clone();
        let findings = match is_saved {
            true => engine.take_over(segments, now),
            false => engine.recover(segments, now),
        };
        let gap = if was_stopped { 0 } else { SEQUENCE_GAP };
        engine.sequence.resume(sequence.max(findings.sequence).saturating_add(gap));
        let level = ledger.get(Cell::HashLevel).filter(|level| *level < u64::from(u32::BITS));
        engine.hash_level.fetch_max(level.unwrap_or(0), Relaxed);
        engine.note_progress(now);
        engine.note_recovery(&findings);
        engine.give_way(now, &engine.upkeep_counters); // the limit may be lower than it was
        Ok(engine)
    }

    /// Begins with what was saved.
    fn take_over(&self, segments: usize, now: Now) -> Findings {
        (0..segments).for_each(|id| self.arena.adopt(id as SegmentId, now.clock_ms));
        self.line_up(segments);
        self.flush.hold();
        Findings::default()
    }

    fn cold(
        options: &EngineOptions,
        file: MemoryFile,
        boot: Boot,
        why: Cold,
    ) -> Result<Self, MemoryFileError> {
        file.check_room_anew(options.capacity)?;
        file.clear()?;
        let header = Header {
            geometry: Geometry::of(options.capacity),
            secret: KeyHasher::draw_secret(),
            boot_id: boot.id,
            clock_origin_ms: boot.since_ms - CLOCK_START_MS as i64,
        };
        file.write_header(&header)?;
        let Parts { arena, ledger } = file.map(header.geometry)?;
        let ledger = Arc::new(ledger);
        ledger.note(0, Now { clock_ms: CLOCK_START_MS, unix: boot.unix });
        ledger.begin();
        let flush = Flush::resume(ledger.clone(), 0, None, Vec::new());
        let mut engine = Self::build(options, arena, header.secret, flush)
            .map_err(system("have memory beside it"))?;
        let clock_origin_ms = header.clock_origin_ms;
        let recovery = Recovery { cold: Some(why), clock_origin_ms, ..Recovery::default() };
        let recovery = Mutex::new(recovery);
        engine.warm = Some(Warm { ledger, recovery, attach: None, file });
        Ok(engine)
    }
}

/// What a file says of itself, or why nothing of it can be used.
fn noted(
    options: &EngineOptions,
    file: &MemoryFile,
    boot: Boot,
    after_reboot: AfterReboot,
) -> Result<Result<Noted, Cold>, MemoryFileError> {
    let header = match file.found() {
        Found::Header(header) => header,
        Found::Zeros if file.is_empty()? => return Ok(Err(Cold::New)),
        _ => return Ok(Err(Cold::Damaged)),
    };
    let is_same_boot = header.boot_id == boot.id;
    if !is_same_boot && after_reboot == AfterReboot::Cold {
        return Ok(Err(Cold::Rebooted));
    }
    if !header.geometry.suits(options.capacity) {
        return Ok(Err(Cold::OtherSize));
    }
    let Some(len) = file.len()? else { return Ok(Err(Cold::Damaged)) };
    let Parts { arena, ledger } = file.map(header.geometry)?;
    let saved_at = ledger.get(Cell::SavedAt).unwrap_or(0);
    let is_behind = (layout::segments_at(header.geometry)..len).contains(&saved_at);
    let saved_at = if is_behind { saved_at } else { 0 };
    // The table tells of segments that the file may have lost; its length may be any.
    let told = file.segments(header.geometry)?;
    let segments = match is_behind {
        true => segments_in(header.geometry, saved_at).min(told),
        false => told,
    };
    if arena.take_table(segments).is_err() {
        return Ok(Err(Cold::Damaged));
    }
    let ledger = Arc::new(ledger);
    let noted = || {
        let was_stopped = match ledger.get(Cell::State)? {
            STOPPED => true,
            IN_USE => false,
            _ => return None,
        };
        let (cutoff, pending) = (ledger.get(Cell::Cutoff)?, ledger.pending()?);
        let groups = ledger.groups().ok()?;
        let clock_ms = match is_same_boot {
            true => boot.since_ms.checked_sub(header.clock_origin_ms)?,
            false => {
                let down_s = boot.unix.saturating_sub(ledger.get(Cell::Unix)?);
                let clock_ms = ledger.get(Cell::ClockMs)?.checked_add(down_s.checked_mul(1000)?)?;
                i64::try_from(clock_ms).ok()?
            }
        };
        let now = Now { clock_ms: u64::try_from(clock_ms).ok()?, unix: boot.unix };
        let clock_origin_ms = boot.since_ms.checked_sub(clock_ms)?;
        let flushed = groups.iter().map(|(_, cutoff)| *cutoff).max().unwrap_or(0).max(cutoff);
        let flush = Flush::resume(ledger.clone(), cutoff, pending, groups);
        Some(Noted {
            header: Header { boot_id: boot.id, clock_origin_ms, ..header },
            arena,
            flush,
            ledger: ledger.clone(),
            was_stopped,
            saved_at,
            segments,
            sequence: ledger.get(Cell::Sequence).unwrap_or(0).max(flushed),
            now,
        })
    };
    Ok(noted().ok_or(Cold::Damaged))
}

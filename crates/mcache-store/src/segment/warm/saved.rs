//! What a clean stop leaves beside the segments: the index, what the table of segments has to be,
//! and the size classes' gauges, in parts that each have a checksum. With it the next process need
//! not look at the records before it answers.
//!
//! It lies behind the last segment, and is cut off once it is read.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::Relaxed;

use mcache_base::{ClassStat, slab_class};

use super::super::SegmentStorageEngine;
use super::super::arena::SegmentId;
use super::super::checksum;
use super::file::MemoryFile;
use super::ledger::{Cell, Ledger};
use crate::engine::StorageEngine;

/// Bytes of a part's head: its length and its checksum.
const HEAD: usize = 8;

/// The gauges of a size class that come back.
const GAUGES: [ClassStat; 2] = [ClassStat::number, ClassStat::mem_requested];

/// Longest part that is read: more than a region of the index whose window is full.
const PART_MAX: usize = 16 << 20;

impl SegmentStorageEngine {
    /// Writes what the next process can begin with. Nobody is at work any more.
    pub(super) fn save(&self, file: &MemoryFile, ledger: &Ledger) -> io::Result<()> {
        let begin = file.file().metadata()?.len();
        let mut at = begin;
        let mut write = |bytes: &[u8]| {
            let sum = checksum::append(0, bytes);
            let head = [(bytes.len() as u32).to_le_bytes(), sum.to_le_bytes()].concat();
            file.file().write_all_at(&head, at)?;
            file.file().write_all_at(bytes, at + HEAD as u64)?;
            at += (HEAD + bytes.len()) as u64;
            io::Result::Ok(())
        };
        write(&self.facts(self.arena.used() as usize))?;
        let mut gauges = Vec::new();
        for (class, stat) in each_gauge() {
            gauges.extend_from_slice(&self.class_stat(class, stat).to_le_bytes());
        }
        write(&gauges)?;
        let counts = self.live();
        let counts = (0..self.arena.used()).map(|id| counts.of(id) as u32);
        write(&counts.flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
        let mut bytes = Vec::new();
        for region in 0..self.index.regions() {
            bytes.clear();
            self.index.lock_region(region).save(&mut bytes);
            write(&bytes)?;
        }
        ledger.set(Cell::SavedAt, begin);
        Ok(())
    }

    /// Takes over what an engine like this one, which is new, has saved. Returns whether all of it
    /// is there and whole; the index is empty otherwise.
    pub(super) fn load(&self, file: &MemoryFile, begin: u64, segments: usize) -> bool {
        let done = self.load_all(file, begin, segments).is_some();
        if !done {
            self.index.clear();
        }
        done
    }

    fn load_all(&self, file: &MemoryFile, begin: u64, segments: usize) -> Option<()> {
        let mut at = begin;
        let mut read = || {
            let mut head = [0; HEAD];
            file.file().read_exact_at(&mut head, at).ok()?;
            let [a, b, c, d, e, f, g, h] = head;
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            let mut bytes = vec![0; Some(len).filter(|&len| len <= PART_MAX)?];
            file.file().read_exact_at(&mut bytes, at + HEAD as u64).ok()?;
            at += (HEAD + len) as u64;
            (checksum::append(0, &bytes) == u32::from_le_bytes([e, f, g, h])).then_some(bytes)
        };
        (read()? == self.facts(segments)).then_some(())?;
        let (gauges, counts) = (read()?, read()?);
        let end = self.arena.location(segments * self.arena.segment_size());
        for region in 0..self.index.regions() {
            self.index.lock_region(region).load(&read()?, end).then_some(())?;
        }
        for (id, bytes) in (0..).zip(counts.as_chunks::<4>().0.iter().take(segments)) {
            self.arena.segment(id).live.store(u32::from_le_bytes(*bytes), Relaxed);
        }
        let (gauges, _) = gauges.as_chunks::<8>();
        for ((class, stat), bytes) in each_gauge().zip(gauges) {
            self.upkeep_counters.classes.add(class, stat, u64::from_le_bytes(*bytes));
        }
        Some(())
    }

    /// What has to be as it was for the rest to mean what it meant.
    fn facts(&self, segments: usize) -> Vec<u8> {
        let numbers = [self.index.regions() as u64, segments as u64];
        let ids = 0..segments;
        let table = ids.fold(0, |sum, id| checksum::append(sum, &self.arena.row(id as SegmentId)));
        let numbers = numbers.into_iter().chain([u64::from(table)]);
        numbers.flat_map(u64::to_le_bytes).collect()
    }
}

/// Every gauge of every class.
pub fn each_gauge() -> impl Iterator<Item = (usize, ClassStat)> {
    slab_class::ids().flat_map(|class| GAUGES.map(|stat| (class, stat)))
}

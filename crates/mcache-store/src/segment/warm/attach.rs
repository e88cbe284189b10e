//! After a clean stop: the index is there at once, and segments are verified while the server
//! answers. A fetch verifies the segments first in which its key may be; whatever changes something
//! waits until all are verified, and helps.
//!
//! Where anything is damaged, all is recovered from the records, as after a kill.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::thread;

use mcache_base::{Key, Now};

use super::super::SegmentStorageEngine;
use super::super::arena::SegmentId;
use super::Recovery;
use super::recover::{Findings, at_once};
use super::saved::each_gauge;
use super::scan;

/// What is known of a segment.
const UNKNOWN: u8 = 0;
const BEING_VERIFIED: u8 = 1;
const WHOLE: u8 = 2;

/// What is still to be verified.
pub struct Attach {
    segments: Box<[AtomicU8]>,
    /// Those before it are verified, or being.
    next: AtomicUsize,
    /// How many are not verified yet.
    left: AtomicUsize,
    damaged: AtomicBool,
    /// Nothing is left to do.
    over: AtomicBool,
    rebuilding: Mutex<()>,
    /// When the process began.
    began: Now,
}

impl Attach {
    /// Nothing of so many segments is verified.
    pub fn new(segments: usize, began: Now) -> Self {
        Self {
            segments: (0..segments).map(|_| AtomicU8::new(UNKNOWN)).collect(),
            next: AtomicUsize::new(0),
            left: AtomicUsize::new(segments),
            damaged: AtomicBool::new(false),
            over: AtomicBool::new(false),
            rebuilding: Mutex::new(()),
            began,
        }
    }
}

impl SegmentStorageEngine {
    /// Verifies what came back from a memory file and was not verified yet; others go on meanwhile.
    /// Returns what came back if it had to be recovered from the records, because some of it is
    /// damaged.
    pub fn verify(&self) -> Option<Recovery> {
        let attach = self.attach()?;
        at_once(attach.segments.len(), || self.wait_until_verified());
        attach.damaged.load(Relaxed).then(|| self.recovery())?
    }

    /// Whether segments may be damaged.
    pub(in super::super) fn is_unverified(&self) -> bool {
        self.attach().is_some()
    }

    /// Helps to verify all segments.
    pub(in super::super) fn wait_until_verified(&self) {
        let Some(attach) = self.attach() else { return };
        loop {
            let id = attach.next.fetch_add(1, Relaxed);
            if id >= attach.segments.len() || attach.damaged.load(Acquire) {
                break;
            }
            self.verify_segment(attach, id as SegmentId);
        }
        while !attach.over.load(Acquire) {
            if attach.damaged.load(Acquire) {
                self.rebuild(attach);
            }
            thread::yield_now(); // others have the last ones
        }
    }

    /// Verifies the segments in which a key's item may be.
    pub(in super::super) fn verify_for(&self, key: Key<'_>) {
        let Some(attach) = self.attach() else { return };
        self.index.each_candidate(key.hash, |location| {
            self.verify_segment(attach, self.arena.segment_of(location));
            if attach.damaged.load(Acquire) {
                return;
            }
            let record = self.record(location);
            if record.is_fragmented() {
                record.fragments().for_each(|(part, _)| {
                    self.verify_segment(attach, self.arena.segment_of(part));
                });
            }
        });
        if attach.damaged.load(Acquire) {
            self.wait_until_verified();
        }
    }

    fn attach(&self) -> Option<&Attach> {
        let attach = self.warm.as_ref()?.attach.as_ref()?;
        (!attach.over.load(Acquire)).then_some(attach)
    }

    /// Verifies a segment, or waits until somebody else has.
    fn verify_segment(&self, attach: &Attach, id: SegmentId) {
        let Some(state) = attach.segments.get(id as usize) else {
            attach.damaged.store(true, Release);
            return;
        };
        let claimed = state.compare_exchange(UNKNOWN, BEING_VERIFIED, Acquire, Acquire);
        match claimed {
            // A thread that dies here must not leave the others waiting.
            Ok(_) if catch_unwind(AssertUnwindSafe(|| self.is_whole(id))).unwrap_or(false) => {
                state.store(WHOLE, Release);
                if attach.left.fetch_sub(1, AcqRel) == 1 {
                    self.end(attach);
                }
            }
            Ok(_) => attach.damaged.store(true, Release),
            Err(WHOLE) => {}
            Err(_) => {
                while state.load(Acquire) != WHOLE && !attach.damaged.load(Acquire) {
                    thread::yield_now();
                }
            }
        }
    }

    /// Whether a segment's records are whole, and those that are alive as many as they were.
    fn is_whole(&self, id: SegmentId) -> bool {
        let segment = self.arena.segment(id);
        let live = self.live().of(id);
        if live == 0 {
            return true; // it was given back
        }
        let written = segment.written.load(Relaxed) as usize;
        if self.arena.take(id).is_err() {
            return false;
        }
        let (mut found, mut expiries) = (0, true);
        // SAFETY: nobody writes to a segment that is not verified, and it has memory.
        let walked = unsafe {
            scan::walk(&self.arena, id, written, |_, record| {
                if !record.is_dead() {
                    found += self.arena.rounded(record.size());
                    expiries &= record.has_whole_expiry();
                }
            })
        };
        !walked.damaged && walked.written == written && found == live && expiries
    }

    fn end(&self, attach: &Attach) {
        attach.over.store(true, Release);
        self.flush.let_go();
    }

    /// Begins anew with the records.
    fn rebuild(&self, attach: &Attach) {
        let _one = attach.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        if attach.over.load(Acquire) {
            return;
        }
        self.index.clear();
        let classes = &self.upkeep_counters.classes;
        for (class, stat) in each_gauge() {
            classes.add(class, stat, classes.read(class, stat).wrapping_neg());
        }
        let findings = self.recover(attach.segments.len(), attach.began);
        self.note_recovery(&findings);
        self.end(attach);
    }

    /// Notes what came back.
    pub(super) fn note_recovery(&self, findings: &Findings) {
        if let Some(warm) = &self.warm {
            let mut recovery = warm.recovery.lock().unwrap_or_else(PoisonError::into_inner);
            recovery.items = self.index.items();
            recovery.bytes = self.live_bytes();
            recovery.segments_damaged = findings.segments_damaged;
            recovery.items_dropped = findings.items_dropped;
        }
    }
}

//! Counts that number things from 1 on.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Numbers that a thread takes at once at most.
const BLOCK_MAX: u64 = 256;

/// A count that only rises. Each number is given once.
///
/// Numbers are given one by one, or to threads in [`Block`]s. As long as one thread alone takes
/// them, none is left out.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The last number that was given, or is in a block.
    given: Line,
    /// Numbers up to this one are not given any more.
    floor: Line,
    /// The last number of those threads that have ended.
    ended: AtomicU64,
    /// The last number of each of the others; 0 for none.
    threads: Mutex<Vec<Arc<Line>>>,
}

/// What lies beside it is read by everybody and must not move with it from processor to processor.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// Numbers that a thread has for itself.
pub struct Block {
    /// The last one given.
    last: Arc<Line>,
    next: u64,
    /// Behind the block's last.
    end: u64,
    /// Numbers given since it was taken.
    used: u64,
}

impl Sequence {
    /// The next number; the first is 1.
    #[inline]
    pub fn next(&self) -> u64 {
        self.take(1)
    }

    /// Goes on behind `number`.
    pub fn resume(&self, number: u64) {
        self.given.0.fetch_max(number, Relaxed);
        self.ended.fetch_max(number, Relaxed);
    }

    /// No number that was given, or is in a block, is above this one; 0 if none was.
    #[inline]
    pub fn last(&self) -> u64 {
        self.given.0.load(Relaxed)
    }

    /// A block for one thread, with no number in it so far.
    pub fn block(&self) -> Block {
        let last = Arc::new(Line::default());
        self.threads().push(last.clone());
        Block { last, next: 0, end: 0, used: 0 }
    }

    /// The highest number that was given from a block, and no block gives one up to it any more.
    pub fn cut(&self) -> u64 {
        let threads = self.threads();
        let last = threads.iter().map(|last| last.0.load(Acquire)).max().unwrap_or(0);
        let last = last.max(self.ended.load(Relaxed));
        self.floor.0.fetch_max(last, Release);
        last
    }

    /// Takes `count` numbers. Returns the first.
    fn take(&self, count: u64) -> u64 {
        self.given.0.fetch_add(count, Relaxed) + 1
    }

    fn threads(&self) -> MutexGuard<'_, Vec<Arc<Line>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    /// The next number above `above`, which is one that was given before, or 0.
    #[inline]
    pub fn next(&mut self, sequence: &Sequence, above: u64) -> u64 {
        let above = above.max(sequence.floor.0.load(Acquire));
        if self.next >= self.end || self.next <= above {
            self.renew(sequence);
        }
        let number = self.next;
        self.last.0.store(number, Release);
        self.next += 1;
        self.used += 1;
        number
    }

    /// Takes a new block, twice as long as what was used of this one: where threads write the same
    /// keys in turn, few numbers are left out.
    #[cold]
    fn renew(&mut self, sequence: &Sequence) {
        let len = (2 * self.used).clamp(1, BLOCK_MAX);
        self.next = sequence.take(len);
        (self.end, self.used) = (self.next + len, 0);
    }

    /// Ends with the thread. What nobody took a number behind is given back.
    pub fn end(&mut self, sequence: &Sequence) {
        if self.next < self.end {
            let (all, used) = (self.end - 1, self.next - 1);
            let _ = sequence.given.0.compare_exchange(all, used, AcqRel, Relaxed);
        }
        let mut threads = sequence.threads();
        sequence.ended.fetch_max(self.last.0.load(Relaxed), Relaxed);
        threads.retain(|last| !Arc::ptr_eq(last, &self.last));
        (self.next, self.end) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_numbers_rise_and_none_is_given_twice() {
        let sequence = Sequence::default();
        let mut blocks = [(); 3].map(|()| sequence.block());
        let (mut all, mut last) = (Vec::new(), [0; 3]);
        for round in 0..5_000 {
            let thread = round * round % 3 * round % 7 % 3;
            let number = blocks[thread].next(&sequence, 0);
            assert!(number > last[thread] && number <= sequence.last());
            last[thread] = number;
            all.push(number);
            if round % 97 == 0 {
                blocks[thread].end(&sequence);
                blocks[thread] = sequence.block();
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 5_000);
        assert!(sequence.last() < 10_000, "few are left out");
        assert_eq!(sequence.threads().len(), 3);
    }

    #[test]
    fn one_threads_numbers_follow_each_other() {
        let sequence = Sequence::default();
        let mut block = sequence.block();
        for number in 1..=2_000 {
            assert_eq!(block.next(&sequence, number - 1), number);
            match number % 70 {
                0 => assert_eq!(sequence.cut(), number),
                1 => {
                    block.end(&sequence);
                    block = sequence.block();
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_number_is_above_what_it_has_to_be() {
        let sequence = Sequence::default();
        let (mut one, mut other) = (sequence.block(), sequence.block());
        let mut last = 0;
        for turn in 0..100 {
            let block = if turn % 2 == 0 { &mut one } else { &mut other };
            let number = block.next(&sequence, last);
            assert!(number > last, "one key's numbers rise");
            last = number;
        }
        assert!(sequence.last() <= 300, "few are left out");
        (0..1_000).for_each(|_| _ = one.next(&sequence, 0));
        let cut = sequence.cut();
        assert!(one.next(&sequence, 0) > cut && other.next(&sequence, 0) > cut);
        sequence.resume(1 << 40);
        assert_eq!(sequence.cut(), 1 << 40);
        assert!(one.next(&sequence, 0) > 1 << 40);
    }
}

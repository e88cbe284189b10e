//! Programs of operations on the segment engine, beside the simple one.
//!
//! `program.rs` of the store's tests says what a step is and what has to agree; this makes steps
//! of the fuzzer's bytes. With room for all it reaches the attributes and the answers, with little
//! room evictions, moves and long values.
#![no_main]

#[path = "../../crates/mcache-store/tests/common/mod.rs"]
mod common;

use arbitrary::{Arbitrary, Result, Unstructured};
use common::program::{Compare, GROUPS, Step, Way, agrees, agrees_but_for_evictions};
use common::{AMPLE, at, options};
use libfuzzer_sys::fuzz_target;
use mcache_base::operation::{Count, Delete, Fetch, Store, StoreMode};
use mcache_store::eviction::POLICIES;
use mcache_store::{EngineOptions, SegmentStorageEngine, SizeLimit};

/// Steps of one program.
const STEPS_MAX: usize = 300;

/// Steps after which the engine's invariants are checked, which takes as long as many steps.
const CHECK_EVERY: usize = 60;

/// What keys are hashed under: what fails once fails again.
const SECRET: [u64; 2] = [3, 9];

/// Where there is little room: the capacity, and the longest value, in bytes.
const LITTLE: u64 = 1 << 20;
const VALUE_MAX: usize = 100_000;

fuzz_target!(|program: Program| {
    let Program { little, options, steps } = &program;
    let new = |options: &EngineOptions| {
        SegmentStorageEngine::with_secret(options, SECRET).expect("there is address space")
    };
    match little {
        true => agrees_but_for_evictions(new, options, CHECK_EVERY, steps),
        false => agrees(new, options, CHECK_EVERY, steps),
    }
});

/// What is run.
#[derive(Debug)]
struct Program {
    /// Items may be evicted, or refused for want of memory.
    little: bool,
    options: EngineOptions,
    steps: Vec<Step>,
}

impl<'b> Arbitrary<'b> for Program {
    fn arbitrary(bytes: &mut Unstructured<'b>) -> Result<Self> {
        let little = bytes.arbitrary()?;
        let mut options = options(AMPLE);
        if little {
            options.capacity = LITTLE;
            options.policy = bytes.choose(POLICIES)?;
            options.evict = bytes.ratio(4, 5)?;
            options.item_size = SizeLimit::Value(VALUE_MAX as u64);
        }
        let (keys, value_max) = if little { (64, VALUE_MAX) } else { (8, 300) };
        let mut source = Source { bytes, keys, value_max };
        let mut steps = Vec::new();
        while !source.bytes.is_empty() && steps.len() < STEPS_MAX {
            steps.push(source.step()?);
        }
        Ok(Self { little, options, steps })
    }
}

/// Steps out of bytes.
struct Source<'s, 'b> {
    bytes: &'s mut Unstructured<'b>,
    /// Keys that there are.
    keys: usize,
    /// Bytes of the longest value.
    value_max: usize,
}

impl Source<'_, '_> {
    fn step(&mut self) -> Result<Step> {
        Ok(match self.bytes.int_in_range(0..=31_u8)? {
            0..6 => Step::Fetch(self.key()?, self.fetch()?),
            6..16 => {
                let (key, store, by) = (self.key()?, self.store()?, self.compare()?);
                Step::Store(key, store, by, self.value()?, self.way()?)
            }
            16..19 => Step::Delete(self.key()?, self.delete()?, self.compare()?),
            19..22 => Step::Count(self.key()?, self.count()?, self.compare()?),
            22 => Step::Flush(self.exptime()?),
            23 => Step::FlushGroup(self.bytes.choose(&GROUPS)?),
            24 => Step::Wind(self.bytes.int_in_range(1..=4000)?),
            25 => Step::Wind(1000),
            26 => Step::Maintain,
            27 => Step::Finish,
            28 => Step::Pin(self.key()?),
            29 => Step::Unpin(self.bytes.int_in_range(0..=7)?),
            30 => Step::NewThread,
            _ => Step::Limit(self.bytes.int_in_range(4..=8)?),
        })
    }

    fn key(&mut self) -> Result<usize> {
        self.bytes.int_in_range(0..=self.keys - 1)
    }

    fn fetch(&mut self) -> Result<Fetch> {
        Ok(Fetch {
            touch: self.rarely(Self::exptime)?,
            vivify: self.rarely(Self::exptime)?,
            recache: self.rarely(Self::exptime)?,
            compete: self.any()?,
            touch_first: self.any()?,
            new_cas: self.new_cas()?,
            unseen: self.any()?,
            binary_key: self.any()?,
        })
    }

    fn store(&mut self) -> Result<Store> {
        use StoreMode::*;
        Ok(Store {
            mode: *self.bytes.choose(&[Set, Set, Set, Set, Add, Replace, Append, Prepend])?,
            flags: self.bytes.int_in_range(0..=2)?,
            exptime: self.exptime()?,
            compare: None,
            invalidate: self.any()?,
            vivify: self.rarely(Self::exptime)?,
            new_cas: self.new_cas()?,
            binary_key: self.any()?,
        })
    }

    fn delete(&mut self) -> Result<Delete> {
        Ok(Delete {
            compare: None,
            invalidate: self.any()?,
            clear: self.rarely(|it| it.bytes.int_in_range(0..=2))?,
            exptime: self.rarely(Self::exptime)?,
            new_cas: self.new_cas()?,
        })
    }

    fn count(&mut self) -> Result<Count> {
        Ok(Count {
            delta: *self.bytes.choose(&[0, 1, 9, 10, 1000, u64::MAX])?,
            down: self.any()?,
            create: self.rarely(|it| Ok((it.any()?, it.exptime()?)))?,
            compare: None,
            new_cas: self.new_cas()?,
            touch: self.rarely(Self::exptime)?,
            binary_key: self.any()?,
        })
    }

    fn compare(&mut self) -> Result<Compare> {
        use Compare::*;
        let all = [Nothing, Nothing, Nothing, Nothing, Present, Lower, Higher, Zero];
        Ok(*self.bytes.choose(&all)?)
    }

    fn way(&mut self) -> Result<Way> {
        use Way::*;
        Ok(*self.bytes.choose(&[Whole, Whole, Whole, Whole, Whole, InPieces, Later, GivenUp])?)
    }

    /// Numbers, short words, and texts of any length that tell where they come from.
    fn value(&mut self) -> Result<String> {
        Ok(match self.bytes.int_in_range(0..=3_u8)? {
            0 => self.any::<u16>()?.to_string() + ["", " ", "x"][self.bytes.choose_index(3)?],
            1 => "9".repeat(self.bytes.int_in_range(0..=21)?),
            2 => "w".repeat(self.bytes.int_in_range(0..=100)?),
            _ => {
                let len = self.bytes.int_in_range(0..=self.value_max)?;
                let word = format!("{}/{len};", self.bytes.len());
                word.repeat(len / word.len() + 1)[..len].to_owned()
            }
        })
    }

    fn exptime(&mut self) -> Result<i64> {
        let absolute = at(0).unix as i64;
        Ok(match self.bytes.int_in_range(0..=15_u8)? {
            0..7 => 0,
            7..14 => self.bytes.int_in_range(1..=8)?,
            14 => -1,
            _ => self.bytes.int_in_range(absolute - 1..=absolute + 8)?,
        })
    }

    fn new_cas(&mut self) -> Result<Option<u64>> {
        self.rarely(|it| Ok(*it.bytes.choose(&[1, 2, 3, 10, 49, u64::MAX - 1, u64::MAX])?))
    }

    fn rarely<T>(&mut self, of: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.bytes.ratio(1, 6)? { of(self).map(Some) } else { Ok(None) }
    }

    fn any<T: for<'a> Arbitrary<'a>>(&mut self) -> Result<T> {
        self.bytes.arbitrary()
    }
}

//! Bytes through a session over the segment engine, beside one over the simple engine.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, bytes)) = bytes.split_first() else { return };
    common::engines_agree(bytes, usize::from(cut));
});

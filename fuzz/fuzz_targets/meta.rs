//! Meta commands, put together so that most of them are understood.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use arbitrary::{Arbitrary, Result, Unstructured};
use common::Conversation;
use libfuzzer_sys::fuzz_target;

const KEYS: &[&str] = &["a", "b", "Zm9v", "YQ0KYg==", "key", ""];
const NUMBERS: &[&str] = &["", "0", "1", "-1", "30", "4294967295", "18446744073709551615", "x"];

fuzz_target!(|conversation: Conversation| {
    common::engines_agree(&conversation.bytes, conversation.cut);
});

impl<'b> Arbitrary<'b> for Conversation {
    fn arbitrary(source: &mut Unstructured<'b>) -> Result<Self> {
        Self::of(source, command)
    }
}

fn command(source: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let word = *source.choose(&["mg", "ms", "md", "ma", "mn", "me"])?;
    let mut line = format!("{word} {}", source.choose(KEYS)?);
    let value: &[u8] = source.arbitrary()?;
    if word == "ms" {
        let lie = i64::from(source.ratio(1, 20)?);
        line += &format!(" {}", value.len() as i64 - lie);
    }
    for _ in 0..source.int_in_range(0..=5)? {
        let flag = char::from(source.int_in_range(b'A'..=b'z')?);
        let token = match flag {
            'M' => *source.choose(&["S", "E", "A", "P", "R", "I", "D", "+", "-"])?,
            _ => *source.choose(NUMBERS)?,
        };
        line += &format!(" {flag}{token}");
    }
    bytes.extend_from_slice(line.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    if word == "ms" {
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(())
}

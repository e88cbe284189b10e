//! Frames of the binary protocol, most of them with lengths that are right.
#![no_main]

#[allow(dead_code)] // each target uses its part
mod common;

use arbitrary::{Arbitrary, Result, Unstructured};
use common::Conversation;
use libfuzzer_sys::fuzz_target;

const KEYS: &[&[u8]] = &[b"a", b"b", b"a\r\nb", b"", &[b'k'; 250], &[b'k'; 251]];

fuzz_target!(|conversation: Conversation| {
    common::engines_agree(&conversation.bytes, conversation.cut);
});

impl<'b> Arbitrary<'b> for Conversation {
    fn arbitrary(source: &mut Unstructured<'b>) -> Result<Self> {
        Self::of(source, frame)
    }
}

fn frame(source: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let opcode = source.int_in_range(0..=0x26_u8)?;
    let key = *source.choose(KEYS)?;
    let extras_len = match opcode {
        _ if source.ratio(1, 20)? => source.int_in_range(0..=30)?,
        0x01..=0x03 | 0x11..=0x13 => 8,
        0x05 | 0x06 | 0x15 | 0x16 => 20,
        0x1c..=0x1e | 0x23 | 0x24 => 4,
        _ => 0,
    };
    let extras: Vec<u8> = (0..extras_len).map(|_| source.arbitrary()).collect::<Result<_>>()?;
    let stores = matches!(opcode, 0x01..=0x03 | 0x0e | 0x0f | 0x11..=0x13 | 0x19 | 0x1a);
    let value: &[u8] = if stores { source.arbitrary()? } else { b"" };
    let whole = (extras.len() + key.len() + value.len()) as u32;
    let body_len = if source.ratio(1, 20)? { source.arbitrary()? } else { whole };
    bytes.extend([0x80, opcode]);
    bytes.extend((key.len() as u16).to_be_bytes());
    bytes.extend([extras.len() as u8, 0, 0, 0]);
    bytes.extend(body_len.to_be_bytes());
    bytes.extend(source.arbitrary::<[u8; 4]>()?);
    let cas = if source.ratio(1, 4)? { source.int_in_range(0..=9_u64)? } else { 0 };
    bytes.extend(cas.to_be_bytes());
    bytes.extend_from_slice(&extras);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    Ok(())
}

//! Frames of the binary protocol: of bytes, and written as words, as in
//! `set opaque=7 u32=0 u32=60 key=a`.

use crate::pattern::Pattern;

/// A request, without opaque and cas unique.
pub fn frame(opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut frame = vec![Magic::Request as u8, opcode];
    frame.extend((key.len() as u16).to_be_bytes());
    frame.extend([extras.len() as u8, 0, 0, 0]);
    frame.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
    frame.extend([0; 12]);
    [&frame, extras, key, value].concat()
}

/// An answer without key and extras.
pub fn answer(opcode: u8, status: u8, value: &[u8]) -> Vec<u8> {
    let mut answer = frame(opcode, &[], &[], value);
    (answer[0], answer[7]) = (Magic::Response as u8, status);
    answer
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Magic {
    /// From the client.
    Request = 0x80,
    /// From the server.
    Response = 0x81,
}

/// The names of opcodes, in their order from 0. Empty: nobody has given it a meaning.
const OPCODES: &[&str] = &[
    "get",
    "set",
    "add",
    "replace",
    "delete",
    "incr",
    "decr",
    "quit",
    "flush",
    "getq",
    "noop",
    "version",
    "getk",
    "getkq",
    "append",
    "prepend",
    "stat",
    "setq",
    "addq",
    "replaceq",
    "deleteq",
    "incrq",
    "decrq",
    "quitq",
    "flushq",
    "appendq",
    "prependq",
    "verbosity",
    "touch",
    "gat",
    "gatq",
    "",
    "sasl-list",
    "sasl-auth",
    "sasl-step",
    "gatk",
    "gatkq",
];

/// A frame's parts before they are put together.
#[derive(Default)]
struct Parts {
    status: u64,
    opaque: u64,
    cas: Option<Pattern>,
    extras: Pattern,
    key: Pattern,
    value: Pattern,
    /// What the header says, where it is not what is there.
    key_len: Option<u64>,
    extras_len: Option<u64>,
    body_len: Option<u64>,
}

/// Reads a frame: an opcode (a name or two hexadecimal digits) and its fields.
pub fn parse(text: &str, magic: Magic) -> Result<Pattern, String> {
    let mut words = words(text).into_iter();
    let name = words.next().unwrap_or_default();
    let opcode = match OPCODES.iter().position(|known| *known == name && !name.is_empty()) {
        Some(opcode) => opcode as u64,
        None => hexadecimal(&name)?,
    };
    let mut parts = Parts::default();
    for word in words {
        let (field, text) = word.split_once('=').ok_or(format!("`{word}` is no field"))?;
        parts.field(field, text)?;
    }
    parts.put_together(magic, opcode)
}

impl Parts {
    fn field(&mut self, field: &str, text: &str) -> Result<(), String> {
        let decimal = || text.parse().map_err(|_| format!("`{text}` is no number"));
        match field {
            "status" => self.status = hexadecimal(text)?,
            "opaque" => self.opaque = hexadecimal(text)?,
            "cas" => self.cas = Some(Pattern::big_endian(text, 8)?),
            "u32" => self.extras.append(Pattern::big_endian(text, 4)?),
            "u64" => self.extras.append(Pattern::big_endian(text, 8)?),
            "extras" => self.extras.append(Pattern::parse(text)?),
            "key" => self.key = Pattern::parse(text)?,
            "value" => self.value = Pattern::parse(text)?,
            "value-u64" => self.value = Pattern::big_endian(text, 8)?,
            "key-length" => self.key_len = Some(decimal()?),
            "extras-length" => self.extras_len = Some(decimal()?),
            "body-length" => self.body_len = Some(decimal()?),
            _ => return Err(format!("no field `{field}`")),
        }
        Ok(())
    }

    fn put_together(self, magic: Magic, opcode: u64) -> Result<Pattern, String> {
        let len = |part: &Pattern| part.len().ok_or("a part's length is open".to_owned());
        let (extras, key, value) = (len(&self.extras)?, len(&self.key)?, len(&self.value)?);
        let mut frame = Pattern::default();
        for (number, bytes) in [
            (magic as u64, 1),
            (opcode, 1),
            (self.key_len.unwrap_or(key), 2),
            (self.extras_len.unwrap_or(extras), 1),
            (0, 1),
            (self.status, 2),
            (self.body_len.unwrap_or(extras + key + value), 4),
            (self.opaque, 4),
        ] {
            frame.append(Pattern::big_endian(&number.to_string(), bytes)?);
        }
        frame.append(self.cas.map_or_else(|| Pattern::big_endian("0", 8), Ok)?);
        for part in [self.extras, self.key, self.value] {
            frame.append(part);
        }
        Ok(frame)
    }
}

/// Splits at blanks; one that is escaped stays, with its `\`.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        match words.last_mut() {
            Some(word) if escaped || character != ' ' => word.push(character),
            _ => words.push(String::new()),
        }
        escaped = character == '\\' && !escaped;
    }
    words.retain(|word| !word.is_empty());
    words
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("`{text}` is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str, magic: Magic) -> Result<Vec<u8>, String> {
        parse(text, magic)?.bytes(&Default::default())
    }

    #[test]
    fn words_become_a_frame() {
        let set = bytes("set opaque=deadbeef cas=9 u32=7 u32=60 key=a value=x\\ y", Magic::Request);
        let expected = b"\x80\x01\0\x01\x08\0\0\0\0\0\0\x0c\xde\xad\xbe\xef\0\0\0\0\0\0\0\x09\
                         \0\0\0\x07\0\0\0\x3cax y";
        assert_eq!(set.unwrap(), expected);
        let miss = bytes("getk status=0001 key-length=3 body-length=99", Magic::Response).unwrap();
        assert_eq!(miss[..12], *b"\x81\x0c\0\x03\0\0\0\x01\0\0\0\x63");
        assert_eq!(bytes("ff", Magic::Request).unwrap()[1], 0xff);
        for wrong in ["", "nothing", "get key", "get size=1", "get cas=x", "get key=<k:word>"] {
            assert!(bytes(wrong, Magic::Request).is_err(), "{wrong}");
        }
    }
}

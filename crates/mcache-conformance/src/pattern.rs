//! The bytes of a transcript line: escapes, repetitions, and holes for numbers that vary.

use std::collections::BTreeMap;

/// What a line's text stands for: bytes with holes in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Hole(Hole),
}

/// A place where the bytes vary from run to run.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hole {
    name: String,
    /// Added to the name's value.
    plus: u64,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A decimal number.
    Decimal,
    /// A decimal number between two bounds, both included.
    Range(u64, u64),
    /// Bytes up to the next blank or line end.
    Word,
    /// A big-endian number of so many bytes.
    BigEndian(usize),
}

/// What was found where a hole is.
enum Reading {
    /// A value, and how many bytes it took.
    Value(Vec<u8>, usize),
    /// Something else.
    Wrong,
    /// The bytes end too early to tell.
    NeedMore,
}

/// What the holes stood for so far.
#[derive(Clone, Debug, Default)]
pub struct Bindings(BTreeMap<String, Vec<u8>>);

/// How received bytes compare with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The first so many bytes are what the pattern stands for.
    Equal(usize),
    /// Right so far, but not whole.
    NeedMore,
    /// Wrong at this byte.
    Differs(usize),
}

impl Pattern {
    /// Reads a line's text. The format is described in conformance/README.md.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pattern = Self::default();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            match first {
                b'<' => {
                    let (hole, after) = cut(after, b'>').ok_or("`<` without `>`")?;
                    pattern.0.push(Piece::Hole(Hole::parse(hole)?));
                    rest = after;
                }
                b'{' => {
                    let (fill, after) = cut(after, b'}').ok_or("`{` without `}`")?;
                    repeat(fill, pattern.tail())?;
                    rest = after;
                }
                _ => rest = literal(rest, pattern.tail())?,
            }
        }
        Ok(pattern)
    }

    /// A big-endian number of `len` bytes, given in decimal or as a hole.
    pub fn big_endian(text: &str, len: usize) -> Result<Self, String> {
        if let Some(hole) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
            let hole = Hole { form: Form::BigEndian(len), ..Hole::parse(hole.as_bytes())? };
            return Ok(Self(vec![Piece::Hole(hole)]));
        }
        let number: u64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
        let bytes = number.to_be_bytes();
        match bytes.split_at(8 - len) {
            (front, number) if front.iter().all(|&byte| byte == 0) => {
                Ok(Self(vec![Piece::Bytes(number.to_vec())]))
            }
            _ => Err(format!("{text} does not fit into {len} bytes")),
        }
    }

    /// How many bytes it stands for; `None` if that depends on what a hole stands for.
    pub fn len(&self) -> Option<u64> {
        self.0.iter().try_fold(0, |sum, piece| match piece {
            Piece::Bytes(bytes) => Some(sum + bytes.len() as u64),
            Piece::Hole(Hole { form: Form::BigEndian(len), .. }) => Some(sum + *len as u64),
            Piece::Hole(_) => None,
        })
    }

    /// Appends what `other` stands for.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The bytes, with the holes filled by what they stood for before.
    pub fn bytes(&self, bindings: &Bindings) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Bytes(literal) => bytes.extend_from_slice(literal),
                Piece::Hole(hole) => {
                    let value = bindings.0.get(&hole.name);
                    let value = value.ok_or(format!("<{}> has no value yet", hole.name))?;
                    bytes.extend_from_slice(&hole.write(value)?);
                }
            }
        }
        Ok(bytes)
    }

    /// Compares received bytes with the pattern; binds its holes if they are equal.
    pub fn compare(&self, received: &[u8], bindings: &mut Bindings) -> Comparison {
        let mut found = bindings.clone();
        let mut at = 0;
        for piece in &self.0 {
            let rest = &received[at..];
            match piece {
                Piece::Bytes(literal) => {
                    let common = rest.iter().zip(literal).take_while(|(a, b)| a == b).count();
                    at += common;
                    if common < literal.len() {
                        return if common < rest.len() {
                            Comparison::Differs(at)
                        } else {
                            Comparison::NeedMore
                        };
                    }
                }
                Piece::Hole(hole) => match hole.read(rest) {
                    Reading::Value(value, len) if found.bind(hole, &value) => at += len,
                    Reading::NeedMore => return Comparison::NeedMore,
                    _ => return Comparison::Differs(at),
                },
            }
        }
        *bindings = found;
        Comparison::Equal(at)
    }

    /// The pattern for a reader, with what it must equal where that is known.
    pub fn show(&self, bindings: &Bindings) -> String {
        let mut shown = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Bytes(literal) => shown.push_str(&show(literal)),
                Piece::Hole(hole) => {
                    let value = bindings.0.get(&hole.name).map(|value| show(value));
                    let value = value.map(|value| format!("={value}")).unwrap_or_default();
                    shown.push_str(&format!("<{}{value}>", hole.name));
                }
            }
        }
        shown
    }

    /// The bytes at the end, to append to.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.0.last(), Some(Piece::Bytes(_))) {
            self.0.push(Piece::Bytes(Vec::new()));
        }
        match self.0.last_mut() {
            Some(Piece::Bytes(bytes)) => bytes,
            _ => unreachable!("pushed above"),
        }
    }
}

impl Hole {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let (name, form) = text.split_once(':').unwrap_or((text, ""));
        let (name, plus) = name.split_once('+').unwrap_or((name, "0"));
        let number = |text: &str| text.parse().map_err(|_| format!("not a number: `{text}`"));
        let form = match form {
            "" => Form::Decimal,
            "word" => Form::Word,
            "u16" => Form::BigEndian(2),
            "u32" => Form::BigEndian(4),
            "u64" => Form::BigEndian(8),
            range => {
                let (low, high) = range.split_once('-').ok_or(format!("what is `{range}`?"))?;
                Form::Range(number(low)?, number(high)?)
            }
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("`{name}` is no name for a hole"));
        }
        Ok(Self { name: name.to_owned(), plus: number(plus)?, form })
    }

    /// The value at the front of `bytes`, in its shortest decimal form (a word as it is).
    fn read(&self, bytes: &[u8]) -> Reading {
        if let Form::BigEndian(len) = self.form {
            let Some(bytes) = bytes.get(..len) else { return Reading::NeedMore };
            let number = bytes.iter().fold(0, |sum: u64, &byte| sum << 8 | u64::from(byte));
            return Reading::Value(number.to_string().into_bytes(), len);
        }
        let inside = |byte: &u8| match self.form {
            Form::Word => !b" \r\n".contains(byte),
            _ => byte.is_ascii_digit(),
        };
        let Some(len) = bytes.iter().position(|byte| !inside(byte)) else {
            return Reading::NeedMore;
        };
        let value = &bytes[..len];
        let in_range = |low, high| {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            number.is_some_and(|number: u64| (low..=high).contains(&number))
        };
        match self.form {
            Form::Range(low, high) if !in_range(low, high) => Reading::Wrong,
            _ if len == 0 => Reading::Wrong,
            _ => Reading::Value(value.to_vec(), len),
        }
    }

    /// The bytes that stand for the value `value` on the wire.
    fn write(&self, value: &[u8]) -> Result<Vec<u8>, String> {
        if self.form == Form::Word {
            return Ok(value.to_vec());
        }
        let value = String::from_utf8_lossy(value);
        let number: u64 = value.parse().map_err(|_| format!("not a number: `{value}`"))?;
        let number = number.wrapping_add(self.plus);
        Ok(match self.form {
            Form::BigEndian(len) => number.to_be_bytes()[8 - len..].to_vec(),
            _ => number.to_string().into_bytes(),
        })
    }
}

impl Bindings {
    /// Notes what a hole stood for. False if that cannot be: a name means one value, and
    /// numbered names of one stem (cas1, cas2) mean different ones.
    fn bind(&mut self, hole: &Hole, value: &[u8]) -> bool {
        let stem = |name: &str| name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        if hole.name == "_" {
            return true;
        }
        if let Some(known) = self.0.get(&hole.name) {
            let plain = Hole { form: Form::Decimal, ..hole.clone() };
            return known == value || plain.write(known).is_ok_and(|known| known == value);
        }
        let taken = self.0.iter().any(|(name, known)| {
            stem(name) == stem(&hole.name) && stem(name) != *name && known == value
        });
        if !taken {
            self.0.insert(hole.name.clone(), value.to_vec());
        }
        !taken
    }
}

/// Bytes for a reader: escaped, and long ones shortened in the middle.
pub fn show(bytes: &[u8]) -> String {
    const ENDS: usize = 120;
    if bytes.len() > 3 * ENDS {
        let (head, tail) = (&bytes[..ENDS], &bytes[bytes.len() - ENDS..]);
        let between = bytes.len() - 2 * ENDS;
        return format!("{} ...{between} bytes... {}", show(head), show(tail));
    }
    bytes.escape_ascii().to_string()
}

/// Splits at the first `end` that is not escaped.
fn cut(text: &[u8], end: u8) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    let at = text.iter().position(|&byte| {
        let found = byte == end && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })?;
    Some((&text[..at], &text[at + 1..]))
}

/// Appends one literal byte, or one escape; returns what follows.
fn literal<'t>(text: &'t [u8], out: &mut Vec<u8>) -> Result<&'t [u8], String> {
    let (byte, taken) = match text {
        [b'\\', b'x', high, low, ..] => {
            let digits = [*high, *low];
            let digits = std::str::from_utf8(&digits).map_err(|error| error.to_string())?;
            let byte = u8::from_str_radix(digits, 16);
            (byte.map_err(|_| format!("`\\x{digits}` is no byte"))?, 4)
        }
        [b'\\', b'r', ..] => (b'\r', 2),
        [b'\\', b'n', ..] => (b'\n', 2),
        [b'\\', b't', ..] => (b'\t', 2),
        [b'\\', b'0', ..] => (0, 2),
        [b'\\', plain, ..] if plain.is_ascii_punctuation() || *plain == b' ' => (*plain, 2),
        [b'\\', ..] => return Err("`\\` escapes nothing".to_owned()),
        [byte, ..] => (*byte, 1),
        [] => return Err("nothing is left".to_owned()),
    };
    out.push(byte);
    Ok(&text[taken..])
}

/// Appends `body*count`, in whose body `#` is the number of the repetition, from 0.
fn repeat(fill: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let star = fill.iter().rposition(|&byte| byte == b'*').ok_or("`{}` without `*count`")?;
    let count = String::from_utf8_lossy(&fill[star + 1..]);
    let count: usize = count.parse().map_err(|_| format!("`{count}` is no count"))?;
    let mut body = Vec::new();
    let mut numbers = Vec::new();
    let mut rest = &fill[..star];
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(b"#") {
            numbers.push(body.len());
            rest = after;
        } else {
            rest = literal(rest, &mut body)?;
        }
    }
    for number in 0..count {
        let mut from = 0;
        for &at in &numbers {
            out.extend_from_slice(&body[from..at]);
            out.extend_from_slice(number.to_string().as_bytes());
            from = at;
        }
        out.extend_from_slice(&body[from..]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Result<Vec<u8>, String> {
        Pattern::parse(text)?.bytes(&Bindings::default())
    }

    #[test]
    fn text_becomes_bytes() {
        let rows: [(&str, &[u8]); 6] = [
            (r"get a\r\n", b"get a\r\n"),
            (r"\x80\x00\0\\\<\{", b"\x80\0\0\\<{"),
            (r"{A*3}B", b"AAAB"),
            (r"get{ k#*3}\r\n", b"get k0 k1 k2\r\n"),
            (r"{#\#\x2a*2}", b"0#*1#*"),
            ("", b""),
        ];
        for (text, expected) in rows {
            assert_eq!(bytes(text).as_deref(), Ok(expected), "{text}");
        }
        for wrong in [r"\q", r"\x8", "{A}", "{A*x}", "{A*2", "<cas", "<cas:9q>", "<>", "<unset>"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn holes_bind_compare_and_fill() {
        use Comparison::{Differs, Equal, NeedMore};
        let mut bindings = Bindings::default();
        let rows: [(&str, &[u8], Comparison); 12] = [
            (r"v <cas1>\r\n", b"v 17\r\nrest", Equal(6)),
            (r"v <cas1>\r\n", b"v 17", NeedMore),
            (r"v <cas1>\r\n", b"v 18\r\n", Differs(2)),
            (r"v <cas2>\r\n", b"v 17\r\n", Differs(2)),
            (r"v <cas2>\r\n", b"v 18\r\n", Equal(6)),
            (r"<cas1+1>\r\n", b"18\r\n", Equal(4)),
            ("<cas1:u64>", b"\0\0\0\0\0\0\0\x11", Equal(8)),
            ("<cas1:u32>", b"\0\0\0\x12", Differs(0)),
            (r"<_:29-30>\r\n", b"30\r\n", Equal(4)),
            (r"<v:word>\r\n", b"1.6.45\r\n", Equal(8)),
            (r"abc\r\n", b"abd", Differs(2)),
            (r"abc\r\n", b"abc", NeedMore),
        ];
        for (text, received, expected) in rows {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!(pattern.compare(received, &mut bindings), expected, "{text}");
        }
        let sent = Pattern::parse(r"cas <cas1> <cas1+1> <v:word> <cas2:u16>").unwrap();
        assert_eq!(sent.bytes(&bindings), Ok(b"cas 17 18 1.6.45 \0\x12".to_vec()));
    }
}

//! A look ahead: which keys the next requests are about, as far as that is cheap to tell.
//!
//! Of plain requests all is told, and they need no other decoding: `get <key>[ <key>...]`, words
//! one space apart, `set <key> <flags> <exptime> <bytes>[ noreply]` whose data has arrived, and the
//! frames of binary gets.
//! What is told of the others is a hint, used to bring memory nearer, never to answer: a key that
//! is missed or misread costs a cache miss.

use mcache_base::limits::KEY_MAX;
use mcache_base::number::parse_u64;
use mcache_base::operation::Store;
use memchr::memchr;

use crate::binary;
use crate::scan::word_end;
use crate::style::{BinaryStyle, TextStyle};

/// A key that a request ahead is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead<'b> {
    /// The key.
    pub key: &'b [u8],
    /// All there is to know of the request, if it is a plain one.
    pub plain: Option<Plain<'b>>,
}

/// A plain request: what the decoder would make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'b> {
    /// One key of a `get` or `gets`.
    Get(PlainGet),
    /// A `set`.
    Set(PlainSet<'b>),
    /// A get of the binary protocol.
    Frame(PlainFrame<'b>),
}

impl Plain<'_> {
    /// Where in the input it begins.
    #[inline]
    pub fn from(&self) -> usize {
        match *self {
            Self::Get(PlainGet { from, .. })
            | Self::Set(PlainSet { from, .. })
            | Self::Frame(PlainFrame { from, .. }) => from,
        }
    }

    /// Its bytes.
    #[inline]
    pub fn size(&self) -> usize {
        match *self {
            Self::Get(PlainGet { from, end, .. })
            | Self::Set(PlainSet { from, end, .. })
            | Self::Frame(PlainFrame { from, end, .. }) => end - from,
        }
    }
}

/// One key of a plain `get` or `gets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainGet {
    /// Where in the input it begins: with the line if it is the first key, else with the key.
    pub from: usize,
    /// Where what comes next begins.
    pub end: usize,
    /// It is the first key of its line.
    pub begins: bool,
    /// It is the last.
    pub last: bool,
    /// Of a first key: the line's keys are answered with their cas uniques.
    pub with_cas: bool,
}

/// A plain `set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainSet<'b> {
    /// Where in the input it begins.
    pub from: usize,
    /// Where what comes next begins.
    pub end: usize,
    /// Client flags.
    pub flags: u32,
    /// Exptime, as on the wire.
    pub exptime: i32,
    /// It is not to be answered.
    pub noreply: bool,
    /// The data.
    pub value: &'b [u8],
}

/// A get of the binary protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainFrame<'b> {
    /// Where in the input it begins.
    pub from: usize,
    /// Where what comes next begins.
    pub end: usize,
    /// How to answer.
    pub style: BinaryStyle<'b>,
}

impl PlainSet<'_> {
    /// How to store the value.
    #[inline]
    pub fn store(&self) -> Store {
        Store { flags: self.flags, exptime: self.exptime.into(), ..Store::default() }
    }

    /// How to answer.
    #[inline]
    pub fn style(&self) -> TextStyle {
        TextStyle { noreply: self.noreply, ..TextStyle::default() }
    }
}

/// Binary header: where the lengths stand.
const HEADER: usize = 24;

/// Collects keys of the requests at the front of `input` until `keys` is full or `requests` have
/// been looked at, not counting the one whose list goes on. Returns how many.
pub fn keys<'b>(
    input: &'b [u8],
    is_binary: bool,
    in_list: bool,
    requests: usize,
    keys: &mut [Ahead<'b>],
) -> usize {
    let mut found = Found { len: input.len(), keys, count: 0 };
    let mut rest = input;
    if in_list {
        rest = found.list(rest, 0, false, false);
    }
    for _ in 0..requests {
        if found.is_full() {
            break;
        }
        let next = if is_binary { found.frame(rest) } else { found.line(rest) };
        let Some(next) = next else { break };
        rest = next;
    }
    found.count
}

/// The keys found so far.
struct Found<'k, 'b> {
    /// Length of the input.
    len: usize,
    keys: &'k mut [Ahead<'b>],
    count: usize,
}

impl<'b> Found<'_, 'b> {
    fn is_full(&self) -> bool {
        self.count == self.keys.len()
    }

    /// Where in the input `rest` begins.
    #[inline]
    fn position(&self, rest: &[u8]) -> usize {
        self.len - rest.len()
    }

    #[inline]
    fn add(&mut self, key: &'b [u8], plain: Option<Plain<'b>>) {
        if let Some(slot) = self.keys.get_mut(self.count)
            && is_key(key)
        {
            *slot = Ahead { key, plain };
            self.count += 1;
        }
    }

    /// The keys of a list, up to the line's end. Returns what follows. The first one's request
    /// begins at `from`.
    #[inline]
    fn list(
        &mut self,
        mut rest: &'b [u8],
        mut from: usize,
        mut begins: bool,
        with_cas: bool,
    ) -> &'b [u8] {
        let first = begins.then_some(self.count);
        while let Some(slot) = self.keys.get_mut(self.count) {
            let (key, after) = word(rest);
            if !is_key(key) {
                rest = &[];
                break;
            }
            self.count += 1;
            let (last, next) = match after {
                [b'\r', b'\n', next @ ..] => (true, next),
                [b' ', next @ ..] if next.first() > Some(&b' ') => (false, next),
                [b'\n', next @ ..] => (true, next),
                _ => {
                    *slot = Ahead { key, plain: None };
                    rest = &[];
                    break;
                }
            };
            let end = self.len - next.len();
            let get = PlainGet { from, end, begins, last, with_cas };
            *slot = Ahead { key, plain: Some(Plain::Get(get)) };
            if last {
                return next;
            }
            (rest, from, begins) = (next, end, false);
        }
        // A line is checked whole before its first key is handed out, and this one was not.
        if let Some(first) = first.and_then(|first| self.keys.get_mut(first)) {
            first.plain = None;
        }
        rest
    }

    /// The keys of a text line. Returns what follows the request, if that can be told.
    #[inline]
    fn line(&mut self, line: &'b [u8]) -> Option<&'b [u8]> {
        let from = self.position(line);
        match line {
            [b'g', b'e', b't', b' ', rest @ ..] => Some(self.list(rest, from, true, false)),
            [b'g', b'e', b't', b's', b' ', rest @ ..] => Some(self.list(rest, from, true, true)),
            [b'm', b'g', b' ', rest @ ..] => {
                let (key, rest) = word(rest);
                self.add(key, None);
                rest.get(memchr(b'\n', rest)? + 1..)
            }
            [b's', b'e', b't', b' ', rest @ ..] => match self.plain_set(rest, from) {
                Some(next) => Some(next),
                None => self.store(rest, 3),
            },
            [b'm', b's', b' ', rest @ ..] => self.store(rest, 1),
            _ => None,
        }
    }

    /// A plain set, whose key is at the front of `rest`. Returns what follows it.
    #[inline]
    fn plain_set(&mut self, rest: &'b [u8], from: usize) -> Option<&'b [u8]> {
        let (key, rest) = word(rest);
        let (flags, rest) = number(rest.strip_prefix(b" ")?)?;
        let (exptime, rest) = number(rest.strip_prefix(b" ")?)?;
        let (len, rest) = number(rest.strip_prefix(b" ")?)?;
        let (noreply, data) = match rest {
            [b'\r', b'\n', data @ ..] => (false, data),
            _ => (true, rest.strip_prefix(b" noreply\r\n")?),
        };
        let (value, behind) = data.split_at_checked(usize::try_from(len).ok()?)?;
        let [b'\r', b'\n', next @ ..] = behind else { return None };
        if !is_key(key) {
            return None;
        }
        let end = self.position(next);
        let (flags, exptime) = (flags as u32, exptime as i32);
        let set = PlainSet { from, end, flags, exptime, noreply, value };
        self.add(key, Some(Plain::Set(set)));
        Some(next)
    }

    /// The key of a store whose length of data is the `nth` word after it.
    fn store(&mut self, rest: &'b [u8], nth: usize) -> Option<&'b [u8]> {
        let (key, mut rest) = word(rest);
        self.add(key, None);
        let mut len = &[][..];
        for _ in 0..nth {
            (len, rest) = word(rest.strip_prefix(b" ")?);
        }
        let data = if rest.starts_with(b"\r\n") { 2 } else { memchr(b'\n', rest)? + 1 };
        let end = usize::try_from(parse_u64(len)?).ok()?.checked_add(data)?.checked_add(2)?;
        rest.get(end..)
    }

    /// The key of a binary frame. Returns what follows it.
    #[inline]
    fn frame(&mut self, rest: &'b [u8]) -> Option<&'b [u8]> {
        if let Some((key, style, size)) = binary::plain_get(rest) {
            let from = self.position(rest);
            self.add(key, Some(Plain::Frame(PlainFrame { from, end: from + size, style })));
            return rest.get(size..);
        }
        let (header, body) = rest.split_at_checked(HEADER)?;
        let &[_, _, key_high, key_low, extras, _, _, _, a, b, c, d, ..] = header else {
            return None;
        };
        let (extras, key_len) = (usize::from(extras), u16::from_be_bytes([key_high, key_low]));
        self.add(body.get(extras..extras + usize::from(key_len))?, None);
        body.get(u32::from_be_bytes([a, b, c, d]) as usize..)
    }
}

#[inline]
fn is_key(bytes: &[u8]) -> bool {
    (1..=KEY_MAX).contains(&bytes.len())
}

/// The bytes up to a space or a line end, no more than are needed to see that they are no key;
/// and the rest. A control character ends them too: that is no plain key.
#[inline]
fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    rest.split_at(word_end(rest.get(..=KEY_MAX).unwrap_or(rest)))
}

/// The decimal number at the front of `rest`, of no more digits than one of 32 bits has; and what
/// is behind it.
#[inline]
fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    const DIGITS_MAX: usize = 10;
    let (mut number, mut digits) = (0, 0);
    while digits <= DIGITS_MAX
        && let Some(digit) = rest.get(digits).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        number = number * 10 + u64::from(digit);
        digits += 1;
    }
    (1..=DIGITS_MAX).contains(&digits).then_some((number, rest.get(digits..)?))
}

#[cfg(test)]
mod tests {
    use mcache_base::operation::Fetch;

    use crate::decoded::Decoded;
    use crate::request::Request;
    use crate::text;

    use super::*;

    fn look(input: &[u8], is_binary: bool, in_list: bool) -> Vec<String> {
        let mut found = [Ahead::default(); 4];
        let count = keys(input, is_binary, in_list, usize::MAX, &mut found);
        found[..count].iter().map(|it| String::from_utf8_lossy(it.key).into_owned()).collect()
    }

    #[test]
    fn tells_the_keys_of_the_next_requests() {
        for (input, in_list, expected) in [
            ("get a\r\nget b c\r\ngets d\r\nget e\r\n", false, "a b c d"),
            ("get a\nmg b v t\r\nget", false, "a b"),
            ("set a 0 0 5\r\nget x\r\nget b\r\n", false, "a b"),
            ("ms a 2 T0\r\nhi\r\nmg b v\r\n", false, "a b"),
            ("b c\r\nget d\r\n", true, "b c d"),
            ("get a\r\ndelete b\r\nget c\r\n", false, "a"),
            ("set a 0 0 99999999999999999999\r\nget b\r\n", false, "a"),
            ("set a 0 0 -1\r\nget b\r\n", false, "a"),
            ("set a\r\nget b\r\n", false, "a"),
            ("", false, ""),
            ("\r\n\r\n", true, ""),
        ] {
            assert_eq!(look(input.as_bytes(), false, in_list).join(" "), expected, "{input:?}");
        }
    }

    /// Serves `input` looking ahead, beside a decoder that does not. Returns how many gets were
    /// stepped over.
    fn step_through(input: &[u8]) -> usize {
        let (mut ahead, mut plain) = (text::Decoder::default(), text::Decoder::default());
        let (mut at, mut stepped) = (0, 0);
        loop {
            let rest = &input[at..];
            let mut found = [Ahead::default(); 4];
            let count = keys(rest, false, ahead.in_list(), usize::MAX, &mut found);
            let mut next_from = 0;
            for seen in &found[..count] {
                let (told, end, size) = match seen.plain {
                    Some(Plain::Get(get)) if get.from == next_from => {
                        let Some(style) = ahead.step_over(&get) else { break };
                        let request = Request::Fetch { key: seen.key, fetch: Fetch::default() };
                        let size = get.end - get.from;
                        (Decoded::Request { request, style: style.into(), size }, get.end, size)
                    }
                    Some(Plain::Set(set)) if set.from == next_from => {
                        let (body, tail) = (set.value.len(), b"\r\n".len());
                        let size = set.end - set.from;
                        let head = size - body - tail;
                        let (key, style, store) = (seen.key, set.style().into(), set.store());
                        assert_eq!(&input[at + head..at + head + body], set.value);
                        (Decoded::Body { key, store, style, head, body, tail }, set.end, size)
                    }
                    _ => break,
                };
                assert_eq!(plain.decode(&input[at..], &mut [0; KEY_MAX]), told, "{input:?}");
                assert_eq!(plain.in_list(), ahead.in_list(), "{input:?}");
                (at, next_from, stepped) = (at + size, end, stepped + 1);
            }
            if next_from > 0 {
                continue;
            }
            let (mut one, mut other) = ([0; KEY_MAX], [0; KEY_MAX]);
            let decoded = plain.decode(&input[at..], &mut one);
            assert_eq!(ahead.decode(&input[at..], &mut other), decoded, "{input:?}");
            match decoded {
                Decoded::Request { size, .. } | Decoded::Refused { size, .. } => at += size,
                Decoded::Body { head, body, tail, .. } => {
                    at = input.len().min(at + head + body + tail);
                }
                _ => return stepped,
            }
        }
    }

    #[test]
    fn what_is_stepped_over_is_what_the_decoder_makes_of_it() {
        let long = "k".repeat(KEY_MAX);
        for (input, stepped) in [
            ("get a\r\nget b\ngets c\r\n", 3),
            ("get a b c d\r\nget e\r\n", 5),
            ("get a b c d e f g h\r\nget i\r\n", 8),
            ("gets a b\r\nget c", 2),
            ("get a b", 0),
            ("get a b \r\nget c\r\n", 1),
            ("get a  b\r\nget c\r\n", 2),
            ("get  a\r\nget c\r\n", 1),
            ("get a \u{1}b\r\nget c\r\n", 1),
            ("get a\rb\r\nget c\r\n", 1),
            ("get a\r", 0),
            ("get \r\nget c\r\n", 1),
            (&format!("get {long}\r\nget a {long}\r\n"), 3),
            (&format!("get {long}k\r\nget a\r\n"), 1),
            (&format!("get a {long}k\r\nget a\r\n"), 1),
            (&format!("get a b c d e {long}k\r\nget a\r\n"), 1),
            ("gat 0 a b c\r\nget d\r\n", 1),
            ("set a 1 2 3\r\nabc\r\nget b\r\nset c 0 0 0 noreply\r\n\r\nget d\r\n", 4),
            ("set a 4294967297 4294967295 1\r\na\r\nset b 007 9999999999 01\r\nb\r\n", 2),
            ("set a 0 0 3\r\nab", 0),
            ("set a 0 0 3\r\nabc\r", 0),
            ("set a 0 0 3\nabc\r\nget b\r\n", 1),
            ("set a 0 -1 3\r\nabc\r\nget b\r\n", 1),
            ("set a +0 0 3\r\nabc\r\nget b\r\n", 1),
            ("set a 10000000000 0 3\r\nabc\r\nget b\r\n", 1),
            ("set a 0 0 3 \r\nabc\r\nset b 0 0  3\r\nabc\r\nset c 0 0 3 quiet\r\nabc\r\n", 0),
            ("set a 0 0 3 noreply \r\nabc\r\nset a 0 0 x\r\n", 0),
            (&format!("set {long} 0 0 1\r\na\r\nset {long}k 0 0 1\r\na\r\n"), 1),
        ] {
            assert_eq!(step_through(input.as_bytes()), stepped, "{input:?}");
        }
    }

    #[test]
    fn looks_at_no_more_requests_than_it_is_to() {
        let mut found = [Ahead::default(); 4];
        for (in_list, requests, expected) in [(false, 0, 0), (false, 1, 2), (true, 1, 3)] {
            let input = if in_list { "z\r\nget a b\r\nget c\r\n" } else { "get a b\r\nget c\r\n" };
            let count = keys(input.as_bytes(), false, in_list, requests, &mut found);
            assert_eq!(count, expected, "{requests} of {input:?}");
        }
    }

    #[test]
    fn tells_the_keys_of_frames() {
        let frame = |key: &[u8], extras: u8, body: u32| {
            let mut frame = vec![0x80, 0, 0, key.len() as u8, extras, 0, 0, 0];
            frame.extend(body.to_be_bytes());
            frame.extend([0; 12]);
            frame.extend(vec![b'x'; extras.into()]);
            frame.extend(key);
            frame
        };
        let two = [frame(b"a", 0, 1), frame(b"bb", 8, 10)].concat();
        assert_eq!(look(&two, true, false), ["a", "bb"]);
        assert_eq!(look(&frame(b"a", 0, u32::MAX), true, false), ["a"]);
        assert!(look(&frame(b"", 255, 0)[..24], true, false).is_empty());
    }
}

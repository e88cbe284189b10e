//! A look ahead: which keys the next requests are about, as far as that is cheap to tell.
//!
//! Of a plain get (`get <key>[ <key>...]`, words one space apart) all is told, and it needs no
//! other decoding. What is told of the others is a hint, used to bring memory nearer, never to
//! answer: a key that is missed or misread costs a cache miss.

use mcache_base::limits::KEY_MAX;
use mcache_base::number::parse_u64;
use memchr::memchr;

use crate::scan::word_end;

/// A key that a request ahead is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead<'b> {
    /// The key.
    pub key: &'b [u8],
    /// All there is to know of the request, if it is a plain get.
    pub get: Option<PlainGet>,
}

/// One key of a plain `get` or `gets`: what the decoder would make of it.
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

/// Binary header: where the lengths stand.
const HEADER: usize = 24;

/// Collects keys of the requests at the front of `input` until `keys` is full. Returns how many.
pub fn keys<'b>(input: &'b [u8], is_binary: bool, in_list: bool, keys: &mut [Ahead<'b>]) -> usize {
    let mut found = Found { len: input.len(), keys, count: 0 };
    let mut rest = input;
    if in_list {
        rest = found.list(rest, 0, false, false);
    }
    while !found.is_full() {
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

    fn add(&mut self, key: &'b [u8], get: Option<PlainGet>) {
        if let Some(slot) = self.keys.get_mut(self.count)
            && is_key(key)
        {
            *slot = Ahead { key, get };
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
        while !self.is_full() {
            let (key, after) = word(rest);
            let parted = match after {
                [b' ', next @ ..] if next.first() > Some(&b' ') => Some((false, next)),
                [b'\r', b'\n', next @ ..] | [b'\n', next @ ..] => Some((true, next)),
                _ => None,
            };
            let Some((last, next)) = parted.filter(|_| is_key(key)) else {
                self.add(key, None);
                rest = &[];
                break;
            };
            let end = self.len - next.len();
            self.add(key, Some(PlainGet { from, end, begins, last, with_cas }));
            if last {
                return next;
            }
            (rest, from, begins) = (next, end, false);
        }
        // A line is checked whole before its first key is handed out, and this one was not.
        if let Some(first) = first.and_then(|first| self.keys.get_mut(first)) {
            first.get = None;
        }
        rest
    }

    /// The keys of a text line. Returns what follows the request, if that can be told.
    #[inline]
    fn line(&mut self, rest: &'b [u8]) -> Option<&'b [u8]> {
        let from = self.len - rest.len();
        match rest {
            [b'g', b'e', b't', b' ', rest @ ..] => Some(self.list(rest, from, true, false)),
            [b'g', b'e', b't', b's', b' ', rest @ ..] => Some(self.list(rest, from, true, true)),
            [b'm', b'g', b' ', rest @ ..] => {
                let (key, rest) = word(rest);
                self.add(key, None);
                rest.get(memchr(b'\n', rest)? + 1..)
            }
            [b's', b'e', b't', b' ', rest @ ..] => self.store(rest, 3),
            [b'm', b's', b' ', rest @ ..] => self.store(rest, 1),
            _ => None,
        }
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
    fn frame(&mut self, rest: &'b [u8]) -> Option<&'b [u8]> {
        let (header, body) = rest.split_at_checked(HEADER)?;
        let &[_, _, key_high, key_low, extras, _, _, _, a, b, c, d, ..] = header else {
            return None;
        };
        let (extras, key_len) = (usize::from(extras), u16::from_be_bytes([key_high, key_low]));
        self.add(body.get(extras..extras + usize::from(key_len))?, None);
        body.get(u32::from_be_bytes([a, b, c, d]) as usize..)
    }
}

fn is_key(bytes: &[u8]) -> bool {
    (1..=KEY_MAX).contains(&bytes.len())
}

/// The bytes up to a space or a line end, no more than are needed to see that they are no key;
/// and the rest. A control character ends them too: that is no plain key.
#[inline]
fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    rest.split_at(word_end(rest.get(..=KEY_MAX).unwrap_or(rest)))
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
        let count = keys(input, is_binary, in_list, &mut found);
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
            let count = keys(rest, false, ahead.in_list(), &mut found);
            let mut next_from = 0;
            for seen in &found[..count] {
                let Some(get) = seen.get.filter(|get| get.from == next_from) else { break };
                let Some(style) = ahead.step_over(&get) else { break };
                let request = Request::Fetch { key: seen.key, fetch: Fetch::default() };
                let size = get.end - get.from;
                let told = Decoded::Request { request, style: style.into(), size };
                assert_eq!(plain.decode(&input[at..], &mut [0; KEY_MAX]), told, "{input:?}");
                assert_eq!(plain.in_list(), ahead.in_list(), "{input:?}");
                (at, next_from, stepped) = (at + size, get.end, stepped + 1);
            }
            if next_from > 0 {
                continue;
            }
            let (mut one, mut other) = ([0; KEY_MAX], [0; KEY_MAX]);
            let decoded = plain.decode(&input[at..], &mut one);
            assert_eq!(ahead.decode(&input[at..], &mut other), decoded, "{input:?}");
            match decoded {
                Decoded::Request { size, .. } | Decoded::Refused { size, .. } => at += size,
                _ => return stepped,
            }
        }
    }

    #[test]
    fn a_get_that_is_stepped_over_is_what_the_decoder_makes_of_it() {
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
        ] {
            assert_eq!(step_through(input.as_bytes()), stepped, "{input:?}");
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

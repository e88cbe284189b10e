//! A look ahead: which keys the next requests are about, as far as that is cheap to tell.
//!
//! Only a hint. What it tells is used to bring memory nearer, never to answer: a key that is
//! missed or misread here costs a cache miss.

use mcache_base::limits::KEY_MAX;
use mcache_base::number::parse_u64;
use memchr::{memchr, memchr3};

/// Binary header: where the lengths stand.
const HEADER: usize = 24;

/// Collects keys of the requests at the front of `input` until `keys` is full. Returns how many.
pub fn keys<'b>(input: &'b [u8], is_binary: bool, in_list: bool, keys: &mut [&'b [u8]]) -> usize {
    let mut found = Found { keys, count: 0 };
    let mut rest = input;
    if in_list {
        rest = found.list(rest);
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
    keys: &'k mut [&'b [u8]],
    count: usize,
}

impl<'b> Found<'_, 'b> {
    fn is_full(&self) -> bool {
        self.count == self.keys.len()
    }

    fn add(&mut self, key: &'b [u8]) {
        if let Some(slot) = self.keys.get_mut(self.count)
            && (1..=KEY_MAX).contains(&key.len())
        {
            *slot = key;
            self.count += 1;
        }
    }

    /// The keys of a list, up to the line's end. Returns what follows.
    fn list(&mut self, mut rest: &'b [u8]) -> &'b [u8] {
        while !self.is_full() {
            let (key, after) = word(rest);
            self.add(key);
            match after {
                [b' ', after @ ..] => rest = after,
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => return after,
                _ => return &[],
            }
        }
        rest
    }

    /// The keys of a text line. Returns what follows the request, if that can be told.
    fn line(&mut self, rest: &'b [u8]) -> Option<&'b [u8]> {
        match rest {
            [b'g', b'e', b't', b' ', rest @ ..] | [b'g', b'e', b't', b's', b' ', rest @ ..] => {
                Some(self.list(rest))
            }
            [b'm', b'g', b' ', rest @ ..] => {
                let (key, rest) = word(rest);
                self.add(key);
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
        self.add(key);
        let mut len = &[][..];
        for _ in 0..nth {
            (len, rest) = short_word(rest.strip_prefix(b" ")?);
        }
        let data = memchr(b'\n', rest)? + 1;
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
        self.add(body.get(extras..extras + usize::from(key_len))?);
        body.get(u32::from_be_bytes([a, b, c, d]) as usize..)
    }
}

/// The bytes up to a space or a line end, and the rest.
fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr3(b' ', b'\r', b'\n', rest);
    rest.split_at(end.unwrap_or(rest.len()))
}

/// The same of a number: it is short, and a plain loop beats a call that can search kilobytes.
fn short_word(rest: &[u8]) -> (&[u8], &[u8]) {
    let end = rest.iter().position(|&byte| matches!(byte, b' ' | b'\r' | b'\n'));
    rest.split_at(end.unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(input: &[u8], is_binary: bool, in_list: bool) -> Vec<String> {
        let mut found = [&[][..]; 4];
        let count = keys(input, is_binary, in_list, &mut found);
        found[..count].iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
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

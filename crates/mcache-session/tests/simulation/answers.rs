//! What servers say, cut into answers; and whether the server and the model said the same.

use std::collections::VecDeque;
use std::fmt::{self, Debug, Formatter};

use super::client::{KEYS, key_name};

/// One answer: a line, an item, or a frame.
pub struct Answer {
    /// Its bytes; without the cas unique where those differ.
    pub bytes: Vec<u8>,
    /// The cas unique that it tells, and of which key, if both can be read from it.
    pub cas: Option<(usize, u64)>,
}

/// Answers of one connection as they come.
pub struct Answers {
    binary: bool,
    /// Leave cas uniques out: threads that store in turn leave numbers out.
    masks_cas: bool,
    rest: Vec<u8>,
    pub whole: VecDeque<Answer>,
}

/// What may be missing in the server's answers, because it has little memory.
enum Excuse {
    /// It said something less instead.
    Instead,
    /// It said nothing.
    Nothing,
    None,
}

impl Debug for Answers {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let whole = self.whole.iter().map(|answer| &answer.bytes[..]);
        whole
            .chain([&self.rest[..]])
            .try_for_each(|bytes| writeln!(out, "{}", bytes.escape_ascii()))
    }
}

impl Answers {
    pub fn new(binary: bool, masks_cas: bool) -> Self {
        Self { binary, masks_cas, rest: Vec::new(), whole: VecDeque::new() }
    }

    /// Takes in bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(len) = self.first_len(&self.rest[from..]) {
            let bytes = self.rest[from..from + len].to_vec();
            self.whole.push_back(if self.binary { self.frame(bytes) } else { self.text(&bytes) });
            from += len;
        }
        self.rest.drain(..from);
    }

    /// Whether everything that came was a whole answer.
    pub fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }

    fn first_len(&self, bytes: &[u8]) -> Option<usize> {
        let len = if self.binary {
            let len: [u8; 4] = bytes.get(8..12)?.try_into().ok()?;
            24 + u32::from_be_bytes(len) as usize
        } else {
            let line = bytes.windows(2).position(|end| end == b"\r\n")?;
            let words = words(&bytes[..line]);
            let value = match words[0] {
                b"VALUE" => Some(words[3]),
                b"VA" => Some(words[1]),
                _ => None,
            };
            let len = value.map(|len| number(len).expect("a length") as usize + 2);
            line + 2 + len.unwrap_or(0)
        };
        (bytes.len() >= len).then_some(len)
    }

    fn frame(&self, mut bytes: Vec<u8>) -> Answer {
        let cas = u64::from_be_bytes(bytes[16..24].try_into().expect("eight bytes"));
        let key = usize::from(bytes[15]); // of the opaque
        if self.masks_cas {
            bytes[16..24].fill(0);
        }
        Answer { bytes, cas: (cas > 0 && key < KEYS).then_some((key, cas)) }
    }

    fn text(&self, bytes: &[u8]) -> Answer {
        let line = bytes.windows(2).position(|end| end == b"\r\n").expect("a whole line");
        let mut words = words(&bytes[..line]);
        let is_meta = matches!(words[0], b"VA" | b"HD" | b"EN" | b"NF" | b"NS" | b"EX");
        let (at, key) = match words[0] {
            b"VALUE" => ((words.len() > 4).then_some(4), Some(words[1])),
            _ if is_meta => {
                let of = |flag: u8| {
                    let begins = |word: &&[u8]| word.first() == Some(&flag);
                    words.iter().skip(1).position(begins).map(|at| at + 1)
                };
                (of(b'c'), of(b'k').map(|at| &words[at][1..]))
            }
            _ => (None, None),
        };
        let cas = at.and_then(|at| number(words[at].strip_prefix(b"c").unwrap_or(words[at])));
        let key = key.and_then(|key| (0..KEYS).find(|&number| key_name(number).as_bytes() == key));
        if let Some(at) = at.filter(|_| self.masks_cas) {
            words[at] = b"#";
        }
        let bytes = [&words.join(&b' ')[..], &bytes[line..]].concat();
        Answer { bytes, cas: key.zip(cas) }
    }
}

/// Compares what both have said so far. Returns the cas uniques that both told: a key, the
/// server's, the model's.
pub fn compare(
    heard: &mut Answers,
    expected: &mut Answers,
    little: bool,
) -> Vec<(usize, u64, u64)> {
    let mut told = Vec::new();
    while let Some((answer, model)) = heard.whole.front().zip(expected.whole.front()) {
        let mut instead = true;
        if answer.bytes == model.bytes {
            let both = answer.cas.zip(model.cas);
            told.extend(both.map(|((key, cas), (_, of_model))| (key, cas, of_model)));
        } else {
            instead = match excuse(heard.binary, &model.bytes, &answer.bytes) {
                Excuse::Instead if little => true,
                Excuse::Nothing if little => false,
                _ => panic!(
                    "answered: {}\nexpected: {}",
                    answer.bytes.escape_ascii(),
                    model.bytes.escape_ascii()
                ),
            };
        }
        expected.whole.pop_front();
        if instead {
            heard.whole.pop_front();
        }
    }
    told
}

/// Whether what is still expected may be missing.
pub fn may_be_missing(expected: &Answers) -> bool {
    let binary = expected.binary;
    let mut left = expected.whole.iter();
    left.all(|answer| matches!(excuse(binary, &answer.bytes, b""), Excuse::Nothing))
}

fn excuse(binary: bool, expected: &[u8], answer: &[u8]) -> Excuse {
    if binary {
        let same = |range: std::ops::Range<usize>| answer.get(range.clone()) == expected.get(range);
        let (is_get, got) = (matches!(expected[1], 0x09 | 0x0d), expected[6..8] == [0, 0]);
        return match answer.get(6..8) {
            Some([0, 1 | 0x82]) if got && same(1..2) && same(12..16) => Excuse::Instead,
            _ if is_get && got => Excuse::Nothing,
            _ => Excuse::None,
        };
    }
    let word = words(expected.split(|&byte| byte == b'\r').next().unwrap_or_default())[0];
    let says = |words: &[&[u8]]| words.iter().any(|word| answer.starts_with(word));
    match (word, answer) {
        (b"VA" | b"HD", _) if says(&[b"EN", b"NF"]) => Excuse::Instead,
        (b"DELETED" | b"TOUCHED", b"NOT_FOUND\r\n") => Excuse::Instead,
        (b"STORED" | b"HD", _) if says(&[b"SERVER_ERROR out of memory"]) => Excuse::Instead,
        (b"VALUE", _) => Excuse::Nothing,
        _ => Excuse::None,
    }
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(|&byte| byte == b' ').collect()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

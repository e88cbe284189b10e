//! Clients: what they ask, in all three protocols, and in which parts that is served.

use super::numbers::Numbers;

/// How many keys there are.
pub const KEYS: usize = 12;

/// No item is larger.
pub const ITEM_MAX: usize = 48 << 10;

/// Values beyond this length are larger than [`ITEM_MAX`], shorter ones than [`BELOW_MAX`] are not.
const VALUE_MAX: usize = ITEM_MAX + 8000;
const BELOW_MAX: usize = ITEM_MAX - 1000;

/// A request of more bytes is not waited for: what its line says is decided when that has come.
const BUFFERED_MAX: usize = mcache_base::limits::REQUEST_BUFFERED_MAX;

/// What clients of one world keep to.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Items are evicted: nothing is asked whose effect depends on what is there.
    pub little: bool,
    /// Several threads draw cas uniques: nobody chooses one, or asks which of two is lower.
    pub many_threads: bool,
    /// The wall clock steps back: nothing expires at an absolute time.
    pub steps_back: bool,
}

/// A request on its way.
pub struct Request {
    pub bytes: Vec<u8>,
    pub parts: Vec<Part>,
}

/// A part of a request that is served at once.
pub struct Part {
    /// Once so many bytes are done with, it was served. In a connection's bytes, once it is sent.
    pub end: u64,
    /// The same, as the model is asked.
    pub asked: Vec<u8>,
    /// Other parts follow: the model's `END` is not said here.
    pub goes_on: bool,
}

impl Request {
    fn whole(bytes: Vec<u8>) -> Self {
        Self::two(bytes.clone(), bytes)
    }

    /// The same request, as the server and as the model has to be asked.
    fn two(bytes: Vec<u8>, asked: Vec<u8>) -> Self {
        let end = bytes.len() as u64;
        Self { bytes, parts: vec![Part { end, asked, goes_on: false }] }
    }

    /// A store with `head` bytes before its value.
    fn store(bytes: Vec<u8>, asked: Vec<u8>, head: usize, value: usize) -> Self {
        let mut request = Self::two(bytes, asked);
        // Refused at once: what was there goes with the line, not with the value.
        if value > BELOW_MAX && request.bytes.len() > BUFFERED_MAX {
            request.parts[0].end = head as u64;
        }
        request
    }
}

/// The name of a key.
pub fn key_name(number: usize) -> String {
    match number % 4 {
        0 => format!("a:{number}"),
        1 => format!("b:x:{number}"),
        2 => format!("{number}"),
        _ => format!("{number}-{}", "k".repeat(240)),
    }
}

/// What a client knows when it asks.
pub struct Client<'w> {
    pub numbers: &'w mut Numbers,
    pub manners: Manners,
    /// The wall clock.
    pub unix: u64,
    /// Cas uniques that were told: a key, the server's, the model's.
    pub told: &'w [(usize, u64, u64)],
}

impl Client<'_> {
    /// Something to ask.
    pub fn request(&mut self, binary: bool) -> Request {
        match binary {
            true => self.frame(),
            false if self.numbers.one_in(3) => self.meta(),
            false => self.text(),
        }
    }

    /// A report, a dump, or something else that tells of the server itself.
    pub fn nosy(&mut self) -> Request {
        Request::whole(
            self.numbers
                .pick(&[
                    &b"stats\r\n"[..],
                    b"stats items\r\n",
                    b"stats slabs\r\n",
                    b"stats sizes\r\n",
                    b"stats cachedump 2 0\r\n",
                    b"stats settings\r\nstats reset\r\n",
                    b"lru_crawler metadump all\r\n",
                    b"lru_crawler mgdump all\r\n",
                    b"me a:0\r\nme 2\r\n",
                ])
                .to_vec(),
        )
    }

    fn key(&mut self) -> (usize, String) {
        let number = self.numbers.below(KEYS);
        (number, key_name(number))
    }

    /// A value, now and then one that is too large or a number. What is added to another is short:
    /// the model numbers what it then refuses.
    fn value(&mut self, is_added: bool) -> Vec<u8> {
        let numbers = &mut *self.numbers;
        let large = if self.manners.little { 4 } else { 24 };
        let len = match numbers.below(large) {
            _ if is_added => numbers.below(40),
            0 if numbers.one_in(4) => {
                BELOW_MAX + 2000 + numbers.below(VALUE_MAX - BELOW_MAX - 2000)
            }
            0 => 15_000 + numbers.below(BELOW_MAX - 15_000),
            1 | 2 => numbers.below(3_000),
            3 => return numbers.below(2_000).to_string().into_bytes(),
            4 => return b"\r\nget a:0\r\nEND\r\n".to_vec(),
            _ => numbers.below(60),
        };
        numbers.bytes(len)
    }

    fn exptime(&mut self) -> i64 {
        match self.numbers.below(8) {
            0 => 1 + self.numbers.below(5) as i64,
            1 => 60,
            2 if !self.manners.steps_back => self.unix as i64 + self.numbers.below(90) as i64 - 30,
            _ => 0,
        }
    }

    /// A cas unique that was told of the key, or none that anybody has.
    fn cas(&mut self, key: usize) -> (u64, u64) {
        let mut told = self.told.iter().rev().filter(|told| told.0 == key);
        match told.nth(self.numbers.below(2)) {
            Some(&(_, cas, of_model)) => (cas, of_model),
            None => (u64::MAX, u64::MAX),
        }
    }

    fn text(&mut self) -> Request {
        let little = self.manners.little;
        let (number, key) = self.key();
        let verb = match self.numbers.below(16) {
            0..4 => return self.list(),
            4..8 => "set",
            8 if !little => self.numbers.pick(&["add", "replace", "append", "prepend"]),
            9 if !little => "cas",
            10 => return Request::whole(format!("delete {key}\r\n").into()),
            11 if !little => {
                let verb = self.numbers.pick(&["incr", "decr"]);
                let delta = self.numbers.pick(&[0, 1, 7, u64::MAX]);
                return Request::whole(format!("{verb} {key} {delta}\r\n").into());
            }
            12 => {
                let exptime = self.exptime();
                return Request::whole(format!("touch {key} {exptime}\r\n").into());
            }
            13 => {
                let rare = [
                    "flush_all\r\n",
                    "flush_all 2\r\n",
                    "flush_all noreply\r\n",
                    "flush_prefix a:\r\n",
                    "flush_prefix b:x:\r\n",
                    "bogus\r\n",
                    "get\r\n",
                    "quit\r\n",
                ];
                let common = self.numbers.pick(&["version\r\n", "mn\r\n", "verbosity 0\r\n"]);
                let line = if self.numbers.one_in(3) { self.numbers.pick(&rare) } else { common };
                return Request::whole(line.into());
            }
            _ => "set",
        };
        let value = self.value(matches!(verb, "append" | "prepend"));
        let (flags, exptime) = (self.numbers.pick(&[0, 5]), self.exptime());
        let (cas, of_model) = match verb {
            "cas" => self.cas(number),
            _ => (0, 0),
        };
        let quiet = if !little && self.numbers.one_in(6) { " noreply" } else { "" };
        let line = |cas: u64| {
            let cas = if verb == "cas" { format!(" {cas}") } else { String::new() };
            format!("{verb} {key} {flags} {exptime} {}{cas}{quiet}\r\n", value.len())
        };
        // A value that does not end where it should ends the connection. Of one that is too large
        // it depends on how it arrives which of the two is said.
        let is_bad = value.len() <= BELOW_MAX && self.numbers.one_in(200);
        let end: &[u8] = if is_bad { b"!!" } else { b"\r\n" };
        let whole = |line: &str| [line.as_bytes(), &value, end].concat();
        let head = line(cas);
        Request::store(whole(&head), whole(&line(of_model)), head.len(), value.len())
    }

    /// A key list: each key is fetched on its own, maybe in another turn than the one before.
    fn list(&mut self) -> Request {
        let (verb, with_time) =
            self.numbers.pick(&[("get", false), ("gets", false), ("gat", true), ("gats", true)]);
        let verb = if with_time { format!("{verb} {}", self.exptime()) } else { verb.to_owned() };
        let count = match self.numbers.below(8) {
            0..5 => 1,
            5 | 6 => 2 + self.numbers.below(8),
            _ if with_time => 1,
            _ => 40, // longer than a line
        };
        let (mut bytes, mut parts) = (verb.clone().into_bytes(), Vec::new());
        for left in (0..count).rev() {
            let (_, key) = self.key();
            bytes.push(b' ');
            bytes.extend_from_slice(key.as_bytes());
            let asked = format!("{verb} {key}\r\n").into_bytes();
            parts.push(Part { end: bytes.len() as u64, asked, goes_on: left > 0 });
        }
        bytes.extend_from_slice(b"\r\n");
        Request { bytes, parts }
    }

    fn meta(&mut self) -> Request {
        let Manners { little, many_threads, .. } = self.manners;
        let (number, key) = self.key();
        let mut flags = String::new();
        let mut of_model = String::new();
        let verb = self.numbers.pick(&["mg", "mg", "ms", "ms", "md", "ma"]);
        let (verb, offered): (_, &[&str]) = match verb {
            "mg" if little => (verb, &["f", "h", "l", "s", "t", "v", "v", "O7", "T30"]),
            "mg" => {
                let all = &["f", "h", "l", "s", "t", "v", "v", "q", "O7", "T30", "N9", "R30", "E9"];
                (verb, if many_threads { &all[..12] } else { all })
            }
            "md" if little => (verb, &["O8"]),
            "md" => (verb, &["O8", "q", "I", "T20", "x"]),
            "ma" if !little => (verb, &["v", "t", "O9", "q", "N30", "J5", "D3", "MD", "T9"]),
            _ if little => ("ms", &["F7", "T5", "O6"]),
            _ => {
                let all = &["F7", "T5", "O6", "q", "ME", "MA", "MP", "MR", "N9", "I", "E77"];
                ("ms", if many_threads { &all[..9] } else { all })
            }
        };
        for flag in offered {
            if self.numbers.one_in(3) {
                flags += &format!(" {flag}");
            }
        }
        if !little && verb != "mg" && self.numbers.one_in(3) && !(many_threads && verb == "md") {
            let (cas, model) = self.cas(number);
            of_model = format!(" C{model}");
            of_model.insert_str(0, &flags);
            flags += &format!(" C{cas}");
        } else {
            of_model.push_str(&flags);
        }
        let told = if verb == "md" { " k" } else { " k c" };
        if verb != "ms" {
            let line = |flags: &str| format!("{verb} {key}{told}{flags}\r\n").into_bytes();
            return Request::two(line(&flags), line(&of_model));
        }
        let value = self.value(["MA", "MP"].iter().any(|mode| flags.contains(mode)));
        let line = |flags: &str| format!("ms {key} {}{told}{flags}\r\n", value.len());
        let whole = |line: &str| [line.as_bytes(), &value, b"\r\n"].concat();
        let head = line(&flags);
        Request::store(whole(&head), whole(&line(&of_model)), head.len(), value.len())
    }

    fn frame(&mut self) -> Request {
        let (number, key) = self.key();
        const ALL: &[u8] = &[
            0x00, 0x09, 0x0c, 0x0d, 0x01, 0x01, 0x04, 0x1c, 0x1d, 0x01, 0x01, 0x0a, 0x0b, 0x11,
            0x02, 0x03, 0x05, 0x06, 0x0e, 0x0f, 0x12, 0x14, 0x15, 0x19, 0x1e, 0x23, 0x24,
        ];
        let offered = if self.manners.little { &ALL[..13] } else { ALL };
        let rare = self.numbers.one_in(40);
        let opcode =
            if rare { self.numbers.pick(&[0x08, 0x18, 0x07]) } else { self.numbers.pick(offered) };
        let exptime = (self.exptime().max(0) as u32).to_be_bytes();
        let is_store = matches!(opcode, 0x01..=0x03 | 0x11 | 0x12);
        let extras = match opcode {
            _ if is_store => [&[0, 0, 0, 7], &exptime[..]].concat(),
            0x05 | 0x06 | 0x15 => {
                let numbers = [3_u64, 100].map(u64::to_be_bytes);
                let create = if self.numbers.one_in(2) { exptime } else { [0xff; 4] };
                [numbers.as_flattened(), &create].concat()
            }
            0x1c..=0x1e | 0x23 | 0x24 => exptime.to_vec(),
            _ => Vec::new(),
        };
        let has_value = is_store || matches!(opcode, 0x0e | 0x0f | 0x19);
        let value = if has_value { self.value(!is_store) } else { Vec::new() };
        let key = if matches!(opcode, 0x07 | 0x08 | 0x0a | 0x0b | 0x18) { "" } else { &key };
        let compares = !self.manners.little && self.numbers.one_in(4);
        let compares = compares && (is_store || opcode == 0x04);
        let (cas, of_model) = if compares { self.cas(number) } else { (0, 0) };
        let whole = |cas: u64| {
            let mut bytes = vec![0x80, opcode];
            bytes.extend((key.len() as u16).to_be_bytes());
            bytes.extend([extras.len() as u8, 0, 0, 0]);
            bytes.extend(((extras.len() + key.len() + value.len()) as u32).to_be_bytes());
            bytes.extend([0, 0, 0, number as u8]); // see `Answers`
            bytes.extend(cas.to_be_bytes());
            [&bytes[..], &extras, key.as_bytes(), &value].concat()
        };
        let head = 24 + extras.len() + key.len();
        Request::store(whole(cas), whole(of_model), head, value.len())
    }
}

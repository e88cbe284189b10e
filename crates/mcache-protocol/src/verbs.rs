//! THE TABLE OF COMMANDS: word, opcodes, shape of the line, operation, rights, one sentence.
//!
//! A row feeds the text and the binary decoder and docs/commands.md. Another spelling of an
//! operation is one row; a word or an opcode that stands here twice does not compile.

use mcache_base::operation::StoreMode;

use crate::request::Admin;
use crate::rights::Rights;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The word that begins a text command; empty if only the binary protocol has it.
    pub word: &'static str,
    /// What the binary protocol calls it; empty if only text has it.
    pub opcodes: &'static [Opcode],
    /// What follows the word in text.
    pub shape: Shape,
    /// What is asked.
    pub operation: Operation,
    /// What a user has to be allowed for it. Some of meta's flags, and some reports, need more.
    pub rights: Rights,
    /// One sentence for people.
    pub about: &'static str,
}

/// A binary spelling of a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opcode {
    /// The opcode.
    pub code: u8,
    /// The common outcome is not answered.
    pub quiet: bool,
    /// The answer carries the key.
    pub with_key: bool,
}

/// What follows the word in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `<key>+`
    Keys {
        /// The answer carries the cas unique.
        with_cas: bool,
    },
    /// `<exptime> <key>+`
    ExptimeKeys {
        /// The answer carries the cas unique.
        with_cas: bool,
    },
    /// `<key> <flags> <exptime> <bytes> [<cas unique>] [noreply]`, then a data block.
    Storage {
        /// The cas unique is there.
        compare: bool,
    },
    /// `<key> [<time>] [noreply]`
    Key,
    /// `<key> <delta> [noreply]`
    KeyDelta,
    /// `<key> <exptime> [noreply]`
    KeyExptime,
    /// `<key> <flag>*`, the answer in meta.
    Meta,
    /// `<key> <datalen> <flag>*`, then a data block; the answer in meta.
    MetaStorage,
    /// Nothing that matters; the answer in meta.
    MetaBare,
    /// Nothing that matters.
    Bare,
    /// `[<exptime>] [noreply]`
    Exptime,
    /// `<prefix> [noreply]`
    Prefix,
    /// `<level> [noreply]`
    Level,
    /// Words that somebody else understands.
    Words,
    /// Words that somebody else understands, then `[noreply]`.
    WordsNoreply,
}

impl Shape {
    /// The rest of the line, as a person reads it.
    pub fn syntax(self) -> &'static str {
        match self {
            Self::Keys { .. } => "<key>+",
            Self::ExptimeKeys { .. } => "<exptime> <key>+",
            Self::Storage { compare: false } => "<key> <flags> <exptime> <bytes> [noreply]",
            Self::Storage { compare: true } => {
                "<key> <flags> <exptime> <bytes> <cas unique> [noreply]"
            }
            Self::Key => "<key> [noreply]",
            Self::KeyDelta => "<key> <delta> [noreply]",
            Self::KeyExptime => "<key> <exptime> [noreply]",
            Self::Meta => "<key> <flag>*",
            Self::MetaStorage => "<key> <datalen> <flag>*",
            Self::MetaBare | Self::Bare => "",
            Self::Exptime => "[<exptime>] [noreply]",
            Self::Prefix => "<prefix> [noreply]",
            Self::Level => "<level> [noreply]",
            Self::Words => "<word>*",
            Self::WordsNoreply => "<word>* [noreply]",
        }
    }
}

/// What is asked, in no protocol's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Look items up.
    Fetch,
    /// Look items up and give them an exptime.
    FetchAndTouch,
    /// Give an item an exptime.
    Touch,
    /// Look at an item without leaving a trace.
    Inspect,
    /// Store a value.
    Store(StoreMode),
    /// Take an item away.
    Delete,
    /// Add to a number, or take from it.
    Count {
        /// Take from it.
        down: bool,
    },
    /// Invalidate everything.
    FlushAll,
    /// Invalidate a group of keys.
    FlushGroup,
    /// Say which level is spoken.
    Version,
    /// Set how much is logged.
    Verbosity,
    /// Report.
    Stats,
    /// Follow what happens.
    Watch,
    /// Command the server.
    Admin(Admin),
    /// Log in.
    Sasl(SaslStep),
    /// Answer, and nothing else.
    Noop,
    /// Close.
    Quit,
}

/// A step of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslStep {
    /// Tell which mechanisms there are.
    Mechanisms,
    /// Begin.
    Begin,
    /// Go on.
    Step,
}

const fn row(
    word: &'static str,
    shape: Shape,
    operation: Operation,
    opcodes: &'static [Opcode],
    rights: Rights,
    about: &'static str,
) -> Verb {
    Verb { word, opcodes, shape, operation, rights, about }
}

const NONE: Rights = Rights::NONE;
const READ: Rights = Rights::READ;
const WRITE: Rights = Rights::WRITE;
const BOTH: Rights = READ.with(WRITE);
const ADMIN: Rights = Rights::ADMIN;

const fn loud(code: u8) -> Opcode {
    Opcode { code, quiet: false, with_key: false }
}

const fn quiet(code: u8) -> Opcode {
    Opcode { code, quiet: true, with_key: false }
}

const fn with_key(opcode: Opcode) -> Opcode {
    Opcode { with_key: true, ..opcode }
}

/// Every command.
#[rustfmt::skip] // one row each, aligned
pub const VERBS: &[Verb] = &[
    row("get", Shape::Keys { with_cas: false }, Operation::Fetch,
        &[loud(0x00), quiet(0x09), with_key(loud(0x0c)), with_key(quiet(0x0d))],
        READ, "Return the items of the keys."),
    row("gets", Shape::Keys { with_cas: true }, Operation::Fetch, &[],
        READ, "Like get, with each item's cas unique."),
    row("gat", Shape::ExptimeKeys { with_cas: false }, Operation::FetchAndTouch,
        &[loud(0x1d), quiet(0x1e), with_key(loud(0x23)), with_key(quiet(0x24))],
        BOTH, "Like get, and give the items an exptime."),
    row("gats", Shape::ExptimeKeys { with_cas: true }, Operation::FetchAndTouch, &[],
        BOTH, "Like gat, with each item's cas unique."),
    row("touch", Shape::KeyExptime, Operation::Touch, &[loud(0x1c)],
        WRITE, "Give an item an exptime."),

    row("set", Shape::Storage { compare: false }, Operation::Store(StoreMode::Set),
        &[loud(0x01), quiet(0x11)],
        WRITE, "Store a value, whatever is there."),
    row("add", Shape::Storage { compare: false }, Operation::Store(StoreMode::Add),
        &[loud(0x02), quiet(0x12)],
        WRITE, "Store a value if the key is absent."),
    row("replace", Shape::Storage { compare: false }, Operation::Store(StoreMode::Replace),
        &[loud(0x03), quiet(0x13)],
        WRITE, "Store a value if the key is present."),
    row("append", Shape::Storage { compare: false }, Operation::Store(StoreMode::Append),
        &[loud(0x0e), quiet(0x19)],
        WRITE, "Put data behind an item's value; flags and exptime stay."),
    row("prepend", Shape::Storage { compare: false }, Operation::Store(StoreMode::Prepend),
        &[loud(0x0f), quiet(0x1a)],
        WRITE, "Put data before an item's value; flags and exptime stay."),
    row("cas", Shape::Storage { compare: true }, Operation::Store(StoreMode::Set), &[],
        WRITE, "Store a value if the item still has the cas unique."),

    row("delete", Shape::Key, Operation::Delete, &[loud(0x04), quiet(0x14)],
        WRITE, "Take an item away."),
    row("incr", Shape::KeyDelta, Operation::Count { down: false }, &[loud(0x05), quiet(0x15)],
        BOTH, "Add to a number, wrapping at 2^64."),
    row("decr", Shape::KeyDelta, Operation::Count { down: true }, &[loud(0x06), quiet(0x16)],
        BOTH, "Take from a number, stopping at 0."),

    row("mg", Shape::Meta, Operation::Fetch, &[],
        READ, "Meta get: look an item up; flags choose what is done and returned."),
    row("ms", Shape::MetaStorage, Operation::Store(StoreMode::Set), &[],
        WRITE, "Meta set: store a value; flags choose how and what is returned."),
    row("md", Shape::Meta, Operation::Delete, &[],
        WRITE, "Meta delete: take an item away, mark it stale or drop its value."),
    row("ma", Shape::Meta, Operation::Count { down: false }, &[],
        BOTH, "Meta arithmetic: add to a number or take from it."),
    row("me", Shape::Meta, Operation::Inspect, &[],
        READ, "Meta debug: an item's attributes, leaving no trace."),
    row("mn", Shape::MetaBare, Operation::Noop, &[loud(0x0a)],
        NONE, "Answer MN: all requests before this one are answered."),

    row("flush_all", Shape::Exptime, Operation::FlushAll, &[loud(0x08), quiet(0x18)],
        ADMIN, "Invalidate everything stored so far, now or later."),
    row("flush_prefix", Shape::Prefix, Operation::FlushGroup, &[],
        ADMIN, "Invalidate all keys with this prefix; its last byte is the delimiter of -D."),
    row("stats", Shape::Words, Operation::Stats, &[loud(0x10)],
        NONE, "Report statistics."),
    row("version", Shape::Bare, Operation::Version, &[loud(0x0b)],
        NONE, "Say which memcached level is spoken."),
    row("verbosity", Shape::Level, Operation::Verbosity, &[],
        ADMIN, "Set how much is logged: 0 to 3."),
    row("quit", Shape::Bare, Operation::Quit, &[loud(0x07), quiet(0x17)],
        NONE, "Send what is owed and close."),

    row("", Shape::Bare, Operation::Sasl(SaslStep::Mechanisms), &[loud(0x20)],
        NONE, "Tell how a peer can log in."),
    row("", Shape::Bare, Operation::Sasl(SaslStep::Begin), &[loud(0x21)],
        NONE, "Log in."),
    row("", Shape::Bare, Operation::Sasl(SaslStep::Step), &[loud(0x22)],
        NONE, "Go on logging in."),

    row("watch", Shape::Words, Operation::Watch, &[],
        ADMIN, "Follow what happens, line by line."),
    row("shutdown", Shape::WordsNoreply, Operation::Admin(Admin::Shutdown), &[],
        ADMIN, "Stop the server."),
    row("cache_memlimit", Shape::WordsNoreply, Operation::Admin(Admin::CacheMemlimit), &[],
        ADMIN, "Move the memory limit, in megabytes."),
    row("lru_crawler", Shape::WordsNoreply, Operation::Admin(Admin::LruCrawler), &[],
        ADMIN, "Walk over the items: metadump, mgdump."),
    row("lru", Shape::WordsNoreply, Operation::Admin(Admin::Lru), &[],
        ADMIN, "memcached's LRU tuning."),
    row("slabs", Shape::WordsNoreply, Operation::Admin(Admin::Slabs), &[],
        ADMIN, "memcached's slab tuning."),
    row("extstore", Shape::WordsNoreply, Operation::Admin(Admin::Extstore), &[],
        ADMIN, "memcached's flash tier tuning."),
    row("refresh_certs", Shape::WordsNoreply, Operation::Admin(Admin::RefreshCerts), &[],
        ADMIN, "Read the TLS certificates again."),
    row("debugtime", Shape::WordsNoreply, Operation::Admin(Admin::Debugtime), &[],
        ADMIN, "Move the clock (tests only)."),
    row("misbehave", Shape::WordsNoreply, Operation::Admin(Admin::Misbehave), &[],
        ADMIN, "Try what the sandbox forbids (tests only)."),
];

/// The row of a word.
#[inline]
pub fn by_word(word: &[u8]) -> Option<&'static Verb> {
    let mut slot = slot(word)?;
    loop {
        let verb = VERBS.get(usize::from(*WORDS.get(slot)?))?;
        if verb.word.as_bytes() == word {
            return Some(verb);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// The row of an opcode, and which of its spellings the opcode is.
#[inline]
pub fn by_opcode(code: u8) -> Option<(&'static Verb, Opcode)> {
    let (row, opcode) = OPCODES.get(usize::from(code)).copied()??;
    Some((VERBS.get(usize::from(row))?, opcode))
}

/// Slots of the table of words: a power of two, so many that few words collide.
const SLOTS: usize = 128;

/// In [`WORDS`]: no word hashes to here.
const EMPTY: u8 = u8::MAX;

const _: () = assert!(VERBS.len() < EMPTY as usize && VERBS.len() < SLOTS);

/// Word to row: open addressing, built by the compiler.
const WORDS: [u8; SLOTS] = words();

/// Opcode to row and spelling.
const OPCODES: [Option<(u8, Opcode)>; 256] = opcodes();

#[inline]
const fn slot(word: &[u8]) -> Option<usize> {
    match word {
        [first, .., last] => {
            Some((*first as usize * 5 + *last as usize * 3 + word.len() * 7) % SLOTS)
        }
        _ => None,
    }
}

#[allow(clippy::indexing_slicing)] // runs in the compiler
const fn words() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut row = 0;
    while row < VERBS.len() {
        let word = VERBS[row].word.as_bytes();
        if word.is_empty() {
            row += 1;
            continue;
        }
        let Some(mut at) = slot(word) else { panic!("a word needs two letters") };
        while table[at] != EMPTY {
            assert!(!equal(VERBS[table[at] as usize].word.as_bytes(), word), "word stands twice");
            at = (at + 1) % SLOTS;
        }
        table[at] = row as u8;
        row += 1;
    }
    table
}

#[allow(clippy::indexing_slicing)] // runs in the compiler
const fn opcodes() -> [Option<(u8, Opcode)>; 256] {
    let mut table = [None; 256];
    let mut row = 0;
    while row < VERBS.len() {
        let mut spelling = 0;
        while spelling < VERBS[row].opcodes.len() {
            let opcode = VERBS[row].opcodes[spelling];
            assert!(table[opcode.code as usize].is_none(), "opcode stands twice");
            table[opcode.code as usize] = Some((row as u8, opcode));
            spelling += 1;
        }
        row += 1;
    }
    table
}

#[allow(clippy::indexing_slicing)] // runs in the compiler
const fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_and_opcode_finds_its_row() {
        for verb in VERBS {
            let found = by_word(verb.word.as_bytes());
            assert_eq!(found, Some(verb).filter(|it| !it.word.is_empty()), "{}", verb.word);
            for opcode in verb.opcodes {
                assert_eq!(by_opcode(opcode.code), Some((verb, *opcode)), "{opcode:?}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_word() {
        for word in
            ["", "g", "ge", "GET", "getx", "get ", "mq", "m", "ms\0", "set\r", "\u{fc}\u{fc}"]
        {
            assert_eq!(by_word(word.as_bytes()), None, "{word:?}");
        }
        assert_eq!(by_opcode(0x1b), None, "memcached never implemented verbosity");
        assert_eq!(by_opcode(0xff), None);
    }

    #[test]
    fn every_row_has_its_sentence() {
        for verb in VERBS {
            assert!(verb.about.ends_with('.') && verb.about.len() < 80, "{}", verb.word);
        }
    }
}

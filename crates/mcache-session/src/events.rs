//! What `watch` tells of a session's work: memcached's lines, without their time and number.
//!
//! Nothing here is called while nobody watches: a session looks at [`Events::wanted`] first.

use std::io::Write;

use mcache_base::operation::{Hit, Miss, Refusal, Store, StoreMode, Stored};
use mcache_base::{Expiry, Item, Key, Now, slab_class};
use mcache_protocol::Style;
use mcache_protocol::style::MetaCommand;
use mcache_store::{Access, Evicted};

/// Kinds of events: a set of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u16);

macro_rules! kinds {
    ($( $(#[doc = $about:literal])+ $name:ident = $word:literal, $bit:literal; )+) => {
        impl Kinds {
            $( $(#[doc = $about])+ pub const $name: Self = Self(1 << $bit); )+

            /// The kind that a word of the command stands for.
            fn of(word: &[u8]) -> Option<Self> {
                [$( ($word, Self::$name) ),+]
                    .into_iter()
                    .find_map(|(name, kind)| (name.as_bytes() == word).then_some(kind))
            }
        }
    };
}

kinds! {
    /// Lookups, and what came of them.
    FETCHERS = "fetchers", 0;
    /// Stores, and what came of them.
    MUTATIONS = "mutations", 1;
    /// Items evicted.
    EVICTIONS = "evictions", 2;
    /// Connections opened and closed.
    CONNECTIONS = "connevents", 3;
    /// Items deleted.
    DELETIONS = "deletions", 4;
    /// memcached's background threads; mcache has nothing to tell.
    SYSTEM = "sysevents", 5;
    /// Text commands as they came.
    COMMANDS = "rawcmds", 6;
    /// memcached's proxy; mcache has nothing to tell.
    PROXY_REQUESTS = "proxyreqs", 7;
    /// memcached's proxy; mcache has nothing to tell.
    PROXY = "proxyevents", 8;
    /// memcached's proxy; mcache has nothing to tell.
    PROXY_USER = "proxyuser", 9;
}

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);

    /// The kinds that the words after `watch` ask for; fetchers if there are none. `None` if a
    /// word is not known.
    pub fn parse(args: &[u8]) -> Option<Self> {
        let mut kinds = Self::NONE;
        for word in args.split(|&byte| byte == b' ').filter(|word| !word.is_empty()) {
            kinds = kinds.with(Self::of(word)?);
        }
        Some(if kinds == Self::NONE { Self::FETCHERS } else { kinds })
    }

    /// Whether the sets have a kind in common.
    #[inline]
    pub fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as a number, for an atomic.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The set that [`Self::bits`] gave.
    pub fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// Where a session's events go.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    /// The kinds that somebody wants, as of the beginning of the turn.
    pub wanted: Kinds,
    /// Takes the lines.
    pub log: &'a dyn EventLog,
    /// The number of the connection: its descriptor.
    pub connection: i32,
}

impl Events<'_> {
    /// Nobody watches.
    pub const NOBODY: Self = Self { wanted: Kinds::NONE, log: &Nowhere, connection: 0 };
}

struct Nowhere;

impl EventLog for Nowhere {
    fn log(&self, _: Kinds, _: &mut dyn FnMut(&mut Vec<u8>)) {}
}

/// Takes the lines of events.
pub trait EventLog: Sync {
    /// Takes a line of this kind: what `write` writes, without time, number and line end. Never
    /// waits for whoever reads it: a line for which there is no room is dropped.
    fn log(&self, kind: Kinds, write: &mut dyn FnMut(&mut Vec<u8>));
}

/// What there was to see of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    class: usize,
    size: usize,
}

impl Seen {
    pub(crate) fn of(item: &impl Item) -> Self {
        Self::sized(item.key().len(), item.flags(), item.value_len())
    }

    fn sized(key_len: usize, flags: u32, size: usize) -> Self {
        Self { class: slab_class::of(slab_class::item_size(key_len, flags, size)), size }
    }
}

impl Events<'_> {
    /// A lookup, with what it found.
    #[cold]
    pub(crate) fn fetched<I: Item>(&self, key: &[u8], found: &Result<Hit<I>, Miss>) {
        let status = match found {
            Ok(hit) if hit.created => "not_found",
            Ok(_) => "found",
            Err(Miss::Absent) => "not_found",
            Err(Miss::Flushed) => "flushed",
            Err(Miss::Expired) => "expired",
        };
        let none = Seen { class: 0, size: 0 };
        let Seen { class, size } = found.as_ref().map_or(none, |hit| Seen::of(&hit.item));
        let connection = self.connection;
        self.log.log(Kinds::FETCHERS, &mut |line| {
            line.extend_from_slice(b"type=item_get key=");
            encode(key, line);
            let _ = write!(line, " status={status} clsid={class} cfd={connection} size={size}");
        });
    }

    /// Looks at what lies under a key before an operation, as memcached's operations do, and
    /// tells of it. Leaves no trace.
    #[cold]
    pub(crate) fn look<A: Access>(&self, access: &mut A, key: Key<'_>, now: Now) -> Option<Seen> {
        let found = access.fetch(key, &crate::tally::UNSEEN, now);
        if self.wanted.meet(Kinds::FETCHERS) {
            self.fetched(key.bytes, &found);
        }
        found.ok().map(|hit| Seen::of(&hit.item))
    }

    /// A store of `len` bytes.
    #[cold]
    pub(crate) fn stored(&self, key: &[u8], how: &Store, len: usize, stored: Stored, now: Now) {
        let (status, size) = match stored {
            Stored::Stored { value_len, .. } => ("stored", value_len),
            Stored::NotStored => ("not_stored", len),
            Stored::Exists => ("exists", len),
            Stored::NotFound => ("not_found", len),
            Stored::Refused(Refusal::TooLarge) => ("too_large", 0),
            Stored::Refused(Refusal::NoMemory) => ("no_memory", 0),
        };
        let command = match how.mode {
            StoreMode::Set if how.compare.is_some() => "cas",
            StoreMode::Set => "set",
            StoreMode::Add => "add",
            StoreMode::Replace => "replace",
            StoreMode::Append => "append",
            StoreMode::Prepend => "prepend",
        };
        let class = if matches!(stored, Stored::Refused(_)) {
            0
        } else {
            Seen::sized(key.len(), how.flags, size).class
        };
        let ttl = Expiry::from_exptime(how.exptime, now).seconds_left(now).unwrap_or(0);
        let connection = self.connection;
        self.log.log(Kinds::MUTATIONS, &mut |line| {
            line.extend_from_slice(b"type=item_store key=");
            encode(key, line);
            let _ = write!(line, " status={status} cmd={command} ttl={ttl} clsid={class}");
            let _ = write!(line, " cfd={connection} size={size}");
        });
    }

    /// A delete that took an item away.
    #[cold]
    pub(crate) fn deleted(&self, key: &[u8], style: &Style<'_>, item: Seen) {
        let command = match style {
            Style::Meta(style) if style.command == MetaCommand::Delete => "md",
            _ => "delete",
        };
        let Seen { class, size } = item;
        self.log.log(Kinds::DELETIONS, &mut |line| {
            line.extend_from_slice(b"type=deleted key=");
            encode(key, line);
            let _ = write!(line, " cmd={command} clsid={class} size={size}");
        });
    }

    /// A command, if it is text: its first line.
    #[cold]
    pub(crate) fn command(&self, rest: &[u8]) {
        if rest.first().is_none_or(|first| !first.is_ascii()) {
            return;
        }
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = text.get(..COMMAND_LEN_MAX).unwrap_or(text);
        let connection = self.connection;
        self.log.log(Kinds::COMMANDS, &mut |line| {
            let _ = write!(line, "<{connection} ");
            line.extend(text.iter().map(|&it| if it.is_ascii_control() { b'.' } else { it }));
        });
    }
}

/// Bytes of a command that are told.
const COMMAND_LEN_MAX: usize = 480;

/// The line of an eviction.
pub fn eviction(item: &Evicted<'_>, line: &mut Vec<u8>) {
    line.extend_from_slice(b"type=eviction key=");
    encode(item.key, line);
    let fetched = if item.fetched { "yes" } else { "no" };
    let ttl = item.expiry.seconds_left(item.now).map_or(-1, u64::cast_signed);
    let Seen { class, size } = Seen::sized(item.key.len(), item.flags, item.value_len);
    let _ = write!(line, " fetch={fetched} ttl={ttl} la={}", item.idle_ms / 1000);
    let _ = write!(line, " clsid={class} size={size}");
}

/// Writes a key as in a URI.
fn encode(key: &[u8], line: &mut Vec<u8>) {
    for &byte in key {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            line.push(byte);
        } else {
            let _ = write!(line, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kinds() {
        let rows = [
            ("", Some(Kinds::FETCHERS)),
            ("fetchers", Some(Kinds::FETCHERS)),
            ("mutations evictions", Some(Kinds::MUTATIONS.with(Kinds::EVICTIONS))),
            (" deletions  connevents ", Some(Kinds::DELETIONS.with(Kinds::CONNECTIONS))),
            ("rawcmds sysevents", Some(Kinds::COMMANDS.with(Kinds::SYSTEM))),
            ("fetch", None),
            ("fetchers all", None),
        ];
        for (args, expected) in rows {
            assert_eq!(Kinds::parse(args.as_bytes()), expected, "{args}");
        }
    }

    #[test]
    fn keys_are_encoded_as_in_a_uri() {
        let mut line = Vec::new();
        encode(b"aZ09-._~ :/#%\xff\0", &mut line);
        assert_eq!(line, b"aZ09-._~%20%3A%2F%23%25%FF%00");
    }
}

//! Lists of items: a walk over the cache whose lines go out as room for them comes.
//!
//! A dump is a state of its session. Each step looks at a bounded number of items; the session
//! lets others have their turns, and waits when its peer reads slowly.

use std::collections::BTreeMap;
use std::io::Write;

use mcache_base::limits::CACHEDUMP_MAX;
use mcache_base::{ItemView, Now, Pin, fits_line, slab_class};
use mcache_protocol::{
    BinaryStyle, Codec, Outcome, Output, StatLine, Style, TextStyle, encode_key,
};
use mcache_store::{Access, StorageEngine};

use crate::context::{Context, ItemOf};

/// Bytes of one row of `stats sizes`.
const SIZE_BUCKET: usize = 32;

/// A list that is being sent.
pub(crate) struct Dump {
    list: List,
    classes: Classes,
    cursor: u64,
}

/// Which list.
pub(crate) enum List {
    /// `lru_crawler metadump`.
    Metadata,
    /// `lru_crawler mgdump`.
    Keys,
    /// `stats cachedump`: so many items and so many bytes may still be shown.
    Cache { items_left: u64, bytes_left: usize },
    /// `stats sizes`: how many items there are, by their size.
    Sizes { style: Style<'static>, buckets: BTreeMap<usize, u64> },
    /// `stats conns`: connections with higher numbers than this are still to be shown.
    Connections { after: i32 },
}

/// Which size classes' items are listed: bit by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes(u64);

impl Classes {
    /// All of them.
    pub(crate) const ALL: Self = Self(u64::MAX);

    /// One.
    pub(crate) fn one(id: u32) -> Self {
        Self(1 << (id & 63))
    }

    /// These and those.
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// None.
    pub(crate) const NONE: Self = Self(0);

    fn holds(self, item: &ItemView<'_>) -> bool {
        self.0 & Self::one(slab_class::of(item.size()) as u32).0 != 0
    }
}

impl List {
    /// `stats cachedump` of so many items, 0 for all of them.
    pub(crate) fn cache(limit: u32) -> Self {
        let items_left = if limit == 0 { u64::MAX } else { u64::from(limit) };
        Self::Cache { items_left, bytes_left: CACHEDUMP_MAX }
    }

    /// `stats sizes`, to be answered in this style.
    pub(crate) fn sizes(style: &Style<'_>) -> Self {
        let style = match style {
            Style::Binary(style) => Style::Binary(BinaryStyle { key: None, ..*style }),
            _ => Style::Text(TextStyle::default()),
        };
        Self::Sizes { style, buckets: BTreeMap::new() }
    }
}

impl Dump {
    /// A list from its beginning.
    pub(crate) fn new(list: List, classes: Classes) -> Self {
        Self { list, classes, cursor: 0 }
    }

    /// Says that the list comes, where memcached does.
    pub(crate) fn begin<P: Pin>(&self, out: &mut Output<P>) {
        if matches!(self.list, List::Metadata | List::Keys) {
            out.push(b"OK\r\n");
        }
    }

    /// Sends some more of the list; tells whether that was all.
    pub(crate) fn step<E: StorageEngine>(
        &mut self,
        out: &mut Output<E::Pin>,
        context: &mut Context<'_, E>,
    ) -> bool {
        if let List::Connections { after } = &mut self.list {
            return connections(after, out, context);
        }
        let (classes, list, now) = (self.classes, &mut self.list, context.now);
        let lines = out.bytes();
        let next = context.access.walk(self.cursor, now, &mut |item| {
            if classes.holds(item) {
                list.show(item, now, lines);
            }
        });
        match next.filter(|_| !self.list.is_full()) {
            Some(cursor) => self.cursor = cursor,
            None => self.list.end::<E>(out, now),
        }
        next.is_none() || self.list.is_full()
    }
}

impl List {
    fn show(&mut self, item: &ItemView<'_>, now: Now, lines: &mut Vec<u8>) {
        match self {
            Self::Metadata => push_metadata(item, now, lines),
            Self::Keys => push_key(item, lines),
            Self::Cache { items_left, bytes_left } => {
                if *items_left == 0 || *bytes_left == 0 || is_binary(item) {
                    return;
                }
                let before = lines.len();
                push_cached(item, now, lines);
                match bytes_left.checked_sub(lines.len() - before) {
                    Some(left) => {
                        *items_left -= 1;
                        *bytes_left = left;
                    }
                    None => {
                        lines.truncate(before);
                        *bytes_left = 0;
                    }
                }
            }
            Self::Sizes { buckets, .. } => {
                *buckets.entry(item.size().div_ceil(SIZE_BUCKET)).or_default() += 1;
            }
            Self::Connections { .. } => {} // those are no items
        }
    }

    /// Whether no more may be shown.
    fn is_full(&self) -> bool {
        match self {
            Self::Cache { items_left, bytes_left } => *items_left == 0 || *bytes_left == 0,
            _ => false,
        }
    }

    fn end<E: StorageEngine>(&mut self, out: &mut Output<E::Pin>, now: Now) {
        match self {
            Self::Metadata | Self::Cache { .. } | Self::Connections { .. } => out.push(b"END\r\n"),
            Self::Keys => out.push(b"EN\r\n"),
            Self::Sizes { style, buckets } => {
                let rows = buckets.iter().map(|(bucket, count)| StatLine {
                    name: (bucket * SIZE_BUCKET).to_string(),
                    value: count.to_string(),
                });
                let outcome = Outcome::<ItemOf<'_, E>>::Stats(rows.collect());
                Codec::encode(style, &outcome, now, out);
            }
        }
    }
}

/// Shows some more connections; tells whether that was all.
fn connections<E: StorageEngine>(
    after: &mut i32,
    out: &mut Output<E::Pin>,
    context: &Context<'_, E>,
) -> bool {
    let (lines, next) = context.host.connections(*after, context.now);
    for StatLine { name, value } in lines {
        let _ = write!(out.bytes(), "STAT {name} {value}\r\n");
    }
    match next {
        Some(last) => *after = last,
        None => out.push(b"END\r\n"),
    }
    next.is_none()
}

/// `key=<in URI encoding> exp=<Unix time or -1> la=<Unix time> ...`
fn push_metadata(item: &ItemView<'_>, now: Now, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"key=");
    for &byte in item.key {
        match byte {
            b'-' | b'.' | b'_' | b'~' => lines.push(byte),
            _ if byte.is_ascii_alphanumeric() => lines.push(byte),
            _ => drop(write!(lines, "%{byte:02X}")),
        }
    }
    match item.expiry.unix(now) {
        None => lines.extend_from_slice(b" exp=-1"),
        Some(deadline) => drop(write!(lines, " exp={deadline}")),
    }
    let idle_s = now.clock_ms.saturating_sub(item.accessed_ms) / 1000;
    let accessed = now.unix.saturating_sub(idle_s);
    let fetched = if item.fetched { "yes" } else { "no" };
    let (size, flags, cas) = (item.size(), item.flags, item.cas);
    let class = slab_class::of(size);
    let _ = writeln!(
        lines,
        " la={accessed} cas={cas} fetch={fetched} cls={class} size={size} flags={flags} "
    );
}

/// `mg <key>`, or `mg <in base64> b` for a key that does not fit a line as it is.
fn push_key(item: &ItemView<'_>, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"mg ");
    if is_binary(item) {
        encode_key(lines, item.key);
        lines.extend_from_slice(b" b\r\n");
    } else {
        lines.extend_from_slice(item.key);
        lines.extend_from_slice(b"\r\n");
    }
}

/// `ITEM <key> [<bytes> b; <Unix time or 0> s]`
fn push_cached(item: &ItemView<'_>, now: Now, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"ITEM ");
    lines.extend_from_slice(item.key);
    let deadline = item.expiry.unix(now).unwrap_or(0);
    let _ = write!(lines, " [{} b; {deadline} s]\r\n", item.value_len);
}

/// Whether a key cannot stand in a line as it is.
fn is_binary(item: &ItemView<'_>) -> bool {
    item.binary_key || !fits_line(item.key)
}

//! What each operation means for an item, whatever engine keeps it.
//!
//! Pure functions: given the attributes of the item that is there (or none) and the operation,
//! they say what is to become of it. They move no bytes and know no container, so every engine
//! shares them. `next_cas` is called only if the item takes a new cas unique from the engine.

use mcache_base::operation::{
    Before, Count, Delete, Deleted, Fetch, Hit, Refusal, Store, StoreMode, Stored,
};
use mcache_base::{Expiry, Item, Now, number};

/// Everything about an item but its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Client flags.
    pub flags: u32,
    /// The cas unique.
    pub cas: u64,
    /// When it stops being served.
    pub expiry: Expiry,
    /// Last access, a reading of the cache's clock in milliseconds.
    pub accessed_ms: u64,
    /// Fetched at least once since it was stored.
    pub fetched: bool,
    /// Marked stale: to be refilled by the one who holds the token.
    pub stale: bool,
    /// Somebody won the right to refill it.
    pub token_sent: bool,
    /// Stored under a key that was given in base64.
    pub binary_key: bool,
}

impl Attributes {
    /// Those of an item that is stored now.
    fn stored_now(cas: u64, expiry: Expiry, now: Now) -> Self {
        Self {
            flags: 0,
            cas,
            expiry,
            accessed_ms: now.clock_ms,
            fetched: false,
            stale: false,
            token_sent: false,
            binary_key: false,
        }
    }

    fn before(&self, now: Now) -> Before {
        Before {
            fetched: self.fetched,
            idle_s: (now.clock_ms / 1000).saturating_sub(self.accessed_ms / 1000),
            expiry: self.expiry,
        }
    }

    /// A hit on the item as it stands, with nothing won.
    fn hit(&self, now: Now) -> Hit<()> {
        Hit {
            item: (),
            before: self.before(now),
            won: false,
            stale: self.stale,
            token_sent: self.token_sent,
            created: false,
        }
    }
}

/// A hit on an item that the operation made: it has no past.
fn created(won: bool) -> Hit<()> {
    let before = Before { fetched: false, idle_s: 0, expiry: Expiry::Never };
    Hit { item: (), before, won, stale: false, token_sent: false, created: true }
}

/// A value to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// The item's attributes then.
    pub attributes: Attributes,
    /// Where the bytes that came with the operation go.
    pub splice: Splice,
    /// A store: the item's past begins again. Otherwise it is the same item with another value.
    pub fresh: bool,
}

/// Where the bytes that came with an operation go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// They are the value.
    Whole,
    /// Behind the present value.
    Append,
    /// Before the present value.
    Prepend,
}

/// What becomes of a fetched item: its attributes after, and what the caller is told.
pub fn fetch(current: &Attributes, fetch: &Fetch, now: Now) -> (Attributes, Hit<()>) {
    let mut hit = current.hit(now);
    let touched = fetch.touch.map_or(current.expiry, |it| Expiry::from_exptime(it, now));
    let runs_out = fetch.recache.is_some_and(|recache| {
        let expiry = if fetch.touch_first { touched } else { current.expiry };
        let left = expiry.seconds_left(now);
        let wanted = Expiry::from_exptime(recache, now).seconds_left(now);
        left.zip(wanted).is_some_and(|(left, wanted)| left < wanted)
    });
    hit.won = !current.token_sent && (runs_out || (fetch.compete && current.stale));

    let mut after = *current;
    after.token_sent |= hit.won;
    after.expiry = touched;
    if !fetch.unseen {
        after.accessed_ms = now.clock_ms;
        after.fetched = true;
    }
    (after, hit)
}

/// The empty item that a fetch makes where it found none, if it was asked to.
pub fn vivify(fetch: &Fetch, now: Now, next_cas: impl FnOnce() -> u64) -> Option<(Write, Hit<()>)> {
    let expiry = Expiry::from_exptime(fetch.vivify?, now);
    let cas = chosen_or(fetch.new_cas, next_cas);
    let attributes = Attributes {
        fetched: !fetch.unseen,
        token_sent: true,
        binary_key: fetch.binary_key,
        ..Attributes::stored_now(cas, expiry, now)
    };
    Some((Write { attributes, splice: Splice::Whole, fresh: true }, created(true)))
}

/// The cas unique of a value that is written: the client's choice, or the next. The next is
/// drawn in any case: it also says in what order values were written.
fn chosen_or(chosen: Option<u64>, next_cas: impl FnOnce() -> u64) -> u64 {
    let next = next_cas();
    chosen.unwrap_or(next)
}

/// What a store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePlan {
    /// Nothing.
    Refuse(Stored),
    /// Nothing, but the item that is there counts as accessed.
    Promote(Attributes, Stored),
    /// Write the value.
    Write(Write),
}

/// What a store does to the item that is there, or to its absence.
pub fn store(
    current: Option<&Attributes>,
    store: &Store,
    now: Now,
    next_cas: impl FnOnce() -> u64,
) -> StorePlan {
    let take_cas = || chosen_or(store.new_cas, next_cas);
    let Some(current) = current else {
        return store_absent(store, now, take_cas);
    };
    let compared = Compared::of(store.compare, current.cas);
    match store.mode {
        StoreMode::Add => {
            let seen = Attributes { accessed_ms: now.clock_ms, ..*current };
            StorePlan::Promote(seen, Stored::NotStored)
        }
        StoreMode::Set | StoreMode::Replace => {
            let outdated = match compared {
                Compared::NotAsked | Compared::Same => false,
                Compared::Lower if store.invalidate => true,
                _ => return StorePlan::Refuse(Stored::Exists),
            };
            let mut write = fresh(store, store.exptime, now, take_cas());
            if outdated {
                // A late refill: better than nothing, but the item still waits for a newer one.
                write.attributes.stale = true;
                write.attributes.expiry = current.expiry;
                write.attributes.token_sent = current.token_sent;
            }
            StorePlan::Write(write)
        }
        StoreMode::Append | StoreMode::Prepend => {
            if !matches!(compared, Compared::NotAsked | Compared::Same | Compared::Zero) {
                return StorePlan::Refuse(Stored::Exists);
            }
            let mut write = fresh(store, 0, now, take_cas());
            write.attributes.flags = current.flags;
            write.attributes.expiry = current.expiry;
            write.attributes.binary_key = current.binary_key;
            write.splice = match store.mode {
                StoreMode::Append => Splice::Append,
                _ => Splice::Prepend,
            };
            StorePlan::Write(write)
        }
    }
}

fn store_absent(store: &Store, now: Now, take_cas: impl FnOnce() -> u64) -> StorePlan {
    match (store.mode, store.vivify) {
        (StoreMode::Set | StoreMode::Replace, _) if store.compare.is_some() => {
            StorePlan::Refuse(Stored::NotFound)
        }
        (StoreMode::Set | StoreMode::Add, _) => {
            StorePlan::Write(fresh(store, store.exptime, now, take_cas()))
        }
        (StoreMode::Append | StoreMode::Prepend, Some(exptime)) => {
            StorePlan::Write(fresh(store, exptime, now, take_cas()))
        }
        _ => StorePlan::Refuse(Stored::NotStored),
    }
}

fn fresh(store: &Store, exptime: i64, now: Now, cas: u64) -> Write {
    let expiry = Expiry::from_exptime(exptime, now);
    let attributes = Attributes {
        flags: store.flags,
        binary_key: store.binary_key,
        ..Attributes::stored_now(cas, expiry, now)
    };
    Write { attributes, splice: Splice::Whole, fresh: true }
}

/// The answer to a store that came to be written, or was refused when it should have been.
///
/// As in memcached, what has grown too large by appending was just not stored.
pub fn stored<I: Item>(write: &Write, written: Result<I, Refusal>) -> Stored {
    match written {
        Ok(item) => Stored::Stored { cas: item.cas(), value_len: item.value_len() },
        Err(refusal) => splice_refused(write, refusal),
    }
}

/// What an append or prepend answers whose value could not be kept.
pub fn splice_refused(write: &Write, refusal: Refusal) -> Stored {
    match (refusal, write.splice) {
        (Refusal::TooLarge, Splice::Append | Splice::Prepend) => Stored::NotStored,
        _ => Stored::Refused(refusal),
    }
}

/// A cas unique that was asked for, against the item's. As in memcached, a 0 is never the
/// item's: a set refuses it, append, prepend and arithmetic take it for no question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compared {
    NotAsked,
    Zero,
    Same,
    Lower,
    Higher,
}

impl Compared {
    fn of(asked: Option<u64>, cas: u64) -> Self {
        match asked {
            None => Self::NotAsked,
            Some(0) => Self::Zero,
            Some(asked) if asked == cas => Self::Same,
            Some(asked) if asked < cas => Self::Lower,
            Some(_) => Self::Higher,
        }
    }
}

/// What a delete does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePlan {
    /// Nothing.
    Refuse(Deleted),
    /// Take the item away.
    Remove,
    /// Keep the item and its value with these attributes.
    Mark(Attributes),
    /// Keep the item with an empty value.
    Clear(Write),
}

/// What a delete does to the item that is there, or to its absence.
pub fn delete(
    current: Option<&Attributes>,
    delete: &Delete,
    now: Now,
    next_cas: impl FnOnce() -> u64,
) -> DeletePlan {
    let Some(current) = current else {
        return DeletePlan::Refuse(Deleted::NotFound);
    };
    if delete.compare.is_some_and(|asked| asked != current.cas) {
        return DeletePlan::Refuse(Deleted::Exists);
    }
    let exptime = delete.exptime.map(|exptime| Expiry::from_exptime(exptime, now));
    let mut attributes = *current;
    if let Some(flags) = delete.clear {
        // memcached keeps the cas unique of an item that is cleared and nothing else.
        attributes = Attributes {
            flags,
            binary_key: current.binary_key,
            ..Attributes::stored_now(current.cas, exptime.unwrap_or(Expiry::Never), now)
        };
    }
    if delete.invalidate {
        attributes.stale = true;
        attributes.token_sent = false;
        attributes.expiry = exptime.unwrap_or(attributes.expiry);
        attributes.cas = delete.new_cas.unwrap_or_else(next_cas);
    } else {
        attributes.cas = delete.new_cas.unwrap_or(attributes.cas);
    }
    match (delete.clear, delete.invalidate) {
        (Some(_), _) => DeletePlan::Clear(Write { attributes, splice: Splice::Whole, fresh: true }),
        (None, true) => DeletePlan::Mark(attributes),
        (None, false) => DeletePlan::Remove,
    }
}

/// What arithmetic does.
#[derive(Clone, Copy, Debug)]
pub enum CountPlan {
    /// Nothing: no such item.
    NotFound,
    /// Nothing: the cas unique was another.
    Exists,
    /// Nothing: the value is no number.
    NotNumeric,
    /// Write the number, in decimal, as the whole value.
    Write(u64, Write, Hit<()>),
}

/// What arithmetic does to the item that is there (its attributes and its value), or to its
/// absence.
///
/// The item keeps its flags, exptime and marks, and the number is stored exactly: memcached
/// leaves blanks behind one that lost a digit.
pub fn count(
    current: Option<(&Attributes, &[u8])>,
    count: &Count,
    now: Now,
    next_cas: impl FnOnce() -> u64,
) -> CountPlan {
    let Some((current, value)) = current else {
        let Some((number, exptime)) = count.create else {
            return CountPlan::NotFound;
        };
        let cas = chosen_or(count.new_cas, next_cas);
        let attributes = Attributes {
            binary_key: count.binary_key,
            ..Attributes::stored_now(cas, Expiry::from_exptime(exptime, now), now)
        };
        let write = Write { attributes, splice: Splice::Whole, fresh: true };
        return CountPlan::Write(number, write, created(false));
    };
    if matches!(Compared::of(count.compare, current.cas), Compared::Lower | Compared::Higher) {
        return CountPlan::Exists;
    }
    let Some(number) = parse_counter(value) else {
        return CountPlan::NotNumeric;
    };
    let number = match count.down {
        false => number.wrapping_add(count.delta),
        true => number.saturating_sub(count.delta),
    };
    let mut attributes = *current;
    attributes.cas = chosen_or(count.new_cas, next_cas);
    attributes.accessed_ms = now.clock_ms;
    if let Some(exptime) = count.touch {
        attributes.expiry = Expiry::from_exptime(exptime, now);
    }
    let write = Write { attributes, splice: Splice::Whole, fresh: false };
    CountPlan::Write(number, write, current.hit(now))
}

/// A value as a number: decimal digits, with blanks around them if need be, because memcached
/// itself and clients pad numbers.
fn parse_counter(value: &[u8]) -> Option<u64> {
    let text = value.trim_ascii();
    number::parse_u64(text.strip_prefix(b"+").unwrap_or(text))
}

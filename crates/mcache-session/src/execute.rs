//! One request, one outcome: the only place where a protocol's request meets the engine.

use mcache_base::operation::{Fetch, Hit, Miss, Refusal, Store, StoreMode, Stored};
use mcache_base::{Key, MEMCACHED_LEVEL};
use mcache_protocol::{Outcome, Request, Style, WireError};
use mcache_store::{Access, StorageEngine, TooManyGroups};

use crate::context::{Context, ItemOf, ReservationOf};
use crate::events::Kinds;
use crate::lookahead::Lookahead;
use crate::prefixes::Asked;
use crate::tally;

/// A value to be stored.
pub(crate) enum Value<'b, R> {
    /// It lies whole in the received bytes.
    Whole(&'b [u8]),
    /// It arrived in pieces, into the engine's own memory.
    Arrived {
        /// Where it lies.
        reservation: R,
        /// Its length in bytes.
        len: usize,
    },
}

/// Executes a request that carries no value.
#[inline]
pub(crate) fn execute<'c, E: StorageEngine>(
    request: &Request<'_>,
    style: &Style<'_>,
    ahead: &mut Lookahead<'_>,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let (tally, prefixes, now) = (context.tally(), context.prefixes, context.now);
    if style.is_meta() {
        tally.meta();
    }
    match *request {
        Request::Fetch { key, fetch: how } => {
            let key = ahead.key(key, context.access);
            fetch(key, &how, style.is_get(), context).map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Inspect { key } => {
            let key = ahead.key(key, context.access);
            let found = context.access.fetch(key, &tally::UNSEEN, now);
            found.map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Delete { key, delete } => {
            let key = ahead.key(key, context.access);
            let seen = context.look(key, Kinds::FETCHERS.with(Kinds::DELETIONS));
            let deleted = context.access.delete(key, &delete, now);
            tally.delete(key.bytes.len(), &delete, deleted, style.is_meta());
            if !style.is_meta() {
                prefixes.note(key.bytes, Asked::Delete);
            }
            if let Some(seen) = seen
                && deleted.is_deleted()
                && !(delete.invalidate || delete.clear.is_some())
            {
                context.events.deleted(key.bytes, style, seen);
            }
            Outcome::Deleted(deleted)
        }
        Request::Count { key, count } => {
            let key = ahead.key(key, context.access);
            context.look(key, Kinds::FETCHERS);
            let counted = context.access.count(key, &count, now);
            tally.count(key.bytes.len(), count.down, &counted);
            Outcome::Counted(counted)
        }
        // A store travels with its value, see `store`; the rest is no single answer, see `Reply`.
        Request::Store { .. }
        | Request::Stats { .. }
        | Request::Watch { .. }
        | Request::Sasl(_)
        | Request::Admin { .. } => Outcome::Error(WireError::BadFormat),
        Request::FlushAll { delay } => flush_all(delay, context),
        Request::FlushGroup { prefix } => flush_group(prefix, context),
        Request::Version => Outcome::Version(MEMCACHED_LEVEL),
        Request::Verbosity { level } => {
            context.host.set_verbosity(level);
            context.host.change_setting("verbosity", level.to_string());
            Outcome::Done
        }
        Request::Noop | Request::Quit => Outcome::Done,
    }
}

/// Looks an item up. `is_get`: it counts as one in `stats detail`.
#[inline(always)] // the hit stays where it is, and a plain get's fetch is known here
pub(crate) fn fetch<'c, E: StorageEngine>(
    key: Key<'_>,
    how: &Fetch,
    is_get: bool,
    context: &'c mut Context<'_, E>,
) -> Result<Hit<ItemOf<'c, E>>, Miss> {
    let tally = context.tally();
    let found = context.access.fetch(key, how, context.now);
    tally.fetch(key.bytes.len(), how, &found);
    if is_get {
        context.prefixes.note(key.bytes, Asked::Get(found.is_ok()));
    }
    if context.events.wanted.meet(Kinds::FETCHERS) {
        context.events.fetched(key.bytes, &found.clone());
    }
    found
}

/// Stores a value.
#[inline]
pub(crate) fn store<'c, E: StorageEngine>(
    key: Key<'_>,
    how: &Store,
    style: &Style<'_>,
    value: Value<'_, ReservationOf<E>>,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    context.note_set(key.bytes, style);
    context.look(key, Kinds::FETCHERS);
    let (sent, stored) = match value {
        Value::Whole(bytes) => (bytes.len(), context.access.store(key, how, bytes, context.now)),
        Value::Arrived { reservation, len } => {
            (len, context.access.commit(key, how, reservation, context.now))
        }
    };
    let key = key.bytes;
    if let Stored::Refused(refusal) = stored {
        return refuse(key, how, style, sent, refusal, context);
    }
    context.tally().store(key.len(), how, sent, stored);
    context.note_store(key, how, sent, stored);
    Outcome::Stored(stored)
}

/// Answers a store that the engine would not take. A set that is refused leaves nothing behind:
/// the old value is not what the client wanted to be there. `sent` is the value's length.
pub(crate) fn refuse<'c, E: StorageEngine>(
    key: &[u8],
    how: &Store,
    style: &Style<'_>,
    sent: usize,
    refusal: Refusal,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let plain_set = how.mode == StoreMode::Set && how.compare.is_none();
    if plain_set || matches!(style, Style::Meta(_)) {
        context.access.delete(context.access.key(key), &Default::default(), context.now);
    }
    context.tally().refused(key.len(), how.flags, sent, refusal);
    context.note_store(key, how, 0, Stored::Refused(refusal));
    Outcome::Stored(Stored::Refused(refusal))
}

fn flush_all<'c, E: StorageEngine>(
    delay: i64,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    context.tally().flush();
    if !context.host.flush_allowed() {
        return Outcome::Error(WireError::FlushNotAllowed);
    }
    context.engine.flush(delay, context.now);
    Outcome::Done
}

fn flush_group<'c, E: StorageEngine>(
    prefix: &[u8],
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    if let Err(refused) = context.prefixes.can_flush(prefix) {
        return Outcome::Error(refused);
    }
    if !context.host.flush_allowed() {
        return Outcome::Error(WireError::FlushNotAllowed);
    }
    match context.engine.flush_group(prefix, context.now) {
        Ok(()) => {
            context.tally().flush();
            Outcome::Done
        }
        Err(TooManyGroups) => Outcome::Error(WireError::TooManyPrefixes),
    }
}

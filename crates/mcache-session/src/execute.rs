//! One request, one outcome: the only place where a protocol's request meets the engine.

use mcache_base::MEMCACHED_LEVEL;
use mcache_base::operation::{Refusal, StoreMode, Stored};
use mcache_protocol::{Outcome, Request, Style, WireError};
use mcache_store::{Access, StorageEngine, TooManyGroups};

use crate::lookahead::Lookahead;
use crate::prefixes::Asked;
use crate::session::Context;
use crate::tally;

/// An engine's handle on an item.
pub(crate) type ItemOf<'c, E> = <<E as StorageEngine>::Access as Access>::Item<'c>;

/// An engine's room for a value that is still arriving.
pub(crate) type ReservationOf<E> = <<E as StorageEngine>::Access as Access>::Reservation;

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
    ahead: &mut Lookahead<'_>,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let (tally, prefixes, now) = (context.tally(), context.prefixes, context.now);
    match *request {
        Request::Fetch { key, fetch } => {
            let found = context.access.fetch(ahead.key(key, context.access), &fetch, now);
            tally.fetch(&fetch, &found);
            prefixes.note(key, Asked::Get(found.is_ok()));
            found.map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Inspect { key } => {
            let key = ahead.key(key, context.access);
            let found = context.access.fetch(key, &tally::UNSEEN, now);
            found.map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Delete { key, delete } => {
            let deleted = context.access.delete(ahead.key(key, context.access), &delete, now);
            tally.delete(deleted);
            prefixes.note(key, Asked::Delete);
            Outcome::Deleted(deleted)
        }
        Request::Count { key, count } => {
            let counted = context.access.count(ahead.key(key, context.access), &count, now);
            tally.count(key.len(), count.down, &counted);
            Outcome::Counted(counted)
        }
        // A store travels with its value, see `store`; the rest is no single answer, see `Reply`.
        Request::Store { .. } | Request::Stats { .. } | Request::Admin { .. } => {
            Outcome::Error(WireError::BadFormat)
        }
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

/// Stores a value.
#[inline]
pub(crate) fn store<'c, E: StorageEngine>(
    key: &[u8],
    how: &mcache_base::operation::Store,
    style: &Style<'_>,
    value: Value<'_, ReservationOf<E>>,
    ahead: &mut Lookahead<'_>,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let hashed = ahead.key(key, context.access);
    context.prefixes.note(key, Asked::Set);
    let (sent, stored) = match value {
        Value::Whole(bytes) => (bytes.len(), context.access.store(hashed, how, bytes, context.now)),
        Value::Arrived { reservation, len } => {
            (len, context.access.commit(hashed, how, reservation, context.now))
        }
    };
    if let Stored::Refused(refusal) = stored {
        return refuse(key, how, style, sent, refusal, context);
    }
    context.tally().store(key.len(), how, sent, stored);
    Outcome::Stored(stored)
}

/// Answers a store that the engine would not take. A set that is refused leaves nothing behind:
/// the old value is not what the client wanted to be there. `sent` is the value's length.
pub(crate) fn refuse<'c, E: StorageEngine>(
    key: &[u8],
    how: &mcache_base::operation::Store,
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
    context.tally().flush();
    if !context.host.flush_allowed() {
        return Outcome::Error(WireError::FlushNotAllowed);
    }
    match context.engine.flush_group(prefix, context.now) {
        Ok(()) => Outcome::Done,
        Err(TooManyGroups) => Outcome::Error(WireError::TooManyPrefixes),
    }
}

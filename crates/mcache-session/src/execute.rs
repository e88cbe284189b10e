//! One request, one outcome: the only place where a protocol's request meets the engine.

use mcache_base::MEMCACHED_LEVEL;
use mcache_base::operation::{Refusal, StoreMode, Stored};
use mcache_protocol::{Outcome, Request, Style, WireError};
use mcache_store::{Access, StorageEngine, TooManyGroups};

use crate::lookahead::Lookahead;
use crate::reports;
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
    Arrived(R),
}

/// Executes a request that carries no value.
#[inline]
pub(crate) fn execute<'c, E: StorageEngine>(
    request: &Request<'_>,
    ahead: &mut Lookahead<'_>,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let (counters, now) = (context.counters, context.now);
    match *request {
        Request::Fetch { key, fetch } => {
            let key = ahead.key(key, context.access);
            let found = context.access.fetch(key, &fetch, now);
            tally::fetch(counters, &fetch, &found);
            found.map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Inspect { key } => {
            let key = ahead.key(key, context.access);
            let found = context.access.fetch(key, &tally::UNSEEN, now);
            found.map_or_else(Outcome::Miss, Outcome::Hit)
        }
        Request::Delete { key, delete } => {
            let key = ahead.key(key, context.access);
            let deleted = context.access.delete(key, &delete, now);
            tally::delete(counters, deleted);
            Outcome::Deleted(deleted)
        }
        Request::Count { key, count } => {
            let key = ahead.key(key, context.access);
            let counted = context.access.count(key, &count, now);
            tally::count(counters, count.down, &counted);
            Outcome::Counted(counted)
        }
        // A store travels with its value: see `store`.
        Request::Store { .. } => Outcome::Error(WireError::BadFormat),
        Request::FlushAll { delay } => flush_all(delay, context),
        Request::FlushGroup { prefix } => flush_group(prefix, context),
        Request::Version => Outcome::Version(MEMCACHED_LEVEL),
        Request::Verbosity { level } => {
            context.host.set_verbosity(level);
            Outcome::Done
        }
        Request::Stats { args } => reports::stats(args, context),
        Request::Admin { .. } => Outcome::Error(WireError::UnknownCommand),
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
    let stored = match value {
        Value::Whole(bytes) => context.access.store(hashed, how, bytes, context.now),
        Value::Arrived(reservation) => context.access.commit(hashed, how, reservation, context.now),
    };
    if let Stored::Refused(refusal) = stored {
        return refuse(key, how, style, refusal, context);
    }
    tally::store(context.counters, how, stored);
    Outcome::Stored(stored)
}

/// Answers a store that the engine would not take. A set that is refused leaves nothing behind:
/// the old value is not what the client wanted to be there.
pub(crate) fn refuse<'c, E: StorageEngine>(
    key: &[u8],
    how: &mcache_base::operation::Store,
    style: &Style<'_>,
    refusal: Refusal,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    let plain_set = how.mode == StoreMode::Set && how.compare.is_none();
    if plain_set || matches!(style, Style::Meta(_)) {
        let key = context.access.key(key);
        context.access.delete(key, &Default::default(), context.now);
    }
    tally::refused(context.counters, refusal);
    Outcome::Stored(Stored::Refused(refusal))
}

fn flush_all<'c, E: StorageEngine>(
    delay: i64,
    context: &'c mut Context<'_, E>,
) -> Outcome<ItemOf<'c, E>> {
    tally::flush(context.counters);
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
    tally::flush(context.counters);
    if !context.host.flush_allowed() {
        return Outcome::Error(WireError::FlushNotAllowed);
    }
    match context.engine.flush_group(prefix, context.now) {
        Ok(()) => Outcome::Done,
        Err(TooManyGroups) => Outcome::Error(WireError::TooManyPrefixes),
    }
}

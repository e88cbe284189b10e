//! Stores: set, add, replace, cas, append, prepend.

use mcache_base::operation::{Refusal, Store, StoreMode, Stored};
use mcache_base::{Key, Now, Stat};

use super::access::{Class, SegmentAccess};
use super::arriving::Placed;
use super::fragments::{Fragments, HeldValue};
use super::publish::{Change, Expected, Present, Sighting, Unpublished};
use super::staged::Piece;
use crate::semantics::{self, StorePlan, Write};

/// A value that is to be stored.
enum Value<'v> {
    /// It is these runs of bytes together.
    Runs(&'v [&'v [u8]]),
    /// It is long, and has arrived: the first bytes where they will stay, the others aside.
    Arrived(Option<Box<Placed>>, Vec<Piece>),
}

impl SegmentAccess {
    pub(super) fn put(
        &mut self,
        key: Key<'_>,
        store: &Store,
        pieces: &[&[u8]],
        now: Now,
    ) -> Stored {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        if !self.engine.admits(key, store.flags, len) {
            return Stored::Refused(Refusal::TooLarge);
        }
        self.begin(now);
        match store.mode {
            StoreMode::Append | StoreMode::Prepend => self.splice(key, store, pieces, now),
            _ => self.put_whole(key, store, Value::Runs(pieces), len, now),
        }
    }

    /// Stores a value that has arrived: the first bytes where they will stay, the others aside. Of
    /// a long one each piece is let go as soon as it is written: there is one copy of the value at
    /// any time.
    pub(super) fn put_arrived(
        &mut self,
        key: Key<'_>,
        store: &Store,
        placed: Option<Box<Placed>>,
        aside: Vec<Piece>,
        now: Now,
    ) -> Stored {
        let pieces: Vec<&[u8]> = aside.iter().map(AsRef::as_ref).collect();
        let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let is_spliced = matches!(store.mode, StoreMode::Append | StoreMode::Prepend);
        if placed.is_none() && (is_spliced || len <= self.engine.arena.inline_max()) {
            return self.put(key, store, &pieces, now);
        }
        let len = len + placed.as_deref().map_or(0, Placed::len);
        if !self.engine.admits(key, store.flags, len) {
            return Stored::Refused(Refusal::TooLarge);
        }
        self.begin(now);
        self.put_whole(key, store, Value::Arrived(placed, aside), len, now)
    }

    /// set, add, replace, cas.
    fn put_whole(
        &mut self,
        key: Key<'_>,
        store: &Store,
        value: Value<'_>,
        len: usize,
        now: Now,
    ) -> Stored {
        let is_plain = store.mode == StoreMode::Set && store.compare.is_none();
        let mut decided = self.decide(key, store, now);
        let (seen, expiry) = match &decided {
            Ok((Some(present), write)) => (Some(present.location), write.attributes.expiry),
            Ok((None, write)) if is_plain => {
                let seen = self.engine.find_to_change(key);
                (seen, write.attributes.expiry)
            }
            Ok((None, write)) => (None, write.attributes.expiry),
            Err(answer) => return *answer,
        };
        let sighting = seen.map(|location| Sighting { location, epoch: self.member.epoch() });
        let standing = match &value {
            Value::Arrived(Some(placed), _) => placed.standing(),
            _ => self.engine.standing(key, seen, len, now),
        };
        let class = Class::of(standing.queue, expiry, now);
        let (pieces, fragments) = match value {
            Value::Runs(pieces) => (pieces, self.cut(class, key, pieces, len, now)),
            Value::Arrived(placed, aside) => {
                let written = self.write_arrived(class, key, placed, aside, now);
                (&[][..], written.map(Some))
            }
        };
        let fragments = match fragments {
            Ok(fragments) => fragments,
            Err(refusal) => return Stored::Refused(refusal),
        };
        loop {
            let (present, write) = match decided {
                Ok(decided) => decided,
                Err(answer) => return answer,
            };
            let expected = match is_plain {
                true => Expected::Anything(sighting),
                false => Expected::Exactly(present),
            };
            let fresh = Change::fresh(key, write.attributes, b"");
            let change = Change {
                own_cas: store.new_cas.is_some(),
                inline: fragments.as_ref().map_or(b"", Fragments::list),
                more: if fragments.is_some() { &[] } else { pieces },
                fragmented: fragments.is_some(),
                standing,
                expected,
                ..fresh
            };
            match self.publish(class, &change, now) {
                Ok((_, sequence)) => {
                    if let Some(fragments) = fragments {
                        fragments.keep();
                    }
                    self.counters.add(Stat::total_items, 1);
                    let cas = store.new_cas.unwrap_or(sequence);
                    return Stored::Stored { cas, value_len: len };
                }
                Err(Unpublished::Lost) => {
                    self.begin(now);
                    decided = self.decide(key, store, now);
                }
                Err(Unpublished::Refused(refusal)) => return Stored::Refused(refusal),
            }
        }
    }

    /// What a store would do to what is there now.
    fn decide(
        &self,
        key: Key<'_>,
        store: &Store,
        now: Now,
    ) -> Result<(Option<Present>, Write), Stored> {
        if store.mode == StoreMode::Set && store.compare.is_none() {
            // Nothing that is there matters.
            return match semantics::store(None, store, now, || 0) {
                StorePlan::Write(write) => Ok((None, write)),
                StorePlan::Refuse(answer) | StorePlan::Promote(_, answer) => Err(answer),
            };
        }
        let (present, found) = self.look(key, now);
        let found = found.ok();
        match semantics::store(found.as_ref().map(|f| &f.attributes), store, now, || 0) {
            StorePlan::Refuse(answer) => Err(answer),
            StorePlan::Promote(_, answer) => {
                if let Some(found) = found {
                    found.record.note_access(now);
                }
                Err(answer)
            }
            StorePlan::Write(write) => Ok((present, write)),
        }
    }

    /// append, prepend.
    fn splice(&mut self, key: Key<'_>, store: &Store, pieces: &[&[u8]], now: Now) -> Stored {
        loop {
            self.begin(now);
            let (present, write) = match self.decide(key, store, now) {
                Ok(decided) => decided,
                Err(answer) => return answer,
            };
            let own_cas = store.new_cas.is_some();
            match self.publish_spliced(key, &write, own_cas, present, pieces, now) {
                Ok((sequence, value_len)) => {
                    self.counters.add(Stat::total_items, 1);
                    let cas = store.new_cas.unwrap_or(sequence);
                    return Stored::Stored { cas, value_len };
                }
                Err(Unpublished::Lost) => {}
                Err(Unpublished::Refused(refusal)) => {
                    return semantics::splice_refused(&write, refusal);
                }
            }
        }
    }

    /// Publishes the value that an append or prepend makes. Returns its sequence number and its
    /// length.
    ///
    /// The present bytes are held still where they are meanwhile: there is no copy beside them.
    fn publish_spliced(
        &mut self,
        key: Key<'_>,
        write: &Write,
        own_cas: bool,
        present: Option<Present>,
        pieces: &[&[u8]],
        now: Now,
    ) -> Result<(u64, usize), Unpublished> {
        let engine = self.engine.clone();
        let hold = present.map(|present| engine.hold_value(present.location));
        let runs = hold.as_ref().map_or_else(Vec::new, HeldValue::runs);
        let all = match write.splice {
            semantics::Splice::Append => [&runs[..], pieces].concat(),
            _ => [pieces, &runs[..]].concat(),
        };
        let len = all.iter().map(|piece| piece.len()).sum();
        if !engine.admits(key, write.attributes.flags, len) {
            return Err(Refusal::TooLarge.into());
        }
        let seen = present.map(|present| present.location);
        let standing = engine.standing(key, seen, len, now);
        let class = Class::of(standing.queue, write.attributes.expiry, now);
        let fragments = self.cut(class, key, &all, len, now)?;
        let change = Change {
            own_cas,
            inline: fragments.as_ref().map_or(b"", Fragments::list),
            more: if fragments.is_some() { &[] } else { &all },
            fragmented: fragments.is_some(),
            standing,
            expected: Expected::Exactly(present),
            ..Change::fresh(key, write.attributes, b"")
        };
        let (_, sequence) = self.publish(class, &change, now)?;
        if let Some(fragments) = fragments {
            fragments.keep();
        }
        Ok((sequence, len))
    }

    /// Writes a long value's fragments; `None` for a value that fits its record.
    #[inline(always)] // mostly it does
    fn cut<P: AsRef<[u8]>>(
        &mut self,
        class: Class,
        key: Key<'_>,
        pieces: impl IntoIterator<Item = P>,
        len: usize,
        now: Now,
    ) -> Result<Option<Fragments>, Refusal> {
        if len <= self.engine.arena.inline_max() {
            return Ok(None);
        }
        let none = Fragments::new(&self.engine);
        self.write_fragments(none, class, key.hash, pieces, len, now).map(Some)
    }

    /// Makes fragments of what has come to its place, and writes those of the rest.
    #[cold]
    fn write_arrived(
        &mut self,
        class: Class,
        key: Key<'_>,
        placed: Option<Box<Placed>>,
        aside: Vec<Piece>,
        now: Now,
    ) -> Result<Fragments, Refusal> {
        let settled = match placed {
            Some(placed) => self.settle(placed, key.hash),
            None => Fragments::new(&self.engine),
        };
        let len = aside.iter().map(|piece| piece.as_ref().len()).sum();
        self.write_fragments(settled, class, key.hash, aside, len, now)
    }
}

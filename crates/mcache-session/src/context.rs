//! What a session is given for one turn, and what is noted about its requests.

use mcache_base::operation::{Store, Stored};
use mcache_base::{ClassCounters, Counters, Key, Now};
use mcache_protocol::Style;
use mcache_store::{Access, StorageEngine};

use crate::events::{Events, Kinds, Seen};
use crate::prefixes::Asked;
use crate::tally::Tally;
use crate::{Host, Prefixes};

/// An engine's handle on an item.
pub(crate) type ItemOf<'c, E> = <<E as StorageEngine>::Access as Access>::Item<'c>;

/// An engine's room for a value that is still arriving.
pub(crate) type ReservationOf<E> = <<E as StorageEngine>::Access as Access>::Reservation;

/// What a session needs for one turn.
pub struct Context<'a, E: StorageEngine> {
    /// The cache.
    pub engine: &'a E,
    /// The worker's way into it.
    pub access: &'a mut E::Access,
    /// The time of this turn.
    pub now: Now,
    /// The counters of the worker whose turn it is.
    pub counters: &'a Counters,
    /// Its counters of the size classes.
    pub classes: &'a ClassCounters,
    /// The server's counts by prefix.
    pub prefixes: &'a Prefixes,
    /// The server around the session.
    pub host: &'a dyn Host,
    /// Who watches, and where it is told.
    pub events: Events<'a>,
    /// Requests to serve before other sessions get their turn.
    pub requests_per_turn: usize,
    /// Bytes of answers that wait to be sent at which the session stops serving.
    pub output_high_water: usize,
}

impl<'a, E: StorageEngine> Context<'a, E> {
    /// Tells of the command at the front of `rest`, if somebody watches commands.
    #[inline]
    pub(crate) fn note_command(&self, rest: &[u8]) {
        if self.events.wanted.meet(Kinds::COMMANDS) {
            self.events.command(rest);
        }
    }

    /// Where this turn's requests are counted.
    #[inline]
    pub(crate) fn tally(&self) -> Tally<'a> {
        Tally { counters: self.counters, classes: self.classes }
    }

    /// Looks at what lies under a key before an operation, if somebody watches such events.
    #[inline]
    pub(crate) fn look(&mut self, key: Key<'_>, kinds: Kinds) -> Option<Seen> {
        let events = self.events;
        events.wanted.meet(kinds).then(|| events.look(self.access, key, self.now)).flatten()
    }

    /// Counts a store: as a command of meta, or by its key's prefix.
    #[inline]
    pub(crate) fn note_set(&self, key: &[u8], style: &Style<'_>) {
        if style.is_meta() {
            self.tally().meta();
        } else {
            self.prefixes.note(key, Asked::Set);
        }
    }

    /// Tells of a store of `sent` bytes, if somebody watches stores.
    #[inline]
    pub(crate) fn note_store(&self, key: &[u8], how: &Store, sent: usize, stored: Stored) {
        if self.events.wanted.meet(Kinds::MUTATIONS) {
            self.events.stored(key, how, sent, stored, self.now);
        }
    }
}

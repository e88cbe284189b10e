//! Moving the fragments of large values, and the lists of their owners.

use mcache_base::Expiry;

use super::{Emptying, Judge, Kept, SETTLED_MAX};
use crate::eviction::{Standing, Verdict};
use crate::segment::arena::Open;
use crate::segment::draft::{Blueprint, Draft, FragmentDraft};
use crate::segment::index::Location;
use crate::segment::record::{ALIGN, FRAGMENT_ENTRY, Record, fragment_size};

impl Emptying<'_> {
    /// Moves a fragment of an item that is to be kept; drops the item otherwise.
    /// Returns whether the fragment is out of the segment.
    pub(super) fn fragment(&mut self, location: Location, fragment: &Record<'_>) -> bool {
        let engine = self.engine;
        let hash = fragment.fragment_owner();
        let Some(owner_at) = engine.owner_of(location, hash) else {
            engine.retire(location, fragment);
            return true; // its owner is being buried
        };
        let owner = engine.record(owner_at);
        let death = engine.death(owner_at, &owner, self.now);
        let settled = death.is_none() && self.judge != Judge::Hangman && self.is_settled(hash);
        let others = owner.fragments().count().saturating_sub(1);
        let candidate = self.candidate(owner_at, &owner, hash);
        let verdict = match death {
            Some(_) => Verdict::Drop,
            None if settled => Verdict::Keep(candidate.standing),
            None => self.verdict(&candidate),
        };
        if let Verdict::Keep(standing) = verdict {
            match self.keep_fragment(location, fragment, standing) {
                Kept::Moved => {
                    if !settled {
                        self.settle(hash, others);
                    }
                    return true;
                }
                Kept::Gone => return true,
                Kept::NoRoom if !engine.evict => return false,
                Kept::NoRoom => {}
            }
        }
        // Its owner may have been written anew meanwhile, with the same fragments.
        while let Some(owner_at) = engine.owner_of(location, hash) {
            let owner = engine.record(owner_at);
            if engine.unlink(hash, owner_at) {
                self.count_leaving(&owner, death);
                self.forget(&candidate, death);
            }
        }
        true
    }

    /// An item that was judged by one fragment is not judged by its others soon after: its marks
    /// are used up.
    fn settle(&mut self, hash: u64, others: usize) {
        let settled = &mut self.reclaimer.settled;
        if self.judge == Judge::Policy && others > 0 {
            settled.truncate(SETTLED_MAX - 1);
            settled.push_front((hash, others));
        }
    }

    /// Whether an item was judged by another fragment. Not for ever: where all that is stored are
    /// a few large items, none of them would leave.
    fn is_settled(&mut self, hash: u64) -> bool {
        let settled = &mut self.reclaimer.settled;
        let Some(at) = settled.iter().position(|&(other, _)| other == hash) else {
            return false;
        };
        settled[at].1 -= 1;
        if settled[at].1 == 0 {
            settled.remove(at);
        }
        true
    }

    /// Copies a fragment, then its owner's record with the fragment's new places: it is cut to
    /// what the open segments have left, unless its owner's value is in many pieces already.
    #[allow(unsafe_code)]
    fn keep_fragment(
        &mut self,
        location: Location,
        fragment: &Record<'_>,
        standing: Standing,
    ) -> Kept {
        let engine = self.engine;
        let hash = fragment.fragment_owner();
        let mut rest = fragment.fragment_data();
        let mut moved = Vec::new();
        let may_cut = engine.owner_of(location, hash).is_some_and(|owner_at| {
            let owner = engine.record(owner_at);
            let most = engine.arena.fragments_max(engine.value_len(&owner));
            owner.inline().len() / FRAGMENT_ENTRY < most
        });
        while !rest.is_empty() {
            let least = if may_cut { 0 } else { fragment_size(rest.len()) + ALIGN };
            let Some(open) = self.room_for_fragment(standing.queue, rest.len(), least) else {
                self.retire_all(&moved);
                return Kept::NoRoom;
            };
            let len = open.fragment_len(rest.len()).unwrap_or(0);
            let (data, later) = rest.split_at(len);
            // SAFETY: the open segment's end is the reclaimer's alone, and the fragment fits.
            let mut draft =
                unsafe { FragmentDraft::begin(engine.arena.memory(), open.at(), hash, len) };
            draft.push(data);
            draft.complete();
            let at = open.advance(&engine.arena, fragment_size(len));
            engine.arena.add_live(at, fragment_size(len), Expiry::Never);
            moved.push((at, len as u32));
            rest = later;
        }
        // An owner that was written anew meanwhile still holds the fragment.
        while let Some(owner_at) = engine.owner_of(location, hash) {
            match self.replace_in_list(owner_at, hash, location, &moved, standing) {
                Kept::Gone => {}
                Kept::Moved => {
                    engine.retire(location, fragment);
                    self.kept += fragment.size();
                    return Kept::Moved;
                }
                Kept::NoRoom => {
                    self.retire_all(&moved);
                    return Kept::NoRoom;
                }
            }
        }
        self.retire_all(&moved);
        Kept::Gone
    }

    fn retire_all(&self, fragments: &[(Location, u32)]) {
        for &(at, _) in fragments {
            self.engine.retire(at, &self.engine.record(at));
        }
    }

    /// Writes an owner's record anew, with other places in the place of one fragment's.
    #[allow(unsafe_code)]
    fn replace_in_list(
        &mut self,
        owner_at: Location,
        hash: u64,
        from: Location,
        to: &[(Location, u32)],
        standing: Standing,
    ) -> Kept {
        let (engine, now) = (self.engine, self.now);
        let owner = engine.record(owner_at);
        let base = engine.arena.base_of(owner_at);
        let mut list = Vec::with_capacity(owner.inline().len() + to.len() * FRAGMENT_ENTRY);
        for (at, len) in owner.fragments() {
            let same = [(at, len as u32)];
            for (at, len) in if at == from { to } else { &same } {
                list.extend_from_slice(&at.to_le_bytes());
                list.extend_from_slice(&len.to_le_bytes());
            }
        }
        let blueprint = Blueprint {
            attributes: owner.attributes(base, now),
            own_cas: owner.has_own_cas(),
            full_sequence: true,
            fragmented: true,
            frequency: standing.frequency,
            heat: standing.heat,
        };
        let key = owner.key();
        if list.len() > engine.arena.list_max() {
            return Kept::NoRoom;
        }
        let form = blueprint.form(key.len(), list.len());
        let size_max = form.size_max();
        let Some(open) = self.room(standing.queue, size_max) else {
            return Kept::NoRoom;
        };
        let size = form.size_at(open.at());
        // SAFETY: the open segment's end is the reclaimer's alone, and the record fits.
        let draft =
            unsafe { Draft::write(engine.arena.memory(), open.at(), &form, key, [&list[..]]) };
        let region = engine.index.lock(hash);
        let Some((place, _)) = region.find(hash, |at| at == owner_at) else {
            return Kept::Gone;
        };
        let attributes = owner.attributes(base, now);
        if !blueprint.has_room_for(attributes.expiry) {
            return Kept::Gone; // it is another item now
        }
        draft.mark(&attributes);
        draft.complete(owner.sequence(base), open.base);
        let moved = open.advance(&engine.arena, size);
        engine.arena.add_live(moved, size, attributes.expiry);
        region.replace(place, moved);
        engine.retire(owner_at, &owner);
        drop(region);
        self.count_move(&owner, &engine.record(moved));
        Kept::Moved
    }

    /// The open segment for kept items of a queue, if part of a fragment fits it, and `least`
    /// bytes do, or a new one.
    fn room_for_fragment(&mut self, queue: usize, len: usize, least: usize) -> Option<&mut Open> {
        let open = self.reclaimer.open[queue].as_ref();
        let fits = open.is_some_and(|open| open.fragment_len(len).is_some() && open.fits(least));
        self.room(queue, if fits { 0 } else { self.engine.arena.record_max() })
    }
}

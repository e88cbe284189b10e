//! The keys of the next requests: hashed once, and what they will read brought nearer.

use mcache_base::Key;
use mcache_base::limits::REQUESTS_AHEAD;
use mcache_protocol::{Ahead, Codec, Plain};
use mcache_store::Access;

/// Keys that were looked ahead at, in the order in which they will be asked for.
pub(crate) struct Lookahead<'b> {
    seen: [Ahead<'b>; REQUESTS_AHEAD],
    /// The same with their hashes.
    keys: [Key<'b>; REQUESTS_AHEAD],
    len: usize,
    next: usize,
    /// Where in the input the look was taken.
    at: usize,
    /// Bytes of the input that have to be done with before it is worth looking again.
    until: usize,
}

impl<'b> Lookahead<'b> {
    /// Nothing looked at.
    pub(crate) fn new() -> Self {
        Self {
            seen: [Ahead::default(); REQUESTS_AHEAD],
            keys: [Key { bytes: &[], hash: 0, hint: 0 }; REQUESTS_AHEAD],
            len: 0,
            next: 0,
            at: 0,
            until: 0,
        }
    }

    /// Looks ahead again if all that was seen has been asked for. `at` is where in the input
    /// `rest` begins, `requests` how many of it the turn may serve.
    #[inline]
    pub(crate) fn look<A: Access>(
        &mut self,
        codec: &Codec,
        rest: &'b [u8],
        at: usize,
        requests: usize,
        access: &A,
    ) {
        if self.next == self.len && at >= self.until {
            self.look_again(codec, rest, at, requests, access);
        }
    }

    fn look_again<A: Access>(
        &mut self,
        codec: &Codec,
        rest: &'b [u8],
        at: usize,
        requests: usize,
        access: &A,
    ) {
        let count = codec.ahead(rest, requests, &mut self.seen);
        (self.next, self.at, self.until) = (0, at, at + 1);
        self.len = match &self.seen[..count] {
            // A lone request gains nothing: what it reads is asked for at once.
            [seen] => {
                self.keys[0] = access.key(seen.key);
                1
            }
            seen => access.look_ahead(seen.iter().map(|seen| seen.key), &mut self.keys),
        };
    }

    /// The request at `at`, if it is the next that was looked ahead at and was told whole. Who
    /// serves it calls [`Self::step`].
    #[inline(always)] // one of them is looked for in a loop
    pub(crate) fn plain(&self, at: usize) -> Option<(Key<'b>, Plain<'b>)> {
        let key = *self.keys[..self.len].get(self.next)?;
        let plain = self.seen[self.next].plain?;
        (self.at + plain.from() == at).then_some((key, plain))
    }

    /// Goes on to the next key.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.next += 1;
    }

    /// The key with its hash, which is known if it was looked ahead at.
    #[inline]
    pub(crate) fn key<'k, A: Access>(&mut self, bytes: &'k [u8], access: &A) -> Key<'k> {
        if let Some(seen) = self.keys[..self.len].get(self.next) {
            // The same bytes of the same input, which does not change during a turn.
            if std::ptr::eq(seen.bytes, bytes) {
                self.next += 1;
                return Key { bytes, ..*seen };
            }
            self.next = self.len;
        }
        access.key(bytes)
    }
}

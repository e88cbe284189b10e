//! The keys of the next requests: hashed once, and what they will read brought nearer.

use mcache_base::Key;
use mcache_base::limits::REQUESTS_AHEAD;
use mcache_protocol::Codec;
use mcache_store::Access;

/// Keys that were looked ahead at, in the order in which they will be asked for.
pub(crate) struct Lookahead<'b> {
    keys: [Key<'b>; REQUESTS_AHEAD],
    len: usize,
    next: usize,
    /// Bytes of the input that have to be done with before it is worth looking again.
    until: usize,
}

impl<'b> Lookahead<'b> {
    /// Nothing looked at.
    pub(crate) fn new() -> Self {
        Self { keys: [Key { bytes: &[], hash: 0 }; REQUESTS_AHEAD], len: 0, next: 0, until: 0 }
    }

    /// Looks ahead again if all that was seen has been asked for. `at` is where in the input
    /// `rest` begins.
    #[inline]
    pub(crate) fn look<A: Access>(
        &mut self,
        codec: &Codec,
        rest: &'b [u8],
        at: usize,
        access: &mut A,
    ) {
        if self.next == self.len && at >= self.until {
            self.look_again(codec, rest, at, access);
        }
    }

    fn look_again<A: Access>(&mut self, codec: &Codec, rest: &'b [u8], at: usize, access: &mut A) {
        let mut found = [&[][..]; REQUESTS_AHEAD];
        let count = codec.ahead(rest, &mut found);
        (self.len, self.next) = (0, 0);
        // A lone request gains nothing from being looked at twice.
        if count < 2 {
            self.until = at + 1;
            return;
        }
        for (slot, bytes) in self.keys.iter_mut().zip(&found[..count]) {
            *slot = access.key(bytes);
        }
        self.len = count;
        access.prefetch(&self.keys[..count]);
    }

    /// The key with its hash, which is known if it was looked ahead at.
    #[inline]
    pub(crate) fn key<'k, A: Access>(&mut self, bytes: &'k [u8], access: &A) -> Key<'k> {
        if let Some(seen) = self.keys[..self.len].get(self.next) {
            // The same bytes of the same input, which does not change during a turn.
            if std::ptr::eq(seen.bytes, bytes) {
                self.next += 1;
                return Key { bytes, hash: seen.hash };
            }
            self.next = self.len;
        }
        access.key(bytes)
    }
}

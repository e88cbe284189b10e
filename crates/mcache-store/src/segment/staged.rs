//! A value that is still arriving: held outside the arena, as much of it as has come.

use crate::engine::Reservation;

/// Room is taken in pieces of this size, so that half a value does not hold room for all of it.
const PIECE: usize = 64 << 10;

/// A value that is still arriving.
#[derive(Debug)]
pub struct Staged {
    pieces: Vec<Vec<u8>>,
    missing: usize,
}

impl Staged {
    /// A value of `len` bytes of which none has come.
    pub(super) fn new(len: usize) -> Self {
        Self { pieces: Vec::new(), missing: len }
    }

    /// What has come, in order.
    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        self.pieces.iter().map(Vec::as_slice).collect()
    }
}

impl Reservation for Staged {
    fn missing(&self) -> usize {
        self.missing
    }

    fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.missing);
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let open = self.pieces.last_mut().filter(|piece| piece.len() < piece.capacity());
            let Some(piece) = open else {
                self.pieces.push(Vec::with_capacity(PIECE.min(self.missing)));
                continue;
            };
            let (now, later) = rest.split_at(rest.len().min(piece.capacity() - piece.len()));
            piece.extend_from_slice(now);
            self.missing -= now.len();
            rest = later;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_has_come_and_no_more_than_its_length() {
        let mut staged = Staged::new(3 * PIECE + 5);
        let bytes: Vec<u8> = (0..4 * PIECE).map(|n| n as u8).collect();
        assert_eq!(staged.fill(&bytes[..7]), 7);
        assert!(staged.pieces().len() == 1 && staged.missing() == 3 * PIECE - 2);
        assert_eq!(staged.fill(&bytes[7..]), 3 * PIECE - 2);
        assert_eq!((staged.missing(), staged.fill(b"more")), (0, 0));
        assert_eq!(staged.pieces().concat(), bytes[..3 * PIECE + 5]);
    }
}

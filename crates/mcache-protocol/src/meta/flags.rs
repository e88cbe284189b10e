//! The flags of a meta command: single letters, some with a token behind them.
//!
//! All commands know all flags; one that means nothing to a command is ignored.

use mcache_base::limits::{META_TOKENS_MAX, OPAQUE_MAX};
use mcache_base::number::{parse_i32, parse_u32, parse_u64};

use crate::outcome::WireError;
use crate::text::Tokens;

/// What the flags of one command ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// `b`: the key is base64.
    pub(super) binary_key: bool,
    /// `I`: make stale, or accept what is stale.
    pub(super) invalidate: bool,
    /// `q`: keep quiet about the common outcome.
    pub(super) quiet: bool,
    /// `u`: leave no trace.
    pub(super) unseen: bool,
    /// `v`: send the value.
    pub(super) value: bool,
    /// `x`: drop the value.
    pub(super) clear: bool,
    /// `C<cas>`: compare.
    pub(super) compare: Option<u64>,
    /// `E<cas>`: the cas unique to give.
    pub(super) new_cas: Option<u64>,
    /// `F<flags>`: client flags.
    pub(super) client_flags: u32,
    /// `D<delta>`.
    pub(super) delta: Option<u64>,
    /// `J<number>`: the value of a number that is created.
    pub(super) initial: u64,
    /// `M<mode>`: the mode's letter; `None` within if it is missing.
    pub(super) mode: Option<Option<u8>>,
    /// `N<exptime>`: create what is missing.
    pub(super) vivify: Option<i64>,
    /// `R<seconds>`: refill what is about to expire.
    pub(super) recache: Option<i64>,
    /// `T<exptime>`.
    pub(super) exptime: Option<i64>,
    /// `T` came before `R`, which looks at what it gives.
    pub(super) touch_first: bool,
    /// `T` came after `N`: it is the one that counts for what is created.
    exptime_last: bool,
    /// `O<token>`, too long.
    opaque_too_long: bool,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// It cannot be taken apart.
    Line,
    /// It can, but a flag is bad.
    Flag(WireError),
}

impl From<Mistake> for WireError {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::Line => Self::BadFormat,
            Mistake::Flag(error) => error,
        }
    }
}

impl Flags {
    /// Reads the flags in `text`, which follow `words` other words of the line.
    pub(super) fn read(text: &[u8], words: usize) -> Result<Self, Mistake> {
        let mut reader = Reader::default();
        let mut tokens = words;
        for token in Tokens::new(text) {
            tokens += 1;
            // What makes the whole line unreadable is looked for to its end.
            let letter = token.first().copied().unwrap_or_default();
            if !matches!(letter, b'0'..=b'9' | b'A'..=b'z') {
                return Err(Mistake::Line);
            }
            if reader.stop.is_none() {
                reader.take(letter, token.get(1..).unwrap_or_default());
            }
        }
        if tokens > META_TOKENS_MAX {
            return Err(Mistake::Flag(WireError::TooManyFlags));
        }
        match reader.stop.or(reader.error) {
            Some(error) => Err(Mistake::Flag(error)),
            None => Ok(reader.flags),
        }
    }

    /// An opaque that is too long is looked for last.
    pub(super) fn check_opaque(&self) -> Result<(), Mistake> {
        match self.opaque_too_long {
            true => Err(Mistake::Flag(WireError::OpaqueTooLong)),
            false => Ok(()),
        }
    }

    /// The exptime of an item that `N` creates.
    pub(super) fn created_exptime(&self) -> Option<i64> {
        let vivify = self.vivify?;
        Some(self.exptime.filter(|_| self.exptime_last).unwrap_or(vivify))
    }
}

/// Reads flag after flag.
#[derive(Default)]
struct Reader {
    flags: Flags,
    /// A bit for each letter that was there.
    seen: u128,
    /// The last bad token. Reading goes on: a worse mistake may follow.
    error: Option<WireError>,
    /// The mistake that ends the reading.
    stop: Option<WireError>,
}

impl Reader {
    fn take(&mut self, letter: u8, token: &[u8]) {
        let bit = 1u128 << (letter & 0x7f);
        if self.seen & bit != 0 {
            self.stop = Some(WireError::DuplicateFlag);
            return;
        }
        self.seen |= bit;
        let bad = WireError::BadToken;
        match letter {
            b'k' | b's' | b't' | b'c' | b'f' | b'h' | b'l' | b'L' | b'P' => {}
            b'b' => self.flags.binary_key = true,
            b'q' => self.flags.quiet = true,
            b'u' => self.flags.unseen = true,
            b'v' => self.flags.value = true,
            b'x' => self.flags.clear = true,
            b'I' => self.flags.invalidate = true,
            b'O' => self.flags.opaque_too_long = token.len() >= OPAQUE_MAX,
            b'M' => self.flags.mode = Some(token.first().copied()),
            b'C' => self.flags.compare = self.number(parse_u64(token), bad),
            b'E' => self.flags.new_cas = self.number(parse_u64(token), bad),
            b'N' => self.flags.vivify = self.number(parse_i32(token), bad).map(i64::from),
            b'R' => {
                self.flags.recache = self.number(parse_i32(token), bad).map(i64::from);
                self.flags.touch_first = self.flags.exptime.is_some();
            }
            b'T' => {
                self.flags.exptime = self.number(parse_i32(token), bad).map(i64::from);
                self.flags.exptime_last = self.flags.vivify.is_some();
            }
            b'D' => self.flags.delta = self.number(parse_u64(token), WireError::BadDeltaFlag),
            b'J' => {
                let initial = self.number(parse_u64(token), WireError::BadInitialFlag);
                self.flags.initial = initial.unwrap_or_default();
            }
            b'F' => {
                // memcached names no error of its own here: an earlier one stays.
                let earlier = self.error.unwrap_or(WireError::BadFormat);
                self.flags.client_flags =
                    self.number(parse_u32(token), earlier).unwrap_or_default();
            }
            _ => self.stop = Some(WireError::InvalidFlag),
        }
    }

    /// Passes `number` on; its absence is `error`.
    fn number<T>(&mut self, number: Option<T>, error: WireError) -> Option<T> {
        if number.is_none() {
            self.error = Some(error);
        }
        number
    }
}

//! What a user may ask: which commands, and about which keys. All protocols are judged here,
//! between decoding and executing, by what would be executed.

use std::sync::{Arc, OnceLock};

use mcache_protocol::{Decoded, Plain, Request, Resume, Rights, Style, WireError};

use crate::reports;

/// What a user may ask. Sessions share it; a session that has none may ask anything.
#[derive(Debug)]
pub struct Grant {
    rights: Rights,
    /// What the keys begin with that may be read or written; `None` for all keys.
    prefixes: Option<Box<[Box<[u8]>]>>,
    /// What is granted instead since the users were read again; none if the user has to log in
    /// again.
    successor: OnceLock<Option<Arc<Grant>>>,
}

impl Grant {
    /// These rights; to read and to write only keys with one of the prefixes, if there are any.
    pub fn new(rights: Rights, prefixes: Option<Vec<Vec<u8>>>) -> Self {
        let prefixes = prefixes.map(|all| all.into_iter().map(Into::into).collect());
        Self { rights, prefixes, successor: OnceLock::new() }
    }

    /// What is left to a user who has to log in again.
    pub(crate) fn withdrawn() -> Self {
        let nothing = Self::new(Rights::NONE, None);
        nothing.replace(None);
        nothing
    }

    /// Whether another grants the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.rights == other.rights && self.prefixes == other.prefixes
    }

    /// Has sessions go on with another grant, or log in again, from their next turns on. Only the
    /// first call counts.
    pub fn replace(&self, successor: Option<Arc<Grant>>) {
        let _ = self.successor.set(successor);
    }

    /// What is granted instead, if anything else is; `Some(None)` if its user has to log in again.
    pub(crate) fn latest(&self) -> Option<Option<Arc<Grant>>> {
        let mut latest = self.successor.get()?;
        while let Some(next) = latest.as_ref().and_then(|grant| grant.successor.get()) {
            latest = next;
        }
        Some(latest.clone())
    }

    /// Whether a request that was looked ahead at may be served.
    #[inline]
    pub(crate) fn permits_plain(&self, key: &[u8], plain: &Plain<'_>) -> bool {
        let needed = match plain {
            Plain::Get(_) | Plain::Frame(_) => Rights::READ,
            Plain::Set(_) => Rights::WRITE,
        };
        self.covers(needed, Some(key))
    }

    /// Whether what was decoded may be served; makes a refusal of it if not. What it says of the
    /// bytes stays right.
    pub(crate) fn permits(&self, decoded: &mut Decoded<'_>) -> bool {
        let (style, size, resume) = match decoded {
            Decoded::Request { request, style, size } => {
                let (needed, key) = needs(request, style);
                if self.covers(needed, key) {
                    self.temper(request);
                    return true;
                }
                (*style, *size, Resume::AT_ONCE)
            }
            Decoded::Body { key, style, head, body, tail, .. } => {
                if self.covers(Rights::WRITE, Some(key)) {
                    return true;
                }
                (*style, *head, Resume::Behind { body: *body as u64, tail: *tail })
            }
            Decoded::NeedMore | Decoded::Refused { .. } | Decoded::Close => return true,
        };
        *decoded = Decoded::Refused { error: WireError::Unauthorized, style, size, resume };
        false
    }

    fn covers(&self, needed: Rights, key: Option<&[u8]>) -> bool {
        let begins = |key: &[u8]| match &self.prefixes {
            None => true,
            Some(prefixes) => prefixes.iter().any(|prefix| key.starts_with(prefix)),
        };
        self.rights.contain(needed) && key.is_none_or(begins)
    }

    /// Whoever may not write does not win the right to refill a stale item, which would keep those
    /// from it who may.
    fn temper(&self, request: &mut Request<'_>) {
        if let Request::Fetch { fetch, .. } = request {
            fetch.compete &= self.rights.contain(Rights::WRITE);
        }
    }
}

/// The rights that a request needs, and the key that they have to cover, if it is about one.
fn needs<'b>(request: &Request<'b>, style: &Style<'_>) -> (Rights, Option<&'b [u8]>) {
    let both = Rights::READ.with(Rights::WRITE);
    match *request {
        Request::Fetch { key, .. } if style.is_touch() => (Rights::WRITE, Some(key)),
        Request::Fetch { key, fetch } => {
            let changes = [fetch.touch, fetch.vivify, fetch.recache].iter().any(Option::is_some);
            (if changes { both } else { Rights::READ }, Some(key))
        }
        Request::Inspect { key } => (Rights::READ, Some(key)),
        Request::Store { key, .. } | Request::Delete { key, .. } => (Rights::WRITE, Some(key)),
        // Its answer is the number.
        Request::Count { key, .. } => (both, Some(key)),
        Request::Stats { args } => (reports::rights(args), None),
        Request::FlushAll { .. }
        | Request::FlushGroup { .. }
        | Request::Verbosity { .. }
        | Request::Watch { .. }
        | Request::Admin { .. } => (Rights::ADMIN, None),
        Request::Version | Request::Sasl(_) | Request::Noop | Request::Quit => (Rights::NONE, None),
    }
}

//! The one line with which a peer of the text protocol can log in, in memcached's form: a set
//! whose value is a name, a space and a password.

use mcache_base::limits::{LINE_MAX, LOGIN_MAX};
use mcache_base::number::parse_u32;

use crate::outcome::WireError;

use super::line::{Line, Tokens};
use super::storage::BLOCK_END;

/// Shortest line that is looked at, its end included.
const LINE_MIN: usize = 7;

/// What the front of the bytes turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login<'b> {
    /// The bytes end too early to tell.
    NeedMore,
    /// Close without an answer.
    Close,
    /// The peer's mistake.
    Refused {
        /// What to answer.
        error: WireError,
        /// Bytes that are done with.
        size: usize,
    },
    /// A name and a password.
    Credentials {
        /// The name.
        user: &'b [u8],
        /// The password.
        password: &'b [u8],
        /// Bytes that are done with.
        size: usize,
    },
}

/// Decodes what a peer says that has not logged in.
pub fn decode_login(input: &[u8]) -> Login<'_> {
    let Some(line) = Line::at_front(input) else {
        return if input.len() > LINE_MAX { Login::Close } else { Login::NeedMore };
    };
    if line.size < LINE_MIN {
        return Login::Close;
    }
    let len = Tokens::new(line.text).nth(4).and_then(parse_u32);
    let Some(len) = len.filter(|_| line.text.starts_with(b"set")) else {
        return Login::Refused { error: WireError::Unauthenticated, size: line.size };
    };
    let len = len as usize;
    if len > LOGIN_MAX {
        return Login::Refused { error: WireError::LoginTooLong, size: line.size };
    }
    let size = line.size + len + BLOCK_END;
    let Some(token) = input.get(line.size..size) else {
        return Login::NeedMore;
    };
    let Some(token) = token.strip_suffix(b"\r\n") else {
        return Login::Refused { error: WireError::LoginBadEnd, size };
    };
    let Some(space) = memchr::memchr(b' ', token) else {
        return Login::Refused { error: WireError::LoginBadFormat, size };
    };
    let (user, password) = token.split_at(space);
    Login::Credentials { user, password: password.get(1..).unwrap_or_default(), size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_logs_in_and_nothing_else_does() {
        let refused = |error, size| Login::Refused { error, size };
        let long = format!("get {}", "k".repeat(LINE_MAX));
        let rows: &[(&str, Login<'_>)] = &[
            (
                "set x 0 0 7\r\nfoo bar\r\nget",
                Login::Credentials { user: b"foo", password: b"bar", size: 22 },
            ),
            (
                "set x 0 0 9\nfoo b r b\r\n",
                Login::Credentials { user: b"foo", password: b"b r b", size: 23 },
            ),
            ("set x 0 0 1\r\n \r\n", Login::Credentials { user: b"", password: b"", size: 16 }),
            ("set x 0 0 7\r\nfoo ba", Login::NeedMore),
            ("set x 0 0 7", Login::NeedMore),
            ("set x 0 0 2\r\nhi\r\n", refused(WireError::LoginBadFormat, 17)),
            ("set x 0 0 2\r\nhi there\r\n", refused(WireError::LoginBadEnd, 17)),
            ("set x 0 0 16385\r\n", refused(WireError::LoginTooLong, 17)),
            ("set x 0 0 -1\r\n", refused(WireError::Unauthenticated, 14)),
            ("set x 0 0\r\n", refused(WireError::Unauthenticated, 11)),
            ("get foo\r\n", refused(WireError::Unauthenticated, 9)),
            ("mn   \r\n", refused(WireError::Unauthenticated, 7)),
            ("mn\r\n", Login::Close),
            (&long, Login::Close),
        ];
        for (input, expected) in rows {
            assert_eq!(decode_login(input.as_bytes()), *expected, "{input}");
        }
    }
}

//! Passwords that were found right by their hashes, known again without.
//!
//! A hash takes long on purpose, so all who log in would wait for those who guess. Of a password
//! that was found right a tag is kept, made with a key that only this process has and gone with
//! it. Who guesses has to wait for the hash as before.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use blake2::Blake2sMac256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use mcache_base::limits::LOGINS_PROVEN_MAX;
use mcache_session::Credentials;
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// What is kept of a name, a password and a hash that belong together.
pub type Tag = [u8; 32];

/// Bytes of the key.
const KEY: usize = 32;

/// Names and passwords that were found right.
pub struct Proven {
    key: Zeroizing<[u8; KEY]>,
    tags: Mutex<HashSet<Tag>>,
}

impl Proven {
    /// None yet, with a new key.
    pub fn new() -> io::Result<Self> {
        let mut key = Zeroizing::new([0; KEY]);
        let filled = getrandom(&mut *key, GetRandomFlags::empty())?;
        if filled < KEY {
            return Err(io::Error::other("the system gave too few random bytes"));
        }
        Ok(Self { key, tags: Mutex::default() })
    }

    /// What would be kept of these if the password were found right.
    pub fn tag(&self, said: &Credentials, hash: &str) -> Tag {
        let mut mac = <Blake2sMac256 as KeyInit>::new((&*self.key).into());
        for part in [&said.user, hash.as_bytes(), &said.password] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize_fixed().into()
    }

    /// Whether a password was found right. That its tag is looked up as it may be tells nothing:
    /// nobody else can make one.
    pub fn has(&self, tag: &Tag) -> bool {
        self.lock().contains(tag)
    }

    /// Notes that a password was found right.
    pub fn note(&self, tag: Tag) {
        let mut tags = self.lock();
        if tags.len() >= LOGINS_PROVEN_MAX {
            tags.clear();
        }
        tags.insert(tag);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Tag>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(user: &[u8], password: &[u8]) -> Credentials {
        Credentials { user: user.to_vec().into(), password: password.to_vec().into() }
    }

    #[test]
    fn a_tag_belongs_to_one_name_one_password_one_hash_and_one_key() {
        let proven = Proven::new().unwrap();
        let tag = proven.tag(&said(b"ab", b"c"), "h");
        let others = [(&b"a"[..], &b"bc"[..], "h"), (b"ab", b"d", "h"), (b"ab", b"c", "i")];
        for (user, password, hash) in others {
            assert_ne!(
                proven.tag(&said(user, password), hash),
                tag,
                "{user:?} {password:?} {hash}"
            );
        }
        assert_eq!(proven.tag(&said(b"ab", b"c"), "h"), tag);
        assert_ne!(Proven::new().unwrap().tag(&said(b"ab", b"c"), "h"), tag);
    }

    #[test]
    fn beyond_the_limit_all_are_forgotten() {
        let proven = Proven::new().unwrap();
        let tag = |number: usize| proven.tag(&said(b"a", &number.to_le_bytes()), "");
        (0..LOGINS_PROVEN_MAX).for_each(|number| proven.note(tag(number)));
        assert!(proven.has(&tag(0)) && proven.has(&tag(LOGINS_PROVEN_MAX - 1)));
        proven.note(tag(LOGINS_PROVEN_MAX));
        assert!(!proven.has(&tag(0)) && proven.has(&tag(LOGINS_PROVEN_MAX)));
    }
}

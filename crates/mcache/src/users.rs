//! Who may log in: names and passwords from a file, and the judgement.
//!
//! A line is `name:password`, as memcached has it, or `name:` and a hash in PHC's form
//! (`$argon2id$...`). How long the judgement takes tells nothing but the lengths of a name and a
//! password: every line is compared to its end, and a hash is computed for unknown names too.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use argon2::Argon2;
use argon2::password_hash::{PasswordHashString, PasswordVerifier};
use mcache_session::Credentials;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Bytes of the file. A longer one is refused.
const FILE_MAX: u64 = 1 << 20;

/// What a password in the file begins with if it is a hash.
const HASHED: &[u8] = b"$argon2";

/// Everybody who may log in.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
}

struct User {
    name: Zeroizing<Vec<u8>>,
    secret: Secret,
}

enum Secret {
    Plain(Zeroizing<Vec<u8>>),
    Hashed(PasswordHashString),
}

/// Nothing of a user is ever shown.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User")
    }
}

impl Users {
    /// Reads a file. An error says what is wrong with it, and nothing of what stands in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let at = path.display();
        let mut text = Zeroizing::new(Vec::new());
        let file = File::open(path).map_err(|error| format!("could not open {at}: {error}"))?;
        file.take(FILE_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| format!("could not read {at}: {error}"))?;
        if text.len() as u64 > FILE_MAX {
            return Err(format!("{at} is larger than {FILE_MAX} bytes"));
        }
        Self::parse(&text).map_err(|line| format!("{at}:{line}: should be 'user:password'"))
    }

    /// Reads lines; the number of the first one that is none.
    fn parse(text: &[u8]) -> Result<Self, usize> {
        let mut users = Vec::new();
        for (number, line) in (1_usize..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                users.push(User::parse(line).ok_or(number)?);
            }
        }
        if users.is_empty() { Err(1) } else { Ok(Self { users }) }
    }

    /// Whether there is such a user with such a password.
    pub fn admit(&self, said: &Credentials) -> bool {
        let mut admitted = Choice::from(0);
        let mut hashes = self.users.iter().filter_map(User::hash);
        let decoy = hashes.next();
        let mut named = None;
        for user in &self.users {
            let is_named = user.name.ct_eq(&said.user);
            match &user.secret {
                Secret::Plain(password) => admitted |= is_named & password.ct_eq(&said.password),
                Secret::Hashed(hash) if bool::from(is_named) => named = Some(hash),
                Secret::Hashed(_) => {}
            }
        }
        let matches = |hash: &PasswordHashString| {
            let hash = hash.password_hash();
            Argon2::default().verify_password(&said.password, &hash).is_ok()
        };
        // An unknown name takes as long as a known one.
        let hashed = named.or(decoy).is_some_and(matches) && named.is_some();
        bool::from(admitted) || hashed
    }
}

impl User {
    fn parse(line: &[u8]) -> Option<Self> {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, password) = (line.get(..colon)?, line.get(colon + 1..)?);
        if name.contains(&0) {
            return None;
        }
        let secret = if password.starts_with(HASHED) {
            Secret::Hashed(PasswordHashString::new(str::from_utf8(password).ok()?).ok()?)
        } else {
            Secret::Plain(password.to_vec().into())
        };
        Some(Self { name: name.to_vec().into(), secret })
    }

    fn hash(&self) -> Option<&PasswordHashString> {
        match &self.secret {
            Secret::Hashed(hash) => Some(hash),
            Secret::Plain(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(user: &str, password: &str) -> Credentials {
        Credentials {
            user: user.as_bytes().to_vec().into(),
            password: password.as_bytes().to_vec().into(),
        }
    }

    /// CVE-2026-47783: a password was compared up to its first difference, and only that of a
    /// user that exists. Here `subtle` compares every line to its end; this is that it is right.
    #[test]
    fn names_and_passwords_are_looked_at_whole() {
        let users = Users::parse(b"foo:bar\r\n\nbaaaz:quux:x\nnobody:\n:all").unwrap();
        for (user, password, admitted) in [
            ("foo", "bar", true),
            ("foo", "ba", false),
            ("foo", "barr", false),
            ("fo", "bar", false),
            ("baaaz", "quux:x", true),
            ("baaaz", "quux", false),
            ("nobody", "", true),
            ("", "all", true),
            ("foo", "quux:x", false),
            ("", "", false),
        ] {
            assert_eq!(users.admit(&said(user, password)), admitted, "{user} {password}");
        }
    }

    /// CVE-2021-37519: a file of odd lines was read past the end of a buffer.
    #[test]
    fn what_is_no_user_is_named_by_its_line() {
        let rows: &[(&[u8], usize)] =
            &[(b"", 1), (b"\n\n", 1), (b"a:b\nfoo", 2), (b"a\0b:c", 1), (b"a:$argon2id$x", 1)];
        for (text, line) in rows {
            assert_eq!(Users::parse(text).err(), Some(*line), "{text:?}");
        }
    }

    #[test]
    fn a_hash_stands_for_its_password() {
        use argon2::password_hash::{PasswordHasher, SaltString};
        use argon2::{Algorithm, Params, Version};
        let cheap = Params::new(64, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        let hash = argon2.hash_password(b"secret", &salt).unwrap();
        let users = Users::parse(format!("a:{hash}\nb:plain\n").as_bytes()).unwrap();
        for (user, password, admitted) in [
            ("a", "secret", true),
            ("a", "secreT", false),
            ("a", &hash.to_string(), false),
            ("b", "plain", true),
            ("b", "secret", false),
            ("c", "secret", false),
        ] {
            assert_eq!(users.admit(&said(user, password)), admitted, "{user} {password}");
        }
    }
}

//! Who may log in: names and passwords from a file, users with rights from the settings, and the
//! judgement.
//!
//! A line of the file is `name:password`, as memcached has it, or `name:` and a hash in PHC's form
//! (`$argon2id$...`). How long the judgement takes tells nothing but the lengths of a name and a
//! password, and whether both are right: every line is compared to its end, and a hash is computed
//! for unknown names too.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHashString, PasswordVerifier};
use mcache_protocol::Rights;
use mcache_session::{Credentials, Grant, Verdict};
use rustls::pki_types::CertificateDer;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::proven::{Proven, Tag};
use crate::tls::{CertificateName, Names};

/// Bytes of the file. A longer one is refused.
const FILE_MAX: u64 = 1 << 20;

/// What a password in the file begins with if it is a hash.
const HASHED: &[u8] = b"$argon2";

/// What is said of a user with rights.
#[derive(Clone, PartialEq)]
pub struct UserOptions {
    /// The name.
    pub name: String,
    /// The hash of the password, if there is one.
    pub password: Option<PasswordHashString>,
    /// The name in the user's certificates, if those are enough to be let in.
    pub certificate: Option<CertificateName>,
    /// What the keys begin with that may be read or written; `None` for all keys.
    pub keys: Option<Vec<String>>,
    /// What the user may do.
    pub rights: Rights,
}

/// Everybody who may log in.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
}

struct User {
    name: Zeroizing<Vec<u8>>,
    secret: Option<Secret>,
    certificate: Option<CertificateName>,
    /// What may be asked; anything, if that is not said.
    grant: Option<Arc<Grant>>,
}

#[derive(PartialEq)]
enum Secret {
    Plain(Zeroizing<Vec<u8>>),
    Hashed(PasswordHashString),
}

/// What the password of a peer has to prove.
struct Candidate<'u> {
    /// Whom it says it is, if there is such a user.
    user: Option<&'u User>,
    hash: &'u PasswordHashString,
    /// What would be known of it if it had been proven before.
    tag: Tag,
}

/// Only the name is ever shown.
impl std::fmt::Debug for UserOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserOptions").field("name", &self.name).finish_non_exhaustive()
    }
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

    /// The same and these.
    pub fn with(mut self, others: &[UserOptions]) -> Result<Self, String> {
        for other in others {
            if self.users.iter().any(|user| **user.name == *other.name.as_bytes()) {
                return Err(format!("the user {} stands twice", other.name));
            }
            self.users.push(User::new(other));
        }
        Ok(self)
    }

    /// Whether there is such a user with such a password; `None` if that takes a hash to say.
    pub fn judge(&self, said: &Credentials, proven: &Proven) -> Option<Verdict> {
        let mut admitted = Choice::from(0);
        for user in &self.users {
            if let Some(Secret::Plain(password)) = &user.secret {
                admitted |= user.name.ct_eq(&said.user) & password.ct_eq(&said.password);
            }
        }
        if bool::from(admitted) {
            return Some(Verdict::Admitted(None));
        }
        let Some(candidate) = self.candidate(said, proven) else { return Some(Verdict::Refused) };
        let user = candidate.user.filter(|_| proven.has(&candidate.tag));
        user.map(|user| Verdict::Admitted(user.grant.clone()))
    }

    /// The same, however long it takes.
    pub fn judge_by_hash(&self, said: &Credentials, proven: &Proven) -> Verdict {
        if let Some(verdict) = self.judge(said, proven) {
            return verdict;
        }
        let Some(candidate) = self.candidate(said, proven) else { return Verdict::Refused };
        let hash = candidate.hash.password_hash();
        let matches = Argon2::default().verify_password(&said.password, &hash).is_ok();
        let Some(user) = candidate.user.filter(|_| matches) else { return Verdict::Refused };
        proven.note(candidate.tag);
        Verdict::Admitted(user.grant.clone())
    }

    /// The hash that the password has to stand for. An unknown name has one too, which takes as
    /// long as that of a known one.
    fn candidate<'u>(&'u self, said: &Credentials, proven: &Proven) -> Option<Candidate<'u>> {
        let mut named = None;
        for user in &self.users {
            let is_named = user.name.ct_eq(&said.user);
            if bool::from(is_named) && user.hash().is_some() {
                named = Some(user);
            }
        }
        let decoy = || self.users.iter().find_map(User::hash);
        let hash = named.and_then(User::hash).or_else(decoy)?;
        Some(Candidate { user: named, hash, tag: proven.tag(said, hash.as_str()) })
    }

    /// What the first user is granted whom a certificate names that was found good.
    pub fn certified(&self, certificate: &CertificateDer<'_>) -> Option<Arc<Grant>> {
        let names = Names::of(certificate)?;
        let named = |user: &&User| user.certificate.as_ref().is_some_and(|it| names.include(it));
        self.users.iter().find(named)?.grant.clone()
    }

    /// Has the sessions of users that were read `before` go on with what they are granted now.
    /// Those of users who are gone, or are known by something else now, have to log in again.
    pub fn follow(&mut self, before: &Self) {
        for old in &before.users {
            let Some(granted) = &old.grant else { continue };
            let new = self.users.iter_mut().find(|new| new.is_known_as(old));
            match new.and_then(|new| new.grant.as_mut()) {
                Some(grant) if grant.is_like(granted) => *grant = granted.clone(),
                Some(grant) => granted.replace(Some(grant.clone())),
                None => granted.replace(None),
            }
        }
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
        let name = name.to_vec().into();
        Some(Self { name, secret: Some(secret), certificate: None, grant: None })
    }

    fn new(options: &UserOptions) -> Self {
        let UserOptions { name, password, certificate, keys, rights } = options;
        let bytes = |key: &String| key.clone().into_bytes();
        let prefixes = keys.as_ref().map(|keys| keys.iter().map(bytes).collect());
        Self {
            name: name.clone().into_bytes().into(),
            secret: password.clone().map(Secret::Hashed),
            certificate: certificate.clone(),
            grant: Some(Arc::new(Grant::new(*rights, prefixes))),
        }
    }

    fn hash(&self) -> Option<&PasswordHashString> {
        match &self.secret {
            Some(Secret::Hashed(hash)) => Some(hash),
            Some(Secret::Plain(_)) | None => None,
        }
    }

    /// Whether the name is the same, and what proves it.
    fn is_known_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.secret == other.secret
            && self.certificate == other.certificate
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

    fn admits(users: &Users, user: &str, password: &str) -> bool {
        let verdict = users.judge_by_hash(&said(user, password), &Proven::new().unwrap());
        matches!(verdict, Verdict::Admitted(_))
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
            assert_eq!(admits(&users, user, password), admitted, "{user} {password}");
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

    fn cheap_hash(password: &[u8], salt: &[u8]) -> String {
        use argon2::password_hash::{PasswordHasher, SaltString};
        use argon2::{Algorithm, Params, Version};
        let cheap = Params::new(64, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
        let salt = SaltString::encode_b64(salt).unwrap();
        argon2.hash_password(password, &salt).unwrap().to_string()
    }

    #[test]
    fn a_hash_stands_for_its_password() {
        let hash = cheap_hash(b"secret", b"0123456789abcdef");
        let users = Users::parse(format!("a:{hash}\nb:plain\n").as_bytes()).unwrap();
        for (user, password, admitted) in [
            ("a", "secret", true),
            ("a", "secreT", false),
            ("a", &hash, false),
            ("b", "plain", true),
            ("b", "secret", false),
            ("c", "secret", false),
        ] {
            assert_eq!(admits(&users, user, password), admitted, "{user} {password}");
        }
    }

    #[test]
    fn a_password_that_was_proven_needs_no_hash_again() {
        let (hash, other) =
            (cheap_hash(b"secret", b"0123456789abcdef"), cheap_hash(b"x", b"fedcba98"));
        let read = |text: String| Users::parse(text.as_bytes()).unwrap();
        let (users, proven) = (read(format!("a:{hash}\nb:{other}\n")), Proven::new().unwrap());
        let known = |users: &Users, user, password| {
            let verdict = users.judge(&said(user, password), &proven);
            verdict.map(|verdict| matches!(verdict, Verdict::Admitted(_)))
        };
        assert_eq!(known(&users, "a", "secret"), None);
        for (password, admitted) in [("other", false), ("secret", true)] {
            let verdict = users.judge_by_hash(&said("a", password), &proven);
            assert_eq!(matches!(verdict, Verdict::Admitted(_)), admitted, "{password}");
        }
        for (user, password, expected) in [
            ("a", "secret", Some(true)),
            ("a", "other", None),
            ("a", "", None),
            ("b", "secret", None),
            ("c", "secret", None),
        ] {
            assert_eq!(known(&users, user, password), expected, "{user} {password}");
        }
        let again = read(format!("a:{hash}\n"));
        assert_eq!(known(&again, "a", "secret"), Some(true), "read again");
        let changed = read(format!("a:{other}\nb:{hash}\n"));
        assert_eq!(known(&changed, "a", "secret"), None, "changed");
        assert_eq!(known(&read("b:plain\n".to_owned()), "a", "secret"), Some(false), "no hash");
    }

    fn options(name: &str, certificate: Option<&str>, rights: Rights) -> UserOptions {
        let certificate = certificate.map(|name| CertificateName::Common(name.to_owned()));
        UserOptions { name: name.to_owned(), password: None, certificate, keys: None, rights }
    }

    #[test]
    fn a_name_stands_once_for_a_user() {
        let file = || Users::parse(b"foo:bar\nfoo:other").unwrap();
        let with = |name| file().with(&[options(name, Some("x"), Rights::READ)]);
        assert_eq!(with("foo").unwrap_err(), "the user foo stands twice");
        let users = with("app").unwrap();
        assert!(admits(&users, "foo", "other") && !admits(&users, "app", ""));
    }

    #[test]
    fn sessions_follow_a_user_who_is_known_as_before() {
        let read = |certificate, rights| {
            Users::default().with(&[options("app", Some(certificate), rights)]).unwrap()
        };
        let granted = |users: &Users| users.users[0].grant.clone().unwrap();
        let before = read("x", Rights::READ);
        let mut same = read("x", Rights::READ);
        same.follow(&before);
        assert!(Arc::ptr_eq(&granted(&same), &granted(&before)), "nothing to follow");
        let mut changed = read("x", Rights::WRITE);
        changed.follow(&same);
        let other = granted(&changed);
        assert!(!Arc::ptr_eq(&other, &granted(&same)) && !other.is_like(&granted(&same)));
    }
}

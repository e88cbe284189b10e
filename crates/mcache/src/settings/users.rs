//! Users with rights: the tables `[[user]]` of the file.

use argon2::password_hash::PasswordHashString;
use mcache_base::limits::{KEY_MAX, USER_KEYS_MAX, USERS_MAX};
use mcache_protocol::Rights;
use toml::de::DeValue;

use crate::failure::Failure;
use crate::passwd;
use crate::users::UserOptions;

/// What can be said of a user.
#[derive(Debug)]
pub struct UserKey {
    /// The key in the table.
    pub name: &'static str,
    /// Whether it takes a list of texts rather than one.
    pub is_list: bool,
    /// What it is, in a sentence or two.
    pub about: &'static str,
    set: fn(&mut UserOptions, &[&str]) -> Result<(), String>,
}

/// Every key.
pub const USER_KEYS: &[UserKey] = &[
    UserKey {
        name: "name",
        is_list: false,
        about: "Who logs in: no colon, no space, no control characters.",
        set: |user, texts| {
            user.name = one(texts, |text| passwd::is_name(text).then(|| text.to_owned()))
                .ok_or("should have no colon, no space and no control characters")?;
            Ok(())
        },
    },
    UserKey {
        name: "password",
        is_list: false,
        about: "The hash of the password, as `mcache passwd NAME` writes it behind the colon. \
                Without it nobody logs in by a password.",
        set: |user, texts| {
            let hash = one(texts, |text| {
                text.starts_with("$argon2").then(|| PasswordHashString::new(text).ok()).flatten()
            });
            user.password = Some(hash.ok_or("should be a hash as `mcache passwd` writes it")?);
            Ok(())
        },
    },
    UserKey {
        name: "certificate",
        is_list: false,
        about: "The common name of the client certificates whose holders need not log in; \
                `DNS:...` and `URI:...` are alternative names. The certificate has to be good, so \
                `tls-ca` has to be there.",
        set: |user, texts| {
            let name = one(texts, |text| text.parse().ok());
            user.certificate = Some(name.ok_or("should be a name, DNS:NAME or URI:NAME")?);
            Ok(())
        },
    },
    UserKey {
        name: "keys",
        is_list: true,
        about: "What the keys begin with that may be read or written: 1 to 64 of them. Without it \
                all keys.",
        set: |user, texts| {
            let good = (1..=USER_KEYS_MAX).contains(&texts.len())
                && texts.iter().all(|text| (1..=KEY_MAX).contains(&text.len()));
            if !good {
                return Err(format!(
                    "should be 1 to {USER_KEYS_MAX} texts of 1 to {KEY_MAX} bytes"
                ));
            }
            user.keys = Some(texts.iter().map(|&text| text.to_owned()).collect());
            Ok(())
        },
    },
    UserKey {
        name: "rights",
        is_list: true,
        about: "What may be done: some of `read`, `write` and `admin`. Without it `read` and \
                `write`.",
        set: |user, texts| {
            let named = |text: &&str| Rights::NAMES.iter().find(|(name, _)| name == text);
            user.rights = texts
                .iter()
                .try_fold(Rights::NONE, |rights, text| Some(rights.with(named(text)?.1)))
                .ok_or("should be some of read, write and admin")?;
            Ok(())
        },
    },
];

/// Reads the tables. `place` says where a byte of the file is.
pub fn read(
    value: &DeValue<'_>,
    said: &str,
    place: impl Fn(usize) -> String,
) -> Result<Vec<UserOptions>, Failure> {
    let mistake = |at: &str, should: &str| Failure::usage(format!("{at}: {should}"));
    let DeValue::Array(tables) = value else {
        return Err(mistake(
            said,
            match value {
                DeValue::String(_) => "should be tables of users: whom to become is said by -u",
                _ => "should be tables, each begun by [[user]]",
            },
        ));
    };
    if tables.len() > USERS_MAX {
        return Err(mistake(said, &format!("should be {USERS_MAX} at most")));
    }
    let mut users: Vec<UserOptions> = Vec::new();
    for table in tables {
        let said = format!("{}: user", place(table.span().start));
        let DeValue::Table(keys) = table.get_ref() else {
            return Err(mistake(&said, "should be a table, begun by [[user]]"));
        };
        let mut user = UserOptions {
            name: String::new(),
            password: None,
            certificate: None,
            keys: None,
            rights: Rights::READ.with(Rights::WRITE),
        };
        for (name, value) in keys {
            let at = format!("{}: user.{}", place(name.span().start), name.get_ref());
            let key = USER_KEYS.iter().find(|key| key.name == name.get_ref());
            let key = key.ok_or_else(|| mistake(&at, "unknown setting"))?;
            let texts = texts(value.get_ref(), key.is_list).ok_or_else(|| {
                mistake(&at, if key.is_list { "should be texts" } else { "should be a text" })
            })?;
            (key.set)(&mut user, &texts).map_err(|should| mistake(&at, &should))?;
        }
        let missing = match &user {
            user if user.name.is_empty() => "should have a name",
            UserOptions { password: None, certificate: None, .. } => {
                "should have a password or a certificate"
            }
            user if users.iter().any(|other| other.name == user.name) => "stands twice",
            UserOptions { certificate: certificate @ Some(_), .. }
                if users.iter().any(|other| other.certificate == *certificate) =>
            {
                "has the certificate of another"
            }
            _ => {
                users.push(user);
                continue;
            }
        };
        return Err(mistake(&said, missing));
    }
    Ok(users)
}

/// The one text as `read` understands it.
fn one<T>(texts: &[&str], read: impl Fn(&str) -> Option<T>) -> Option<T> {
    texts.first().and_then(|text| read(text))
}

/// The texts of a list, or the one text.
fn texts<'v>(value: &'v DeValue<'_>, is_list: bool) -> Option<Vec<&'v str>> {
    match value {
        DeValue::Array(values) if is_list => {
            values.iter().map(|value| value.get_ref().as_str()).collect()
        }
        value => Some(vec![value.as_str()?]),
    }
}

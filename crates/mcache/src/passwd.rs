//! `mcache passwd NAME`: a line for the file of users. The password is typed, unseen, or comes on
//! standard input, and never stands in the arguments, where everybody on the machine could read it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, SaltString};
use mcache_base::limits::LOGIN_MAX;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The first word of the command line.
pub const COMMAND: &str = "passwd";

/// What follows the program's name.
pub const USAGE: &str = "passwd NAME";

/// What `--help` prints.
const HELP: &str = "\
usage: mcache passwd NAME

Asks for a password, or takes the first line of standard input, and prints
`NAME:$argon2id$...`: a line for the file of -Y or --sasl-users. What stands behind
the colon is the `password` of a table [[user]] in the file of --config.
";

/// Bytes of a salt.
const SALT_LEN: usize = 16;

type Password = Zeroizing<Vec<u8>>;

/// Reads a password and prints the line of the user with this name.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        let _ = io::stdout().write_all(HELP.as_bytes()); // nobody may be reading
        return Ok(());
    }
    let [name] = arguments else {
        return Err(Failure::usage(format!("usage: mcache {USAGE}")));
    };
    let name = name.to_str().filter(|name| is_name(name)).ok_or_else(|| {
        Failure::usage("a name is not empty and has no colon, no space and no control characters")
    })?;
    let stdin = io::stdin();
    let typed = stdin.is_terminal();
    let password = if typed { type_twice(stdin.as_fd())? } else { read_line(stdin.as_fd())? };
    if password.is_empty() || password.len() > LOGIN_MAX {
        return Err(Failure::usage(format!("a password has 1 to {LOGIN_MAX} bytes")));
    }
    println!("{name}:{}", hash(&password)?);
    Ok(())
}

/// Whether a user can have this name: it ends at the colon in a file and at the space in a login.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|it: char| it == ':' || it == ' ' || it.is_control())
}

/// The password's hash in PHC's form: argon2id with the parameters that OWASP names (19 MiB, two
/// turns, one lane) and a salt of its own.
fn hash(password: &[u8]) -> Result<String, Failure> {
    let mut salt = [0; SALT_LEN];
    let filled = getrandom(&mut salt, GetRandomFlags::empty()).map_err(unread)?;
    let hashed = SaltString::encode_b64(salt.get(..filled).unwrap_or_default())
        .and_then(|salt| Ok(Argon2::default().hash_password(password, &salt)?.to_string()));
    hashed.map_err(|error| Failure::system(error.to_string()))
}

/// Asks for a password until it has been typed the same twice in a row. What is typed does not
/// show, and no signal comes of it either, or the terminal would be left like that.
fn type_twice(terminal: BorrowedFd<'_>) -> Result<Password, Failure> {
    let _silence = Silence::on(terminal)?;
    let ask = |what: &str| {
        let _ = write!(io::stderr(), "{what}: "); // a prompt that nobody sees is no mistake
        let line = read_line(terminal);
        let _ = writeln!(io::stderr());
        line
    };
    let (first, again) = (ask("Password")?, ask("Again")?);
    if first.iter().any(u8::is_ascii_control) {
        return Err(Failure::usage("no password: a control character was typed"));
    }
    if first != again {
        return Err(Failure::usage("no password: they differ"));
    }
    Ok(first)
}

/// Reads a line without its end; of a longer one than a password can be, a little more than that.
/// Byte by byte and into one place, so that no buffer keeps a copy.
fn read_line(input: BorrowedFd<'_>) -> Result<Password, Failure> {
    let mut input = File::from(input.try_clone_to_owned().map_err(unread)?);
    let mut line = Zeroizing::new(Vec::with_capacity(LOGIN_MAX + 2));
    let mut byte = Zeroizing::new([0]);
    while line.len() < line.capacity() && input.read(&mut *byte).map_err(unread)? > 0 {
        if *byte == *b"\n" {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            break;
        }
        line.extend_from_slice(&*byte);
    }
    Ok(line)
}

fn unread(error: impl Into<io::Error>) -> Failure {
    Failure::system(format!("no password: {}", error.into()))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Silence<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Silence<'t> {
    fn on(terminal: BorrowedFd<'t>) -> Result<Self, Failure> {
        let before = tcgetattr(terminal).map_err(unread)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent).map_err(unread)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before); // it may be gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_has_a_salt_of_its_own() {
        let [one, other] = [(); 2].map(|()| hash(b"secret").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn what_would_end_a_name_is_in_none() {
        for (name, is) in [
            ("app", true),
            ("user@realm", true),
            ("", false),
            ("a:b", false),
            ("a b", false),
            ("a\nb", false),
            ("a\0", false),
        ] {
            assert_eq!(is_name(name), is, "{name:?}");
        }
    }
}

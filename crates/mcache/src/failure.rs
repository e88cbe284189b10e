//! Why the program ends before it serves: one line for a person, one number for a script.

use std::fmt;

/// Exit code of a bad option, setting or combination of them (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code of an unknown user (`EX_NOUSER`).
pub const NO_USER: u8 = 67;
/// Exit code when the system refused something (`EX_OSERR`).
pub const SYSTEM: u8 = 71;
/// Exit code of a word in the list of `-o` that is not known, as memcached has it.
pub const SUBOPTION: u8 = 1;
/// Exit code when a second signal came before the server had stopped.
pub const KILLED: u8 = 130;

/// Every exit code, and when the program ends with it.
pub const EXIT_CODES: &[(u8, &str)] = &[
    (0, "the server was stopped, or the help or a version was printed"),
    (SUBOPTION, "a word of `-o` is not known, as memcached has it"),
    (
        USAGE,
        "an option, a value or a combination of them is wrong, or is not supported yet; the file \
         of settings or of certificates cannot be read or has a mistake",
    ),
    (NO_USER, "the user of `-u` does not exist"),
    (SYSTEM, "the system refused something: an address in use, a file, memory"),
    (KILLED, "a second signal came before the server had stopped"),
];

/// Why the program ends before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code: one of the constants above.
    pub exit_code: u8,
    /// One line without its end.
    pub message: String,
}

impl Failure {
    /// A failure with an exit code.
    pub fn new(exit_code: u8, message: impl Into<String>) -> Self {
        Self { exit_code, message: message.into() }
    }

    /// The user asked for something that cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, message)
    }

    /// The system refused something.
    pub fn system(message: impl Into<String>) -> Self {
        Self::new(SYSTEM, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

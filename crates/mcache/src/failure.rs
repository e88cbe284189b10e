//! Why the program ends before it serves: one line for a person, one number for a script.

use std::fmt;

/// Exit code of a bad option, setting or combination of them (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code of an unknown user (`EX_NOUSER`).
pub const NO_USER: u8 = 67;
/// Exit code when the system refused something (`EX_OSERR`).
pub const SYSTEM: u8 = 71;

/// Why the program ends before it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process's exit code: one of the constants above, or 1.
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

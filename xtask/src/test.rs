//! `test`: the tests of all crates, by nextest where it is installed.

use crate::shell;

/// Runs the command. Arguments go to the runner.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if !shell::has("cargo-nextest", "--version") {
        return shell::run(shell::cargo().args(["test", "--workspace"]).args(arguments));
    }
    shell::run(shell::cargo().args(["nextest", "run", "--workspace"]).args(arguments))?;
    if arguments.is_empty() {
        // Nextest runs no doc tests.
        shell::run(shell::cargo().args(["test", "--workspace", "--doc", "--quiet"]))?;
    }
    Ok(())
}

//! `check`: what is quick to know about the sources; before every commit.

use crate::{docs, shell, tidy};

/// Runs the command.
pub fn run(_: &[String]) -> Result<(), String> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run(&[])?;
    docs::run(&["--check".to_owned()])?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    shell::run(shell::cargo().args(clippy))
}

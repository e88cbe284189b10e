//! `bench`: the programs of mcache-bench, built for speed.

use crate::shell;

/// Runs the command: the first argument is the program.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let (program, rest) = arguments.split_first().ok_or("which? hit-ratio or icount")?;
    let mut command = shell::cargo();
    command.args(["run", "--release", "--quiet", "--package", "mcache-bench", "--bin", program]);
    shell::run(command.arg("--").args(rest))
}

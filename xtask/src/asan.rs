//! `asan`: the tests of the crates in which something is `unsafe`, and of what is above them in
//! memory, under AddressSanitizer.

use crate::shell;

/// What is tested.
const CRATES: &[&str] = &["mcache-store", "mcache-net", "mcache-protocol", "mcache-session"];

/// It takes several times as long as without: random tests do less of it.
const LESS: &[(&str, &str)] = &[("PROPTEST_CASES", "40"), ("SIM_SEEDS", "100")];

/// Runs the command. Arguments go to the tests.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut command = shell::cargo();
    // The sanitizer comes with every compiler, but only nightly ones own up to it.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    command.envs(LESS.iter().copied());
    // With a target named, build scripts and macros are built without it.
    command.args(["test", "--quiet", "--lib", "--tests", "--no-fail-fast"]);
    command.args(["--target", &shell::host()?, "--target-dir"]).arg(shell::target().join("asan"));
    command.args(CRATES.iter().flat_map(|name| ["--package", name]));
    shell::run(command.arg("--").args(arguments))
}

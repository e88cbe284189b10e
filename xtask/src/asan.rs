//! `asan`: the tests under AddressSanitizer: those of the crates in which something is `unsafe`, of
//! what is above them in memory, and of the whole program, built the same way.

use crate::shell;

/// What is tested.
const CRATES: &[&str] =
    &["mcache-base", "mcache-store", "mcache-net", "mcache-protocol", "mcache-session", "mcache"];

/// It takes several times as long as without: random tests do less of it.
const LESS: &[(&str, &str)] = &[("PROPTEST_CASES", "40"), ("SIM_SEEDS", "100")];

/// The sanitizer, and what tells it of memory that the store shares out itself.
const INSTRUMENTED: &str = "-Zsanitizer=address --cfg asan";

/// The server ends for want of address space there, of which the sanitizer takes terabytes first.
const LEFT_OUT: &str = "--skip=too_little_address_space_is_named";

/// Runs the command. Arguments go to cargo, and after `--` to the tests.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut command = shell::cargo();
    // The sanitizer comes with every compiler, but only nightly ones own up to it.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", INSTRUMENTED);
    command.envs(LESS.iter().copied());
    command.args(["test", "--quiet", "--no-fail-fast"]);
    // With a target named, build scripts and macros are built without it.
    command.args(["--target", &shell::host()?, "--target-dir"]).arg(shell::target().join("asan"));
    if !arguments.iter().any(|word| word == "-p" || word == "--package") {
        command.args(CRATES.iter().flat_map(|name| ["--package", name]));
    }
    if !arguments.iter().any(|word| word == "--test" || word == "--lib") {
        command.args(["--lib", "--tests"]); // no code of the documents
    }
    let given_to_tests = arguments.iter().any(|word| word == "--");
    command.args(arguments).args((!given_to_tests).then_some("--")).arg(LEFT_OUT);
    shell::run(&mut command)
}

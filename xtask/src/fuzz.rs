//! `fuzz`: runs the targets of fuzz/, each for a while, on any compiler that builds the server.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// The targets: files of `fuzz/fuzz_targets`.
const TARGETS: &[&str] = &[
    "auth_file",
    "binary",
    "config",
    "differential",
    "engine",
    "meta",
    "stream_split",
    "text",
    "udp",
];

/// Seconds for each target, if nobody says another number.
const SECONDS: &str = "60";

/// What lets the fuzzer see which way the code goes.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Runs the command.
pub fn run(words: &[String]) -> Result<(), String> {
    let (mut seconds, mut target) = (SECONDS, None);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--seconds" => seconds = words.next().ok_or("--seconds needs a number")?,
            name if TARGETS.contains(&name) => target = Some(name),
            _ => return Err(format!("`{word}`: the targets are {}", TARGETS.join(", "))),
        }
    }
    let host = host()?;
    for name in TARGETS.iter().filter(|name| target.is_none_or(|target| target == **name)) {
        shell::run(&mut command(name, &host, seconds)?)?;
    }
    Ok(())
}

/// What is found anew goes to `fuzz/corpus.local`, and what fails to the target directory.
fn command(name: &str, host: &str, seconds: &str) -> Result<Command, String> {
    let home = shell::root().join("fuzz");
    let (own, artifacts) = (home.join("corpus.local").join(name), shell::target().join("fuzz"));
    for directory in [&own, &artifacts] {
        let made = std::fs::create_dir_all(directory);
        made.map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    let option = |option: &str, path: &Path| format!("-{option}={}", path.display());
    let mut command = shell::cargo();
    // With a target named, build scripts and macros are built without the instrumentation.
    command.env("RUSTFLAGS", INSTRUMENTED).args(["run", "--release", "--locked", "--quiet"]);
    command.args(["--target", host, "--bin", name, "--manifest-path"]).arg(home.join("Cargo.toml"));
    command.arg("--target-dir").arg(&artifacts).arg("--");
    command.args([format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
    command.arg(option("artifact_prefix", &artifacts.join(format!("{name}-"))));
    let dictionary = home.join(format!("{name}.dict"));
    if dictionary.exists() {
        command.arg(option("dict", &dictionary));
    }
    command.arg(own).arg(home.join("corpus").join(name));
    Ok(command)
}

/// The compiler's name for this machine.
fn host() -> Result<String, String> {
    let output = shell::command("rustc").arg("-vV").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or("rustc does not say which machine this is".to_owned())
}

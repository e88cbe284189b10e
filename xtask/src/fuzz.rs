//! `fuzz`: runs the targets of fuzz/, each for a while, on any compiler that builds the server.

use std::path::Path;
use std::process::Command;

use crate::shell;

/// The targets, files of `fuzz/fuzz_targets`, and the dictionaries beside them that they are given.
/// The others put their inputs together themselves.
const TARGETS: &[(&str, Option<&str>)] = &[
    ("auth_file", None),
    ("binary", None),
    ("config", Some("settings.dict")),
    ("differential", None),
    ("engine", None),
    ("meta", None),
    ("stream_split", Some("words.dict")),
    ("text", Some("words.dict")),
    ("udp", Some("words.dict")),
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
            name if TARGETS.iter().any(|(target, _)| *target == name) => target = Some(name),
            _ => {
                let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
                return Err(format!("`{word}`: the targets are {}", names.join(", ")));
            }
        }
    }
    let host = shell::host()?;
    for (name, dictionary) in TARGETS.iter().filter(|(name, _)| target.is_none_or(|it| it == *name))
    {
        shell::run(&mut command(name, *dictionary, &host, seconds)?)?;
    }
    Ok(())
}

/// What is found anew goes to `fuzz/corpus.local`, and what fails to the target directory.
fn command(
    name: &str,
    dictionary: Option<&str>,
    host: &str,
    seconds: &str,
) -> Result<Command, String> {
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
    command.args(dictionary.map(|dictionary| option("dict", &home.join(dictionary))));
    command.arg(own).arg(home.join("corpus").join(name));
    Ok(command)
}

//! A server among peers that mean harm: `siege WAY [--against PROGRAM] ...`.
//!
//! From outside, over TCP, so that any server can be besieged. Each way of it is a file of its own.

mod handshakes;
mod junk;
mod logins;
mod slow;
mod target;

use crate::arguments::Arguments;
use target::Target;

/// Runs the program.
pub fn run(words: &[String]) -> Result<(), String> {
    let (way, rest) = words.split_first().ok_or("which way? slow, junk, handshakes, logins")?;
    let known = ["--against", "--options", "--peers", "--seconds", "--inputs", "--seed"];
    let arguments = Arguments::parse(rest, &known)?;
    match way.as_str() {
        "slow" => slow::run(&arguments),
        "junk" => junk::run(&arguments),
        "handshakes" => handshakes::run(&arguments),
        "logins" => logins::run(&arguments),
        other => Err(format!("no way `{other}`; there are slow, junk, handshakes and logins")),
    }
}

/// The server that the command line names, started with the options that it gives.
fn start(arguments: &Arguments) -> Result<Target, String> {
    start_with(arguments, arguments.value("--options").unwrap_or_default())
}

/// The server that the command line names, started; mcache beside this program if it names none.
fn start_with(arguments: &Arguments, options: &str) -> Result<Target, String> {
    let beside = || std::env::current_exe().map(|path| path.with_file_name("mcache"));
    let program = match arguments.value("--against") {
        Some(program) => program.into(),
        None => beside().map_err(|error| error.to_string())?,
    };
    Target::start(&program, options).map_err(|error| format!("{}: {error}", program.display()))
}

//! `bench`: the programs of mcache-bench, built for speed.

use crate::shell;

/// Runs the command: the first argument is the program; without one they are listed.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let serves = ["load", "siege", "warm"];
    if arguments.first().is_some_and(|program| serves.contains(&program.as_str())) {
        let mut server = shell::cargo(); // it lies beside the program that measures it
        server.args(["build", "--release", "--quiet", "--package", "mcache"]);
        shell::run(&mut server)?;
    }
    let mut command = shell::cargo();
    command.args(["run", "--release", "--quiet", "--package", "mcache-bench", "--bin"]);
    match arguments.split_first() {
        Some((program, rest)) if program == "icount" => command.args(["icount", "--"]).args(rest),
        _ => command.args(["mcache-bench", "--"]).args(arguments),
    };
    shell::run(&mut command)
}

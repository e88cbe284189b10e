//! The project's own commands: `cargo xtask` lists them. One file each; this one only chooses.

mod asan;
mod bench;
mod check;
mod ci;
mod client_suites;
mod clients;
mod compatibility;
mod conformance;
mod docs;
mod fuzz;
mod memcached_suite;
mod shell;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

/// A command: its name, what it does, and the function that does it.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), String>,
}

const COMMANDS: &[Command] = &[
    Command {
        name: "asan",
        about: "the tests of what is unsafe, under AddressSanitizer",
        run: asan::run,
    },
    Command {
        name: "bench",
        about: "measure: [PROGRAM ...]; without a program, lists them",
        run: bench::run,
    },
    Command {
        name: "check",
        about: "format, lints, tidy, docs fresh: before every commit",
        run: check::run,
    },
    Command { name: "ci", about: "everything that CI runs", run: ci::run },
    Command {
        name: "client-suites",
        about: "the clients' own tests, compared with docs/compatibility.md: \
                [--against PROGRAM] [--passing] [--write] [NAME...]",
        run: client_suites::run,
    },
    Command {
        name: "clients",
        about: "real clients against a server: [--against PROGRAM] [NAME...]",
        run: clients::run,
    },
    Command {
        name: "conformance",
        about: "play transcripts: [--against PROGRAM] [--house NAME] \
                [--topic text|meta|binary|udp] [FILE...]",
        run: conformance::run,
    },
    Command {
        name: "docs",
        about: "write the pages that come from the tables: [--check]",
        run: docs::run,
    },
    Command {
        name: "fuzz",
        about: "look for inputs that break: [TARGET] [--seconds N]",
        run: fuzz::run,
    },
    Command {
        name: "memcached-suite",
        about: "memcached's own tests, compared with docs/compatibility.md: [--source DIR] \
                [--suite DEBIAN] [--against PROGRAM] [--passing] [--write] [FILE...]",
        run: memcached_suite::run,
    },
    Command { name: "test", about: "the tests of all crates", run: test::run },
    Command { name: "tidy", about: "the rules that no compiler holds", run: tidy::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().map_or("", String::as_str);
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        eprintln!("usage: cargo xtask COMMAND");
        for command in COMMANDS {
            eprintln!("  {:17}{}", command.name, command.about);
        }
        return ExitCode::from(64);
    };
    match (command.run)(&arguments[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

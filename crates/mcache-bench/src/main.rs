//! Measures the store, with and without a server. One file for each program; this one chooses.
//!
//! `cargo xtask bench` lists them. Figures of time are CPU time, so that they mean something on a
//! machine that is shared.

mod arguments;
mod bound;
mod clock;
mod collide;
mod hit_ratio;
mod integrity;
mod load;
mod memory;
mod numbers;
mod replay;
mod resident;
mod siege;
mod store;
mod trace;
mod warm;
mod workloads;

use std::process::ExitCode;

/// A program: its name, its arguments, what it measures, and the function that does it.
struct Program {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<(), String>,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "collide",
        arguments: "[--keys N] [--turns N]",
        about: "keys that were made to collide, against random ones",
        run: collide::run,
    },
    Program {
        name: "hit-ratio",
        arguments: "--traces DIRECTORY [--only NAME,..] [--policy NAME,..] [--mb N,..] \
                    [--shrink N]",
        about: "miss ratios of every policy on every trace",
        run: hit_ratio::run,
    },
    Program {
        name: "integrity",
        arguments: "[--seconds N] [--mb N] [--address HOST:PORT]",
        about: "readers and writers of all sizes at once, every byte verified",
        run: integrity::run,
    },
    Program {
        name: "load",
        arguments: "[--against PATH] [--only NAME,..] [--rounds N] [--seconds N] \
                    [--rate half|N] [--idle N] [--drivers uring,epoll] [--ours PATH] \
                    [--also NAME=COMMAND]",
        about: "servers under load: CPU time per request, throughput, latencies",
        run: load::run,
    },
    Program {
        name: "memory",
        arguments: "--servers PATH,.. [--mb N] [--only held,shift,tiny,churn]",
        about: "real memory of servers: items held, RSS against the limit, shift of sizes",
        run: memory::run,
    },
    Program {
        name: "siege",
        arguments: "slow|junk|handshakes|logins [--against PROGRAM] [--options TEXT] [--peers N] \
                    [--seconds N] [--inputs N] [--seed N]",
        about: "a server among peers that mean harm: that never finish, send junk, cost it \
                handshakes, or guess",
        run: siege::run,
    },
    Program {
        name: "store",
        arguments: "[--items N] [--turns N] [--operations N] [--instructions yes|no]",
        about: "the engines alone: get and set, one thread and two, uniform and one hot key",
        run: store::run,
    },
    Program {
        name: "warm",
        arguments: "[--items N] [--value BYTES] [--mb N] [--kills N] [--stops N] \
                    [--ms N] [--server PATH] [--file PATH]",
        about: "a server with a memory file, killed under load and stopped: what comes back, when",
        run: warm::run,
    },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let name = words.first().map_or("", String::as_str);
    let Some(program) = PROGRAMS.iter().find(|program| program.name == name) else {
        eprintln!("which program? icount [--write] [NAME...], or");
        for program in PROGRAMS {
            eprintln!("  {} {}\n      {}", program.name, program.arguments, program.about);
        }
        return ExitCode::from(64);
    };
    match (program.run)(&words[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

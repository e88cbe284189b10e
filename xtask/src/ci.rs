//! `ci`: what has to pass before anything is merged.

use crate::{bench, check, client_suites, clients, conformance, fuzz, memcached_suite, test};

/// Runs the command.
pub fn run(_: &[String]) -> Result<(), String> {
    check::run(&[])?;
    test::run(&[])?;
    bench::run(&["icount".to_owned()])?;
    // Proves the transcripts, which the tests have just played against mcache.
    for house in ["tcp", "udp"] {
        conformance::run(&["--against", "memcached", "--house", house].map(str::to_owned))?;
    }
    memcached_suite::run(&["--passing".to_owned()])?;
    clients::run(&[])?;
    client_suites::run(&["--passing".to_owned()])?;
    fuzz::run(&["--seconds", "10"].map(str::to_owned))
}

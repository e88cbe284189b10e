//! `ci`: what has to pass before anything is merged.

use crate::{check, clients, conformance, test};

/// Runs the command.
pub fn run(_: &[String]) -> Result<(), String> {
    check::run(&[])?;
    test::run(&[])?;
    // Proves the transcripts, which the tests have just played against mcache.
    conformance::run(&["--against", "memcached", "--house", "tcp"].map(str::to_owned))?;
    clients::run(&[])
}

//! Instructions of an operation, as callgrind counts them: the same on every run and machine.
//!
//! The program runs itself under callgrind with one number of operations and with twice as many;
//! the difference is theirs alone.

use std::process::Command;

/// Operations more in the second run.
const OPERATIONS: u64 = 20_000;

/// Items in the store meanwhile: few, because callgrind is slow.
const ITEMS: &str = "10000";

/// Instructions of one operation of a case; `None` if valgrind is not installed.
pub fn each(engine: &str, case: &str) -> Result<Option<f64>, String> {
    let case = format!("{engine},{case}");
    let Some(once) = collected(&case, OPERATIONS)? else { return Ok(None) };
    let Some(twice) = collected(&case, 2 * OPERATIONS)? else { return Ok(None) };
    Ok(Some((twice as f64 - once as f64) / OPERATIONS as f64))
}

/// Instructions of a whole run.
fn collected(case: &str, operations: u64) -> Result<Option<u64>, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["store", "--alone", case, "--items", ITEMS]);
    command.args(["--operations", &operations.to_string()]);
    let Ok(output) = command.output() else { return Ok(None) };
    let report = String::from_utf8_lossy(&output.stderr);
    let found = report.lines().find_map(|line| line.split("Collected :").nth(1));
    let count = found.and_then(|count| count.trim().parse().ok());
    count.map(Some).ok_or_else(|| format!("callgrind says: {report}"))
}

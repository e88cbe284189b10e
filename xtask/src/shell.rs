//! Other programs, run from the root of the project.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds to.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// A program that will run at the root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Cargo, as it was called for this program.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or("cargo".into()))
}

/// The compiler's name for this machine.
pub fn host() -> Result<String, String> {
    let output = command("rustc").arg("-vV").output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or("rustc does not say which machine this is".to_owned())
}

/// Runs a program to its end; that it failed is an error.
pub fn run(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// Whether a program is there and answers to `argument`.
pub fn has(program: &str, argument: &str) -> bool {
    let quiet = command(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

/// Builds the server; returns where it is.
pub fn build_server() -> Result<PathBuf, String> {
    run(cargo().args(["build", "--package", "mcache"]))?;
    Ok(target().join("debug/mcache"))
}

/// Installs the Debian packages that are missing, which takes root.
pub fn install_packages(packages: &[&str]) -> Result<(), String> {
    let missing: Vec<_> = packages.iter().filter(|package| !has_package(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(command("apt-get").args(["update", "-qq"]))?;
    let mut install = command("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    run(install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(missing))
}

fn has_package(package: &str) -> bool {
    let status = command("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
    status.is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
}

//! memcached's source: fetched from Debian, or a directory of yours; its two helpers built.

use std::fs;
use std::path::{Path, PathBuf};

use crate::shell;

/// What it takes to build the helpers and to run the files.
const PACKAGES: &[&str] = &[
    "perl",
    "libio-socket-ssl-perl",
    "gcc",
    "libc6-dev",
    "make",
    "libevent-dev",
    "xz-utils",
    "ca-certificates",
];

/// Where Debian's packages come from.
const MIRROR: &str = "http://deb.debian.org/debian";

/// A source directory with `timedrun` and `testapp` built.
pub struct Source {
    /// Absolute.
    pub directory: PathBuf,
    /// memcached's version, such as `1.6.45`.
    pub version: String,
}

impl Source {
    /// Takes a directory, which may be built already.
    pub fn at(directory: &Path) -> Result<Self, String> {
        let directory =
            directory.canonicalize().map_err(|error| format!("{directory:?}: {error}"))?;
        build(&directory)?;
        let version = version(&directory)?;
        Ok(Self { directory, version })
    }

    /// Fetches the package of a suite of Debian, such as `unstable`; once.
    pub fn fetch(suite: &str) -> Result<Self, String> {
        shell::install_packages(PACKAGES)?;
        let home = super::home().join(suite);
        let directory = home.join("source");
        if !directory.join("timedrun.c").exists() {
            let archive = download(&home, suite)?;
            make_directory(&directory)?;
            let mut tar = shell::command("tar");
            tar.args(["--strip-components", "1", "-xf"]).arg(archive).arg("-C").arg(&directory);
            shell::run(&mut tar)?;
        }
        Self::at(&directory)
    }
}

/// Downloads the source archive by apt, whose lists, cache and sources are ours for this.
fn download(home: &Path, suite: &str) -> Result<PathBuf, String> {
    make_directory(&home.join("lists/partial"))?;
    make_directory(&home.join("cache"))?;
    let sources = home.join("sources.list");
    fs::write(&sources, format!("deb-src {MIRROR} {suite} main\n"))
        .map_err(|error| format!("{sources:?}: {error}"))?;
    let apt = |words: &[&str]| {
        let mut apt = shell::command("apt-get");
        apt.current_dir(home).args(["-qq", "-o", "Dir::Etc::SourceParts=/dev/null"]);
        for (name, path) in [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            apt.arg("-o").arg(format!("{name}={}", home.join(path).display()));
        }
        // As root, apt would download as a user who may not write here.
        apt.args(["-o", "APT::Sandbox::User=root"]).args(words);
        shell::run(&mut apt)
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", "--tar-only", "memcached"])?;
    let entries = fs::read_dir(home).map_err(|error| format!("{home:?}: {error}"))?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_archive = |path: &PathBuf| path.to_string_lossy().contains(".orig.tar");
    paths.find(is_archive).ok_or(format!("no archive in {home:?}"))
}

/// Builds the helpers if they are not there.
fn build(directory: &Path) -> Result<(), String> {
    if directory.join("timedrun").exists() && directory.join("testapp").exists() {
        return Ok(());
    }
    if !directory.join("Makefile").exists() {
        let mut configure = shell::command(directory.join("configure"));
        shell::run(configure.arg("--quiet").current_dir(directory))?;
    }
    let mut make = shell::command("make");
    shell::run(make.args(["--silent", "timedrun", "testapp"]).current_dir(directory))
}

/// The version that `configure` was made for.
fn version(directory: &Path) -> Result<String, String> {
    let path = directory.join("configure");
    let bytes = fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let said = text.lines().find_map(|line| line.strip_prefix("PACKAGE_VERSION='"));
    Ok(said.ok_or(format!("{path:?} says no version"))?.trim_end_matches('\'').to_owned())
}

/// Makes a directory and those above it.
pub fn make_directory(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{path:?}: {error}"))
}

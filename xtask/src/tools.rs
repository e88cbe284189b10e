//! Clients and what they need, installed from their registries under the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// What a client is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A package of Debian.
    Debian(&'static str),
    /// A package of PyPI, with its version.
    Pip(&'static str),
    /// A package of npm, with its version.
    Npm(&'static str),
}

/// Python, able to make virtual environments.
pub const PYTHON: Need = Need::Debian("python3-venv");
/// The C library that other clients are made of.
pub const LIBMEMCACHED: Need = Need::Debian("libmemcached-dev");

/// What compresses.
pub const ZLIB: Need = Need::Debian("zlib1g-dev");

/// Where the clients are installed.
pub struct Tools(PathBuf);

impl Tools {
    /// Installs what is missing.
    pub fn install<'n>(wanted: impl IntoIterator<Item = &'n Need>) -> Result<Self, String> {
        let tools = Self(shell::target().join("clients"));
        std::fs::create_dir_all(&tools.0).map_err(|error| error.to_string())?;
        let mut needs: Vec<Need> = Vec::new();
        for need in wanted {
            if !needs.contains(need) {
                needs.push(*need);
            }
        }
        let of = |pick: fn(Need) -> Option<&'static str>| -> Vec<&'static str> {
            needs.iter().filter_map(|&need| pick(need)).collect()
        };
        shell::install_packages(&of(|need| match need {
            Need::Debian(name) => Some(name),
            _ => None,
        }))?;
        tools.install_python(&of(|need| match need {
            Need::Pip(name) => Some(name),
            _ => None,
        }))?;
        tools.install_node(&of(|need| match need {
            Need::Npm(name) => Some(name),
            _ => None,
        }))?;
        Ok(tools)
    }

    /// The directory: `python` is a virtual environment, `node_modules` lies beside it.
    pub fn home(&self) -> &Path {
        &self.0
    }

    fn install_python(&self, packages: &[&str]) -> Result<(), String> {
        if packages.is_empty() {
            return Ok(());
        }
        let home = self.0.join("python");
        if !home.join("bin/pip").exists() {
            shell::run(shell::command("python3").args(["-m", "venv"]).arg(&home))?;
        }
        let mut pip = shell::command(home.join("bin/pip"));
        shell::run(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(packages))
    }

    fn install_node(&self, packages: &[&str]) -> Result<(), String> {
        if packages.is_empty() {
            return Ok(());
        }
        let mut npm = shell::command("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&self.0);
        shell::run(npm.args(packages))
    }

    /// What runs a script of this kind.
    pub fn interpreter(&self, script: &Path) -> Command {
        match script.extension().and_then(|extension| extension.to_str()) {
            Some("py") => shell::command(self.0.join("python/bin/python")),
            Some("js") => {
                let mut node = shell::command("node");
                node.env("NODE_PATH", self.0.join("node_modules"));
                node
            }
            Some("php") => shell::command("php"),
            Some("rb") => shell::command("ruby"),
            Some("pl") => shell::command("perl"),
            Some("toml") => {
                let mut cargo = shell::cargo();
                cargo.args(["run", "--quiet", "--locked", "--target-dir"]);
                cargo.arg(self.0.join("rust")).arg("--manifest-path");
                cargo
            }
            Some("go") => {
                // Debian's packages, no module proxy.
                let mut go = shell::command("go");
                go.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
                go.env("GOCACHE", self.0.join("go")).arg("run");
                go
            }
            _ => shell::command("bash"),
        }
    }
}

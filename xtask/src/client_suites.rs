//! `client-suites`: the tests that clients ship, run against mcache in memcached's place.
//!
//! These suites want their servers at fixed addresses, or start `memcached` of the
//! PATH themselves; so nothing else may listen there.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::compatibility::{Outcome, Table, Verdict};
use crate::shell;
use crate::tools::{LIBMEMCACHED, Need, PYTHON, Tools, ZLIB};

/// A client's tests.
struct Suite {
    /// The row of docs/compatibility.md.
    name: &'static str,
    needs: &'static [Need],
    tests: Tests,
    /// What bash runs where the tests are. `python`, `mocha` and `memcached` are on the PATH.
    run: &'static str,
}

/// Where a suite's tests come from.
enum Tests {
    /// The source package of a package of PyPI.
    Sdist(&'static str),
    /// The npm package itself.
    Node(&'static str),
    /// A package for Go as Debian has it, under this import path.
    Go(&'static str),
}

const PYTEST: Need = Need::Pip("pytest==8.3.4");

/// The suites. What is left out of one needs what neither server of the comparison has: an
/// unroutable network, SASL.
const SUITES: &[Suite] = &[
    Suite {
        name: "pymemcache",
        needs: &[
            PYTHON,
            PYTEST,
            Need::Pip("pymemcache==4.0.0"),
            Need::Pip("faker"),
            Need::Pip("zstd"),
        ],
        tests: Tests::Sdist("pymemcache==4.0.0"),
        run: "python -m pytest -q -o addopts= -m integration --server=127.0.0.1 --port=11211 \
              pymemcache/test",
    },
    Suite {
        name: "python-binary-memcached",
        needs: &[
            PYTHON,
            PYTEST,
            Need::Pip("trustme"),
            Need::Pip("python-binary-memcached==0.33.0"),
        ],
        tests: Tests::Sdist("python-binary-memcached==0.33.0"),
        // The package lacks the file that says where memcached answers over IPv6.
        run: "printf '%s\\n' 'import pytest' 'IPV6_PORT = 11211' \
              'memcached_ipv6 = pytest.fixture(lambda: None, name=\"memcached_ipv6\")' \
              >test/conftest.py && MEMCACHED_HOST=127.0.0.1 python -m pytest -q test \
              --ignore test/test_sasl_integration.py",
    },
    Suite {
        name: "python-memcached",
        needs: &[PYTHON, PYTEST, Need::Pip("python-memcached==1.62")],
        tests: Tests::Sdist("python-memcached==1.62"),
        // The package lacks a file that its tests import.
        run: "printf '%s\\n' 'import contextlib, io' \
              'captured_stderr = lambda: contextlib.redirect_stderr(io.StringIO())' \
              >tests/utils.py && touch tests/__init__.py && python -m pytest -q tests",
    },
    Suite {
        name: "pylibmc",
        needs: &[PYTHON, PYTEST, LIBMEMCACHED, ZLIB, Need::Pip("pylibmc==1.6.3")],
        tests: Tests::Sdist("pylibmc==1.6.3"),
        run: "MEMCACHED_HOST=127.0.0.1 MEMCACHED_PORT=11211 python -m pytest -q tests",
    },
    Suite {
        name: "django",
        needs: &[
            PYTHON,
            LIBMEMCACHED,
            ZLIB,
            Need::Pip("django==5.2.19"),
            Need::Pip("pymemcache==4.0.0"),
            Need::Pip("pylibmc==1.6.3"),
        ],
        tests: Tests::Sdist("django==5.2.19"),
        // Its settings name the servers.
        run: "cd tests && printf '%s\\n' 'from test_sqlite import *' \
              'at = \"django.core.cache.backends.memcached.%s\"' \
              'CACHES = {name: {\"BACKEND\": at % name, \"LOCATION\": \"127.0.0.1:11211\"}' \
              '          for name in (\"PyMemcacheCache\", \"PyLibMCCache\")}' \
              'CACHES[\"default\"] = CACHES[\"PyMemcacheCache\"]' \
              >cache_servers.py && python runtests.py --settings=cache_servers --parallel=1 \
              cache.tests.PyMemcacheCacheTests cache.tests.PyLibMCCacheTests",
    },
    Suite {
        name: "node-memcached",
        needs: &[
            Need::Debian("iputils-ping"),
            Need::Npm("memcached@2.2.2"),
            Need::Npm("mocha@10.8.2"),
            Need::Npm("should@13.2.3"),
        ],
        tests: Tests::Node("memcached"),
        run: "MEMCACHED__HOST=127.0.0.1 mocha --exit --require should --invert \
              --grep 'connection timeout|failuresTimeout' test/*.test.js",
    },
    Suite {
        name: "gomemcache",
        needs: &[Need::Debian("golang-go"), Need::Debian("golang-github-bradfitz-gomemcache-dev")],
        tests: Tests::Go("github.com/bradfitz/gomemcache/memcache"),
        run: "go test -count=1 -v .",
    },
];

/// Seconds that a suite may take.
const TIME_LIMIT: &str = "180";

/// Where the suites look for servers; python-binary-memcached at the last.
const PORTS: &[u16] = &[11211, 11212, 11213, 5000];

/// Where python-binary-memcached looks for one.
const SOCKET: &str = "/tmp/memcached.sock";

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// What the command line asks for.
#[derive(Default)]
struct Arguments {
    /// The server program; mcache, built now, if there is none.
    against: Option<PathBuf>,
    /// Only the suites that are expected to pass.
    passing: bool,
    /// Write down what got better.
    write: bool,
    names: Vec<String>,
}

/// Runs the command.
pub fn run(words: &[String]) -> Result<(), String> {
    let arguments = Arguments::parse(words)?;
    let server = match &arguments.against {
        Some(server) => server.canonicalize().map_err(|error| format!("{server:?}: {error}"))?,
        None => shell::build_server()?,
    };
    let mut table = Table::read("suite")?;
    let column = table.column("1.6.45")?;
    let chosen = arguments.choose(&table, column)?;
    let tools = Tools::install(chosen.iter().flat_map(|suite| suite.needs))?;
    let place = Place::furnish(&tools, &server)?;
    let _servers = place.serve()?;
    let outcomes: Vec<_> = chosen.iter().map(|suite| place.outcome(suite)).collect();
    println!("what they said is in {}", place.home.display());
    table.judge(column, &outcomes, arguments.write)
}

impl Arguments {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--against" => {
                    let program = words.next().ok_or("--against needs a value")?;
                    parsed.against = Some(program.into());
                }
                "--passing" => parsed.passing = true,
                "--write" => parsed.write = true,
                option if option.starts_with('-') => return Err(format!("no option `{option}`")),
                name => parsed.names.push(name.to_owned()),
            }
        }
        Ok(parsed)
    }

    fn choose(&self, table: &Table, column: usize) -> Result<Vec<&'static Suite>, String> {
        let known = |name: &String| SUITES.iter().any(|suite| suite.name == name);
        if let Some(name) = self.names.iter().find(|name| !known(name)) {
            let all: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
            return Err(format!("no suite `{name}`; there are {}", all.join(", ")));
        }
        let passes = |name| table.expects(column, name, Verdict::Pass);
        let chosen = |suite: &&Suite| match self.names.as_slice() {
            [] => !self.passing || passes(suite.name),
            names => names.iter().any(|name| name == suite.name),
        };
        Ok(SUITES.iter().filter(chosen).collect())
    }
}

/// Where suites are unpacked and run.
struct Place<'t> {
    tools: &'t Tools,
    home: PathBuf,
}

impl<'t> Place<'t> {
    /// Makes the directory, with a `memcached` that suites may start as they know it.
    fn furnish(tools: &'t Tools, server: &Path) -> Result<Self, String> {
        let home = shell::target().join("client-suites");
        let program = home.join("bin/memcached");
        let link = home.join("memcached-server");
        let made = || -> std::io::Result<()> {
            fs::create_dir_all(home.join("bin"))?;
            let _ = fs::remove_file(&link); // of an earlier run
            symlink(server, &link)?;
            // Suites that run as root do not say so.
            let script = format!("#!/bin/sh\nexec '{}' -u root \"$@\"\n", link.display());
            fs::write(&program, script)?;
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        };
        made().map_err(|error| format!("{home:?}: {error}"))?;
        Ok(Self { tools, home })
    }

    /// Starts what the suites expect to find: one server on all ports, one on a unix socket.
    fn serve(&self) -> Result<[Serving; 2], String> {
        if PORTS.iter().any(|&port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Err(format!("the suites need the ports {PORTS:?}; something listens there"));
        }
        let addresses: Vec<_> = PORTS
            .iter()
            .flat_map(|port| [format!("127.0.0.1:{port}"), format!("[::1]:{port}")])
            .collect();
        let tcp = self.start(&["-U", "0", "-l", &addresses.join(",")])?;
        let unix = self.start(&["-s", SOCKET])?;
        let listening = || {
            let connects = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_ok();
            PORTS.iter().all(connects) && UnixStream::connect(SOCKET).is_ok()
        };
        let started = Instant::now();
        while !listening() {
            if started.elapsed() > START {
                return Err("the servers do not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok([tcp, unix])
    }

    fn start(&self, arguments: &[&str]) -> Result<Serving, String> {
        let mut server = Command::new(self.home.join("bin/memcached"));
        server.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        server.spawn().map(Serving).map_err(|error| format!("{server:?}: {error}"))
    }

    fn outcome(&self, suite: &Suite) -> Outcome {
        let started = Instant::now();
        let (verdict, detail) = match self.play(suite) {
            Ok((true, detail)) => (Verdict::Pass, detail),
            Ok((false, detail)) | Err(detail) => (Verdict::Fail, detail),
        };
        let seconds = started.elapsed().as_secs_f64();
        Outcome { name: suite.name.to_owned(), verdict, detail, seconds }
    }

    /// Runs a suite; whether it passed, and the last that it said about how many.
    fn play(&self, suite: &Suite) -> Result<(bool, String), String> {
        let directory = self.unpack(&suite.tests)?;
        let log = self.home.join(format!("{}.log", suite.name));
        let output = File::create(&log).map_err(|error| format!("{log:?}: {error}"))?;
        let errors = output.try_clone().map_err(|error| error.to_string())?;
        let mut bash = Command::new("timeout");
        bash.args(["--kill-after", "5", TIME_LIMIT, "bash", "-c", suite.run]);
        bash.current_dir(directory).env("PATH", self.path());
        // Debian's packages for Go, no module proxy.
        bash.env("GO111MODULE", "off").env("GOPATH", self.home.join("go"));
        bash.env("GOCACHE", self.home.join("go-cache"));
        let status = bash.stdin(Stdio::null()).stdout(output).stderr(errors).status();
        let passed = status.map_err(|error| format!("{bash:?}: {error}"))?.success();
        let said = fs::read(&log).map_err(|error| format!("{log:?}: {error}"))?;
        let said = String::from_utf8_lossy(&said);
        let counts = |line: &&str| {
            line.contains("pass") || ["ok ", "Ran "].iter().any(|start| line.starts_with(start))
        };
        let detail = said.lines().rev().find(counts).unwrap_or_default();
        Ok((passed, detail.trim().to_owned()))
    }

    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let [bin, tools] = [self.home.join("bin"), self.tools.home().to_owned()]
            .map(|it| it.display().to_string());
        format!("{bin}:{tools}/python/bin:{tools}/node_modules/.bin:{path}")
    }

    /// Gets a suite's tests; returns where they run.
    fn unpack(&self, tests: &Tests) -> Result<PathBuf, String> {
        match tests {
            Tests::Sdist(package) => self.unpack_sdist(package),
            Tests::Node(package) => Ok(self.tools.home().join("node_modules").join(package)),
            Tests::Go(package) => {
                // A copy: what is outside of GOPATH cannot be tested.
                let sources = self.home.join("go/src");
                let target = sources.join(package);
                fs::create_dir_all(&target).map_err(|error| format!("{target:?}: {error}"))?;
                let debian = Path::new("/usr/share/gocode/src").join(package);
                let mut copy = shell::command("cp");
                shell::run(copy.args(["-rLT"]).arg(debian).arg(&target))?;
                Ok(target)
            }
        }
    }

    fn unpack_sdist(&self, package: &str) -> Result<PathBuf, String> {
        let directory = self.home.join(package);
        if directory.join("PKG-INFO").exists() {
            return Ok(directory);
        }
        let download = directory.join("download");
        fs::create_dir_all(&download).map_err(|error| format!("{download:?}: {error}"))?;
        let mut pip = shell::command(self.tools.home().join("python/bin/pip"));
        pip.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--no-binary", ":all:", "--dest"]).arg(&download).arg(package);
        shell::run(&mut pip)?;
        let mut tar = shell::command("bash");
        tar.args(["-c", "tar --strip-components 1 -xf download/*.tar.gz"]);
        shell::run(tar.current_dir(&directory))?;
        Ok(directory)
    }
}

/// A server that ends with this.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
